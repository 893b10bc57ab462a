//! Failures in a row, counted by the attempts as they end.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Cause, Failure};
use crate::config::Ejection as Rules;

/// How many attempts of a backend have failed since one succeeded.
#[derive(Debug, Default)]
pub(super) struct Row(AtomicU64);

/// What a [`Row`] has counted: failures, failures to connect, and of which kind the last one was. 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Count(u64);

impl Count {
    fn new(failures: u16, connects: u16, last: Failure) -> Self {
        Count(u64::from(failures) | u64::from(connects) << 16 | (last as u64) << 32)
    }

    /// 40 bits.
    #[inline]
    pub(super) fn to_bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        Count(bits)
    }

    fn failures(self) -> u16 {
        self.0 as u16
    }

    fn connects(self) -> u16 {
        (self.0 >> 16) as u16
    }

    fn last(self) -> Option<Failure> {
        Failure::ALL.get((self.0 >> 32) as usize).copied()
    }

    /// With one more. A failure of another kind shows that connections can be made.
    fn and(self, failure: Failure) -> Self {
        let connects = if failure == Failure::Connect { self.connects().saturating_add(1) } else { 0 };
        Count::new(self.failures().saturating_add(1), connects, failure)
    }

    /// Whether it has just become enough to eject for, or so much again.
    pub(super) fn trips(self, rules: &Rules) -> bool {
        let reached =
            |count: u16, limit: Option<u16>| count > 0 && limit.is_some_and(|limit| count.is_multiple_of(limit.max(1)));
        reached(self.failures(), rules.consecutive_failures)
            || reached(self.connects(), rules.consecutive_connect_failures)
    }

    /// What it is enough to eject for.
    pub(super) fn cause(self, rules: &Rules) -> Option<Cause> {
        let reached = |count: u16, limit: Option<u16>| limit.is_some_and(|limit| count >= limit.max(1));
        if reached(self.connects(), rules.consecutive_connect_failures) {
            return Some(Cause::ConnectFailures { row: self.connects() });
        }
        let last = self.last()?;
        reached(self.failures(), rules.consecutive_failures).then(|| Cause::Failures { row: self.failures(), last })
    }
}

impl Row {
    /// Take in a success: the row ends. Gives what it was, for [`Self::failed`] should the attempt fail after all. Next to
    /// always one read.
    #[inline]
    pub(super) fn succeeded(&self) -> Count {
        if self.0.load(Relaxed) == 0 { Count::default() } else { Count(self.0.swap(0, Relaxed)) }
    }

    /// Take in a failure, of an attempt that had seemed to succeed and had ended the row `ended`.
    pub(super) fn failed(&self, failure: Failure, ended: Count) -> Count {
        let mut count = Count::default();
        let _ = self.0.fetch_update(Relaxed, Relaxed, |word| {
            let before = Count(word);
            let failures = before.failures().saturating_add(ended.failures());
            let connects = before.connects().saturating_add(ended.connects());
            count = Count::new(failures, connects, failure).and(failure);
            Some(count.0)
        });
        count
    }

    pub(super) fn count(&self) -> Count {
        Count(self.0.load(Relaxed))
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feed a row of attempts, `+` a success, `c` a failure to connect, `t` a timeout; what that is enough for.
    fn run(attempts: &str) -> Option<Cause> {
        let row = Row::default();
        for attempt in attempts.chars() {
            let _ = match attempt {
                '+' => row.succeeded(),
                'c' => row.failed(Failure::Connect, Count::default()),
                _ => row.failed(Failure::Timeout, Count::default()),
            };
        }
        row.count().cause(&Rules::default())
    }

    #[test]
    fn five_failures_or_three_to_connect() {
        let failures = |row, last| Some(Cause::Failures { row, last });
        for (attempts, cause) in [
            ("tttt", None),
            ("tttt+t", None),
            ("ttttt", failures(5, Failure::Timeout)),
            ("+ttttttt", failures(7, Failure::Timeout)),
            ("cc", None),
            ("cc+c", None),
            ("cctc", None),
            ("cctcc", failures(5, Failure::Connect)),
            ("ccc", Some(Cause::ConnectFailures { row: 3 })),
            ("ttccc", Some(Cause::ConnectFailures { row: 3 })),
        ] {
            assert_eq!(run(attempts), cause, "{attempts}");
        }
    }

    #[test]
    fn each_can_be_off_and_a_row_has_no_end() {
        let row = Row::default();
        for _ in 0..70_000 {
            row.failed(Failure::Connect, Count::default());
        }
        let of = |failures, connects| {
            let rules =
                Rules { consecutive_failures: failures, consecutive_connect_failures: connects, ..Rules::default() };
            row.count().cause(&rules)
        };
        assert_eq!(of(None, None), None);
        assert_eq!(of(None, Some(u16::MAX)), Some(Cause::ConnectFailures { row: u16::MAX }));
        assert_eq!(of(Some(5), None), Some(Cause::Failures { row: u16::MAX, last: Failure::Connect }));
    }

    /// The header of each answer comes, and then the connection breaks.
    #[test]
    fn a_success_that_turns_out_none_has_ended_no_row() {
        let row = Row::default();
        for broken in 1..=5 {
            let ended = row.succeeded();
            assert_eq!(row.failed(Failure::Broken, ended).failures(), broken);
        }
        assert!(row.count().cause(&Rules::default()).is_some());
        // Two at once: who ended the row gives it back.
        let (first, second) = (row.succeeded(), row.succeeded());
        row.failed(Failure::Broken, second);
        assert_eq!(row.failed(Failure::Broken, first).failures(), 7);
    }
}
