//! What the backends of one pool have in common: the work that the pool as a whole may have, and its typical latency.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::latency::{Averaging, Fading, Latency};

/// One measurement of so many goes into the pool's typical latency: all threads write that word.
const TYPICAL_EVERY: u32 = 16;

/// What the backends of one pool have in common.
///
/// Counting the work of a whole pool costs every request a write to one word, so it is done only where a policy needs it.
#[derive(Debug)]
pub struct PoolState {
    /// How many attempts there may be; [`NO_LIMIT`] and they are not counted.
    limit: AtomicUsize,
    in_flight: AtomicUsize,
    /// Everybody who waits for room, and those of them who wait in line, for their first attempt.
    waiting: AtomicUsize,
    line: AtomicUsize,
    /// Who is first in line has it, and the others wait for it in their order.
    turn: Mutex<()>,
    room: Notify,
    /// How latencies are averaged: how they fade, and below it whether peaks count. 0: they are not measured.
    averaging: AtomicU64,
    typical: Latency,
}

const NOT_COUNTED: usize = usize::MAX;
const NO_LIMIT: usize = usize::MAX - 1;

impl Default for PoolState {
    fn default() -> Self {
        PoolState {
            limit: AtomicUsize::new(NOT_COUNTED),
            in_flight: AtomicUsize::default(),
            waiting: AtomicUsize::default(),
            line: AtomicUsize::default(),
            turn: Mutex::default(),
            room: Notify::default(),
            averaging: AtomicU64::default(),
            typical: Latency::default(),
        }
    }
}

impl PoolState {
    /// Count attempts from now on, and allow so many.
    pub(crate) fn set_limit(&self, limit: Option<u32>) {
        if let Some(limit) = limit {
            self.limit.store(limit as usize, SeqCst);
        } else if self.limit.load(SeqCst) != NOT_COUNTED {
            self.limit.store(NO_LIMIT, SeqCst);
        }
    }

    /// Count attempts from now on: an algorithm wants to know.
    pub(crate) fn count(&self) {
        let _ = self.limit.compare_exchange(NOT_COUNTED, NO_LIMIT, SeqCst, SeqCst);
    }

    /// Attempts that are under way, or 0 where they are not counted.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(SeqCst)
    }

    /// Requests that wait for room.
    pub fn waiting(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Take up room for an attempt. `None` if there is none; else whether it was counted, to be handed to [`Self::leave`].
    #[inline]
    pub(super) fn enter(&self) -> Option<bool> {
        match self.limit.load(SeqCst) {
            NOT_COUNTED => Some(false),
            limit => {
                let taken = self.in_flight.fetch_update(SeqCst, SeqCst, |n| (n < limit).then_some(n + 1));
                taken.is_ok().then_some(true)
            }
        }
    }

    /// Give room back, and call whoever waits for it.
    #[inline]
    pub(super) fn leave(&self, counted: bool) {
        if counted {
            self.in_flight.fetch_sub(1, SeqCst);
        }
        self.call();
    }

    /// Whether another attempt may begin.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.in_flight.load(SeqCst) < self.limit.load(SeqCst)
    }

    /// Let the first in line look whether there is room. Whoever gives room back wrote that before it reads `waiting`, and
    /// whoever waits wrote `waiting` before it looks for room: one of the two sees the other.
    #[inline]
    pub(crate) fn call(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.room.notify_waiters();
        }
    }

    /// Requests that wait for their first attempt, in line.
    pub(crate) fn line(&self) -> usize {
        self.line.load(SeqCst)
    }

    /// Join the line, unless so many are in it already.
    pub(crate) fn line_up(&self, size: u32) -> Option<Place<'_>> {
        let joined = self.line.fetch_update(SeqCst, SeqCst, |n| (n < size as usize).then_some(n + 1));
        joined.is_ok().then(|| Place::new(self, true))
    }

    /// Wait beside the line, for a second attempt.
    pub(crate) fn stand_by(&self) -> Place<'_> {
        Place::new(self, false)
    }

    /// Measure latencies from now on.
    pub(crate) fn measure(&self, averaging: Averaging) {
        let fading = u64::from(averaging.fading.to_bits());
        self.averaging.store(fading << 1 | u64::from(averaging.peak), Relaxed);
    }

    /// How latencies are averaged, if they are measured.
    #[inline]
    pub(super) fn averaging(&self) -> Option<Averaging> {
        let word = self.averaging.load(Relaxed);
        (word != 0).then(|| Averaging { fading: Fading::from_bits((word >> 1) as u32), peak: word & 1 == 1 })
    }

    /// Take in a measurement of any backend.
    #[inline]
    pub(super) fn observe(&self, sample: Duration, now: u32, averaging: Averaging) {
        if self.typical.last_micros().is_none() || fastrand::u32(..TYPICAL_EVERY) == 0 {
            self.typical.observe(sample, now, Averaging { peak: false, ..averaging });
        }
    }

    /// What a backend takes that nothing is known of.
    pub(crate) fn typical(&self) -> Option<Duration> {
        self.typical.last()
    }

    /// The same in microseconds; 1 while nothing at all is known.
    #[inline]
    pub(crate) fn typical_micros(&self) -> f32 {
        self.typical.last_micros().unwrap_or(1.0)
    }
}

/// A place among those who wait for room; given up when dropped.
pub(crate) struct Place<'a> {
    pool: &'a PoolState,
    in_line: bool,
}

impl<'a> Place<'a> {
    fn new(pool: &'a PoolState, in_line: bool) -> Self {
        pool.waiting.fetch_add(1, SeqCst);
        Place { pool, in_line }
    }

    /// Wait to be the first in line. Turns come in the order in which they were first waited for, and end with the guard.
    pub(crate) async fn turn(&self) -> MutexGuard<'a, ()> {
        self.pool.turn.lock().await
    }

    /// Wait for room to be given back, from this call on.
    pub(crate) fn called(&self) -> Notified<'a> {
        self.pool.room.notified()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.pool.waiting.fetch_sub(1, SeqCst);
        if self.in_line {
            self.pool.line.fetch_sub(1, SeqCst);
        }
    }
}
