//! The state of one backend.

use std::fmt;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use pingora_core::protocols::l4::socket::SocketAddr;

use super::counts::Counts;
use super::gate::Gate;
use super::latency::{Fading, Latency};
use super::rest::{Record, Rest};
use super::row::Row;
use super::work::{self, Work};
use super::{Attributes, Change, Health, PoolState, Thresholds, clock, ramp};
use crate::config::Decay;

/// What is known of one backend of one pool.
///
/// What a pick reads and writes: with the counts of the `Arc` around it 64 bytes, which is one cache line. In a pool of
/// thousands, every line that is touched is one that has to be fetched.
#[repr(C)]
pub struct BackendState {
    /// Kept up to date by whoever changes an input of it.
    eligible: AtomicBool,
    pub(super) draining: AtomicBool,
    pub(super) gate: Gate,
    /// How many attempts there may be at once, as [`Work`] wants it.
    limit: AtomicU32,
    pub(super) work: Work,
    pub(super) pool: Arc<PoolState>,
    pub(super) latency: Latency,
    pub(super) row: Row,
    pub(super) rest: Box<Rest>,
}

impl BackendState {
    /// A backend that nothing is known of yet.
    pub fn new(address: SocketAddr, health: Health, pool: &Arc<PoolState>) -> Self {
        BackendState {
            eligible: AtomicBool::new(health.healthy()),
            draining: AtomicBool::new(false),
            gate: Gate::default(),
            limit: AtomicU32::new(work::limit(None)),
            work: Work::default(),
            pool: Arc::clone(pool),
            latency: Latency::default(),
            row: Row::default(),
            rest: Box::new(Rest::new(address, health)),
        }
    }

    /// Its address.
    pub fn address(&self) -> &SocketAddr {
        &self.rest.address
    }

    /// The same as text: `10.0.0.1:80`, `unix:/run/app.sock`.
    pub fn label(&self) -> &str {
        &self.rest.label
    }

    /// The name that it is known by, if its source says one.
    pub fn name(&self) -> Option<Arc<String>> {
        self.rest.name.load_full()
    }

    /// Whether it is one of this pool's.
    #[inline]
    pub(crate) fn is_of(&self, pool: &Arc<PoolState>) -> bool {
        Arc::ptr_eq(&self.pool, pool)
    }

    /// Whether it may be picked now; a pool that [fails open](super::Snapshot::fails_open) picks the sick as well. Free of side effects;
    /// one to three atomic reads.
    #[inline]
    pub fn admitted(&self) -> bool {
        self.eligible() && self.gate.passable() && self.has_room()
    }

    /// Whether it is healthy, not draining and not ejected. While it is on trial after an ejection, one attempt at a time
    /// finds it admitted.
    #[inline]
    pub fn eligible(&self) -> bool {
        self.eligible.load(Relaxed)
    }

    /// Whether it may have another request in flight, as far as its own limit goes; the pool's is asked as a [`Lease`](super::Lease) begins.
    #[inline]
    pub fn has_room(&self) -> bool {
        self.work.in_flight() < self.limit.load(Relaxed)
    }

    #[inline]
    pub(super) fn take_room(&self) -> bool {
        self.work.begin(self.limit.load(Relaxed))
    }

    /// Attempts that are under way on it.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.work.in_flight()
    }

    /// How many attempts there may be at once.
    pub fn max_in_flight(&self) -> Option<u32> {
        work::max_in_flight(self.limit.load(Relaxed))
    }

    /// Its average time to the first byte, failures counted as slow, as it was when an attempt last ended; `None` where the
    /// algorithm does not measure it.
    pub fn latency(&self) -> Option<Duration> {
        self.latency.last()
    }

    /// The time to the first byte that is to be expected of it now: its average, which counts for less the longer ago an attempt
    /// has ended, so that who was slow is tried again; of who has not answered yet, what is typical of the pool. `decay` is what
    /// [`PoolState::measure_latency`] was told, without which nothing is known. Two atomic reads.
    pub fn expected(&self, decay: Decay) -> Duration {
        Duration::from_secs_f32(self.expected_micros(clock::wrapped_millis(), Fading::over(decay)) / 1e6)
    }

    /// The time to answer that an algorithm should expect of it, in microseconds, at `now` in [`clock`] milliseconds.
    #[inline]
    pub(crate) fn expected_micros(&self, now: u32, fading: Fading) -> f32 {
        self.latency.micros(now, fading).unwrap_or_else(|| self.pool.typical_micros())
    }

    /// Its health, and the reason of its last failed probe while it is not healthy.
    pub fn health(&self) -> (Health, Option<String>) {
        let record = self.record();
        (record.machine, record.reason.clone())
    }

    pub(super) fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.rest.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take in the result of a probe; `Err` carries its reason. Returns the change that it made, if any: the caller then
    /// refreshes the [`Roster`](super::Roster), or picks go on as before.
    pub fn observe(&self, result: Result<(), String>, thresholds: Thresholds) -> Option<Change> {
        self.rest.probes.end(result.is_ok());
        let mut record = self.record();
        let change = record.machine.observe(result.is_ok(), thresholds);
        record.reason = match result {
            Ok(()) if record.machine.healthy() => None,
            Ok(()) => record.reason.take(),
            Err(reason) => Some(reason),
        };
        if change == Some(Change::BecameUnhealthy) && record.ejection.reinstate(clock::millis()) {
            // The probes have the word from here on; when they pass, it begins anew.
            self.begin_term(&record);
        }
        self.decide(&record);
        change
    }

    /// Take in what its source says of it.
    pub(super) fn configure(&self, weight: usize, attributes: &Attributes) {
        self.limit.store(work::limit(attributes.max_in_flight), Relaxed);
        let name = attributes.name.as_deref();
        if self.rest.name.load().as_ref().map(|known| known.as_str()) != name {
            self.rest.name.store(name.map(|name| Arc::new(name.to_owned())));
        }
        let mut record = self.record();
        record.drain.set_weight(weight == 0, clock::millis());
        self.decide(&record);
    }

    /// Begin anew after an absence: nothing is known any more of its health.
    pub(super) fn forget_health(&self, initial: Health) {
        self.begin_anew(&mut self.record(), initial);
    }

    /// Nobody probes it any more: it is healthy until live traffic says otherwise.
    pub(super) fn trust(&self) {
        let mut record = self.record();
        if record.machine.healthy() {
            return;
        }
        (record.machine, record.reason) = (Health::UP, None);
        self.decide(&record);
    }

    pub(super) fn begin_anew(&self, record: &mut Record, initial: Health) {
        self.rest.probes.begin_anew();
        record.machine = initial;
        record.reason = None;
        record.ejection.reinstate(clock::millis());
        // It begins slowly, even if it was eligible when it left.
        self.eligible.store(false, Relaxed);
        self.begin_term(record);
    }

    /// The slow half of the predicate.
    pub(super) fn decide(&self, record: &Record) {
        let draining_since = record.drain.since();
        if let Some(since) = draining_since {
            self.rest.draining_since.store(since, Relaxed);
        }
        self.draining.store(draining_since.is_some(), SeqCst);
        let well = record.machine.healthy() && !record.ejection.out();
        self.rest.well.store(well, Relaxed);
        let eligible = well && draining_since.is_none();
        if eligible && !self.eligible.load(Relaxed) {
            self.rest.eligible_since.store(clock::millis(), Relaxed);
        }
        self.eligible.store(eligible, Relaxed);
    }

    /// How far it has come on its way to its full share.
    pub(super) fn ramp(&self, now: u64, slow_start: Option<Duration>) -> ramp::Step {
        if self.ejected() {
            // On trial, one request at a time is little enough.
            return ramp::STEPS;
        }
        ramp::step(now.wrapping_sub(self.rest.eligible_since.load(Relaxed)), slow_start)
    }

    /// What has happened on it so far.
    pub fn counts(&self) -> Counts {
        Counts {
            succeeded: self.work.succeeded(),
            failed: self.rest.attempts.failed.load(Relaxed),
            cancelled: self.rest.attempts.cancelled.load(Relaxed),
            probes_sent: self.rest.probes.sent.load(Relaxed),
            probes_passed: self.rest.probes.passed.load(Relaxed),
            probes_failed: self.rest.probes.failed.load(Relaxed),
        }
    }

    /// A probe of it begins, so much later than it was due.
    pub(crate) fn probe_begins(&self, late: Duration) {
        self.rest.probes.begin(late);
    }

    /// How long ago the last probe ended; `None` before the first.
    pub fn last_probe_age(&self) -> Option<Duration> {
        self.rest.probes.age()
    }

    /// For how long no probe has ended: since the last one, or since it came.
    pub(crate) fn probes_missing(&self) -> Duration {
        self.rest.probes.missing()
    }

    /// How much later than it was due the last probe began; `None` before the first.
    pub fn probe_lateness(&self) -> Option<Duration> {
        self.rest.probes.lateness()
    }
}

impl fmt::Debug for BackendState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (eligible: {}, in flight: {})", self.rest.label, self.eligible(), self.in_flight())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pick_touches_is_a_cache_line() {
        assert_eq!(2 * size_of::<usize>() + size_of::<BackendState>(), 64);
    }
}
