//! The work on one backend: how much is in flight, and how much has ended well.
//!
//! Both in one word, so that an attempt costs one write to begin and one to end, counted. A write to what other threads write
//! is the dearest part of a lease.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Below are the attempts in flight, above them those that have succeeded. The upper part wraps, as counters do, after a
/// trillion: four months of 100,000 a second.
const BITS: u32 = 24;
const SUCCEEDED: u64 = 1 << BITS;
const IN_FLIGHT: u64 = SUCCEEDED - 1;

/// How many there may be in flight where nobody says so. Half of what there is place for: threads that look and then begin may
/// step over it by their number.
const NO_LIMIT: u32 = 1 << (BITS - 1);

/// All accesses are sequentially consistent: who begins writes here before it looks whether the backend drains, and who drains
/// it says so before it looks here, likewise for those who give room back and those who wait for it. One of two sees the other.
#[derive(Debug, Default)]
pub(super) struct Work(AtomicU64);

/// How many may be in flight, as [`Work`] is asked. Stored in an atomic word by whoever has it.
pub(super) fn limit(max_in_flight: Option<u32>) -> u32 {
    max_in_flight.map_or(NO_LIMIT, |limit| limit.clamp(1, NO_LIMIT - 1))
}

/// The same back.
pub(super) fn max_in_flight(limit: u32) -> Option<u32> {
    Some(limit).filter(|limit| *limit < NO_LIMIT)
}

impl Work {
    #[inline]
    pub(super) fn in_flight(&self) -> u32 {
        (self.0.load(SeqCst) & IN_FLIGHT) as u32
    }

    pub(super) fn succeeded(&self) -> u64 {
        self.0.load(SeqCst) >> BITS
    }

    /// Begin an attempt, unless there are so many: exact, however many threads begin at once.
    #[inline]
    pub(super) fn begin(&self, limit: u32) -> bool {
        if limit == NO_LIMIT {
            self.0.fetch_add(1, SeqCst);
            return true;
        }
        let another = |word: u64| ((word & IN_FLIGHT) < u64::from(limit)).then_some(word + 1);
        self.0.fetch_update(SeqCst, SeqCst, another).is_ok()
    }

    /// An attempt ends otherwise than well.
    #[inline]
    pub(super) fn end(&self) {
        self.0.fetch_sub(1, SeqCst);
    }

    /// An attempt ends well.
    #[inline]
    pub(super) fn succeed(&self) {
        self.0.fetch_add(SUCCEEDED - 1, SeqCst);
    }

    /// An attempt has ended well, and another has begun in its place.
    pub(super) fn succeed_and_begin(&self) {
        self.0.fetch_add(SUCCEEDED, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_in_flight_and_what_has_ended_well() {
        let work = Work::default();
        assert!((0..3).all(|_| work.begin(NO_LIMIT)));
        work.succeed();
        work.end();
        work.succeed_and_begin();
        assert_eq!((work.in_flight(), work.succeeded()), (1, 2));
    }

    #[test]
    fn the_limit_is_of_what_is_in_flight() {
        let work = Work::default();
        for _ in 0..1000 {
            assert!(work.begin(2) && work.begin(2) && !work.begin(2));
            work.succeed();
            work.end();
        }
        assert_eq!((work.in_flight(), work.succeeded()), (0, 1000));
        assert_eq!(
            [None, Some(0), Some(7), Some(u32::MAX)].map(|max| max_in_flight(limit(max))),
            [None, Some(1), Some(7), Some(NO_LIMIT - 1)]
        );
    }

    #[test]
    fn a_count_that_wraps_leaves_what_is_in_flight_alone() {
        let work = Work(AtomicU64::new(!IN_FLIGHT | 5));
        work.succeed();
        assert_eq!((work.in_flight(), work.succeeded()), (4, 0));
    }
}
