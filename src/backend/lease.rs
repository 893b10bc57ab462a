//! One attempt on one backend.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::BackendState;

/// One attempt on one backend: counts as in flight from its making to its drop, whichever way the request ends.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<BackendState>,
    outcome: Outcome,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody is to blame: the client left, or nothing has ended yet.
    #[default]
    Cancelled,
    /// A response below 500 came in whole.
    Succeeded,
    /// The backend could not be reached, broke off, was too late, or answered 500 and above.
    Failed,
}

impl Lease {
    /// Begin an attempt.
    pub fn new(backend: Arc<BackendState>) -> Self {
        backend.in_flight.fetch_add(1, Relaxed);
        Lease { backend, outcome: Outcome::default() }
    }

    /// The backend that it is on.
    pub fn backend(&self) -> &Arc<BackendState> {
        &self.backend
    }

    /// Say how the attempt ended; the last word before the drop counts.
    pub fn report(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.in_flight.fetch_sub(1, Relaxed);
        let counters = &self.backend.counters;
        let counter = match self.outcome {
            Outcome::Cancelled => &counters.cancelled,
            Outcome::Succeeded => &counters.succeeded,
            Outcome::Failed => &counters.failed,
        };
        counter.fetch_add(1, Relaxed);
    }
}
