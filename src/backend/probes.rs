//! What is known of the probing of one backend.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::clock;

/// Before the first probe.
const NEVER: u64 = u64::MAX;

/// Written by whoever probes, read by whoever watches that.
pub(super) struct Probes {
    pub(super) sent: AtomicU64,
    pub(super) passed: AtomicU64,
    pub(super) failed: AtomicU64,
    /// When the last one ended, in [`clock`] milliseconds, as the next.
    ended: AtomicU64,
    /// Since when there should be probes.
    since: AtomicU64,
    /// How late the last one began, in microseconds.
    late: AtomicU64,
}

impl Default for Probes {
    fn default() -> Self {
        Probes {
            sent: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            ended: AtomicU64::new(NEVER),
            since: AtomicU64::new(clock::millis()),
            late: AtomicU64::new(NEVER),
        }
    }
}

impl Probes {
    /// One begins, so late.
    pub(super) fn begin(&self, late: Duration) {
        self.sent.fetch_add(1, Relaxed);
        self.late.store(u64::try_from(late.as_micros()).unwrap_or(NEVER - 1), Relaxed);
    }

    /// One has ended.
    pub(super) fn end(&self, passed: bool) {
        if passed { &self.passed } else { &self.failed }.fetch_add(1, Relaxed);
        self.ended.store(clock::millis(), Relaxed);
    }

    /// Its backend is back after an absence.
    pub(super) fn begin_anew(&self) {
        self.since.store(clock::millis(), Relaxed);
    }

    /// How long ago the last one ended.
    pub(super) fn age(&self) -> Option<Duration> {
        Some(self.ended.load(Relaxed)).filter(|at| *at != NEVER).map(ago)
    }

    /// For how long none has ended although there should be some.
    pub(super) fn missing(&self) -> Duration {
        let since = ago(self.since.load(Relaxed));
        self.age().map_or(since, |age| age.min(since))
    }

    pub(super) fn lateness(&self) -> Option<Duration> {
        Some(self.late.load(Relaxed)).filter(|late| *late != NEVER).map(Duration::from_micros)
    }
}

fn ago(at: u64) -> Duration {
    Duration::from_millis(clock::millis().saturating_sub(at))
}
