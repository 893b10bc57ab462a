//! What every algorithm does, and what those do that look at the load.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::evenkeel::pool;
use crate::support::tally::{responses, tally, tally_with};
use crate::support::{Client, Evenkeel, Gate, Origin, Then, wait_until};

/// Every algorithm but `round_robin`, which has tests of its own; those that hash go by `X-Key`.
const ALGORITHMS: [&str; 8] = [
    "random",
    "p2c",
    "least_request",
    "peak_ewma",
    "least_time",
    "{ consistent_hash: { key: { header: X-Key } } }",
    "{ maglev: { key: { header: X-Key } } }",
    "{ rendezvous: { key: { header: X-Key } } }",
];

fn key(number: usize) -> String {
    format!("X-Key: {number}\r\n")
}

fn addresses(origins: &[&Origin]) -> Vec<std::net::SocketAddr> {
    origins.iter().map(|origin| origin.address).collect()
}

/// Requests that are all under way at the same time, one begun after the other.
fn at_once(evenkeel: &Evenkeel, gates: &[&Gate], requests: usize) -> Vec<Client> {
    let held = || gates.iter().map(|gate| gate.held()).sum::<usize>();
    let begin = |number: usize| {
        let mut client = evenkeel.client();
        client.ask("/hold", &key(number));
        wait_until("the request is at a backend", || held() == number + 1);
        client
    };
    (0..requests).map(begin).collect()
}

#[test]
fn all_backends_are_used_and_one_that_dies_is_made_good() {
    for balance in ALGORITHMS {
        let (mut a, gate_a) = Gate::holding("a");
        let ((b, gate_b), (c, gate_c)) = (Gate::holding("b"), Gate::holding("c"));
        let evenkeel = Evenkeel::start(&pool(&addresses(&[&a, &b, &c]), &format!("balance: {balance}")));
        let mut clients = at_once(&evenkeel, &[&gate_a, &gate_b, &gate_c], 48);
        [gate_a, gate_b, gate_c].iter().for_each(|gate| gate.open());
        let names: BTreeSet<_> = clients.iter_mut().map(|client| client.read().text()).collect();
        assert_eq!(names.len(), 3, "{balance}: {names:?}");

        a.stop();
        let alive = tally_with(&evenkeel, 4, 48, key);
        assert_eq!((alive.get("a"), alive.values().sum::<usize>()), (None, 48), "{balance}: {alive:?}");
    }
}

#[test]
fn requests_that_are_held_spread_evenly() {
    for (balance, at_most) in [("least_request", 12), ("least_time", 12), ("p2c", 16), ("peak_ewma", 16)] {
        let behind = ["a", "b", "c", "d"].map(Gate::holding);
        let origins = behind.each_ref().map(|(origin, _)| origin);
        let gates = behind.each_ref().map(|(_, gate)| &**gate);
        let evenkeel = Evenkeel::start(&pool(&addresses(&origins), &format!("balance: {balance}")));
        let _clients = at_once(&evenkeel, &gates, 48);
        let held = gates.map(Gate::held);
        assert!(held.iter().all(|held| *held <= at_most), "{balance}: {held:?}");
    }
}

#[test]
fn a_slow_backend_gets_less_of_concurrent_requests() {
    for balance in ["least_request", "least_time", "p2c", "peak_ewma"] {
        let slow = Origin::new(|exchange| {
            exchange.pause(Duration::from_millis(30));
            exchange.ok("slow")
        });
        let quick = ["a", "b", "c"].map(Origin::saying);
        let all = [&slow, &quick[0], &quick[1], &quick[2]];
        let evenkeel = Evenkeel::start(&pool(&addresses(&all), &format!("balance: {balance}")));
        let tally = tally(&evenkeel, 8, 400);
        // Its fair share is a hundred.
        assert!(tally.get("slow").is_none_or(|count| *count < 60), "{balance}: {tally:?}");
        assert!(quick.iter().all(|origin| origin.count() > 0), "{balance}: {tally:?}");
    }
}

/// A backend that needs a moment for a good answer.
fn working() -> Origin {
    Origin::new(|exchange| {
        exchange.pause(Duration::from_millis(3));
        exchange.ok("good")
    })
}

#[test]
fn a_backend_that_fails_fast_does_not_look_fast() {
    let says_500 = || Origin::new(|exchange| exchange.answer("500 Bad", "bad"));
    let closes = || Origin::new(|_| Ok(Then::Close));
    for balance in ["peak_ewma", "least_time"] {
        for bad in [says_500(), closes()] {
            let good = [working(), working(), working()];
            let all = [&bad, &good[0], &good[1], &good[2]];
            let evenkeel = Evenkeel::start(&pool(&addresses(&all), &format!("balance: {balance}")));
            let answers = responses(&evenkeel, 4, 0..200, key);
            assert!(answers.iter().all(|answer| matches!(answer.text().as_str(), "good" | "bad")));
            // Its fair share is fifty.
            assert!(bad.count() < 30, "{balance}: {} of 200", bad.count());
        }
    }
}
