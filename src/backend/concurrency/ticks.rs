//! The limiter, tick by tick.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Limiter, Sample, TICK};

fn ticks(limiter: &mut Limiter, now: &mut Instant, count: usize, sample: Sample) {
    for _ in 0..count {
        *now += TICK;
        limiter.tick(sample, *now);
    }
}

#[test]
fn stays_between_its_bounds() {
    let mut now = Instant::now();
    let mut limiter = Limiter::new(3, 50, now);
    assert_eq!(limiter.limit(), 5);
    ticks(&mut limiter, &mut now, 400, Sample { answered: 100, seconds: 1.0, in_flight: 50, refused: 1 });
    assert_eq!(limiter.limit(), 50);
    // Slower and slower, however little there is to do.
    let mut limits = BTreeSet::new();
    for i in 0..4000 {
        let seconds = 10.0 * 1.001_f64.powi(i);
        ticks(&mut limiter, &mut now, 1, Sample { answered: 100, seconds, in_flight: 0, refused: 1 });
        limits.insert(limiter.limit());
    }
    assert!(limits.iter().all(|limit| (1..=50).contains(limit)), "a dip may go below, but not to nothing: {limits:?}");
}

/// Or tunnels, which do not end, would keep everybody else out.
#[test]
fn a_dip_ends_though_nobody_leaves() {
    let mut now = Instant::now();
    let mut limiter = Limiter::new(4, 1000, now);
    ticks(&mut limiter, &mut now, 10, Sample { answered: 10, seconds: 0.1, in_flight: 10, refused: 0 });
    let full = Sample { answered: 50, seconds: 5.0, in_flight: 100, refused: 5 };
    for _ in 0..100 {
        if limiter.limit() == 50 {
            break;
        }
        ticks(&mut limiter, &mut now, 1, full);
    }
    assert_eq!(limiter.limit(), 50, "a dip");
    ticks(&mut limiter, &mut now, 25, full);
    assert_eq!(limiter.limit(), 100);
}

#[test]
fn whom_nobody_asks_keeps_its_limit() {
    let mut now = Instant::now();
    let mut limiter = Limiter::new(4, 1000, now);
    ticks(&mut limiter, &mut now, 10_000, Sample::default());
    ticks(&mut limiter, &mut now, 10_000, Sample { answered: 1, seconds: 0.5, in_flight: 1, refused: 0 });
    assert_eq!(limiter.limit(), 100);
}
