//! Limits to what is in flight: nobody gets more, and who finds no room is told at once.

use crate::support::evenkeel::{pool, pool_of};
use crate::support::tally::{of, tally};
use crate::support::{Client, Evenkeel, Gate, Origin, wait_until};

/// Clients that have asked for `/hold` and wait for the answer.
fn asking(evenkeel: &Evenkeel, clients: usize) -> Vec<Client> {
    let ask = |_| {
        let mut client = evenkeel.client();
        client.ask("/hold", "");
        client
    };
    (0..clients).map(ask).collect()
}

#[test]
fn a_backend_never_has_more_than_it_may() {
    let ((small, gate_small), (large, gate_large)) = (Gate::holding("small"), Gate::holding("large"));
    let backends = [(small.address, "max_in_flight: 2"), (large.address, "max_in_flight: 5")];
    let evenkeel = Evenkeel::start(&pool_of(&backends, "queue: { size: 100, timeout: 10s }"));
    let mut clients = asking(&evenkeel, 50);
    wait_until("all the others wait", || evenkeel.waiting() == 43);
    gate_small.holds(2);
    gate_large.holds(5);
    [&gate_small, &gate_large].iter().for_each(|gate| gate.open());
    clients.iter_mut().for_each(|client| assert_eq!(client.read().status, 200));
    // And under a steady stream.
    assert_eq!(of(&tally(&evenkeel, 20, 400), &["small", "large"]), 400);
    assert_eq!((gate_small.most(), gate_large.most()), (2, 5));
}

#[test]
fn a_pool_never_has_more_than_it_may() {
    let gate = Gate::closed();
    let origins = ["a", "b", "c"].map(|name| gate.origin(name));
    let addresses = origins.each_ref().map(|origin| origin.address);
    let more = "max_in_flight: 7\nqueue: { size: 100, timeout: 10s }";
    let evenkeel = Evenkeel::start(&pool(&addresses, more));
    let mut clients = asking(&evenkeel, 50);
    wait_until("all the others wait", || evenkeel.waiting() == 43);
    gate.holds(7);
    gate.open();
    clients.iter_mut().for_each(|client| assert_eq!(client.read().status, 200));
    assert_eq!(of(&tally(&evenkeel, 20, 400), &["a", "b", "c"]), 400);
    assert_eq!(gate.most(), 7);
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
}

#[test]
fn without_a_queue_a_full_pool_is_a_503_on_a_connection_that_lives_on() {
    for (keys, more) in [("max_in_flight: 1", ""), ("", "max_in_flight: 1")] {
        let (origin, gate) = Gate::holding("hello");
        let evenkeel = Evenkeel::start(&pool_of(&[(origin.address, keys)], more));
        let mut first = asking(&evenkeel, 1);
        gate.holds(1);
        let mut client = evenkeel.client();
        for _ in 0..3 {
            let response = client.get("/");
            assert_eq!((response.status, response.reason()), (503, "pool_full"));
        }
        // A body that nobody reads ends the connection, which is said.
        let mut other = evenkeel.client();
        let response = other.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\nbody").read();
        assert_eq!((response.reason(), response.header("connection")), ("pool_full", Some("close")));
        assert_eq!(origin.count(), 1);
        gate.open();
        assert_eq!(first[0].read().text(), "hello");
        wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
        assert_eq!(client.get("/").text(), "hello");
        let line = &evenkeel.requests(6)[0];
        assert_eq!(evenkeel.failures("pool_full"), 4.0);
        assert_eq!(
            (&line["reason"], &line["status"], &line["backend"]),
            (&"pool_full".into(), &503.into(), &().into())
        );
    }
}

#[test]
fn the_admin_pages_show_limits_and_who_is_full() {
    let (origin, gate) = Gate::holding("hello");
    let other = Origin::saying("other");
    let backends = [(origin.address, "max_in_flight: 1, weight: 1000"), (other.address, "")];
    let evenkeel = Evenkeel::start(&pool_of(&backends, ""));
    let backend = |origin: &Origin| {
        let address = origin.address.to_string();
        evenkeel.backends().into_iter().find(|backend| backend["address"] == address.as_str()).unwrap()
    };
    assert_eq!((&backend(&origin)["max_in_flight"], &backend(&other)["max_in_flight"]), (&1.into(), &().into()));
    assert_eq!(evenkeel.admitted(), 2);
    let _first = asking(&evenkeel, 1);
    gate.holds(1);
    let full = backend(&origin);
    assert_eq!((&full["in_flight"], &full["admitted"], &full["state"]), (&1.into(), &false.into(), &"healthy".into()));
    assert_eq!(evenkeel.admitted(), 1);
    gate.open();
    wait_until("there is room again", || evenkeel.admitted() == 2);
}

#[test]
fn a_client_that_leaves_gives_its_room_back() {
    let origin = Origin::new(|exchange| match exchange.path() {
        "/hang" => exchange.hang(),
        _ => exchange.ok("hello"),
    });
    let evenkeel = Evenkeel::start(&pool(&[origin.address], "max_in_flight: 1\nqueue: { timeout: 10s }"));
    let mut leaving = evenkeel.client();
    leaving.ask("/hang", "");
    wait_until("it is at the backend", || origin.count() == 1);
    let mut waiting = evenkeel.client();
    waiting.ask("/", "");
    wait_until("another waits", || evenkeel.waiting() == 1);
    drop(leaving);
    assert_eq!(waiting.read().text(), "hello");
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
}

#[test]
fn a_retry_needs_room_too() {
    let mut dead = Origin::saying("dead");
    dead.stop();
    let (origin, gate) = Gate::holding("hello");
    let backends = [(dead.address, "max_in_flight: 1"), (origin.address, "max_in_flight: 1")];
    let evenkeel = Evenkeel::start(&pool_of(&backends, ""));
    let mut first = asking(&evenkeel, 1);
    gate.holds(1);
    // The dead one has room, and fails; what that was says more than that the other is full.
    let response = evenkeel.get("/");
    assert_eq!((response.status, response.reason()), (502, "connect_failed"));
    gate.open();
    assert_eq!(first[0].read().text(), "hello");
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    assert_eq!(evenkeel.get("/").text(), "hello");
    assert_eq!(gate.most(), 1);
}
