//! One attempt on one backend.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Averaging, BackendState, clock};

/// A failure counts as so many times what the pool's backends typically take: one that fails fast must not look fast.
const FAILED_AS: u32 = 10;

/// What a failure counts as while nothing typical is known.
const FAILED_BLINDLY_AS: Duration = Duration::from_secs(1);

/// One attempt on one backend: counts as in flight from its making to its drop, whichever way the request ends.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<BackendState>,
    outcome: Outcome,
    /// Whether the pool's work was counted when it began.
    counted: bool,
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
        Some(Lease { backend, outcome: Outcome::default(), counted })
    }

    /// The backend that it is on.
    pub fn backend(&self) -> &Arc<BackendState> {
        &self.backend
    }

    /// Say how the attempt goes, as soon as that is known: with the first byte of a response, or when it failed; `after` so
    /// long from its beginning. The last word before the drop counts.
    pub fn report(&mut self, outcome: Outcome, after: Duration) {
        if outcome != self.outcome {
            self.outcome = outcome;
            self.measure(after);
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
            Outcome::Failed => &attempts.failed,
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
            Outcome::Failed => {
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
        self.backend.give_room_back();
        self.backend.pool.leave(self.counted);
    }
}
