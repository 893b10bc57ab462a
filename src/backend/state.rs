//! The state of one backend.

use std::fmt;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use pingora_core::protocols::l4::socket::SocketAddr;
use tokio::sync::Notify;

use super::counts::{Attempts, Counts};
use super::drain::Causes;
use super::ejection::Ejection;
use super::gate::Gate;
use super::histogram::Histogram;
use super::latency::{Fading, Latency};
use super::probes::Probes;
use super::row::Row;
use super::{Attributes, Cause, Change, Health, PoolState, Thresholds, clock, label, ramp};

/// What is known of one backend of one pool.
///
/// Laid out in this order so that what a pick reads and writes shares a cache line with the counts of the `Arc` around it: in
/// a pool of thousands, every line that is touched is one that has to be fetched.
#[repr(C)]
pub struct BackendState {
    /// Kept up to date by whoever changes an input of it.
    eligible: AtomicBool,
    pub(super) draining: AtomicBool,
    /// Eligible, but for draining.
    pub(super) well: AtomicBool,
    pub(super) gate: Gate,
    in_flight: AtomicU32,
    /// How many there may be; `u32::MAX` for any number.
    max_in_flight: AtomicU32,
    pub(super) pool: Arc<PoolState>,
    pub(super) latency: Latency,
    pub(super) attempts: Attempts,
    pub(super) row: Row,
    /// When it last became eligible, in [`clock`] milliseconds.
    pub(super) eligible_since: AtomicU64,
    /// When it began to drain, if it does; the same.
    pub(super) draining_since: AtomicU64,
    address: SocketAddr,
    /// The address as text, the way logs, metrics and headers show it.
    label: String,
    probes: Probes,
    record: Mutex<Record>,
    /// Wakes whoever probes it.
    pub(super) prober: ArcSwapOption<Notify>,
    /// The time to the first byte of each answer below 500.
    pub(super) took: Histogram,
    /// How many of these are only what an attempt would have taken at least.
    pub(super) overtaken: AtomicU64,
    /// How often it was ejected, by cause.
    pub(super) ejections: [AtomicU64; Cause::WORDS.len()],
    /// It was removed so long ago that what is under way on it is to end.
    pub(super) cut: AtomicBool,
}

/// The inputs of [`BackendState::eligible`].
pub(super) struct Record {
    pub(super) machine: Health,
    pub(super) ejection: Ejection,
    /// Why it is what it is, for people: the last failure, or nothing.
    pub(super) reason: Option<String>,
    pub(super) drain: Causes,
}

impl BackendState {
    /// A backend that nothing is known of yet.
    pub fn new(address: SocketAddr, health: Health, pool: &Arc<PoolState>) -> Self {
        BackendState {
            eligible: AtomicBool::new(health.healthy()),
            draining: AtomicBool::new(false),
            well: AtomicBool::new(health.healthy()),
            gate: Gate::default(),
            in_flight: AtomicU32::new(0),
            max_in_flight: AtomicU32::new(u32::MAX),
            eligible_since: AtomicU64::new(clock::millis()),
            draining_since: AtomicU64::default(),
            pool: Arc::clone(pool),
            latency: Latency::default(),
            attempts: Attempts::default(),
            row: Row::default(),
            label: label(&address),
            address,
            probes: Probes::default(),
            record: Mutex::new(Record {
                machine: health,
                ejection: Ejection::NONE,
                reason: None,
                drain: Causes::default(),
            }),
            prober: ArcSwapOption::empty(),
            took: Histogram::default(),
            overtaken: AtomicU64::new(0),
            ejections: Default::default(),
            cut: AtomicBool::new(false),
        }
    }

    /// Its address.
    pub fn address(&self) -> &SocketAddr {
        &self.address
    }

    /// The same as text: `10.0.0.1:80`, `unix:/run/app.sock`.
    pub fn label(&self) -> &str {
        &self.label
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
        self.in_flight.load(SeqCst) < self.max_in_flight.load(Relaxed)
    }

    #[inline]
    pub(super) fn take_room(&self) -> bool {
        match self.max_in_flight.load(Relaxed) {
            u32::MAX => {
                self.in_flight.fetch_add(1, SeqCst);
                true
            }
            limit => self.in_flight.fetch_update(SeqCst, SeqCst, |n| (n < limit).then_some(n + 1)).is_ok(),
        }
    }

    #[inline]
    pub(super) fn give_room_back(&self) {
        self.in_flight.fetch_sub(1, SeqCst);
    }

    /// Attempts that are under way on it.
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(SeqCst)
    }

    /// How many attempts there may be at once.
    pub fn max_in_flight(&self) -> Option<u32> {
        Some(self.max_in_flight.load(Relaxed)).filter(|max| *max < u32::MAX)
    }

    /// Its average time to the first byte, failures counted as slow, as it was when an attempt last ended; `None` where the
    /// algorithm does not measure it.
    pub fn latency(&self) -> Option<Duration> {
        self.latency.last()
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
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take in the result of a probe; `Err` carries its reason. Returns the change that it made, if any: the caller then
    /// refreshes the [`Roster`](super::Roster), or picks go on as before.
    pub fn observe(&self, result: Result<(), String>, thresholds: Thresholds) -> Option<Change> {
        self.probes.end(result.is_ok());
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
        let limit = attributes.max_in_flight.map_or(u32::MAX, |limit| limit.max(1));
        self.max_in_flight.store(limit, Relaxed);
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
        self.probes.begin_anew();
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
            self.draining_since.store(since, Relaxed);
        }
        self.draining.store(draining_since.is_some(), SeqCst);
        let well = record.machine.healthy() && !record.ejection.out();
        self.well.store(well, Relaxed);
        let eligible = well && draining_since.is_none();
        if eligible && !self.eligible.load(Relaxed) {
            self.eligible_since.store(clock::millis(), Relaxed);
        }
        self.eligible.store(eligible, Relaxed);
    }

    /// How far it has come on its way to its full share.
    pub(super) fn ramp(&self, now: u64, slow_start: Option<Duration>) -> ramp::Step {
        if self.ejected() {
            // On trial, one request at a time is little enough.
            return ramp::STEPS;
        }
        ramp::step(now.wrapping_sub(self.eligible_since.load(Relaxed)), slow_start)
    }

    /// What has happened on it so far.
    pub fn counts(&self) -> Counts {
        Counts {
            succeeded: self.attempts.succeeded.load(Relaxed),
            failed: self.attempts.failed.load(Relaxed),
            cancelled: self.attempts.cancelled.load(Relaxed),
            probes_sent: self.probes.sent.load(Relaxed),
            probes_passed: self.probes.passed.load(Relaxed),
            probes_failed: self.probes.failed.load(Relaxed),
        }
    }

    /// A probe of it begins, so much later than it was due.
    pub(crate) fn probe_begins(&self, late: Duration) {
        self.probes.begin(late);
    }

    /// How long ago the last probe ended; `None` before the first.
    pub fn last_probe_age(&self) -> Option<Duration> {
        self.probes.age()
    }

    /// For how long no probe has ended: since the last one, or since it came.
    pub(crate) fn probes_missing(&self) -> Duration {
        self.probes.missing()
    }

    /// How much later than it was due the last probe began; `None` before the first.
    pub fn probe_lateness(&self) -> Option<Duration> {
        self.probes.lateness()
    }
}

impl fmt::Debug for BackendState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (eligible: {}, in flight: {})", self.label, self.eligible(), self.in_flight())
    }
}
