//! `max_connections`: no more connections to the backends of a pool than it may have.

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Gate, Origin, wait_until};

fn connections(evenkeel: &Evenkeel) -> u64 {
    evenkeel.pool()["connections"].as_u64().unwrap()
}

/// All at once, so that those that are being opened have to count.
fn burst(evenkeel: &Evenkeel, path: &str, clients: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..clients).map(|_| evenkeel.client()).collect();
    clients.iter_mut().for_each(|client| {
        client.ask(path, "");
    });
    clients
}

#[test]
fn a_burst_gets_no_more_than_there_may_be() {
    let (origin, gate) = Gate::holding("hello");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], "max_connections: 3"));
    let clients = burst(&evenkeel, "/hold", 20);
    wait_until("all the others are refused", || evenkeel.failures("connection_limit") == 17.0);
    gate.holds(3);
    assert_eq!(
        (origin.connections(), connections(&evenkeel), evenkeel.pool()["max_connections"].as_u64()),
        (3, 3, Some(3))
    );
    assert_eq!(evenkeel.metric("evenkeel_pool_connections{pool=\"web\"}"), 3.0);
    gate.open();
    let mut answers: Vec<_> = clients.into_iter().map(|mut client| client.read()).collect();
    answers.sort_by_key(|answer| answer.status);
    assert!(answers[..3].iter().all(|answer| answer.text() == "hello"));
    assert!(answers[3..].iter().all(|answer| (answer.status, answer.reason()) == (503, "connection_limit")));
    // The backend has nothing to do with it, and another attempt would have met the same.
    wait_until("nothing is in flight", || evenkeel.in_flight() == 0);
    let backend = &evenkeel.backends()[0];
    assert_eq!((&backend["failed"], &backend["succeeded"]), (&0.into(), &3.into()));
    assert_eq!(evenkeel.metric("evenkeel_retries_total{pool=\"web\"}"), 0.0);
    assert_eq!(evenkeel.lines("connection_limit"), [""; 0], "no line for each");
}

#[test]
fn kept_connections_count_and_are_used_at_the_limit() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], "max_connections: 1\ntimeouts: { idle: 2s }"));
    for _ in 0..20 {
        assert_eq!(evenkeel.get("/").text(), "hello");
        // The client has its answer a moment before the connection is kept.
        wait_until("the connection is kept", || evenkeel.in_flight() == 0);
    }
    assert_eq!((origin.connections(), connections(&evenkeel)), (1, 1));
    wait_until("the connection is closed, and does not count", || connections(&evenkeel) == 0);
    assert_eq!(evenkeel.get("/").text(), "hello");
}

#[test]
fn a_connection_that_the_backend_closes_does_not_count() {
    let mut origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], "max_connections: 1"));
    assert_eq!(evenkeel.get("/").text(), "hello");
    origin.stop();
    wait_until("nothing is open", || connections(&evenkeel) == 0);
    origin.restart();
    assert_eq!(evenkeel.get("/").text(), "hello");
}

#[test]
fn who_cannot_be_reached_holds_no_place() {
    let mut dead = Origin::saying("dead");
    dead.stop();
    let evenkeel = Evenkeel::start(&pool(&[dead.address], "max_connections: 2"));
    for _ in 0..10 {
        assert_eq!(evenkeel.get("/").reason(), "connect_failed");
    }
    assert_eq!(connections(&evenkeel), 0);
    dead.restart();
    assert_eq!(evenkeel.get("/").text(), "dead");
}

/// Or the connections that are kept to one backend would keep the other from being asked, as long as they are in use.
#[test]
fn a_backend_that_needs_a_connection_gets_one() {
    let origins = [Origin::saying("a"), Origin::saying("b")];
    let addresses = origins.each_ref().map(|origin| origin.address);
    let evenkeel = Evenkeel::start(&pool(&addresses, "max_connections: 1"));
    let seen = |body: &'static str| {
        wait_until(&format!("{body} answers"), || evenkeel.get("/").text() == body);
        assert!(connections(&evenkeel) <= 1);
    };
    for _ in 0..3 {
        seen("a");
        seen("b");
    }
}

#[test]
fn sockets_of_the_machine_count_too() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a.sock", "b.sock"].map(|name| folder.path().join(name));
    paths.iter().for_each(|path| Origin::on_unix(path, "hello"));
    let evenkeel = Evenkeel::start(&format!(
        "pools:\n  web:\n    backends: ['unix:{}', 'unix:{}']\n    health_check: off\n    max_connections: 1\n",
        paths[0].display(),
        paths[1].display(),
    ));
    assert_eq!(evenkeel.get("/").text(), "hello");
    assert_eq!(connections(&evenkeel), 1);
    assert_eq!(evenkeel.get("/").reason(), "connection_limit", "the other has its turn");
    wait_until("its connection is given up for the other", || evenkeel.get("/").status == 200);
}
