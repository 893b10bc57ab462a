//! Round robin that is right: smooth, and exact over each full cycle.

use std::thread;

use crate::support::{Evenkeel, Origin, wait_until};

/// A pool `web` of these backends with these weights, in this order.
fn weighted(origins: &[&Origin], weights: &[u16], health_check: &str) -> String {
    let mut text = format!("pools:\n  web:\n    health_check: {health_check}\n    backends:\n");
    for (origin, weight) in origins.iter().zip(weights) {
        text.push_str(&format!("      - {{ address: '{}', weight: {weight} }}\n", origin.address));
    }
    text
}

fn three() -> [Origin; 3] {
    ["a", "b", "c"].map(Origin::saying)
}

fn counts(origins: &[&Origin]) -> Vec<usize> {
    origins.iter().map(|origin| origin.count()).collect()
}

#[test]
fn weights_5_1_1_spread_smoothly() {
    let [a, b, c] = three();
    let evenkeel = Evenkeel::start(&weighted(&[&a, &b, &c], &[5, 1, 1], "off"));
    let mut client = evenkeel.client();
    for cycle in 0..5 {
        let turns: String = (0..7).map(|_| client.get("/").text()).collect();
        assert_eq!(turns, "aabacaa", "cycle {cycle}");
    }
}

#[test]
fn equal_weights_take_turns() {
    let [a, b, c] = three();
    let evenkeel = Evenkeel::start(&weighted(&[&a, &b, &c], &[1, 1, 1], "off"));
    let mut client = evenkeel.client();
    let turns: String = (0..9).map(|_| client.get("/").text()).collect();
    assert_eq!(turns, "abcabcabc");
}

/// Requests from eight threads at a time, `each` per thread.
fn from_eight_threads(evenkeel: &Evenkeel, each: usize) {
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = evenkeel.client();
                for _ in 0..each {
                    assert_eq!(client.get("/").status, 200);
                }
            });
        }
    });
}

#[test]
fn full_cycles_are_exact_under_concurrency() {
    let [a, b, c] = three();
    let evenkeel = Evenkeel::start(&weighted(&[&a, &b, &c], &[5, 1, 1], "off"));
    from_eight_threads(&evenkeel, 7 * 10);
    assert_eq!(counts(&[&a, &b, &c]), [400, 80, 80]);
}

#[test]
fn large_weights_are_exact_too() {
    let [a, b, c] = three();
    let evenkeel = Evenkeel::start(&weighted(&[&a, &b, &c], &[1000, 999, 1], "off"));
    from_eight_threads(&evenkeel, 250);
    assert_eq!(counts(&[&a, &b, &c]), [1000, 999, 1]);
}

#[test]
fn the_rest_share_in_proportion_when_one_is_dead() {
    let [a, b, c] = three();
    let mut dead = Origin::saying("dead");
    dead.stop();
    let check = "{ tcp: {}, interval: 200ms, timeout: 100ms }";
    let evenkeel = Evenkeel::start(&weighted(&[&a, &dead, &b, &c], &[5, 7, 3, 2], check));
    from_eight_threads(&evenkeel, 10 * 5);
    assert_eq!(counts(&[&a, &b, &c, &dead]), [200, 120, 80, 0]);
    assert_eq!(evenkeel.metric("evenkeel_retries_total{pool=\"web\"}"), 0.0);
    // Back again, it takes its share of seventeen.
    dead.restart();
    wait_until("the dead one is admitted", || evenkeel.admitted() == 4);
    let before = counts(&[&a, &b, &c, &dead]);
    from_eight_threads(&evenkeel, 17);
    let after = counts(&[&a, &b, &c, &dead]);
    let gained: Vec<_> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
    assert_eq!(gained, [40, 24, 16, 56]);
}
