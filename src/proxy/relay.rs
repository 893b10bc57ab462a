//! The response of a leg, passed on to the client as the request's own.

use std::sync::Arc;
use std::time::Duration;

use pingora_core::protocols::http::HttpTask;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;
use tokio::time::timeout;

use super::connection;
use super::exchange::Exchange;
use super::leg::{Leg, LegFailure};
use super::race::left;
use crate::terms::tell_strict_transport;

/// How many pieces of a response are passed on at once.
const PIECES: usize = 4;

/// How long a leg that nobody listens to may take to end. One that still connects does not hear it.
const HANG_UP: Duration = Duration::from_millis(100);

impl Exchange {
    /// Pass on the response of a leg, of which `said` has come already. An error if it breaks off, or the client leaves.
    pub(super) async fn pass_on(&mut self, session: &mut Session, mut leg: Leg, said: HttpTask) -> Result<bool> {
        let passed = relay(session, &mut leg, said).await;
        if passed.is_err() {
            leg.hang_up();
        }
        let (backend, started) = (Arc::clone(&leg.backend), leg.started);
        let failure = self.adopt(leg).await;
        passed?;
        let Some(failure) = failure else {
            // One without a body may not have been told that it is over.
            session.write_response_tasks(vec![HttpTask::Done]).await?;
            return Ok(true);
        };
        if let Some(pool) = self.ctx.pool.clone() {
            let failure = LegFailure { safe: false, ..failure };
            self.note_leg(&pool, backend, started.elapsed(), &failure, true);
        }
        Err(Error::explain(ErrorType::Custom("BrokenOff"), "the response broke off").into_up())
    }

    /// What a leg knows of its attempt is the request's now. Says how it failed, if it did.
    pub(super) async fn adopt(&mut self, leg: Leg) -> Option<LegFailure> {
        let limit = if leg.is_hung_up() { HANG_UP } else { Duration::MAX };
        match timeout(limit, leg.end()).await {
            Ok(Ok(mut end)) => {
                let number = self.ctx.attempt.number;
                self.ctx.attempt = end.ctx.attempt;
                self.ctx.attempt.number = number;
                self.ctx.lease = end.ctx.lease.take();
                self.ctx.extensions = std::mem::take(&mut end.ctx.extensions);
                end.failure
            }
            Ok(Err(failure)) => Some(failure),
            Err(_) => None,
        }
    }
}

/// Pass pieces on until there are no more.
async fn relay(session: &mut Session, leg: &mut Leg, said: HttpTask) -> Result<()> {
    let mut pieces = vec![said];
    loop {
        while let Some(more) = (pieces.len() < PIECES).then(|| leg.next_if_any()).flatten() {
            pieces.push(more);
        }
        for piece in &mut pieces {
            if let HttpTask::Header(header, _) = piece {
                connection::last_if_closing(session);
                // The leg does not know the client's connection.
                tell_strict_transport(header)?;
            }
        }
        if session.write_response_tasks(std::mem::take(&mut pieces)).await? {
            return Ok(());
        }
        tokio::select! {
            more = leg.next() => match more {
                Some(more) => pieces.push(more),
                None => return Ok(()),
            },
            gone = left(session) => return Err(gone.into_down()),
        }
    }
}
