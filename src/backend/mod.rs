//! What is known of one backend, and the lease that counts the work on it.
//!
//! State belongs to the backend, not to the configuration: it is keyed by (pool, address), and outlives a change of weight
//! and a new answer from discovery. Here is also the one predicate that says whether a backend may be picked now,
//! [`BackendState::admitted`]; no algorithm asks anything else.

mod health;
mod lease;
mod roster;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pingora_core::protocols::l4::socket::SocketAddr;

pub use health::{Change, Health, Thresholds};
pub use lease::{Lease, Outcome};
pub use roster::{Member, Roster, Snapshot};

/// What is known of one backend of one pool.
pub struct BackendState {
    address: SocketAddr,
    /// The address as text, the way logs, metrics and headers show it.
    label: String,
    /// The answer of the one predicate, kept up to date by whoever changes an input of it.
    admitted: AtomicBool,
    in_flight: AtomicUsize,
    health: Mutex<HealthRecord>,
    counters: Counters,
}

/// Counted by leases and probes, read when somebody looks.
#[derive(Default)]
struct Counters {
    succeeded: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    probes_passed: AtomicU64,
    probes_failed: AtomicU64,
    /// Unix time in milliseconds; 0 before the first.
    last_probe: AtomicU64,
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
    /// Probes that passed.
    pub probes_passed: u64,
    /// Probes that failed.
    pub probes_failed: u64,
}

struct HealthRecord {
    machine: Health,
    /// Why it is what it is, for people: the last failure, or nothing.
    reason: Option<String>,
}

impl BackendState {
    /// A backend that nothing is known of yet.
    pub fn new(address: SocketAddr, health: Health) -> Self {
        BackendState {
            label: label(&address),
            address,
            admitted: AtomicBool::new(health.healthy()),
            in_flight: AtomicUsize::new(0),
            health: Mutex::new(HealthRecord { machine: health, reason: None }),
            counters: Counters::default(),
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

    /// Whether it may be picked now. Free of side effects; an atomic read.
    #[inline]
    pub fn admitted(&self) -> bool {
        self.admitted.load(Relaxed)
    }

    /// Attempts that are under way on it.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Its health, and the reason of its last failed probe while it is not healthy.
    pub fn health(&self) -> (Health, Option<String>) {
        let record = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        (record.machine, record.reason.clone())
    }

    /// Take in the result of a probe; `Err` carries its reason. Returns the change that it made, if any: the caller then
    /// refreshes the [`Roster`], or picks go on as before.
    pub fn observe(&self, result: Result<(), String>, thresholds: Thresholds) -> Option<Change> {
        let counter = match result {
            Ok(()) => &self.counters.probes_passed,
            Err(_) => &self.counters.probes_failed,
        };
        counter.fetch_add(1, Relaxed);
        self.counters.last_probe.store(now_millis(), Relaxed);

        let mut record = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let change = record.machine.observe(result.is_ok(), thresholds);
        record.reason = match result {
            Ok(()) if record.machine.healthy() => None,
            Ok(()) => record.reason.take(),
            Err(reason) => Some(reason),
        };
        self.admitted.store(record.machine.healthy(), Relaxed);
        change
    }

    /// What has happened on it so far.
    pub fn counts(&self) -> Counts {
        Counts {
            succeeded: self.counters.succeeded.load(Relaxed),
            failed: self.counters.failed.load(Relaxed),
            cancelled: self.counters.cancelled.load(Relaxed),
            probes_passed: self.counters.probes_passed.load(Relaxed),
            probes_failed: self.counters.probes_failed.load(Relaxed),
        }
    }

    /// How long ago the last probe ended; `None` before the first.
    pub fn last_probe_age(&self) -> Option<Duration> {
        match self.counters.last_probe.load(Relaxed) {
            0 => None,
            at => Some(Duration::from_millis(now_millis().saturating_sub(at))),
        }
    }
}

impl fmt::Debug for BackendState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (admitted: {}, in flight: {})", self.label, self.admitted(), self.in_flight())
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
