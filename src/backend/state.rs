//! The state of one backend.

use std::fmt;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pingora_core::protocols::l4::socket::SocketAddr;

use super::counts::{Attempts, Counts, Probes};
use super::latency::{Fading, Latency};
use super::{Attributes, Change, Health, PoolState, Thresholds, clock, ramp};

/// What is known of one backend of one pool.
///
/// Laid out in this order so that what a pick reads and writes shares a cache line with the counts of the `Arc` around it: in
/// a pool of thousands, every line that is touched is one that has to be fetched.
#[repr(C)]
pub struct BackendState {
    /// Kept up to date by whoever changes an input of it.
    eligible: AtomicBool,
    draining: AtomicBool,
    in_flight: AtomicU32,
    /// How many there may be; `u32::MAX` for any number.
    max_in_flight: AtomicU32,
    pub(super) pool: Arc<PoolState>,
    pub(super) latency: Latency,
    pub(super) attempts: Attempts,
    /// When it last became eligible, in [`clock`] milliseconds.
    pub(super) eligible_since: AtomicU64,
    address: SocketAddr,
    /// The address as text, the way logs, metrics and headers show it.
    label: String,
    probes: Probes,
    record: Mutex<Record>,
}

/// The inputs of [`BackendState::eligible`].
struct Record {
    machine: Health,
    /// Why it is what it is, for people: the last failure, or nothing.
    reason: Option<String>,
}

impl BackendState {
    /// A backend that nothing is known of yet.
    pub fn new(address: SocketAddr, health: Health, pool: &Arc<PoolState>) -> Self {
        BackendState {
            eligible: AtomicBool::new(health.healthy()),
            draining: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            max_in_flight: AtomicU32::new(u32::MAX),
            eligible_since: AtomicU64::new(clock::millis()),
            pool: Arc::clone(pool),
            latency: Latency::default(),
            attempts: Attempts::default(),
            label: label(&address),
            address,
            probes: Probes::default(),
            record: Mutex::new(Record { machine: health, reason: None }),
        }
    }

    /// Its address.
    pub fn address(&self) -> &SocketAddr {
        &self.address
    }

    /// Its address as text: `10.0.0.1:80`, `unix:/run/app.sock`.
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
        self.eligible() && self.has_room()
    }

    /// Whether it is healthy and not draining.
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
        self.in_flight.load(Relaxed)
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

    /// Whether it takes no new work, and finishes what it has.
    pub fn draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// The word for what it is, in logs, metrics and pages: `draining`, or its health.
    pub fn standing(&self) -> &'static str {
        if self.draining() { "draining" } else { self.record().machine.as_str() }
    }

    fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take in the result of a probe; `Err` carries its reason. Returns the change that it made, if any: the caller then
    /// refreshes the [`Roster`](super::Roster), or picks go on as before.
    pub fn observe(&self, result: Result<(), String>, thresholds: Thresholds) -> Option<Change> {
        let counter = match result {
            Ok(()) => &self.probes.passed,
            Err(_) => &self.probes.failed,
        };
        counter.fetch_add(1, Relaxed);
        self.probes.last.store(now_millis(), Relaxed);

        let mut record = self.record();
        let change = record.machine.observe(result.is_ok(), thresholds);
        record.reason = match result {
            Ok(()) if record.machine.healthy() => None,
            Ok(()) => record.reason.take(),
            Err(reason) => Some(reason),
        };
        self.decide(&record);
        change
    }

    /// Take in what its source says of it.
    pub(super) fn configure(&self, weight: usize, attributes: &Attributes) {
        let limit = attributes.max_in_flight.map_or(u32::MAX, |limit| limit.max(1));
        self.max_in_flight.store(limit, Relaxed);
        let record = self.record();
        self.draining.store(weight == 0, Relaxed);
        self.decide(&record);
    }

    /// Begin anew after an absence: nothing is known any more of its health.
    pub(super) fn forget_health(&self, initial: Health) {
        let mut record = self.record();
        record.machine = initial;
        record.reason = None;
        // It begins slowly, even if it was eligible when it left.
        self.eligible.store(false, Relaxed);
        self.decide(&record);
    }

    /// The slow half of the predicate.
    fn decide(&self, record: &Record) {
        let eligible = record.machine.healthy() && !self.draining();
        if eligible && !self.eligible.load(Relaxed) {
            self.eligible_since.store(clock::millis(), Relaxed);
        }
        self.eligible.store(eligible, Relaxed);
    }

    /// How far it has come on its way to its full share.
    pub(super) fn ramp(&self, now: u64, slow_start: Option<Duration>) -> ramp::Step {
        ramp::step(now.wrapping_sub(self.eligible_since.load(Relaxed)), slow_start)
    }

    /// What has happened on it so far.
    pub fn counts(&self) -> Counts {
        Counts {
            succeeded: self.attempts.succeeded.load(Relaxed),
            failed: self.attempts.failed.load(Relaxed),
            cancelled: self.attempts.cancelled.load(Relaxed),
            probes_passed: self.probes.passed.load(Relaxed),
            probes_failed: self.probes.failed.load(Relaxed),
        }
    }

    /// How long ago the last probe ended; `None` before the first.
    pub fn last_probe_age(&self) -> Option<Duration> {
        match self.probes.last.load(Relaxed) {
            0 => None,
            at => Some(Duration::from_millis(now_millis().saturating_sub(at))),
        }
    }
}

impl fmt::Debug for BackendState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (eligible: {}, in flight: {})", self.label, self.eligible(), self.in_flight())
    }
}

/// An address as text; pingora prints Unix paths as debug output.
pub(crate) fn label(address: &SocketAddr) -> String {
    match address {
        SocketAddr::Inet(address) => address.to_string(),
        SocketAddr::Unix(address) => match address.as_pathname() {
            Some(path) => format!("unix:{}", path.display()),
            None => "unix:".to_owned(),
        },
    }
}

fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
