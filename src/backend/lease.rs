//! One attempt on one backend.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::notes::Notes;
use super::row::Count;
use super::{Averaging, BackendState, clock};

/// A failure counts as so many times what the pool's backends typically take: one that fails fast must not look fast.
const FAILED_AS: u32 = 10;

/// What a failure counts as while nothing typical is known.
const FAILED_BLINDLY_AS: Duration = Duration::from_secs(1);

/// A client that leaves sooner has another reason than a backend that says nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// One attempt on one backend: counts as in flight from its making to its drop, whichever way the request ends.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<BackendState>,
    notes: Notes,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody is to blame: the client left, or nothing has ended yet.
    #[default]
    Cancelled,
    /// A response below 500 came in whole.
    Succeeded,
    /// The backend did not do what it was asked.
    Failed(Failure),
}

/// What a backend did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Failure {
    /// It could not be reached, or not in time.
    Connect,
    /// It closed or reset the connection, or did not speak HTTP.
    Broken,
    /// It was too late.
    Timeout,
    /// It answered 502, 503 or 504: as a gateway does that has nobody behind it, or a server that cannot take more.
    Gateway,
    /// It answered another status of 500 and above.
    Status,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Failure::Connect => "no connection",
            Failure::Broken => "connection broken",
            Failure::Timeout => "timeout",
            Failure::Gateway => "status 502, 503 or 504",
            Failure::Status => "status 500 or above",
        })
    }
}

impl Failure {
    pub(super) const ALL: [Failure; 5] =
        [Failure::Connect, Failure::Broken, Failure::Timeout, Failure::Gateway, Failure::Status];

    /// The failure that a response's status is, if it is one.
    pub fn of_status(status: u16) -> Option<Self> {
        match status {
            502..=504 => Some(Failure::Gateway),
            500.. => Some(Failure::Status),
            _ => None,
        }
    }
}

impl Lease {
    /// Begin an attempt; `None` if the backend or its pool has all the work that it may have.
    #[inline]
    pub fn begin(backend: Arc<BackendState>) -> Option<Self> {
        if !backend.has_room() {
            return None;
        }
        let counted = backend.pool.enter()?;
        if !backend.take_room() {
            backend.pool.leave(counted);
            return None;
        }
        let Some(ticket) = backend.gate.pass() else {
            backend.work.end();
            backend.pool.leave(counted);
            return None;
        };
        Some(Lease { backend, notes: Notes::new(ticket, counted) })
    }

    /// The backend that it is on.
    pub fn backend(&self) -> &Arc<BackendState> {
        &self.backend
    }

    /// Whether a trial that is not decided yet depends on it.
    #[cfg(test)]
    pub(crate) fn on_trial(&self) -> bool {
        let ticket = self.notes.ticket();
        ticket.trial() && self.backend.gate.current(ticket)
    }

    /// Say how the attempt goes, as soon as that is known: with the first byte of a response, or when it failed; `after` so
    /// long from its beginning. The last word before the drop counts.
    pub fn report(&mut self, outcome: Outcome, after: Duration) {
        let before = self.notes.outcome();
        if before == Outcome::Cancelled
            && let Some(concurrency) = self.backend.pool.concurrency()
        {
            concurrency.observe(outcome, after);
        }
        if outcome != before {
            self.notes.set_outcome(outcome);
            self.measure(outcome, after);
            match outcome {
                Outcome::Succeeded => self.succeeded(after),
                // Once for each attempt: a 500 whose body breaks off is one failure.
                Outcome::Failed(failure) if !matches!(before, Outcome::Failed(_)) => self.failed(failure),
                _ => {}
            }
        } else if outcome == Outcome::Cancelled && self.notes.ticket().trial() {
            self.backend.given_up(self.notes.ticket(), after, PATIENCE);
        }
    }

    #[inline]
    fn succeeded(&mut self, after: Duration) {
        self.backend.rest.took.record(after);
        self.notes.set_ended(self.backend.row.succeeded());
        if self.notes.ticket().trial() {
            self.backend.tried(self.notes.ticket(), Ok(after));
        }
    }

    #[cold]
    fn failed(&mut self, failure: Failure) {
        let ticket = self.notes.ticket();
        if ticket.trial() {
            self.backend.tried(ticket, Err(failure));
        } else {
            let ended = self.notes.ended();
            self.notes.set_ended(Count::default());
            self.backend.blame(ticket, failure, ended);
        }
    }

    /// Another attempt of the same request was quicker: nobody's fault, but it would have taken at least this. Were it
    /// forgotten, who is slow would look as quick as its best answers.
    pub fn overtaken(&mut self, after: Duration) {
        if self.notes.outcome() != Outcome::Cancelled {
            return;
        }
        self.backend.rest.took.record(after);
        self.backend.rest.overtaken.fetch_add(1, Relaxed);
        if self.notes.ticket().trial() {
            // Somebody else has answered in the meantime.
            self.backend.given_up(self.notes.ticket(), after, Duration::ZERO);
        }
        if let Some(averaging) = self.backend.pool.averaging() {
            let known = self.backend.latency.last().unwrap_or_default();
            if after > known {
                self.backend.latency.observe(after, clock::wrapped_millis(), averaging);
            }
        }
    }

    /// End this attempt and begin another on the same backend, in the same room: nobody can slip in between.
    pub fn renew(&mut self) {
        match self.notes.outcome() {
            Outcome::Succeeded => self.backend.work.succeed_and_begin(),
            other => self.count(other),
        }
        self.notes.set_outcome(Outcome::default());
    }

    /// Count the end of an attempt that has not succeeded.
    fn count(&self, outcome: Outcome) {
        let attempts = &self.backend.rest.attempts;
        let counter = if outcome == Outcome::Cancelled { &attempts.cancelled } else { &attempts.failed };
        counter.fetch_add(1, Relaxed);
    }

    fn measure(&self, outcome: Outcome, after: Duration) {
        let pool = &self.backend.pool;
        let Some(averaging) = pool.averaging() else {
            return;
        };
        let now = clock::wrapped_millis();
        match outcome {
            Outcome::Cancelled => {}
            Outcome::Succeeded => {
                pool.observe(after, now, averaging);
                self.backend.latency.observe(after, now, averaging);
            }
            // Not into what is typical, or a failure would count ten times more with every failure.
            Outcome::Failed(_) => {
                let slow = pool.typical().map_or(FAILED_BLINDLY_AS, |typical| typical * FAILED_AS);
                // At once, even where peaks are averaged out.
                self.backend.latency.observe(after.max(slow), now, Averaging { peak: true, ..averaging });
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.gate.give_back(self.notes.ticket());
        match self.notes.outcome() {
            Outcome::Succeeded => self.backend.work.succeed(),
            other => {
                self.count(other);
                self.backend.work.end();
            }
        }
        self.backend.pool.leave(self.notes.counted());
    }
}
