//! Slow start: a backend that comes back begins with little, and ends with its share.

use std::time::{Duration, Instant};

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Origin, QUICK_CHECK, wait_until};

const SLOW_START: Duration = Duration::from_millis(1200);

/// The share of "back" in forty answers, and in all those until `end`.
fn share_until(client: &mut Client, end: Instant) -> f64 {
    let (mut back, mut all) = (0, 0);
    while all < 40 || Instant::now() < end {
        back += usize::from(client.get("/").text() == "back");
        all += 1;
    }
    f64::from(back as u32) / f64::from(all)
}

#[test]
fn the_share_of_a_backend_that_comes_back_grows() {
    let (stays, mut back) = (Origin::saying("stays"), Origin::saying("back"));
    back.stop();
    let more = format!("slow_start: {}ms\n{QUICK_CHECK}", SLOW_START.as_millis());
    let evenkeel = Evenkeel::start(&pool(&[stays.address, back.address], &more));
    let (mut client, start) = (evenkeel.client(), Instant::now());
    assert_eq!(share_until(&mut client, start), 0.0);
    wait_until("the one that stays, which is new as well, has grown up", || start.elapsed() > SLOW_START);
    back.restart();
    wait_until("it is back", || evenkeel.admitted() == 2);
    let begin = Instant::now();
    let first = share_until(&mut client, begin + SLOW_START / 8);
    wait_until("it is over", || begin.elapsed() > SLOW_START * 11 / 10);
    let last = share_until(&mut client, begin);
    // From a twentieth of its weight to an eighth at first: of both, not a ninth; at last turns are equal.
    assert!(first < 0.3, "{first} at first, {last} at last");
    assert!((last - 0.5).abs() <= 0.03, "{first} at first, {last} at last");
}
