//! Hedging: when a backend is slow to answer, another is asked beside it, and the answer that comes first is taken (Dean and
//! Barroso, The Tail at Scale, 2013).
//!
//! Pingora forwards a request to one backend at a time, and no hook of it runs while a backend is silent. So a request that
//! may be hedged is not forwarded itself: each of its attempts is a subrequest with hooks, connection and lease like any
//! other, a [`Leg`], and the request watches them and passes on what the first of them says. Cutting off a leg closes its
//! connection or resets its stream. Where `per_try_timeout` is set, requests are watched for that, too: so it bounds the
//! header, however slowly it drips, and not the pauses in the body after it.

use std::sync::Arc;
use std::time::Duration;

use http::Version;
use log::debug;
use pingora_core::Result;
use pingora_core::protocols::http::HttpTask;
use pingora_proxy::Session;
use tokio::time::Instant;

use super::again::Failed;
use super::exchange::Exchange;
use super::leg::{Fate, Leg, LegFailure};
use super::race::{Event, Next, Place, Race};
use crate::backend::{BackendState, Outcome};
use crate::config::{HedgeAfter, Priority};
use crate::filter::{FailedAttempt, key};
use crate::metrics::Hedged;
use crate::pool::{Pick, Pool, Trouble};
use crate::reason::Reason;

impl Exchange {
    /// Whether its attempts are to be watched, and can be.
    pub(super) fn may_be_watched(&self, session: &mut Session, pool: &Pool) -> bool {
        if pool.retry().per_try_timeout.is_none() && hedge_after(pool).is_none() {
            return false;
        }
        let request = session.req_header();
        let plain = request.method.is_safe() && request.version >= Version::HTTP_11;
        plain && !session.is_upgrade_req() && session.is_body_empty()
    }

    /// Forward a request whose attempts are watched, up to the end of its response.
    pub(super) async fn forward_watched(&mut self, session: &mut Session, pool: &Arc<Pool>) -> Result<bool> {
        let mut hedge = hedge_after(pool);
        loop {
            let mut race = match self.start_race(session, pool, &mut hedge).await {
                Ok(race) => race,
                Err(reason) => return self.refuse(session, reason).await,
            };
            let next = loop {
                match self.turn(session, pool, &mut race, &mut hedge).await? {
                    Next::Wait => {}
                    next => break next,
                }
            };
            match next {
                Next::Take(leg, header) => {
                    // An answer that was held back, and is the best there is, has not failed.
                    let held_back = |failed: &FailedAttempt| {
                        failed.reason == Reason::BackendStatus && Arc::ptr_eq(&failed.backend, &leg.backend)
                    };
                    self.ctx.failed.retain(|failed| !held_back(failed));
                    self.ctx.reason = None;
                    if let Some(loser) = race.first.take().or(race.second.take()) {
                        loser.give_up(Fate::Overtaken);
                    }
                    if let Some(won) = self.ctx.hedged {
                        pool.metrics.hedge(if won { Hedged::Won } else { Hedged::Lost });
                    }
                    return self.pass_on(session, leg, header).await;
                }
                Next::Refuse(reason) => return self.refuse(session, reason).await,
                Next::Again | Next::Wait => {}
            }
        }
    }

    async fn start_race(
        &mut self,
        session: &mut Session,
        pool: &Pool,
        hedge: &mut Option<Duration>,
    ) -> std::result::Result<Race, Reason> {
        let lease = self.acquire_or_reason(session, pool).await?;
        self.begin_attempt(pool, None, Instant::now().into());
        let permit = self.permit.take();
        let first = Leg::start(self, session, lease, permit).ok_or(Reason::Internal)?;
        let hedge_at = hedge.map(|after| first.started + after);
        Ok(Race { first: Some(first), second: None, hedge_at, spare: None })
    }

    async fn turn(
        &mut self,
        session: &mut Session,
        pool: &Arc<Pool>,
        race: &mut Race,
        hedge: &mut Option<Duration>,
    ) -> Result<Next> {
        let deadline = self.deadline(pool).into();
        let per_try = pool.retry().per_try_timeout;
        match race.next(session, deadline, per_try).await {
            Event::Said(_, Some(HttpTask::Header(header, _))) if header.status.is_informational() => Ok(Next::Wait),
            Event::Said(place, Some(said @ HttpTask::Header(..))) => {
                Ok(self.answered(session, pool, race, place, said))
            }
            Event::Said(place, _) => Ok(self.leg_ended(pool, race, place).await),
            Event::Gone(error) => {
                if let Some(mut leg) = race.first.take().or(race.second.take()) {
                    leg.hang_up();
                    self.adopt(leg).await;
                }
                Err(error.into_down())
            }
            Event::Time if Instant::now() >= deadline => {
                let late = [race.first.take(), race.second.take()];
                self.drop_the_late(pool, race, late.into_iter().flatten().collect());
                Ok(race.spare_or(Reason::RequestTimeout))
            }
            Event::Time => {
                if race.hedge_at.is_some_and(|at| Instant::now() >= at) {
                    (race.hedge_at, *hedge) = (None, None);
                    race.second = self.start_second(session, pool, race);
                }
                let now = Instant::now();
                let late = |leg: &mut Leg| per_try.is_some_and(|limit| now >= leg.started + limit);
                let late = [race.first.take_if(late), race.second.take_if(late)];
                Ok(self.drop_the_late(pool, race, late.into_iter().flatten().collect()))
            }
        }
    }

    /// Ask another backend beside the first, if the budget allows it and there is one.
    fn start_second(&mut self, session: &mut Session, pool: &Pool, race: &Race) -> Option<Leg> {
        let first = race.first.as_ref()?;
        let mut tried = self.ctx.tried.clone();
        tried.push(first.backend.address().clone());
        if !pool.has_other_than(&tried) {
            return None;
        }
        // Whoever has a backend already is the first to go without another.
        if pool.roster().pool().line() > 0 {
            return None;
        }
        let choice = self.choose(session);
        let key = key::of(pool.key(), session.req_header(), self.ctx.client);
        let avoided = choice.avoided_in(pool, &tried);
        let tried = avoided.as_deref().unwrap_or(&tried);
        let pick = Pick { key: key.as_bytes(), tried, again: true, priority: Priority::Low, ..Pick::default() };
        let lease = pool.acquire(&choice.of(pick)).ok()?;
        let permit = pool.permit_retry(false).ok()?;
        debug!(
            "pool {}: backend {} is slow, {} is asked, too",
            pool.name(),
            first.backend.label(),
            lease.backend().label()
        );
        let leg = Leg::start(self, session, lease, Some(permit))?;
        self.ctx.hedged = Some(false);
        self.ctx.attempt.number = self.ctx.attempt.number.saturating_add(1);
        Some(leg)
    }

    /// A leg has the header of its response.
    fn answered(&mut self, session: &Session, pool: &Pool, race: &mut Race, place: Place, said: HttpTask) -> Next {
        let HttpTask::Header(header, _) = &said else {
            return Next::Wait;
        };
        let Some(mut leg) = race.place(place).take() else {
            return Next::Wait;
        };
        let status = header.status.as_u16();
        if Trouble::Status(status).wanted(&pool.retry().on) {
            if !race.is_over() {
                self.note_leg(
                    pool,
                    Arc::clone(&leg.backend),
                    leg.started.elapsed(),
                    &LegFailure::status(status),
                    false,
                );
                race.spare.get_or_insert((leg, said));
                return Next::Wait;
            }
            if self.another_after(session, pool, &mut leg, header) {
                return Next::Again;
            }
        }
        if place == Place::Second {
            self.ctx.hedged = Some(true);
        }
        Next::Take(leg, said)
    }

    /// A leg has ended without an answer.
    async fn leg_ended(&mut self, pool: &Pool, race: &mut Race, place: Place) -> Next {
        let Some(mut leg) = race.place(place).take() else {
            return Next::Wait;
        };
        leg.permit = None;
        let (backend, started) = (Arc::clone(&leg.backend), leg.started);
        let failure = match leg.end().await {
            Ok(end) => end.failure.unwrap_or_else(LegFailure::timeout),
            Err(failure) => failure,
        };
        let again = self.note_leg(pool, backend, started.elapsed(), &failure, race.is_over());
        race.after_a_failure(again, self.last_reason(failure.reason))
    }

    /// Cut off legs that are too late.
    fn drop_the_late(&mut self, pool: &Pool, race: &mut Race, late: Vec<Leg>) -> Next {
        if late.is_empty() {
            return Next::Wait;
        }
        let (mut again, mut left) = (false, late.len());
        for leg in late {
            left -= 1;
            let (backend, took) = (Arc::clone(&leg.backend), leg.started.elapsed());
            leg.give_up(Fate::TimedOut);
            again = self.note_leg(pool, backend, took, &LegFailure::timeout(), race.is_over() && left == 0);
        }
        race.after_a_failure(again, self.last_reason(Reason::BackendTimeout))
    }

    fn last_reason(&self, otherwise: Reason) -> Reason {
        self.ctx.failed.last().map_or(otherwise, |attempt| attempt.reason)
    }

    /// Note a failure; whether another attempt follows, which it can only if this was the `last` leg under way.
    pub(super) fn note_leg(
        &mut self,
        pool: &Pool,
        backend: Arc<BackendState>,
        took: Duration,
        failure: &LegFailure,
        last: bool,
    ) -> bool {
        let failed = Failed {
            reason: failure.reason,
            trouble: failure.trouble,
            outcome: Outcome::Cancelled,
            stale: failure.stale,
            safe: failure.safe,
            last,
            retry_after: None,
            text: &failure.text,
        };
        self.note_failure(pool, backend, took, &failed)
    }
}

/// After which time another backend is to be asked; `None` if the pool does not, or does not know yet.
fn hedge_after(pool: &Pool) -> Option<Duration> {
    match pool.hedge()?.after {
        HedgeAfter::Delay(delay) => Some(delay),
        HedgeAfter::Percentile(percent) => pool.roster().pool().latency_quantile(f64::from(percent) / 100.0),
    }
}
