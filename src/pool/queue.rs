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
        // Nobody overtakes those who wait.
        if self.roster.pool().waiting() == 0 || self.queue.is_none() || came_before(pick) {
            match self.acquire(pick) {
                Err(Unavailable::Full) => {}
                decided => return decided,
            }
        }
        match self.queue {
            Some(queue) => self.wait(pick, queue, deadline).await,
            None => Err(Unavailable::Full),
        }
    }

    async fn wait(&self, pick: &Pick<'_>, queue: Queue, deadline: Instant) -> Result<Lease, Unavailable> {
        let until = deadline.min(Instant::now() + queue.timeout);
        let too_late = if until < deadline { Unavailable::QueueTimeout } else { Unavailable::Deadline };
        let place = self.roster.pool().line_up(queue.size).ok_or(Unavailable::Full)?;
        // Kept until there is room for us: who is next then looks for itself, and finds what else was given back meanwhile.
        let _turn = match came_before(pick) {
            true => None,
            false => Some(timeout_at(until.into(), place.turn()).await.map_err(|_| too_late)?),
        };
        loop {
            let called = place.called();
            match self.acquire(pick) {
                Err(Unavailable::Full) => {}
                decided => return decided,
            }
            timeout_at(until.into(), called).await.map_err(|_| too_late)?;
        }
    }
}

/// A second attempt came before whoever waits for its first. It waits for no turn, and holds nobody up: there may be room that
/// it cannot use, at backends that it has tried.
fn came_before(pick: &Pick<'_>) -> bool {
    !pick.tried.is_empty()
}
