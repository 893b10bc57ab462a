//! One request under way: its route, its attempts, its end.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use pingora::http::RequestHeader;
use pingora_core::protocols::http::bridge::grpc_web::GrpcWebCtx;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::Session;

use super::bodiless::Bodiless;
use super::destination::Destination;
use super::generation::{Action, Generation, Route};
use super::leg::Role;
use super::mirror::Copy;
use super::upgrade::Upgrade;
use super::{deadline, failure, forwarded, rewrite};
use crate::access_log::Entry;
use crate::backend::{Lease, Outcome};
use crate::filter::{self, Answer, Ctx, key};
use crate::pool::{Permit, Stickiness, is_tunnel};
use crate::reason::Reason;
use crate::route::Asked;

/// A request under way: the generation that it began in, its route there, and its context.
pub struct Exchange {
    pub(super) generation: Arc<Generation>,
    pub(super) route: Option<usize>,
    /// Which of the pools that its route leads to.
    pub(super) destination: Option<usize>,
    /// Which of a route's chains it passes.
    pub(super) listener: usize,
    pub(super) ctx: Ctx,
    /// Taken before `upstream_peer` asks: where the pool may be full, so that whoever must wait or leave keeps its connection.
    pub(super) reserved: Option<Lease>,
    /// How long the next attempt waits for its beginning.
    pub(super) pause: Option<Duration>,
    /// The right to the second attempt under way.
    pub(super) permit: Option<Permit>,
    /// A retry has been decided on, before pingora asks for it.
    pub(super) again: bool,
    /// What it is, if it is only one of the attempts of a request.
    pub(super) leg: Option<Role>,
    pub(super) upgrade: Upgrade,
    /// Its body, if a second pool is to get a copy.
    pub(super) copy: Option<Copy>,
    pub(super) bodiless: Bodiless,
    /// The client has been told to send its body.
    pub(super) continued: bool,
    /// How far a grpc-web answer has been made of one of gRPC.
    pub(super) grpc_web: GrpcWebCtx,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        match &self.leg {
            Some(leg) => leg.judge(&mut self.ctx),
            None => {
                self.generation.in_flight.fetch_sub(1, Relaxed);
            }
        }
    }
}

impl Exchange {
    pub(super) fn new(generation: Arc<Generation>) -> Self {
        generation.in_flight.fetch_add(1, Relaxed);
        Exchange {
            generation,
            route: None,
            destination: None,
            listener: 0,
            ctx: Ctx::new(),
            reserved: None,
            pause: None,
            permit: None,
            again: false,
            leg: None,
            upgrade: Upgrade::None,
            copy: None,
            bodiless: Bodiless::default(),
            continued: false,
            grpc_web: GrpcWebCtx::Disabled,
        }
    }

    /// Serve by another generation, which counts the request already.
    pub(super) fn serve(&mut self, generation: Arc<Generation>) {
        self.generation.in_flight.fetch_sub(1, Relaxed);
        self.generation = generation;
    }

    /// Whether its backend may still serve it.
    ///
    /// # Errors
    /// That the backend was removed, and has had its time.
    #[inline]
    pub(super) fn still_served(&mut self) -> Result<()> {
        if !self.ctx.lease.as_ref().is_some_and(|lease| lease.backend().cut()) {
            return Ok(());
        }
        self.ctx.reason = Some(Reason::BackendRemoved);
        Error::e_explain(ErrorType::InternalError, "its backend was removed")
    }

    /// Some of its body has come, and goes on to the backend.
    ///
    /// # Errors
    /// That the backend was removed, or that the body is too large.
    #[inline]
    pub(super) fn take_in(&mut self, session: &Session, body: &Bytes) -> Result<()> {
        self.still_served()?;
        // A further attempt is given all of it again.
        let given = &mut self.ctx.attempt.body;
        *given += body.len() as u64;
        self.ctx.body_received = self.ctx.body_received.max(*given);
        match self.generation.limits.max_body_size {
            Some(limit) if self.ctx.body_received > limit && !is_tunnel(session) => {
                Error::e_explain(ErrorType::HTTPStatus(413), "body larger than limits.max_body_size")
            }
            _ => Ok(()),
        }
    }

    /// Note who the client is.
    pub(super) fn identify(&mut self, session: &Session) {
        self.ctx.grpc = filter::is_call(session.req_header());
        let (headers, generation) = (&session.req_header().headers, &self.generation);
        let (trusted, policy) = (&generation.trusted_proxies, &generation.forwarded_headers);
        forwarded::identify(&mut self.ctx, peer_address(session), headers, trusted, policy);
    }

    /// Find the route, and note its pool.
    pub(super) fn find_route(&mut self, header: &RequestHeader) -> bool {
        let router = &self.generation.router;
        self.route = router.only().or_else(|| router.find(&self.asked(header)));
        let route = self.route.and_then(|number| self.generation.routes.get(number));
        self.destination = route.and_then(|route| route.choose(header, self.ctx.client));
        if let Some(Destination { pool, .. }) = self.destination() {
            let pool = Arc::clone(pool);
            self.ctx.given = pool.deadline_header().and_then(|_| deadline::given(&header.headers));
            self.ctx.pool = Some(pool);
        }
        let route = self.route.and_then(|number| self.generation.routes.get(number));
        self.ctx.priority = route.map_or(self.ctx.priority, |route| route.priority);
        route.is_some()
    }

    /// What routes are asked about it.
    fn asked<'a>(&self, header: &'a RequestHeader) -> Asked<'a> {
        Asked {
            host: filter::authority(header).map(filter::host_of).unwrap_or_default(),
            path: header.uri.path(),
            query: header.uri.query(),
            method: &header.method,
            headers: &header.headers,
            // An IPv4 address in the form of IPv6, as on a socket for both, is the IPv4 address.
            client: self.ctx.client.map(|client| client.to_canonical()),
        }
    }

    /// Which of the pools that its route leads to it goes to, and how long that may take.
    pub(super) fn destination(&self) -> Option<&Destination> {
        self.generation.routes.get(self.route?)?.destinations.get(self.destination?)
    }

    /// Ask the backend what the route says.
    pub(super) fn rewrite(&self, upstream_request: &mut RequestHeader) -> Result<()> {
        let route = self.route.and_then(|number| self.generation.routes.get(number));
        route.and_then(|route| route.rewrite.as_ref()).map_or(Ok(()), |it| rewrite::apply(it, upstream_request))
    }

    /// Do what the route says. `true` if the client has its answer.
    pub(super) async fn follow(&mut self, session: &mut Session, route: &Route) -> Result<bool> {
        if self.pass_filters(session, route).await? {
            return Ok(true);
        }
        let pool = match (&route.action, self.destination.and_then(|place| route.destinations.get(place))) {
            (Action::Respond(answer), _) => {
                return Answer::new(answer.status)?.text(&*answer.body).send(session, &mut self.ctx).await;
            }
            (Action::Redirect(to), _) => return self.send_elsewhere(session, to).await,
            (Action::Forward | Action::Split(_), Some(destination)) => &destination.pool,
            (Action::Forward | Action::Split(_), None) => return self.refuse(session, Reason::Internal).await,
        };
        if let Some(mirror) = &route.mirror {
            self.mirror(session, mirror);
        }
        // Here rather than in `upstream_peer`, whose errors cost the client its connection.
        if let Err(reason) = self.reserve(session, pool).await {
            return self.refuse(session, reason).await;
        }
        if self.may_be_watched(session, pool) {
            // On the heap: it is large, and few requests take this way.
            return Box::pin(self.forward_watched(session, pool)).await;
        }
        Ok(false)
    }

    /// Answer with a refusal; the connection lives on, but after a bad request.
    pub(super) async fn refuse(&mut self, session: &mut Session, reason: Reason) -> Result<bool> {
        if reason == Reason::BadRequest {
            // Whoever has sent that may mean anything by what comes after it.
            session.set_keepalive(None);
        }
        self.ctx.refuse(reason, reason.status());
        self.answer(session, reason.status(), reason).await?;
        Ok(true)
    }

    /// An error for which the reason is known.
    pub(super) fn fail(&mut self, reason: Reason, text: &'static str) -> Box<Error> {
        self.ctx.reason = Some(reason);
        Error::explain(ErrorType::HTTPStatus(reason.status()), text)
    }

    /// The cookie that binds the client to the backend that answers, if it needs one.
    pub(super) fn sticky_cookie(&self, session: &Session) -> Option<String> {
        let sticky = self.ctx.pool.as_ref()?.sticky()?;
        let presented = presented(session.req_header(), sticky);
        let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        sticky.set_cookie(self.ctx.lease.as_ref()?, presented, &self.ctx.tried, tls)
    }

    /// Count it, log it, and let its backend go.
    pub(super) fn close(&mut self, session: &Session, error: Option<&Error>) {
        self.end_mirror();
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
            let fault = || Outcome::Failed(failure::of_reason(failure::of_backend(&error.etype)));
            lease.report(if backends_fault { fault() } else { Outcome::Cancelled }, took);
        }
        let status = match (session.response_written(), self.ctx.reason) {
            (_, Some(Reason::ClientGone)) => 499,
            (Some(response), _) => response.status.as_u16(),
            (None, reason) => reason.map_or(499, Reason::status),
        };
        let elapsed = self.ctx.elapsed();
        let pool = self.ctx.pool.as_ref().map_or(&self.generation.unrouted, |pool| &pool.metrics);
        let meant = self.ctx.meant.filter(|_| self.ctx.grpc && status == 200);
        pool.request(meant.unwrap_or(status), elapsed.as_secs_f64());
        if self.ctx.grpc {
            let ours = self.ctx.reason.map(|reason| filter::status_of(reason, meant.unwrap_or(reason.status())));
            self.ctx.grpc_status = ours.or(self.ctx.grpc_status);
            pool.call(self.ctx.grpc_status);
        }
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
pub(super) fn presented<'a>(header: &'a RequestHeader, sticky: &'a Stickiness) -> Option<&'a [u8]> {
    key::cookies(header, sticky.cookie()).find(|value| sticky.names_a_backend(value))
}

/// Whether the client has closed its connection or reset its stream. With a body to come in HTTP/1 that cannot be known:
/// looking would read it.
pub(super) async fn has_left(session: &mut Session) -> bool {
    let nothing_to_come = !session.is_upgrade_req() && session.is_body_empty();
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
