//! Waiting for room: first come, first served, a bounded number for a bounded time.

use std::time::Instant;

use tokio::time::timeout_at;

use super::{Pick, Pool, Unavailable};
use crate::backend::Lease;
use crate::config::Queue;

impl Pool {
    /// Whether `max_in_flight` bounds it, so that it may be full.
    pub fn limited(&self) -> bool {
        self.roster.load().limited()
    }

    /// [`Pool::acquire`], waiting in the pool's queue while it is full, until `deadline` at most.
    ///
    /// # Errors
    /// Why there is nobody; never while an admitted backend with room is left to try and nobody waits for it.
    pub async fn acquire_or_wait(&self, pick: &Pick<'_>, deadline: Instant) -> Result<Lease, Unavailable> {
        let state = self.roster.pool();
        // Nobody overtakes those who wait.
        if state.waiting() == 0 || self.queue.is_none() {
            match self.acquire(pick) {
                Err(Unavailable::Full) => {}
                decided => return decided,
            }
        }
        let Some(queue) = self.queue else {
            return Err(Unavailable::Full);
        };
        let outcome = self.wait(pick, queue, deadline).await;
        // One call may stand for more room than one: several gave theirs back before the one called had come here.
        if outcome.is_err() || self.has_room() {
            state.call_next();
        }
        outcome
    }

    async fn wait(&self, pick: &Pick<'_>, queue: Queue, deadline: Instant) -> Result<Lease, Unavailable> {
        let until = deadline.min(Instant::now() + queue.timeout);
        let Some(place) = self.roster.pool().line_up(queue.size) else {
            return Err(Unavailable::Full);
        };
        let mut alone = place.is_first();
        loop {
            let called = place.called();
            tokio::pin!(called);
            // In line from here on: room that is given back after the look below calls us.
            called.as_mut().enable();
            if alone {
                match self.acquire(pick) {
                    Err(Unavailable::Full) => {}
                    decided => return decided,
                }
            }
            if timeout_at(until.into(), called).await.is_err() {
                return Err(if until < deadline { Unavailable::QueueTimeout } else { Unavailable::Deadline });
            }
            alone = true;
        }
    }

    fn has_room(&self) -> bool {
        let snapshot = self.roster.load();
        self.roster.pool().has_room() && snapshot.candidates().any(|candidate| candidate.state.has_room())
    }
}
