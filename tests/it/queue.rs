//! The queue of a full pool: first come, first served, so many and no longer than so long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use crate::support::evenkeel::{pool, pool_of};
use crate::support::{Client, Evenkeel, Gate, Origin, QUICK_CHECK, Then, wait_until};

/// A backend that holds what asks for `/hold`, one at a time.
fn one_at_a_time(queue: &str) -> (Origin, Arc<Gate>, Evenkeel) {
    let (origin, gate) = Gate::holding("hello");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], &format!("max_in_flight: 1\nqueue: {queue}")));
    (origin, gate, evenkeel)
}

/// One client whose request the backend holds, and others that have come to wait behind it, one after the other.
fn line(evenkeel: &Evenkeel, gate: &Gate, waiting: u64) -> Vec<Client> {
    let ask = |number: u64| {
        let mut client = evenkeel.client();
        client.ask(&format!("/hold/{number}"), "");
        match number {
            0 => gate.holds(1),
            _ => drop(wait_until("it waits", || evenkeel.waiting() == number)),
        }
        client
    };
    (0..=waiting).map(ask).collect()
}

#[test]
fn who_came_first_is_served_first() {
    let (origin, gate, evenkeel) = one_at_a_time("{ timeout: 10s }");
    let mut clients = line(&evenkeel, &gate, 20);
    for (number, client) in clients.iter_mut().enumerate() {
        gate.holds(1);
        assert_eq!(origin.last().head.word(1), format!("/hold/{number}"));
        gate.let_go();
        assert_eq!(client.read().text(), "hello");
    }
    assert_eq!((gate.most(), origin.count()), (1, 21));
    assert_eq!(evenkeel.waiting(), 0);
}

#[test]
fn nobody_overtakes_those_who_wait() {
    let (origin, gate, evenkeel) = one_at_a_time("{ timeout: 10s }");
    let mut clients = line(&evenkeel, &gate, 10);
    // Others come all the time, while places become free.
    std::thread::scope(|scope| {
        let late = scope.spawn(|| (0..4).map(|_| evenkeel.get("/late").status).collect::<Vec<_>>());
        wait_until("the first late one waits", || evenkeel.waiting() == 11);
        gate.open();
        clients.iter_mut().for_each(|client| assert_eq!(client.read().status, 200));
        assert_eq!(late.join().unwrap(), [200; 4]);
    });
    let order: Vec<_> = origin.seen().iter().map(|seen| seen.head.word(1).to_owned()).collect();
    let expected: Vec<_> =
        (0..=10).map(|number| format!("/hold/{number}")).chain((0..4).map(|_| "/late".into())).collect();
    assert_eq!(order, expected);
}

#[test]
fn what_is_shown_of_those_who_wait() {
    let (_origin, gate, evenkeel) = one_at_a_time("{ timeout: 10s }");
    let queued = || evenkeel.metric("evenkeel_queued_requests{pool=\"web\"}");
    assert_eq!((evenkeel.waiting(), queued()), (0, 0.0));
    let mut clients = line(&evenkeel, &gate, 3);
    assert_eq!((evenkeel.waiting(), queued()), (3, 3.0));
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read().status, 200));
    assert_eq!((evenkeel.waiting(), queued()), (0, 0.0));
}

#[test]
fn one_more_than_may_wait_is_a_503_at_once() {
    let (_origin, gate, evenkeel) = one_at_a_time("{ size: 2, timeout: 10s }");
    let mut clients = line(&evenkeel, &gate, 2);
    let mut refused = evenkeel.client();
    for _ in 0..3 {
        let response = refused.get("/");
        assert_eq!((response.status, response.reason()), (503, "queue_full"));
        assert_eq!((evenkeel.waiting(), gate.held()), (2, 1));
    }
    evenkeel.requests(3);
    assert_eq!(evenkeel.failures("queue_full"), 3.0);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read().status, 200));
    assert_eq!(refused.get("/").text(), "hello");
}

#[test]
fn those_who_are_refused_leave_the_order_as_it_is() {
    let (origin, gate, evenkeel) = one_at_a_time("{ size: 4, timeout: 10s }");
    let mut clients = line(&evenkeel, &gate, 4);
    for _ in 0..3 {
        assert_eq!(evenkeel.get("/").reason(), "queue_full");
    }
    for (number, client) in clients.iter_mut().enumerate() {
        gate.holds(1);
        assert_eq!(origin.last().head.word(1), format!("/hold/{number}"));
        gate.let_go();
        assert_eq!(client.read().text(), "hello");
    }
}

#[test]
fn who_waits_too_long_is_told_and_keeps_the_connection() {
    let (origin, gate, evenkeel) = one_at_a_time("{ timeout: 100ms }");
    let mut first = line(&evenkeel, &gate, 0);
    let mut client = evenkeel.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.status, response.reason()), (503, "queue_timeout"));
    }
    assert_eq!((origin.count(), evenkeel.waiting()), (1, 0));
    let line = &evenkeel.requests(2)[0];
    assert_eq!(evenkeel.failures("queue_timeout"), 2.0);
    assert_eq!((&line["reason"], &line["status"]), (&"queue_timeout".into(), &503.into()));
    assert!(line["backend"].is_null(), "{line}");
    gate.open();
    assert_eq!(first[0].read().text(), "hello");
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    assert_eq!(client.get("/").text(), "hello");
}

#[test]
fn the_deadline_of_the_request_ends_its_waiting() {
    let (origin, gate) = Gate::holding("hello");
    let more = "max_in_flight: 1\nqueue: { timeout: 10s }\ntimeouts: { request: 200ms, read: 9s }";
    let routes = "routes: [{ match: { path: /hold }, pool: web, timeouts: { request: 60s } }, { pool: web }]\n";
    let evenkeel = Evenkeel::start(&(pool(&[origin.address], more) + routes));
    let mut first = evenkeel.client();
    first.ask("/hold", "");
    gate.holds(1);
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.reason()), (504, "request_timeout"));
}

#[test]
fn who_leaves_the_line_holds_up_nobody() {
    let (origin, gate, evenkeel) = one_at_a_time("{ timeout: 10s }");
    let mut clients = line(&evenkeel, &gate, 6);
    // Of 0 to 6, the odd ones leave.
    for number in [5, 3, 1] {
        drop(clients.remove(number));
    }
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read().text(), "hello"));
    wait_until("nobody waits, nothing is in flight", || evenkeel.waiting() == 0 && evenkeel.in_flight() == 0);
    assert_eq!(gate.most(), 1);
    assert!(origin.count() >= 4);
    assert_eq!(evenkeel.get("/").text(), "hello");
}

#[test]
fn room_that_comes_with_a_backend_is_used() {
    let ((one, gate), mut two) = (Gate::holding("one"), Origin::saying("two"));
    two.stop();
    let more = format!("max_in_flight: 5\nqueue: {{ timeout: 10s }}\n{}", QUICK_CHECK);
    let backends = [(one.address, "max_in_flight: 1"), (two.address, "max_in_flight: 1")];
    let evenkeel = Evenkeel::start(&pool_of(&backends, &more));
    let mut clients = line(&evenkeel, &gate, 3);
    two.restart();
    // Those that wait go there, while the first backend still holds its own.
    clients[1..].iter_mut().for_each(|client| assert_eq!(client.read().text(), "two"));
    assert_eq!(gate.held(), 1);
    gate.open();
    assert_eq!(clients[0].read().text(), "one");
}

#[test]
fn a_second_attempt_that_waits_holds_up_nobody() {
    let (good, gate) = Gate::holding("good");
    let backup = Origin::new(|exchange| match exchange.path() {
        "/close" => Ok(Then::Close),
        _ => exchange.ok("backup"),
    });
    let backends = [(good.address, "max_in_flight: 1"), (backup.address, "backup: true, max_in_flight: 1")];
    let evenkeel = Evenkeel::start(&pool_of(&backends, "queue: { size: 1, timeout: 10s }"));
    let mut first = line(&evenkeel, &gate, 0);
    let mut twice = evenkeel.client();
    twice.ask("/close", "");
    wait_until("the backup has failed it, and it waits for the other", || evenkeel.waiting() == 1);
    assert_eq!(evenkeel.get("/").text(), "backup");
    assert_eq!(evenkeel.waiting(), 1);
    gate.open();
    assert_eq!((first[0].read().text().as_str(), twice.read().text().as_str()), ("good", "good"));
}

/// Or a backend that does not notice would have one after the other at once, more than the limit allows.
#[test]
fn who_left_while_waiting_is_not_sent_on() {
    let (origin, gate, evenkeel) = one_at_a_time("{ timeout: 10s }");
    let mut clients = line(&evenkeel, &gate, 5);
    let last = clients.pop().unwrap();
    clients.drain(1..);
    std::thread::sleep(std::time::Duration::from_millis(50));
    gate.open();
    for mut client in [clients.remove(0), last] {
        assert_eq!(client.read().text(), "hello");
    }
    let paths: Vec<_> = origin.seen().iter().map(|seen| seen.head.word(1).to_owned()).collect();
    assert_eq!(paths, ["/hold/0", "/hold/5"]);
    assert_eq!((evenkeel.failures("client_gone"), evenkeel.waiting(), evenkeel.in_flight()), (4.0, 0, 0));
    for line in evenkeel.requests(6).iter().filter(|line| line["status"] != 200) {
        assert_eq!((&line["status"], &line["reason"]), (&499.into(), &"client_gone".into()), "{line}");
    }
}

#[test]
fn a_stale_connection_does_not_cost_a_request_its_room() {
    let (broken, go) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
    let wait = Arc::clone(&go);
    let origin = Origin::new(move |exchange| {
        if exchange.path() == "/stale" && !broken.swap(true, SeqCst) {
            wait_until("somebody waits", || wait.load(SeqCst));
            return Ok(Then::Close);
        }
        exchange.ok("hello")
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], "max_in_flight: 1\nqueue: { timeout: 10s }\n"));
    assert_eq!(evenkeel.get("/").status, 200);
    let (mut first, mut second) = (evenkeel.client(), evenkeel.client());
    first.ask("/stale", "");
    wait_until("it is at the backend", || origin.count() == 2);
    second.ask("/late", "");
    wait_until("the other waits", || evenkeel.waiting() == 1);
    go.store(true, SeqCst);
    assert_eq!((first.read().text(), second.read().text()), ("hello".into(), "hello".into()));
    let paths: Vec<_> = origin.seen().iter().map(|seen| seen.head.word(1).to_owned()).collect();
    assert_eq!(paths, ["/", "/stale", "/stale", "/late"]);
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    let count = |key: &str| evenkeel.backends()[0][key].as_u64().unwrap();
    assert_eq!((count("succeeded"), count("failed"), count("cancelled")), (3, 0, 1));
}
