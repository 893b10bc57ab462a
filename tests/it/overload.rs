//! Adaptive concurrency: who is sent away first, and how, when a pool has too much to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Gate, Origin, Response, wait_until};

/// A backend that holds what asks for `/hold`, and three routes to it.
fn behind(limits: &str) -> (Origin, Arc<Gate>, Evenkeel) {
    let (origin, gate) = Gate::holding("hello");
    let routes = "routes:\n  - { match: { path_prefix: /high }, pool: web, priority: high }\n  \
                  - { match: { path_prefix: /low }, pool: web, priority: low }\n  - pool: web\n";
    let evenkeel = Evenkeel::start(&(pool(&[origin.address], limits) + routes));
    (origin, gate, evenkeel)
}

/// A limit that stands still, because nothing else is allowed.
fn of(limit: usize) -> (Origin, Arc<Gate>, Evenkeel) {
    behind(&format!("concurrency: {{ adaptive: {{ min: {limit}, max: {limit} }} }}"))
}

/// Clients whose requests the backend holds.
fn held(evenkeel: &Evenkeel, gate: &Gate, path: &str, count: usize) -> Vec<Client> {
    let before = gate.held();
    let ask = |number| {
        let mut client = evenkeel.client();
        client.ask(path, "");
        gate.holds(before + number);
        client
    };
    (1..=count).map(ask).collect()
}

#[track_caller]
fn is_refusal(response: &Response) {
    assert_eq!((response.status, response.reason()), (503, "overloaded"));
    let seconds: u32 = response.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3).contains(&seconds), "{seconds}");
    assert_ne!(response.header("connection"), Some("close"));
}

#[test]
fn the_low_priority_is_sent_away_first_and_the_high_one_last() {
    let (origin, gate, evenkeel) = of(10);
    let mut low = evenkeel.client();
    let mut normal = evenkeel.client();
    let mut high = evenkeel.client();
    let mut clients = held(&evenkeel, &gate, "/low/hold", 6);
    is_refusal(&low.get("/low"));
    clients.extend(held(&evenkeel, &gate, "/hold", 2));
    is_refusal(&low.get("/low"));
    is_refusal(&normal.get("/"));
    clients.extend(held(&evenkeel, &gate, "/high/hold", 2));
    for client in [&mut low, &mut normal, &mut high] {
        is_refusal(&client.get("/high"));
    }
    assert_eq!((gate.most(), origin.count()), (10, 10), "none of the others was sent on");
    // Whoever was refused keeps its connection, and is served on it when there is room.
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read().text(), "hello"));
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    for (client, path) in [(&mut low, "/low"), (&mut normal, "/"), (&mut high, "/high")] {
        assert_eq!(client.get(path).text(), "hello");
    }
}

#[test]
fn what_is_shown_of_it() {
    let (_origin, gate, evenkeel) = of(5);
    assert_eq!(evenkeel.pool()["concurrency_limit"], 5);
    assert_eq!(evenkeel.metric("evenkeel_concurrency_limit{pool=\"web\"}"), 5.0);
    assert_eq!(evenkeel.metric("evenkeel_pool_connections{pool=\"web\"}"), 0.0);
    let mut clients = held(&evenkeel, &gate, "/high/hold", 5);
    for _ in 0..20 {
        is_refusal(&evenkeel.get("/high"));
    }
    assert_eq!((evenkeel.failures("overloaded"), evenkeel.failures("pool_full")), (20.0, 0.0));
    let line = &evenkeel.requests(20)[0];
    assert_eq!((&line["reason"], &line["status"]), (&"overloaded".into(), &503.into()));
    assert!(line["backend"].is_null(), "{line}");
    let said = &evenkeel.logged("pool web: overloaded: requests are sent away", 1)[0];
    assert!(said.contains("the limit is 5 in flight"), "{said}");
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read().status, 200));
}

#[test]
fn a_refused_body_ends_the_connection_which_is_said() {
    let (_origin, gate, evenkeel) = of(1);
    let _first = held(&evenkeel, &gate, "/hold", 1);
    let mut client = evenkeel.client();
    let response = client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody").read();
    assert_eq!((response.reason(), response.header("connection")), ("overloaded", Some("close")));
}

/// Where both are set, the smaller one counts: `concurrency` sends away, and `max_in_flight` lets wait.
#[test]
fn nobody_waits_for_a_pool_that_is_overloaded() {
    let limits = |limit: usize, max_in_flight: usize| {
        behind(&format!(
            "concurrency: {{ adaptive: {{ min: {limit}, max: {limit} }} }}\nmax_in_flight: {max_in_flight}\n\
             queue: {{ size: 1, timeout: 10s }}"
        ))
    };
    let (_origin, gate, evenkeel) = limits(2, 4);
    let _clients = held(&evenkeel, &gate, "/high/hold", 2);
    is_refusal(&evenkeel.get("/high"));
    assert_eq!(evenkeel.waiting(), 0);

    let (_origin, gate, evenkeel) = limits(9, 2);
    let mut clients = held(&evenkeel, &gate, "/hold", 2);
    let mut waiting = evenkeel.client();
    waiting.ask("/", "");
    wait_until("it waits", || evenkeel.waiting() == 1);
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.reason(), response.header("retry-after")), (503, "queue_full", None));
    gate.open();
    clients.push(waiting);
    clients.iter_mut().for_each(|client| assert_eq!(client.read().text(), "hello"));
}

#[test]
fn the_limit_grows_while_the_pool_keeps_up() {
    let origin = Origin::saying("hello");
    let adaptive = "concurrency: { adaptive: { min: 1, max: 10 } }";
    let evenkeel = Evenkeel::start(&pool(&[origin.address], adaptive));
    let limit = || evenkeel.pool()["concurrency_limit"].as_u64().unwrap();
    assert_eq!(limit(), 1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = evenkeel.client();
                while !stop.load(Relaxed) {
                    assert!([200, 503].contains(&client.get("/").status));
                }
            });
        }
        wait_until("there is room for all", || limit() >= 5);
        stop.store(true, Relaxed);
    });
}

/// The second attempt of a request is let in like any other, or an overload would feed itself.
#[test]
fn a_second_attempt_is_sent_away_too() {
    let mut dead = Origin::saying("dead");
    dead.stop();
    let (origin, gate) = Gate::holding("hello");
    let adaptive = "concurrency: { adaptive: { min: 1, max: 1 } }";
    let evenkeel = Evenkeel::start(&pool(&[dead.address, origin.address], adaptive));
    let mut first = evenkeel.client();
    first.ask("/hold", "");
    gate.holds(1);
    is_refusal(&evenkeel.get("/"));
    gate.open();
    assert_eq!(first.read().text(), "hello");
    for _ in 0..4 {
        wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
        assert_eq!(evenkeel.get("/").text(), "hello", "its own room is free for it");
    }
}
