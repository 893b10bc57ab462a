//! What live traffic does to a backend: how its attempts count, and what becomes of it by them.

#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::cause::Change;
use super::ejection::Ejection;
use super::gate::Ticket;
use super::outliers::slow_beyond;
use super::rest::Record;
use super::row::Count;
use super::{BackendState, Bins, Cause, Failure, Health, clock};
use crate::config::Ejection as Rules;

impl BackendState {
    /// Whether it is ejected, or on trial since.
    #[inline]
    pub fn ejected(&self) -> bool {
        self.gate.ejected()
    }

    /// The word for what it is, in logs, metrics and pages: `draining`, `ejected`, or its health.
    pub fn standing(&self) -> &'static str {
        let record = self.record();
        match record.machine {
            _ if self.draining() => "draining",
            Health::Healthy { .. } if record.ejection.active() => "ejected",
            health => health.as_str(),
        }
    }

    /// Why it is not admitted as others are: what it was ejected for, and for how long yet, or the reason of its last failed
    /// probe.
    pub fn reason(&self) -> Option<String> {
        let record = self.record();
        let ejected = record.ejection.reason(clock::millis()).filter(|_| record.machine.healthy());
        ejected.or_else(|| record.reason.clone())
    }

    /// How many of those were cut off, and would have taken longer.
    pub(super) fn overtaken(&self) -> u64 {
        self.rest.overtaken.load(Relaxed)
    }

    /// How long its answers took, all that there ever were.
    pub(crate) fn took(&self) -> Bins {
        self.rest.took.read()
    }

    /// What its failures in a row are enough to eject it for.
    pub(super) fn accused(&self, rules: &Rules) -> Option<Cause> {
        self.row.count().cause(rules)
    }

    /// Take in that an attempt failed which began in the term of `ticket`, and had ended the row `ended`.
    #[cold]
    pub(super) fn blame(&self, ticket: Ticket, failure: Failure, ended: Count) {
        // What began before it was ejected says nothing of how it is since.
        if !self.gate.current(ticket) {
            return;
        }
        let count = self.row.failed(failure, ended);
        let watch = &self.pool.watch;
        if watch.rules().as_ref().is_some_and(|rules| count.trips(rules)) {
            watch.call();
        }
    }

    /// Take in how the attempt went that decides a trial.
    #[cold]
    pub(super) fn tried(&self, ticket: Ticket, result: Result<Duration, Failure>) {
        self.decide_trial(ticket, |ejection, pace, now, rules| ejection.tried(result, pace, now, rules));
    }

    /// Take in that the attempt that decides a trial was given up after so long, which says nothing if it is within `patience`.
    #[cold]
    pub(super) fn given_up(&self, ticket: Ticket, after: Duration, patience: Duration) {
        self.decide_trial(ticket, |ejection, pace, now, rules| {
            ejection.given_up(after, pace.unwrap_or_default().max(patience), now, rules)
        });
    }

    fn decide_trial(
        &self,
        ticket: Ticket,
        decide: impl FnOnce(&mut Ejection, Option<Duration>, u64, &Rules) -> Option<Change>,
    ) {
        let watch = &self.pool.watch;
        let rules = watch.rules();
        let Some(rules) = rules.as_ref() else { return };
        let mut record = self.record();
        if !self.gate.current(ticket) {
            return;
        }
        let pace = self.pool.latency_quantile(0.5).map(slow_beyond);
        if let Some(change) = decide(&mut record.ejection, pace, clock::millis(), rules) {
            self.turn(&record, change);
        }
    }

    /// Take it out, if it may be picked. Says whether it is out by that.
    pub(super) fn eject(&self, cause: Cause, now: u64, rules: &Rules) -> bool {
        let mut record = self.record();
        if !self.eligible() {
            return false;
        }
        let change = record.ejection.eject(cause, now, rules);
        change.inspect(|change| self.turn(&record, *change)).is_some()
    }

    /// Let it in again because nobody else is left.
    pub(super) fn need(&self) {
        let mut record = self.record();
        if record.machine.healthy() && !self.draining() && record.ejection.reinstate(clock::millis()) {
            self.turn(&record, Change::Needed);
        }
    }

    /// Put it on trial, if it is ejected and its time is over. Says whether that is so.
    pub(super) fn put_on_trial(&self, now: u64) -> bool {
        if !self.ejected() {
            return false;
        }
        let mut record = self.record();
        let begins = record.ejection.advance(now);
        if begins {
            // It is taken for typical: an average that its failures have spoilt would keep the trial away from it.
            self.latency.forget();
            self.begin_term(&record);
        }
        begins
    }

    fn turn(&self, record: &Record, change: Change) {
        match change {
            Change::Ejected { cause, .. } => {
                if let Some(count) = self.rest.ejections.get(cause.number()) {
                    count.fetch_add(1, Relaxed);
                }
            }
            Change::Readmitted | Change::Needed => self.rest.eligible_since.store(clock::millis(), Relaxed),
        }
        self.begin_term(record);
        self.pool.watch.tell(self.label(), change);
    }

    /// Follow what has become of the record's ejection.
    pub(super) fn begin_term(&self, record: &Record) {
        let ejection = record.ejection;
        self.gate.begin(ejection.out(), ejection.active());
        self.row.clear();
        self.decide(record);
    }

    /// How often it was ejected, by the [words](Cause::WORDS) of the causes.
    pub(crate) fn ejections(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Cause::WORDS.into_iter().zip(self.rest.ejections.iter().map(|count| count.load(Relaxed)))
    }
}
