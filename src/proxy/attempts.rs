//! The attempts of a request: how long it may take, whom to ask.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::HeaderName;
use pingora_core::Result;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::Session;

use super::connection;
use super::exchange::{Exchange, has_left, presented};
use crate::backend::Lease;
use crate::config::{Protocol, Timeouts};
use crate::filter::{Attempt, key};
use crate::pool::{Pick, Pool, Unavailable};
use crate::reason::Reason;

/// Numbers groups of connections of one: each is opened because a kept one turned out stale, as any other that is kept may be.
static FRESH_GROUP: AtomicU64 = AtomicU64::new(1);

/// How long such a connection is kept, though nobody will find it again.
const FRESH_IDLE: Duration = Duration::from_secs(1);

/// Whoever has waited less for room is taken for still there: looking costs a call of the system.
const LONG_ENOUGH_TO_LEAVE: Duration = Duration::from_millis(5);

impl Exchange {
    /// How long the request may take.
    pub(super) fn timeouts<'a>(&'a self, pool: &'a Pool) -> &'a Timeouts {
        self.destination().map_or(pool.timeouts(), |destination| &destination.timeouts)
    }

    /// When the header of its response must be there.
    pub(super) fn deadline(&self, pool: &Pool) -> Instant {
        let ours = self.timeouts(pool).request;
        self.ctx.started + self.ctx.given.map_or(ours, |given| given.min(ours))
    }

    /// What the backend is to be told of the time that is left, and in which header.
    pub(super) fn left_to_tell(&self) -> Option<(HeaderName, Duration)> {
        let pool = self.ctx.pool.as_ref()?;
        let header = pool.deadline_header()?.clone();
        Some((header, self.deadline(pool).saturating_duration_since(Instant::now())))
    }

    /// Take a lease in advance where the pool may be full, waiting in its queue.
    pub(super) async fn reserve(&mut self, session: &mut Session, pool: &Pool) -> std::result::Result<(), Reason> {
        if !pool.available() {
            return Err(Reason::NoBackend);
        }
        if pool.limited() {
            let begun = Instant::now();
            let lease = self.lease(session, pool).await.map_err(reason)?;
            // A backend does not always notice that the client has left: one such request after the other would be more than
            // the limit allows.
            if begun.elapsed() >= LONG_ENOUGH_TO_LEAVE && has_left(session).await {
                return Err(Reason::ClientGone);
            }
            self.reserved = Some(lease);
        }
        if session.is_upgrade_req() {
            if pool.protocol() == Protocol::H2 {
                return Err(Reason::NoUpgrade);
            }
            session.set_read_timeout(Some(self.timeouts(pool).tunnel));
        }
        Ok(())
    }

    /// Begin an attempt: where to connect.
    pub(super) async fn next_peer(&mut self, session: &Session) -> Result<Box<HttpPeer>> {
        let Some(pool) = self.ctx.pool.clone() else {
            return Err(self.fail(Reason::Internal, "the route has no pool"));
        };
        let lease = self.acquire(session, &pool).await?;
        let now = Instant::now();
        let left = self.deadline(&pool).saturating_duration_since(now);
        if left.is_zero() {
            return Err(self.fail(Reason::RequestTimeout, "timeouts.request has passed"));
        }
        // A leg is watched, and the pauses within its response are left alone.
        let (request_left, limit) = (left, pool.retry().per_try_timeout.filter(|_| self.leg.is_none()));
        let left = limit.map_or(left, |limit| left.min(limit)).max(Duration::from_millis(1));
        let mut peer = pool.peer(&lease, self.timeouts(&pool), left);
        pool.introduce(&mut peer, || ends(session, self.ctx.client));
        if self.needs_fresh_connection() {
            peer.group_key = peer.group_key.wrapping_add(FRESH_GROUP.fetch_add(1, Relaxed));
            peer.options.idle_timeout = Some(FRESH_IDLE);
        }
        if self.leg.is_none() {
            connection::answer_within(now, request_left);
        }
        if session.is_upgrade_req() {
            // Pingora has one timeout for the answer and for the tunnel after it.
            peer.options.read_timeout = Some(self.timeouts(&pool).tunnel);
            pool.in_http1(&mut peer);
        }
        self.begin_attempt(&pool, Some(lease), now);
        Ok(peer)
    }

    /// A lease for the next attempt.
    async fn acquire(&mut self, session: &Session, pool: &Pool) -> Result<Lease> {
        let acquired = self.acquire_or_reason(session, pool).await;
        acquired.map_err(|reason| self.fail(reason, "no backend is left to try"))
    }

    /// The same, with the reason if there is none.
    pub(super) async fn acquire_or_reason(
        &mut self,
        session: &Session,
        pool: &Pool,
    ) -> std::result::Result<Lease, Reason> {
        if let Some(pause) = self.pause.take() {
            Box::pin(tokio::time::sleep(pause)).await;
        }
        if let Some(lease) = self.reserved.take() {
            return Ok(lease);
        }
        // What the last attempt met says more than that nobody is left.
        let acquired = self.lease(session, pool).await;
        let why = |unavailable| self.ctx.failed.last().map_or(reason(unavailable), |attempt| attempt.reason);
        acquired.map_err(why)
    }

    async fn lease(&mut self, session: &Session, pool: &Pool) -> std::result::Result<Lease, Unavailable> {
        let choice = self.choose(session);
        let header = session.req_header();
        let key = key::of(pool.key(), header, self.ctx.client);
        let cookie = pool.sticky().and_then(|sticky| presented(header, sticky));
        let again = !self.ctx.failed.is_empty();
        let pick = Pick { key: key.as_bytes(), cookie, tried: &self.ctx.tried, again, ..self.pick() };
        let deadline = self.deadline(pool);
        if let Some(tried) = choice.avoided_in(pool, pick.tried) {
            match pool.acquire_or_wait(&Pick { tried: &tried, ..choice.of(pick) }, deadline).await {
                // The one that was left has gone meanwhile.
                Err(Unavailable::AllTried) => {}
                decided => return decided,
            }
        }
        pool.acquire_or_wait(&choice.of(pick), deadline).await
    }

    /// A lease for a further attempt, if a backend has room at once.
    pub(super) fn lease_now(&mut self, session: &Session, pool: &Pool) -> Option<Lease> {
        let choice = self.choose(session);
        let key = key::of(pool.key(), session.req_header(), self.ctx.client);
        let pick = Pick { key: key.as_bytes(), tried: &self.ctx.tried, again: true, ..self.pick() };
        let avoided = choice.avoided_in(pool, pick.tried);
        pool.acquire(&Pick { tried: avoided.as_deref().unwrap_or(pick.tried), ..choice.of(pick) }).ok()
    }

    fn pick(&self) -> Pick<'_> {
        Pick { priority: self.ctx.priority, ..Pick::default() }
    }

    /// Whether the next attempt must have a connection of its own: when a kept one was stale, others may be, too.
    pub(super) fn needs_fresh_connection(&self) -> bool {
        if let Some(leg) = &self.leg {
            return leg.fresh;
        }
        self.ctx.failed.last().is_some_and(|attempt| attempt.stale)
    }

    /// Count an attempt, on this lease unless a leg has it.
    pub(super) fn begin_attempt(&mut self, pool: &Pool, lease: Option<Lease>, now: Instant) {
        let number = self.ctx.attempt.number.saturating_add(1);
        match number {
            // The request has counted it.
            _ if self.leg.is_some() => {}
            1 => pool.earn_retries(self.ctx.started),
            _ => pool.metrics.retry(),
        }
        self.ctx.lease = lease;
        self.ctx.attempt = Attempt { number, started: Some(now), ..Attempt::default() };
    }
}

/// The two ends of the connection that a request came on, as a backend is told: where a proxy that is trusted says for whom it
/// asks, it is that one who counts, whose port nobody knows.
fn ends(session: &Session, client: Option<IpAddr>) -> Option<(SocketAddr, SocketAddr)> {
    let downstream = session.as_downstream();
    let (mut from, to) = (*downstream.client_addr()?.as_inet()?, *downstream.server_addr()?.as_inet()?);
    if let Some(client) = client.filter(|client| client.to_canonical() != from.ip().to_canonical()) {
        from = SocketAddr::new(client, 0);
    }
    Some((from, to))
}

fn reason(unavailable: Unavailable) -> Reason {
    match unavailable {
        Unavailable::NoneAdmitted | Unavailable::AllTried => Reason::NoBackend,
        Unavailable::Full => Reason::PoolFull,
        Unavailable::QueueFull => Reason::QueueFull,
        Unavailable::Overloaded => Reason::Overloaded,
        Unavailable::QueueTimeout => Reason::QueueTimeout,
        Unavailable::Deadline => Reason::RequestTimeout,
    }
}
