//! What every algorithm does, and what those do that look at the load.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::support::pools::{by_algorithm, name};
use crate::support::tally::{responses, tally_of};
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

const BY_LOAD: [&str; 4] = ["least_request", "least_time", "p2c", "peak_ewma"];

fn key(number: usize) -> String {
    format!("X-Key: {number}\r\n")
}

fn addresses<'a>(origins: impl IntoIterator<Item = &'a Origin>) -> Vec<SocketAddr> {
    origins.into_iter().map(|origin| origin.address).collect()
}

/// A client whose request to the pool of this algorithm is held.
fn held(evenkeel: &Evenkeel, algorithm: &str, number: usize) -> Client {
    let mut client = evenkeel.client();
    client.ask(&format!("/{}/hold", name(algorithm)), &key(number));
    client
}

#[test]
fn all_backends_are_used_and_one_that_dies_is_made_good() {
    let gate = Gate::closed();
    let mut origins = ["a", "b", "c"].map(|name| gate.origin(name));
    let evenkeel = by_algorithm(&ALGORITHMS, &addresses(&origins), "");
    // All at the same time: where an answer is awaited before the next request, the backend that has shown to be the quickest
    // may get all of them.
    let mut clients = ALGORITHMS.map(|name| (0..40).map(|number| held(&evenkeel, name, number)).collect::<Vec<_>>());
    gate.holds(ALGORITHMS.len() * 40);
    gate.open();
    for (clients, algorithm) in clients.iter_mut().zip(ALGORITHMS) {
        let names: BTreeSet<_> = clients.iter_mut().map(|client| client.read().text()).collect();
        assert_eq!(names.len(), 3, "{algorithm}: {names:?}");
    }

    origins[0].stop();
    for algorithm in ALGORITHMS {
        let path = format!("/{}", name(algorithm));
        let alive = tally_of(&evenkeel, 2, 40, |number| (path.clone(), key(number)));
        assert_eq!(alive.get("a"), None, "{algorithm}: {alive:?}");
    }
}

#[test]
fn requests_that_are_held_spread_evenly() {
    let behind = ["a", "b", "c", "d"].map(Gate::holding);
    let evenkeel = by_algorithm(&BY_LOAD, &addresses(behind.iter().map(|(origin, _)| origin)), "");
    let counts = || behind.each_ref().map(|(_, gate)| gate.held());
    let mut clients = Vec::new();
    // Comparing all is exact; of two there may be better ones among the others.
    for (algorithm, at_most) in BY_LOAD.into_iter().zip([6, 6, 9, 9]) {
        let before = counts();
        for number in 0..24 {
            clients.push(held(&evenkeel, algorithm, number));
            wait_until("the request is at a backend", || counts().iter().sum::<usize>() == clients.len());
        }
        let gained: Vec<_> = counts().iter().zip(before).map(|(after, before)| after - before).collect();
        assert!(gained.iter().all(|gained| *gained <= at_most), "{algorithm}: {gained:?}");
    }
}

#[test]
fn a_slow_backend_gets_less_of_concurrent_requests() {
    let slow = Origin::new(|exchange| {
        exchange.pause(Duration::from_millis(50));
        exchange.ok("slow")
    });
    let quick = ["a", "b", "c"].map(Origin::saying);
    let evenkeel = by_algorithm(&BY_LOAD, &addresses(quick.iter().chain([&slow])), "");
    for algorithm in BY_LOAD {
        let tally = tally_of(&evenkeel, 8, 240, |number| (format!("/{algorithm}"), key(number)));
        // Its fair share is sixty.
        assert!(tally.get("slow").is_none_or(|count| *count < 36), "{algorithm}: {tally:?}");
    }
}

#[test]
fn a_backend_that_fails_fast_does_not_look_fast() {
    let says_500 = Origin::new(|exchange| exchange.answer("500 Bad", "bad"));
    let closes = Origin::new(|_| Ok(Then::Close));
    let good = [(); 3].map(|()| {
        Origin::new(|exchange| {
            exchange.pause(Duration::from_millis(3));
            exchange.ok("good")
        })
    });
    for bad in [says_500, closes] {
        let by_latency = ["peak_ewma", "least_time"];
        let evenkeel = by_algorithm(&by_latency, &addresses(good.iter().chain([&bad])), "");
        for algorithm in by_latency {
            let before = bad.count();
            let answers = responses(&evenkeel, 4, 160, |number| (format!("/{algorithm}"), key(number)));
            assert!(answers.iter().all(|answer| matches!(answer.text().as_str(), "good" | "bad")));
            // Its fair share is forty.
            assert!(bad.count() - before < 24, "{algorithm}: {} of 160", bad.count() - before);
        }
    }
}
