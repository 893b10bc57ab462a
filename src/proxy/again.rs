//! When an attempt has failed: what is said of it, and whether another follows.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{Level, log};
use pingora::http::ResponseHeader;
use pingora_core::{Error, ErrorType};
use pingora_proxy::Session;

use super::exchange::Exchange;
use super::failure;
use super::leg::Leg;
use crate::backend::{BackendState, Failure, Lease, Outcome};
use crate::filter::FailedAttempt;
use crate::pool::{Again, Attempts, Broken, Permit, Pool, Trouble, retry_after, stale};
use crate::reason::Reason;

/// How many attempts may go to a stale connection without counting. The second has a connection of its own, so that more
/// than one is already strange.
const MAX_STALE: usize = 3;

/// How an attempt failed.
pub(super) struct Failed<'a> {
    pub(super) reason: Reason,
    pub(super) trouble: Trouble,
    /// What is said of the backend.
    pub(super) outcome: Outcome,
    /// The backend had closed a kept connection before the request got there.
    pub(super) stale: bool,
    /// The request may be sent again, as far as it is concerned.
    pub(super) safe: bool,
    /// No other attempt of the request is under way.
    pub(super) last: bool,
    /// How long the backend asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// What is known beside the reason, for the log.
    pub(super) text: &'a dyn fmt::Display,
}

impl Exchange {
    /// The backend could not be reached: whether another attempt follows.
    pub(super) fn end_unconnected_attempt(&mut self, error: &Error) -> bool {
        let reason = failure::of_connect(&error.etype);
        // Our own limit: the backend knows nothing of it, and another would meet it, too.
        let limited = reason == Reason::ConnectionLimit;
        // A kept connection of HTTP/2 that has ended shows it when it is to be used. None of these comes of making one.
        let stale = error.etype == ErrorType::H2Error;
        self.end_failed_attempt(&Failed {
            reason,
            trouble: Trouble::Connect,
            outcome: if limited || stale { Outcome::Cancelled } else { Outcome::Failed(Failure::Connect) },
            stale,
            // Nothing was sent: safe whatever the method.
            safe: !limited,
            last: true,
            retry_after: None,
            text: error,
        })
    }

    /// The attempt under way broke off with this error: whether another follows.
    pub(super) fn end_broken_attempt(&mut self, session: &Session, error: &Error, reused: bool) -> bool {
        let broken = Broken::of(session);
        let (trouble, reason) = (Trouble::of(error), failure::of_broken(error));
        let after = self.ctx.attempt.started.map_or(Duration::MAX, |at| at.elapsed());
        let stale = stale(error, reused, after, &broken);
        self.end_failed_attempt(&Failed {
            reason,
            trouble,
            outcome: if stale { Outcome::Cancelled } else { Outcome::Failed(failure::of_reason(reason)) },
            stale,
            safe: trouble.allows(&session.req_header().method, self.resends_all(), &broken),
            last: true,
            retry_after: None,
            text: error,
        })
    }

    /// Whether another attempt follows on this response of the attempt under way, which has ended then.
    pub(super) fn end_refused_attempt(&mut self, session: &Session, header: &ResponseHeader, outcome: Outcome) -> bool {
        let status = header.status.as_u16();
        let trouble = self.ctx.grpc_status.map_or(Trouble::Status(status), Trouble::Call);
        // Of a leg, the request decides.
        let wanted = self.leg.is_none() && self.ctx.pool.as_ref().is_some_and(|pool| trouble.wanted(&pool.retry().on));
        if !wanted || !trouble.allows(&session.req_header().method, self.resends_all(), &Broken::of(session)) {
            return false;
        }
        let failed = Failed {
            reason: Reason::BackendStatus,
            trouble,
            outcome,
            stale: false,
            safe: true,
            last: true,
            retry_after: retry_after(&header.headers),
            text: &trouble,
        };
        let (Some(pool), Some(lease)) = (self.ctx.pool.clone(), self.ctx.lease.take()) else {
            return false;
        };
        self.ctx.tried.push(lease.backend().address().clone());
        let mut permit = self.permit.take();
        let plan = self.plan(&pool, &failed, &mut permit, Some(session));
        if plan.is_none() {
            // The response goes to the client: nothing has ended.
            self.ctx.tried.pop();
            (self.ctx.lease, self.permit) = (Some(lease), permit);
            return false;
        }
        self.conclude(&pool, lease, &failed, plan)
    }

    /// Whether another attempt follows on this response of a leg, which is not passed on then.
    pub(super) fn another_after(
        &mut self,
        session: &Session,
        pool: &Pool,
        leg: &mut Leg,
        header: &ResponseHeader,
    ) -> bool {
        let status = header.status.as_u16();
        let failed = Failed {
            reason: Reason::BackendStatus,
            trouble: Trouble::Status(status),
            // The leg has said so.
            outcome: Outcome::Cancelled,
            stale: false,
            safe: true,
            last: true,
            retry_after: retry_after(&header.headers),
            text: &status,
        };
        self.ctx.tried.push(leg.backend.address().clone());
        let plan = self.plan(pool, &failed, &mut leg.permit, Some(session));
        if plan.is_none() {
            self.ctx.tried.pop();
            return false;
        }
        self.note(pool, Arc::clone(&leg.backend), leg.started.elapsed(), &failed, plan)
    }

    fn resends_all(&self) -> bool {
        self.ctx.pool.as_ref().is_some_and(|pool| pool.retry().non_idempotent)
    }

    /// The attempt under way has failed: whether another follows. It does if it is safe and wanted, and there are attempts,
    /// time, budget and a backend left.
    fn end_failed_attempt(&mut self, failed: &Failed<'_>) -> bool {
        if self.leg.is_some() {
            return self.fail_leg(failed);
        }
        let (Some(pool), Some(lease)) = (self.ctx.pool.clone(), self.ctx.lease.take()) else {
            return false;
        };
        if !failed.stale {
            self.ctx.tried.push(lease.backend().address().clone());
        }
        let mut permit = self.permit.take();
        let plan = if failed.safe { self.plan(&pool, failed, &mut permit, None) } else { None };
        self.conclude(&pool, lease, failed, plan)
    }

    /// Report on the attempt, note it, and get ready for the next if one is planned.
    fn conclude(&mut self, pool: &Pool, mut lease: Lease, failed: &Failed<'_>, plan: Option<Plan>) -> bool {
        let took = self.ctx.attempt.started.map(|at| at.elapsed()).unwrap_or_default();
        lease.report(failed.outcome, took);
        let again = self.note(pool, Arc::clone(lease.backend()), took, failed, plan);
        if again && failed.stale && pool.limited() && lease.backend().eligible() {
            // It is nobody's fault, and must not cost the request its room, which others may be waiting for.
            lease.renew();
            self.reserved = Some(lease);
        }
        again
    }

    /// A leg has failed, and has reported on its lease: whether another attempt follows.
    pub(super) fn note_failure(
        &mut self,
        pool: &Pool,
        backend: Arc<BackendState>,
        took: Duration,
        failed: &Failed<'_>,
    ) -> bool {
        if !failed.stale {
            self.ctx.tried.push(backend.address().clone());
        }
        let plan = if failed.safe && failed.last { self.plan(pool, failed, &mut None, None) } else { None };
        self.note(pool, backend, took, failed, plan)
    }

    /// Note how an attempt failed, and get ready for the next if one is planned.
    fn note(
        &mut self,
        pool: &Pool,
        backend: Arc<BackendState>,
        took: Duration,
        failed: &Failed<'_>,
        plan: Option<Plan>,
    ) -> bool {
        let again = plan.is_some();
        let late = failed.reason == Reason::BackendTimeout && Instant::now() >= self.deadline(pool);
        let reason = if late { Reason::RequestTimeout } else { failed.reason };
        // What the next attempt makes good is no news: with a backend down, it would be a line for each request.
        // Nor is what a limit does, which is there to be met.
        let quiet = again || !failed.last || failed.reason == Reason::ConnectionLimit;
        let level = if quiet { Level::Debug } else { Level::Warn };
        log!(level, "pool {}: backend {}: {reason}: {}", pool.name(), backend.label(), failed.text);
        self.ctx.failed.push(FailedAttempt { backend, reason, took, stale: failed.stale });
        if !failed.last {
            return false;
        }
        self.ctx.reason = (!again).then_some(reason);
        let plan = plan.unwrap_or_default();
        (self.pause, self.permit) = (Some(plan.pause).filter(|pause| !pause.is_zero()), plan.permit);
        self.reserved = plan.lease;
        if plan.anew {
            self.ctx.tried.clear();
        }
        again
    }

    /// How another attempt would be made, if there can be one. After an answer, which is lost by it, there can be one only if a
    /// backend has room for it now: it is taken at once, with what `session` asks for.
    /// The permit of the attempt that has failed, if it had one, is the next one's.
    fn plan(
        &mut self,
        pool: &Pool,
        failed: &Failed<'_>,
        permit: &mut Option<Permit>,
        session: Option<&Session>,
    ) -> Option<Plan> {
        let left = self.deadline(pool).saturating_duration_since(Instant::now());
        let in_vain = self.ctx.failed.iter().filter(|attempt| attempt.stale).count();
        if failed.stale {
            let others = pool.has_other_than(&self.ctx.tried);
            return (!left.is_zero() && others && in_vain < MAX_STALE).then(Plan::default);
        }
        let made = usize::from(self.ctx.attempt.number) - in_vain;
        let attempts = Attempts { made, tried: &self.ctx.tried, left };
        let Again { pause, anew } = pool.again(failed.trouble, failed.retry_after, &attempts)?;
        let lease = match session {
            Some(session) if !anew => Some(self.lease_now(session, pool)?),
            _ => None,
        };
        let free = failed.trouble.unseen();
        match permit {
            Some(_) => pool.spend_on_retry(free).ok()?,
            None => *permit = Some(pool.permit_retry(free).ok()?),
        }
        Some(Plan { pause, permit: permit.take(), lease, anew })
    }
}

/// How another attempt is made.
#[derive(Default)]
struct Plan {
    /// After so long.
    pause: Duration,
    /// By this right; a stale connection needs none.
    permit: Option<Permit>,
    /// On this lease, if it was taken in advance.
    lease: Option<Lease>,
    /// On those, too, that have been tried.
    anew: bool,
}
