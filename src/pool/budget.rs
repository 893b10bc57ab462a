//! How many second attempts a pool may make: a share of its requests of the last seconds, and a few each second beside it.
//!
//! When everything fails, each attempt that is made again is load on those who fail for want of air. A fixed number of
//! attempts for each request multiplies it; a budget adds a share (Finagle's `RetryBudget`, the SRE book's chapter 22).

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::config;

/// Of how many seconds the requests count.
const WINDOW: u32 = 10;

/// One place for each second of the window, and some more, so that a second that is late finds none that is in use.
const PLACES: usize = 16;

/// What a pool may spend on second attempts. Times are in milliseconds of one clock, whichever.
#[derive(Debug)]
pub(super) struct Budget {
    percent: u64,
    /// Milliseconds between two of those that may be made whatever the traffic is; `None` for none.
    every: Option<u64>,
    /// How many of those may be made at once: what a second brings.
    burst: u64,
    requests: Seconds,
    spent: Seconds,
    /// When the next of those each second is due, if all before it have been made.
    due: AtomicU64,
}

impl Budget {
    pub(super) fn new(settings: config::Budget) -> Self {
        let each = u64::from(settings.min_per_second);
        Budget {
            percent: u64::from(settings.percent.0),
            every: 1000_u64.checked_div(each),
            burst: each,
            requests: Seconds::default(),
            spent: Seconds::default(),
            due: AtomicU64::new(0),
        }
    }

    /// Count a request.
    #[inline]
    pub(super) fn earn(&self, now: u64) {
        self.requests.add(second(now));
    }

    /// Take what a second attempt costs, if it is there.
    pub(super) fn spend(&self, now: u64) -> bool {
        let second = second(now);
        // Counted first, and taken back: of two at once, both see both.
        self.spent.add(second);
        let (spent, requests) = (self.spent.sum(second), self.requests.sum(second));
        if spent * 100 <= requests * self.percent {
            return true;
        }
        self.spent.take_back(second);
        self.spend_of_each_second(now)
    }

    /// A bucket that fills by a token `every` so often, as one atomic word (the generic cell rate algorithm).
    fn spend_of_each_second(&self, now: u64) -> bool {
        let Some(every) = self.every else {
            return false;
        };
        let ahead = every * (self.burst - 1);
        let taken = self.due.fetch_update(Relaxed, Relaxed, |due| (due <= now + ahead).then(|| due.max(now) + every));
        taken.is_ok()
    }
}

fn second(now: u64) -> u32 {
    (now / 1000) as u32
}

/// Counts of the last seconds. A word holds the second that it is of, and below it the count.
#[derive(Debug, Default)]
struct Seconds([AtomicU64; PLACES]);

impl Seconds {
    fn place(&self, second: u32) -> &AtomicU64 {
        &self.0[second as usize % PLACES]
    }

    #[inline]
    fn add(&self, second: u32) {
        let place = self.place(second);
        if (place.load(Relaxed) >> 32) as u32 == second {
            place.fetch_add(1, Relaxed);
            return;
        }
        let fresh = |word: u64| {
            let count = if (word >> 32) as u32 == second { word & u64::from(u32::MAX) } else { 0 };
            Some(u64::from(second) << 32 | (count + 1))
        };
        let _ = place.fetch_update(Relaxed, Relaxed, fresh);
    }

    fn take_back(&self, second: u32) {
        let less = |word: u64| ((word >> 32) as u32 == second && word as u32 > 0).then(|| word - 1);
        let _ = self.place(second).fetch_update(Relaxed, Relaxed, less);
    }

    /// The counts of this second and those before it that are in the window.
    fn sum(&self, second: u32) -> u64 {
        let within = |word: &u64| second.wrapping_sub((word >> 32) as u32) < WINDOW;
        self.0.iter().map(|place| place.load(Relaxed)).filter(within).map(|word| word & u64::from(u32::MAX)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Percent;

    fn budget(percent: u16, min_per_second: u16) -> Budget {
        Budget::new(config::Budget { percent: Percent(percent), min_per_second })
    }

    /// As an hour into the process: a clock that starts at 0 would hide a wrong start.
    const BEGIN: u64 = 3_600_000;

    #[test]
    fn a_pool_that_fails_always_sees_a_fifth_more_and_three_each_second() {
        for per_second in [1, 10, 100, 1000_u64] {
            let budget = budget(20, 3);
            let (mut made, seconds) = (0, 60);
            for n in 0..per_second * seconds {
                let now = BEGIN + n * 1000 / per_second;
                budget.earn(now);
                // Each attempt fails, and would be made again twice.
                made += u64::from(budget.spend(now)) + u64::from(budget.spend(now));
            }
            let requests = per_second * seconds;
            let most = (requests / 5 + 3 * seconds + 3).min(2 * requests);
            assert!(made <= most, "{per_second}/s: {made} of {most}");
            assert!(made + 5 >= most, "{per_second}/s: {made} of {most}: the budget is there to be used");
        }
    }

    #[test]
    fn what_was_not_spent_is_kept_for_ten_seconds() {
        for (after, share) in [(0, 200), (9_000, 200), (10_000, 0)] {
            let budget = budget(20, 0);
            for _ in 0..1000 {
                budget.earn(BEGIN);
            }
            let made = (0..1000).filter(|_| budget.spend(BEGIN + after)).count();
            assert_eq!(made, share, "after {after} ms");
        }
    }

    #[test]
    fn without_traffic_three_each_second_and_no_more_at_once() {
        let budget = budget(0, 3);
        let made = |at: u64| (0..100).filter(|_| budget.spend(BEGIN + at)).count();
        assert_eq!([made(0), made(100), made(333), made(1000), made(60_000)], [3, 0, 1, 2, 3]);
    }

    #[test]
    fn nothing_is_nothing_and_all_is_all() {
        let none = budget(0, 0);
        none.earn(BEGIN);
        assert!(!none.spend(BEGIN));
        let all = budget(100, 0);
        for n in 0..1000 {
            all.earn(BEGIN + n);
            assert!(all.spend(BEGIN + n), "request {n}");
        }
    }

    #[test]
    fn threads_together_spend_no_more() {
        let budget = budget(20, 0);
        (0..10_000).for_each(|_| budget.earn(BEGIN));
        let made = std::thread::scope(|scope| {
            let spend = || (0..2000).filter(|_| budget.spend(BEGIN)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(spend)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert!((1990..=2000).contains(&made), "{made}");
    }
}
