//! A bucket of tokens in one word: the moment when it is full again. Pure: the time is passed in.
//!
//! The word says it all. A bucket that is full at some moment from now lacks a token for each interval until then; one whose
//! moment has passed is full, and the same as one that nobody has ever used. It is the generic cell rate algorithm of ATM.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// How large buckets are, and how fast they fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    /// Nanoseconds until one more token is there.
    interval: u64,
    /// The tokens of a full one.
    burst: u64,
}

/// A bucket at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Level {
    /// Whole tokens.
    pub(super) left: u64,
    /// How long it takes to fill.
    pub(super) full_in: Duration,
}

impl Quota {
    /// `count` tokens in each `per`, and room for `burst`. None of them is 0; with at most a million and an hour, sums stay within
    /// the word for centuries.
    pub(super) fn new(count: u32, per: Duration, burst: u32) -> Self {
        let interval = per.as_nanos() / u128::from(count.max(1));
        Quota { interval: u64::try_from(interval).unwrap_or(u64::MAX).max(1), burst: burst.into() }
    }

    pub(super) fn burst(&self) -> u64 {
        self.burst
    }

    /// Take a token at `now`, in nanoseconds since some moment before all others.
    ///
    /// # Errors
    /// How long it takes until there is one.
    pub(super) fn take(&self, bucket: &AtomicU64, now: u64) -> Result<(), Duration> {
        let mut full_at = bucket.load(Relaxed);
        loop {
            let after = full_at.max(now) + self.interval;
            let lacks = after - now;
            if lacks > self.size() {
                return Err(Duration::from_nanos(lacks - self.size()));
            }
            match bucket.compare_exchange_weak(full_at, after, Relaxed, Relaxed) {
                Ok(_) => return Ok(()),
                Err(meanwhile) => full_at = meanwhile,
            }
        }
    }

    /// How full it is. One that nobody has used has no word yet.
    pub(super) fn level(&self, bucket: Option<&AtomicU64>, now: u64) -> Level {
        let lacks = bucket.map_or(0, |bucket| bucket.load(Relaxed).saturating_sub(now));
        Level { left: self.size().saturating_sub(lacks) / self.interval, full_in: Duration::from_nanos(lacks) }
    }

    /// How long an empty one takes to fill.
    fn size(&self) -> u64 {
        self.burst * self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn quota(count: u32, burst: u32) -> Quota {
        Quota::new(count, Duration::from_secs(1), burst)
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_one_for_each_interval() {
        let (quota, bucket) = (quota(10, 3), AtomicU64::new(0));
        let now = 5 * SECOND;
        for left in [2, 1, 0] {
            assert_eq!(quota.take(&bucket, now), Ok(()));
            assert_eq!(quota.level(Some(&bucket), now).left, left);
        }
        assert_eq!(quota.take(&bucket, now), Err(Duration::from_millis(100)));
        assert_eq!(quota.take(&bucket, now + SECOND / 20), Err(Duration::from_millis(50)), "a refusal takes nothing");
        assert_eq!(quota.take(&bucket, now + SECOND / 10), Ok(()));
        assert_eq!(quota.take(&bucket, now + SECOND / 10), Err(Duration::from_millis(100)));
    }

    #[test]
    fn it_fills_up_to_its_burst_and_no_further() {
        let (quota, bucket) = (quota(10, 3), AtomicU64::new(0));
        (0..3).for_each(|_| quota.take(&bucket, 0).unwrap());
        assert_eq!(quota.level(Some(&bucket), 0), Level { left: 0, full_in: Duration::from_millis(300) });
        assert_eq!(quota.level(Some(&bucket), SECOND / 4), Level { left: 2, full_in: Duration::from_millis(50) });
        let full = Level { left: 3, full_in: Duration::ZERO };
        assert_eq!(quota.level(Some(&bucket), 1000 * SECOND), full);
        assert_eq!(quota.level(None, 0), full);
        assert_eq!((0..5).filter(|_| quota.take(&bucket, 1000 * SECOND).is_ok()).count(), 3);
    }

    #[test]
    fn over_a_long_time_it_gives_its_rate() {
        for (count, per) in
            [(7, Duration::from_secs(1)), (1000, Duration::from_secs(60)), (3, Duration::from_secs(3600))]
        {
            let (quota, bucket) = (Quota::new(count, per, 5), AtomicU64::new(0));
            let per = u64::try_from(per.as_nanos()).unwrap();
            // Ten times the period, in steps that no interval is a multiple of; one look for each hundredth of an interval.
            let step = per / (u64::from(count) * 97);
            let given = (0..10 * per / step).filter(|i| quota.take(&bucket, i * step).is_ok()).count();
            let due = 10 * count as usize + 5;
            assert!(given.abs_diff(due) <= 1 + due / 97, "{count}: {given} of {due}");
        }
    }

    /// However many threads ask at how many moments, they get the burst and what has come since, not one more or less.
    #[test]
    fn threads_get_what_there_is_together() {
        let (quota, bucket) = (quota(1000, 500), AtomicU64::new(0));
        let now = AtomicU64::new(0);
        let given: usize = std::thread::scope(|scope| {
            let ask = || {
                let at = |n: u64| now.fetch_max(n * SECOND / 50_000, Relaxed).max(n * SECOND / 50_000);
                // Two seconds, in steps of a fiftieth of an interval.
                (0..100_000).filter(|n| quota.take(&bucket, at(*n)).is_ok()).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(given, 500 + 1999, "the burst, and one for each interval that has ended");
    }

    #[test]
    fn the_largest_and_the_smallest_are_within_the_word() {
        let century = 100 * 365 * 24 * 3600 * SECOND;
        let (slow, bucket) = (Quota::new(1, Duration::from_secs(3600), 1_000_000), AtomicU64::new(0));
        assert_eq!(slow.take(&bucket, century), Ok(()));
        assert_eq!(slow.level(Some(&bucket), century).left, 999_999);
        let (fast, bucket) = (quota(1_000_000, 1), AtomicU64::new(0));
        assert_eq!(fast.take(&bucket, century), Ok(()));
        assert_eq!(fast.take(&bucket, century), Err(Duration::from_micros(1)));
    }
}
