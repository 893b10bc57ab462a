//! What the backends of one pool have in common: the work that the pool as a whole may have, and its typical latency.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::futures::Notified;
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::concurrency::{Concurrency, Notice};
use super::histogram::{Bins, Quantiles};
use super::latency::{Averaging, Fading, Latency};
use super::watch::Watch;
use crate::config::{Adaptive, Decay, Priority};

/// One measurement of so many goes into the pool's typical latency: all threads write that word.
const TYPICAL_EVERY: u32 = 16;

/// What the backends of one pool have in common.
///
/// Counting the work of a whole pool costs every request a write to one word, so it is done only where a policy needs it.
#[derive(Debug)]
pub struct PoolState {
    /// How many attempts there may be: `max_in_flight`, or what [`Concurrency`] found if that is less. [`NOT_COUNTED`] and
    /// they are not counted.
    limit: AtomicUsize,
    /// [`NO_LIMIT`] for any number.
    max_in_flight: AtomicUsize,
    /// Whether there is a `concurrency`: cheaper to ask.
    adapts: AtomicBool,
    concurrency: ArcSwapOption<Concurrency>,
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
    /// Of what the pool's answers lately took.
    quantiles: Quantiles,
    /// The place of a round robin in its cycle. By itself: all threads write it.
    turns: Arc<AtomicU64>,
    pub(crate) watch: Watch,
    discovery_failures: AtomicU64,
}

const NOT_COUNTED: usize = usize::MAX;
const NO_LIMIT: usize = usize::MAX - 1;

impl Default for PoolState {
    fn default() -> Self {
        PoolState {
            limit: AtomicUsize::new(NOT_COUNTED),
            max_in_flight: AtomicUsize::new(NO_LIMIT),
            adapts: AtomicBool::default(),
            concurrency: ArcSwapOption::empty(),
            in_flight: AtomicUsize::default(),
            waiting: AtomicUsize::default(),
            line: AtomicUsize::default(),
            turn: Mutex::default(),
            room: Notify::default(),
            averaging: AtomicU64::default(),
            typical: Latency::default(),
            quantiles: Quantiles::default(),
            turns: Arc::default(),
            watch: Watch::default(),
            discovery_failures: AtomicU64::default(),
        }
    }
}

impl PoolState {
    /// A pool that may have so many attempts under way, and whose latencies say how many are too many.
    pub(super) fn new(max_in_flight: Option<u32>, adaptive: Option<Adaptive>) -> Self {
        let state = PoolState::default();
        state.configure(max_in_flight, adaptive);
        state
    }

    /// How often the source of its backends did not answer.
    pub fn discovery_failures(&self) -> u64 {
        self.discovery_failures.load(Relaxed)
    }

    pub(super) fn count_discovery_failure(&self) {
        self.discovery_failures.fetch_add(1, Relaxed);
    }

    /// Have these limits from now on. What was found of the latencies holds as long as the bounds are the same; attempts that
    /// began while nobody counted them are never counted.
    pub(super) fn configure(&self, max_in_flight: Option<u32>, adaptive: Option<Adaptive>) {
        self.max_in_flight.store(max_in_flight.map_or(NO_LIMIT, |limit| limit as usize), SeqCst);
        if self.concurrency.load().as_ref().map(|found| found.bounds()) != adaptive {
            self.concurrency.store(adaptive.map(|bounds| Arc::new(Concurrency::new(bounds))));
        }
        self.adapts.store(adaptive.is_some(), SeqCst);
        let counted = self.limit.load(SeqCst) != NOT_COUNTED;
        if counted || max_in_flight.is_some() || adaptive.is_some() {
            self.apply_limit();
        }
        self.call();
    }

    fn apply_limit(&self) {
        let found = self.concurrency().map_or(NO_LIMIT, |found| found.limit());
        self.limit.store(self.max_in_flight.load(SeqCst).min(found), SeqCst);
    }

    /// What limits it by its latencies, if that is wanted.
    #[inline]
    pub fn concurrency(&self) -> Option<Arc<Concurrency>> {
        if self.adapts.load(Relaxed) { self.concurrency.load_full() } else { None }
    }

    /// The place of a round robin in its cycle; it outlives every change of the pool.
    pub(crate) fn turns(&self) -> &Arc<AtomicU64> {
        &self.turns
    }

    /// Let the limit follow the latencies since the last call, and say if requests are sent away for the first time, or not any
    /// more.
    pub(crate) fn adapt(&self, now: Instant) -> Option<Notice> {
        let concurrency = self.concurrency()?;
        let before = concurrency.limit();
        let notice = concurrency.tick(self.in_flight(), now);
        if concurrency.limit() != before {
            self.apply_limit();
        }
        if concurrency.limit() > before {
            self.call();
        }
        notice
    }

    /// Whether a request of this priority is to be sent away rather than to make the pool slow. Whoever finds `max_in_flight`
    /// reached is not: that one may wait.
    #[inline]
    pub(crate) fn sheds(&self, priority: Priority) -> bool {
        let Some(concurrency) = self.concurrency() else { return false };
        let in_flight = self.in_flight.load(SeqCst);
        in_flight >= concurrency.limit_of(priority) && in_flight < self.max_in_flight.load(Relaxed)
    }

    /// Count attempts from now on: an algorithm wants to know.
    pub fn count(&self) {
        let _ = self.limit.compare_exchange(NOT_COUNTED, NO_LIMIT, SeqCst, SeqCst);
    }

    /// Whether attempts are counted: otherwise there is room for any number.
    #[inline]
    pub(crate) fn counts(&self) -> bool {
        self.limit.load(SeqCst) != NOT_COUNTED
    }

    /// Attempts that are under way, or 0 where they are not counted: without a limit of the pool's, [`PoolState::count`] begins it.
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

    /// Measure from now on how long answers take, to their first byte: an algorithm wants to know, by [`BackendState::expected`]
    /// or [`BackendState::latency`]. A slow answer counts at once, and fades over `decay`.
    ///
    /// [`BackendState::expected`]: super::BackendState::expected
    /// [`BackendState::latency`]: super::BackendState::latency
    pub fn measure_latency(&self, decay: Decay) {
        self.measure(Averaging { fading: Fading::over(decay), peak: true });
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

    /// The time to answer that the part `q` of the pool's attempts of the last ten seconds kept, within a sixteenth: 0.95 for
    /// the 95th percentile; by whole percents from 1 to 99. `None` while there are fewer than 20, or nobody observes the
    /// pool: [`PoolService`](crate::pool::PoolService) does. One atomic read.
    #[inline]
    pub fn latency_quantile(&self, q: f64) -> Option<Duration> {
        self.quantiles.get(q)
    }

    /// Let these be the answers that [`Self::latency_quantile`] is of.
    pub(crate) fn publish(&self, lately: &Bins) {
        self.quantiles.publish(lately);
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
