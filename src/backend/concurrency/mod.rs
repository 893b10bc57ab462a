//! How many attempts a pool may have under way before it gets slow.
//!
//! Requests add to two words and read a third; the [limiter] makes a limit of them, a few times in a second. The words are
//! those of pools alone that ask for it.

mod limiter;
mod shedding;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Failure, Outcome};
use crate::config::{Adaptive, Priority};
use limiter::{Limiter, Sample};
use shedding::Shedding;

pub(crate) use limiter::TICK;
pub(crate) use shedding::Change;

/// Below this bit of the word are the microseconds of all answers since the last tick, above it how many they are.
const COUNT: u32 = 44;
/// No answer counts for more, so that the microseconds do not run over.
const LONGEST: Duration = Duration::from_secs(3600);

/// How many attempts a pool may have under way before it gets slow.
#[derive(Debug)]
pub struct Concurrency {
    bounds: Adaptive,
    limit: AtomicUsize,
    /// What was answered since the last tick: how many, and the microseconds that they took together.
    answered: AtomicU64,
    refused: AtomicU64,
    /// What an answer took lately, in microseconds.
    usual: AtomicU64,
    keeper: Mutex<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    limiter: Limiter,
    shedding: Shedding,
}

/// That a pool begins to send requests away, or has ended it.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) change: Change,
    pub(crate) limit: usize,
    /// How long an answer takes, and how long without a queue.
    pub(crate) latency: Duration,
    pub(crate) baseline: Duration,
}

impl Concurrency {
    pub(super) fn new(adaptive: Adaptive) -> Self {
        let Adaptive { min, max } = adaptive;
        let limiter = Limiter::new(min, max, Instant::now());
        Concurrency {
            bounds: adaptive,
            limit: AtomicUsize::new(limiter.limit()),
            answered: AtomicU64::default(),
            refused: AtomicU64::default(),
            usual: AtomicU64::default(),
            keeper: Mutex::new(Keeper { limiter, shedding: Shedding::default() }),
        }
    }

    /// Between which the limit is.
    pub(super) fn bounds(&self) -> Adaptive {
        self.bounds
    }

    /// How many attempts there may be now.
    #[inline]
    pub fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// How many there may be for a request of this priority to be among them; at least one.
    #[inline]
    pub fn limit_of(&self, priority: Priority) -> usize {
        (self.limit() * usize::from(priority.share().0)).div_ceil(100)
    }

    /// How long an answer took lately, and how long one takes without a queue; 0 before the first.
    pub fn latencies(&self) -> (Duration, Duration) {
        self.keeper().limiter.latencies()
    }

    /// Take in that an attempt has been answered, or not, after so long.
    #[inline]
    pub(super) fn observe(&self, outcome: Outcome, after: Duration) {
        let micros = after.min(LONGEST).as_micros() as u64;
        let tells = match outcome {
            Outcome::Succeeded | Outcome::Failed(Failure::Timeout) => true,
            // Who left early says nothing. If those who left late did not count, clients that give up would hide from us that
            // all wait too long.
            Outcome::Cancelled => micros > self.usual.load(Relaxed),
            // An error says nothing of how long an answer takes; quick ones would even look like a quick pool.
            Outcome::Failed(_) => false,
        };
        if tells {
            self.answered.fetch_add((1 << COUNT) + micros, Relaxed);
        }
    }

    /// Count a request that was sent away.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    /// Find the limit anew from what has happened since the last tick.
    pub(super) fn tick(&self, in_flight: usize, now: Instant) -> Option<Notice> {
        let answered = self.answered.swap(0, Relaxed);
        let refused = self.refused.swap(0, Relaxed);
        let sample = Sample {
            answered: (answered >> COUNT) as u32,
            seconds: (answered & ((1 << COUNT) - 1)) as f64 / 1e6,
            in_flight,
            refused,
        };
        let mut keeper = self.keeper();
        keeper.limiter.tick(sample, now);
        let limit = keeper.limiter.limit();
        self.limit.store(limit, Relaxed);
        let (latency, baseline) = keeper.limiter.latencies();
        self.usual.store(latency.as_micros() as u64, Relaxed);
        let change = keeper.shedding.observe(refused, now)?;
        Some(Notice { change, limit, latency, baseline })
    }

    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
