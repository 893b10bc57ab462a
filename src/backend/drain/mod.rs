//! What has a backend drain, since when, and how long its sticky clients still reach it.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use tokio::sync::Notify;

use super::{BackendState, Health, clock};

/// What has a backend drain: an operator, or a weight of 0 from its source. Each begins and ends by itself. Since when, in
/// [`clock`](super::clock) milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Causes {
    operator: Option<u64>,
    weight: Option<u64>,
}

/// For how long each of its causes has had a backend drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// An operator asked for it.
    pub operator: Option<Duration>,
    /// Its source gives it the weight 0.
    pub weight: Option<Duration>,
}

impl Causes {
    /// An operator wants it to drain, or does not any more. Says whether that is news.
    pub(super) fn set_operator(&mut self, drains: bool, now: u64) -> bool {
        set(&mut self.operator, drains, now)
    }

    /// Its source gives it the weight 0, or another. Says whether that is news.
    pub(super) fn set_weight(&mut self, zero: bool, now: u64) -> bool {
        set(&mut self.weight, zero, now)
    }

    /// Since when an operator wants it to drain.
    pub(super) fn operator(self) -> Option<u64> {
        self.operator
    }

    /// Since when it drains, whatever the cause.
    pub(super) fn since(self) -> Option<u64> {
        self.operator.into_iter().chain(self.weight).min()
    }

    /// For how long; `None` if it does not drain.
    pub(super) fn at(self, now: u64) -> Option<Drain> {
        self.since()?;
        let age = |since: u64| Duration::from_millis(now.saturating_sub(since));
        Some(Drain { operator: self.operator.map(age), weight: self.weight.map(age) })
    }
}

/// What goes on keeps its beginning: to drain again what drains already gives no new grace.
fn set(since: &mut Option<u64>, on: bool, now: u64) -> bool {
    let before = *since;
    *since = on.then(|| before.unwrap_or(now));
    before.is_some() != on
}

/// How long the clients that are bound to a backend which drains since `since` still reach it; `None` if no longer.
pub(super) fn grace_left(since: u64, now: u64, grace: Duration) -> Option<Duration> {
    let left = grace.saturating_sub(Duration::from_millis(now.saturating_sub(since)));
    (!left.is_zero()).then_some(left)
}

impl BackendState {
    /// Whether it takes no new work, and finishes what it has. Whoever has begun an attempt looks once more: either it sees here
    /// that draining has begun in between, or who waits for the end of the work sees the attempt in flight.
    #[inline]
    pub fn draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    /// What has it drain, and for how long; `None` if it does not.
    pub fn drain(&self) -> Option<Drain> {
        self.record().drain.at(clock::millis())
    }

    /// How long a client that is bound to it still reaches it: so long after it began to drain, and while it is well; `None` if
    /// no longer, and if it does not drain.
    pub fn grace_left(&self, grace: Duration) -> Option<Duration> {
        if !self.draining() || !self.rest.well.load(Relaxed) {
            return None;
        }
        grace_left(self.rest.draining_since.load(Relaxed), clock::millis(), grace)
    }

    /// Have it drain because an operator says so, until an operator says otherwise. Says whether that is news; the caller then
    /// refreshes the [`Roster`](super::Roster).
    pub(crate) fn begin_drain(&self) -> bool {
        let mut record = self.record();
        let news = record.drain.set_operator(true, clock::millis());
        self.decide(&record);
        news
    }

    /// Take an operator's drain back. Its health begins anew, for it may be another program by now, and is probed at once. Says
    /// whether that is news; the caller then refreshes the [`Roster`](super::Roster).
    pub(super) fn end_drain(&self, initial: Health) -> bool {
        let mut record = self.record();
        let news = record.drain.set_operator(false, clock::millis());
        if news {
            self.begin_anew(&mut record, initial);
            if let Some(prober) = &*self.rest.prober.load() {
                prober.notify_one();
            }
        }
        news
    }

    /// Whether what is under way on it is to be cut off: it was removed, and has had its time.
    #[inline]
    pub fn cut(&self) -> bool {
        self.rest.cut.load(Relaxed)
    }

    /// Cut off what is under way on it. Says whether anything is.
    pub(crate) fn cut_off(&self) -> bool {
        !self.rest.cut.swap(true, Relaxed) && self.in_flight() > 0
    }

    /// Whom to wake if a probe of it should not wait for its turn.
    pub(crate) fn probed_by(&self, prober: &Arc<Notify>) {
        self.rest.prober.store(Some(Arc::clone(prober)));
    }
}

#[cfg(test)]
mod tests;
