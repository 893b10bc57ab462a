//! The one or two legs of a request that are under way, and what happens to them next.

use std::future::pending;
use std::time::Duration;

use pingora_core::protocols::http::HttpTask;
use pingora_core::{Error, ErrorType};
use pingora_proxy::Session;
use tokio::time::{Instant, sleep_until};

use super::leg::Leg;
use crate::reason::Reason;

/// The attempts that are under way.
pub(super) struct Race {
    pub(super) first: Option<Leg>,
    pub(super) second: Option<Leg>,
    /// When to ask another; `None` once that has been done, or cannot be.
    pub(super) hedge_at: Option<Instant>,
    /// A leg whose answer is passed on only if the other has none that is better, and that answer.
    pub(super) spare: Option<(Leg, HttpTask)>,
}

pub(super) enum Event {
    /// A leg says something, or `None` when it has ended.
    Said(Place, Option<HttpTask>),
    /// A time that was waited for has come.
    Time,
    /// The client has left.
    Gone(Box<Error>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    First,
    Second,
}

/// What is to be done.
pub(super) enum Next {
    Wait,
    /// Pass this leg's response on.
    Take(Leg, HttpTask),
    /// Begin anew with another backend.
    Again,
    Refuse(Reason),
}

impl Race {
    pub(super) fn place(&mut self, place: Place) -> &mut Option<Leg> {
        match place {
            Place::First => &mut self.first,
            Place::Second => &mut self.second,
        }
    }

    /// Wait for the next that happens.
    pub(super) async fn next(&mut self, session: &mut Session, deadline: Instant, per_try: Option<Duration>) -> Event {
        let legs = self.first.iter().chain(&self.second);
        let limits = legs.filter_map(|leg| Some(leg.started + per_try?));
        let until = limits.chain(self.hedge_at).fold(deadline, Instant::min);
        tokio::select! {
            said = next_of(&mut self.first) => Event::Said(Place::First, said),
            said = next_of(&mut self.second) => Event::Said(Place::Second, said),
            () = sleep_until(until) => Event::Time,
            gone = left(session) => Event::Gone(gone),
        }
    }

    /// Whether nobody is left who may still answer.
    pub(super) fn is_over(&self) -> bool {
        self.first.is_none() && self.second.is_none()
    }

    /// What follows when a leg has failed, and `again` says whether another attempt is planned.
    pub(super) fn after_a_failure(&mut self, again: bool, reason: Reason) -> Next {
        match (again, self.is_over()) {
            (true, _) => Next::Again,
            (false, false) => Next::Wait,
            (false, true) => self.spare_or(reason),
        }
    }

    pub(super) fn spare_or(&mut self, reason: Reason) -> Next {
        match self.spare.take() {
            Some((leg, said)) => Next::Take(leg, said),
            None => Next::Refuse(reason),
        }
    }
}

async fn next_of(leg: &mut Option<Leg>) -> Option<HttpTask> {
    match leg {
        Some(leg) => leg.next().await,
        None => pending().await,
    }
}

/// Wait for the client to leave.
pub(super) async fn left(session: &mut Session) -> Box<Error> {
    match session.downstream_session.read_body_or_idle(true).await {
        Err(error) => error,
        Ok(_) => Error::explain(ErrorType::ConnectionClosed, "the client has left"),
    }
}
