//! One attempt on one backend.

use std::fmt;
use std::mem::{replace, take};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::gate::Ticket;
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
    outcome: Outcome,
    /// Whether the pool's work was counted when it began.
    counted: bool,
    ticket: Ticket,
    /// The failures in a row that its success ended.
    ended: Count,
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
            backend.give_room_back();
            backend.pool.leave(counted);
            return None;
        };
        Some(Lease { backend, outcome: Outcome::default(), counted, ticket, ended: Count::default() })
    }

    /// The backend that it is on.
    pub fn backend(&self) -> &Arc<BackendState> {
        &self.backend
    }

    /// Whether a trial that is not decided yet depends on it.
    #[cfg(test)]
    pub(crate) fn on_trial(&self) -> bool {
        self.ticket.trial() && self.backend.gate.current(self.ticket)
    }

    /// Say how the attempt goes, as soon as that is known: with the first byte of a response, or when it failed; `after` so
    /// long from its beginning. The last word before the drop counts.
    pub fn report(&mut self, outcome: Outcome, after: Duration) {
        if self.outcome == Outcome::Cancelled
            && let Some(concurrency) = self.backend.pool.concurrency()
        {
            concurrency.observe(outcome, after);
        }
        if outcome != self.outcome {
            let before = replace(&mut self.outcome, outcome);
            self.measure(after);
            match outcome {
                Outcome::Succeeded => self.succeeded(after),
                // Once for each attempt: a 500 whose body breaks off is one failure.
                Outcome::Failed(failure) if !matches!(before, Outcome::Failed(_)) => self.failed(failure),
                _ => {}
            }
        } else if outcome == Outcome::Cancelled && self.ticket.trial() {
            self.backend.given_up(self.ticket, after, PATIENCE);
        }
    }

    #[inline]
    fn succeeded(&mut self, after: Duration) {
        self.backend.took.record(after);
        self.ended = self.backend.row.succeeded();
        if self.ticket.trial() {
            self.backend.tried(self.ticket, Ok(after));
        }
    }

    #[cold]
    fn failed(&mut self, failure: Failure) {
        if self.ticket.trial() {
            self.backend.tried(self.ticket, Err(failure));
        } else {
            self.backend.blame(self.ticket, failure, take(&mut self.ended));
        }
    }

    /// Another attempt of the same request was quicker: nobody's fault, but it would have taken at least this. Were it
    /// forgotten, who is slow would look as quick as its best answers.
    pub fn overtaken(&mut self, after: Duration) {
        if self.outcome != Outcome::Cancelled {
            return;
        }
        self.backend.took.record(after);
        self.backend.overtaken.fetch_add(1, Relaxed);
        if self.ticket.trial() {
            // Somebody else has answered in the meantime.
            self.backend.given_up(self.ticket, after, Duration::ZERO);
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
        self.count();
        self.outcome = Outcome::default();
    }

    fn count(&self) {
        let attempts = &self.backend.attempts;
        let counter = match self.outcome {
            Outcome::Cancelled => &attempts.cancelled,
            Outcome::Succeeded => &attempts.succeeded,
            Outcome::Failed(_) => &attempts.failed,
        };
        counter.fetch_add(1, Relaxed);
    }

    fn measure(&self, after: Duration) {
        let pool = &self.backend.pool;
        let Some(averaging) = pool.averaging() else {
            return;
        };
        let now = clock::wrapped_millis();
        match self.outcome {
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
        self.count();
        self.backend.gate.give_back(self.ticket);
        self.backend.give_room_back();
        self.backend.pool.leave(self.counted);
    }
}
