//! Slow start: a backend that comes back begins with little, and ends with its share.

use std::time::{Duration, Instant};

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Origin, QUICK_CHECK, wait_until};

const SLOW_START: Duration = Duration::from_millis(1500);

/// The share of "back" in the answers until `end`, in full cycles, at least one.
fn share_until(client: &mut Client, end: Instant) -> f64 {
    let (mut back, mut all) = (0, 0);
    while all < 40 || Instant::now() < end {
        back += usize::from(client.get("/").text() == "back");
        all += 1;
    }
    back as f64 / all as f64
}

fn share_after_recovery(balance: &str) -> [f64; 3] {
    let (stays, mut back) = (Origin::saying("stays"), Origin::saying("back"));
    back.stop();
    let more = format!("balance: {balance}\nslow_start: {}ms\n{QUICK_CHECK}", SLOW_START.as_millis());
    let evenkeel = Evenkeel::start(&pool(&[stays.address, back.address], &more));
    let mut client = evenkeel.client();
    // The one that stays is new as well, and grows up first.
    assert_eq!(share_until(&mut client, Instant::now() + SLOW_START), 0.0);
    back.restart();
    wait_until("it is back", || evenkeel.admitted() == 2);
    let begin = Instant::now();
    let first = share_until(&mut client, begin + SLOW_START / 6);
    let middle = share_until(&mut client, begin + SLOW_START * 11 / 10);
    // All of it is over by now.
    [first, middle, share_until(&mut client, Instant::now() + SLOW_START / 3)]
}

#[test]
fn the_share_of_a_backend_that_comes_back_grows() {
    for (balance, nearly) in [("round_robin", 0.02), ("random", 0.2)] {
        let [first, middle, last] = share_after_recovery(balance);
        // From a twenty-first to a seventh: 10 % in the mean of the first sixth.
        assert!(first < 0.3, "{balance}: {first} at first, {middle}, {last} at last");
        assert!(first < middle && middle < 0.48, "{balance}: {first} at first, {middle}, {last} at last");
        assert!((last - 0.5).abs() <= nearly, "{balance}: {first} at first, {middle}, {last} at last");
    }
}
