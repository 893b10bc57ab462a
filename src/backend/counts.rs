//! What has happened on a backend, counted.

use std::sync::atomic::AtomicU64;

/// Counted by leases; those that succeed, by [`Work`](super::work::Work).
#[derive(Default)]
pub(super) struct Attempts {
    pub(super) failed: AtomicU64,
    pub(super) cancelled: AtomicU64,
}

/// What has happened on a backend since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts that ended in a response below 500.
    pub succeeded: u64,
    /// Attempts that ended in a response of 500 and above, or in none.
    pub failed: u64,
    /// Attempts that the client gave up, or that a stale connection ended.
    pub cancelled: u64,
    /// Probes that began; one of them may still be under way.
    pub probes_sent: u64,
    /// Probes that passed.
    pub probes_passed: u64,
    /// Probes that failed.
    pub probes_failed: u64,
}
