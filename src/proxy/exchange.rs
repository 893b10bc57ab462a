//! One request under way: its route, its attempts, its end.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::StatusCode;
use log::{Level, log};
use pingora::http::RequestHeader;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::generation::{Action, Generation};
use super::{failure, forwarded, key, request};
use crate::access_log::Entry;
use crate::backend::{Lease, Outcome};
use crate::ctx::{Attempt, Ctx, FailedAttempt};
use crate::filter::Filter;
use crate::pool::{Pick, Pool, Stickiness, Unavailable};
use crate::reason::Reason;

/// How long the rest of a refused body is read, so that the client sees the answer and not a reset.
pub(super) const DRAIN_REFUSED: Duration = Duration::from_secs(2);

/// Whoever has waited less for room is taken for still there: looking costs a call of the system.
const LONG_ENOUGH_TO_LEAVE: Duration = Duration::from_millis(5);

/// How many attempts may go to a stale connection without counting. The second has a connection of its own, so that more
/// than one is already strange.
const MAX_STALE: usize = 3;

/// A request under way: the generation that it began in, its route there, and its context.
pub struct Exchange {
    pub(super) generation: Arc<Generation>,
    pub(super) route: Option<usize>,
    pub(super) ctx: Ctx,
    /// Taken before `upstream_peer` asks: where the pool may be full, so that whoever must wait or leave keeps its connection.
    reserved: Option<Lease>,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.generation.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Exchange {
    pub(super) fn new(generation: Arc<Generation>) -> Self {
        generation.in_flight.fetch_add(1, Relaxed);
        Exchange { generation, route: None, ctx: Ctx::new(), reserved: None }
    }

    /// Note who the client is.
    pub(super) fn identify(&mut self, session: &Session) {
        let headers = &session.req_header().headers;
        forwarded::identify(&mut self.ctx, peer_address(session), headers, &self.generation.trusted_proxies);
    }

    /// Find the route, and note its pool.
    pub(super) fn find_route(&mut self, header: &RequestHeader) -> bool {
        let router = &self.generation.router;
        self.route = router.only().or_else(|| {
            let host = request::authority(header).map(request::host_of).unwrap_or_default();
            router.find(host, header.uri.path())
        });
        let route = self.route.and_then(|number| self.generation.routes.get(number));
        if let Some(Action::Pool(pool)) = route.map(|route| &route.action) {
            self.ctx.pool = Some(Arc::clone(pool));
        }
        route.is_some()
    }

    /// The filters of the route; none if there is none.
    pub(super) fn filters(&self) -> Vec<Arc<dyn Filter>> {
        let route = self.route.and_then(|number| self.generation.routes.get(number));
        // An empty vector allocates nothing; the copy frees the request for the filter to change.
        route.map(|route| route.filters.clone()).unwrap_or_default()
    }

    /// Answer with a refusal; the connection lives on.
    pub(super) async fn refuse(&mut self, session: &mut Session, reason: Reason) -> Result<bool> {
        self.ctx.reason = Some(reason);
        session.set_total_drain_timeout(Some(DRAIN_REFUSED));
        failure::answer(session, reason.status(), reason).await?;
        Ok(true)
    }

    /// An error for which the reason is known.
    pub(super) fn fail(&mut self, reason: Reason, text: &'static str) -> Box<Error> {
        self.ctx.reason = Some(reason);
        Error::explain(ErrorType::HTTPStatus(reason.status()), text)
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
            session.set_read_timeout(Some(pool.timeouts().tunnel));
        }
        Ok(())
    }

    /// A lease for the next attempt.
    pub(super) async fn acquire(&mut self, session: &Session, pool: &Pool) -> Result<Lease> {
        if let Some(lease) = self.reserved.take() {
            return Ok(lease);
        }
        self.lease(session, pool).await.map_err(|unavailable| {
            // What the last attempt met says more than that nobody is left.
            let reason = self.ctx.failed.last().map_or(reason(unavailable), |attempt| attempt.reason);
            self.fail(reason, "no backend is left to try")
        })
    }

    async fn lease(&self, session: &Session, pool: &Pool) -> std::result::Result<Lease, Unavailable> {
        let header = session.req_header();
        let key = key::of(pool.key(), header, self.ctx.client);
        let cookie = pool.sticky().and_then(|sticky| presented(header, sticky));
        let again = !self.ctx.failed.is_empty();
        let pick = Pick { key: key.as_bytes(), cookie, tried: &self.ctx.tried, again };
        pool.acquire_or_wait(&pick, pool.deadline(self.ctx.started)).await
    }

    /// The cookie that binds the client to the backend that answers, if it needs one.
    pub(super) fn sticky_cookie(&self, session: &Session) -> Option<String> {
        let sticky = self.ctx.pool.as_ref()?.sticky()?;
        let presented = presented(session.req_header(), sticky);
        let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        sticky.set_cookie(self.ctx.lease.as_ref()?, presented, &self.ctx.tried, tls)
    }

    /// Whether the next attempt must have a connection of its own: when a kept one was stale, others may be, too.
    pub(super) fn needs_fresh_connection(&self) -> bool {
        self.ctx.failed.last().is_some_and(|attempt| attempt.stale)
    }

    pub(super) fn begin_attempt(&mut self, pool: &Pool, lease: Lease, now: Instant) {
        let number = self.ctx.attempt.number.saturating_add(1);
        if number > 1 {
            pool.metrics.retry();
        }
        self.ctx.lease = Some(lease);
        self.ctx.attempt = Attempt { number, started: Some(now), ..Attempt::default() };
    }

    /// Note that the attempt under way has failed, and say whether another follows: it does if it is safe and there are
    /// attempts, time and a backend left.
    pub(super) fn end_failed_attempt(&mut self, error: &Error, reason: Reason, stale: bool, safe: bool) -> bool {
        let (Some(pool), Some(mut lease)) = (self.ctx.pool.clone(), self.ctx.lease.take()) else {
            return false;
        };
        let took = self.ctx.attempt.started.map(|at| at.elapsed()).unwrap_or_default();
        lease.report(if stale { Outcome::Cancelled } else { Outcome::Failed }, took);
        let backend = Arc::clone(lease.backend());
        if !stale {
            self.ctx.tried.push(backend.address().clone());
        }
        let in_time = Instant::now() < pool.deadline(self.ctx.started);
        let reason = if reason == Reason::BackendTimeout && !in_time { Reason::RequestTimeout } else { reason };
        let in_vain = self.ctx.failed.iter().filter(|attempt| attempt.stale).count();
        let attempts_left = match stale {
            true => in_vain < MAX_STALE,
            false => usize::from(self.ctx.attempt.number) - in_vain < usize::from(pool.retry().attempts),
        };
        let again = safe && in_time && attempts_left && pool.has_other_than(&self.ctx.tried);
        // What the next attempt makes good is no news: with a backend down, it would be a line for each request.
        let level = if again { Level::Debug } else { Level::Warn };
        log!(level, "pool {}: backend {}: {reason}: {error}", pool.name(), backend.label());
        if again && stale && pool.limited() && backend.eligible() {
            // It is nobody's fault, and must not cost the request its room, which others may be waiting for.
            lease.renew();
            self.reserved = Some(lease);
        }
        self.ctx.failed.push(FailedAttempt { backend, reason, took, stale });
        self.ctx.reason = (!again).then_some(reason);
        again
    }

    /// Count it, log it, and let its backend go.
    pub(super) fn close(&mut self, session: &Session, error: Option<&Error>) {
        if self.ctx.reason.is_none() {
            self.ctx.reason = error.map(|e| failure::classify(e).0);
        }
        let tunnel = session.response_written().is_some_and(|r| r.status == StatusCode::SWITCHING_PROTOCOLS);
        if tunnel && self.ctx.reason == Some(Reason::ClientGone) {
            // Somebody has to hang up first.
            self.ctx.reason = None;
        } else if let (Some(lease), Some(error)) = (&mut self.ctx.lease, error) {
            let backends_fault = error.esource == ErrorSource::Upstream;
            let took = self.ctx.attempt.started.map(|at| at.elapsed()).unwrap_or_default();
            lease.report(if backends_fault { Outcome::Failed } else { Outcome::Cancelled }, took);
        }
        let status = match (session.response_written(), self.ctx.reason) {
            (_, Some(Reason::ClientGone)) => 499,
            (Some(response), _) => response.status.as_u16(),
            (None, reason) => reason.map_or(499, Reason::status),
        };
        let elapsed = self.ctx.elapsed();
        let pool = self.ctx.pool.as_ref().map_or(&self.generation.unrouted, |pool| &pool.metrics);
        pool.request(status, elapsed.as_secs_f64());
        if let Some(reason) = self.ctx.reason {
            pool.failure(reason);
        }
        if let Some(log) = &self.generation.access_log {
            log.write(&Entry { session, ctx: &self.ctx, status, elapsed });
        }
        self.ctx.lease = None;
    }
}

/// The cookie by which a client names its backend.
fn presented<'a>(header: &'a RequestHeader, sticky: &'a Stickiness) -> Option<&'a [u8]> {
    key::cookies(header, sticky.cookie()).find(|value| sticky.names_a_backend(value))
}

fn reason(unavailable: Unavailable) -> Reason {
    match unavailable {
        Unavailable::NoneAdmitted | Unavailable::AllTried => Reason::NoBackend,
        Unavailable::Full => Reason::PoolFull,
        Unavailable::QueueTimeout => Reason::QueueTimeout,
        Unavailable::Deadline => Reason::RequestTimeout,
    }
}

/// Whether the client has closed its connection or reset its stream. With a body to come in HTTP/1 that cannot be known:
/// looking would read it.
async fn has_left(session: &mut Session) -> bool {
    let nothing_to_come = session.is_body_empty() && !session.is_upgrade_req();
    let downstream = session.as_downstream_mut();
    if let Some(closed) = downstream.watch_h2_stream_close() {
        return is_ready(closed).await;
    }
    // Pending, it has read nothing; what it reads of a next request it keeps for that.
    nothing_to_come && is_ready(downstream.read_body_or_idle(true)).await
}

/// Whether this is done, without waiting for it.
async fn is_ready(future: impl Future) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}

/// The address at the other end of the connection.
pub(super) fn peer_address(session: &Session) -> Option<IpAddr> {
    session.client_addr()?.as_inet().map(|address| address.ip())
}
