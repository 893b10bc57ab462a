//! The `ProxyHttp` implementation: its hooks in the order of a request's life, each a few lines that say what happens and
//! leave how to the modules around it.

mod exchange;
mod failure;
mod forwarded;
mod generation;
mod key;
mod request;
mod response;
mod retry;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{SET_COOKIE, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use log::{debug, warn};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::backend::Outcome;
use crate::filter::respond;
use crate::reason::Reason;

pub use exchange::Exchange;
pub use generation::{Action, Generation, Route};

/// Numbers groups of connections of one: each is opened because a kept one turned out stale, as any other that is kept may be.
static FRESH_GROUP: AtomicU64 = AtomicU64::new(1);

/// How long such a connection is kept, though nobody will find it again.
const FRESH_IDLE: Duration = Duration::from_secs(1);

/// The proxy: finds the route of a request, asks its pool for a backend, forwards, and tells what happened.
pub struct Proxy {
    generation: Arc<ArcSwap<Generation>>,
}

impl Proxy {
    /// A proxy that serves each request by the generation that is current when it begins.
    pub fn new(generation: Arc<ArcSwap<Generation>>) -> Self {
        Proxy { generation }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Exchange;

    fn new_ctx(&self) -> Exchange {
        Exchange::new(self.generation.load_full())
    }

    /// None: pingora's default is a compression module that does nothing, for each request.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        let limits = &exchange.generation.limits;
        session.set_read_timeout(Some(limits.body_timeout));
        session.set_write_timeout(Some(limits.write_timeout));
        session.set_pipelining_enabled(true);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        exchange.identify(session);
        let header = session.req_header();
        if let Err(reason) = request::validate(header, exchange.generation.limits.max_body_size) {
            return exchange.refuse(session, reason).await;
        }
        if !exchange.find_route(header) {
            return exchange.refuse(session, Reason::NoRoute).await;
        }
        let generation = Arc::clone(&exchange.generation);
        let Some(route) = exchange.route.and_then(|number| generation.routes.get(number)) else {
            return exchange.refuse(session, Reason::NoRoute).await;
        };
        for filter in &route.filters {
            if filter.request_filter(session, &mut exchange.ctx).await? {
                return Ok(true);
            }
        }
        match &route.action {
            Action::Respond(answer) => {
                let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
                respond(session, status, &[], &answer.body).await?;
                Ok(true)
            }
            // Here rather than in `upstream_peer`, whose errors cost the client its connection.
            Action::Pool(pool) => match exchange.reserve(session, pool).await {
                Ok(()) => Ok(false),
                Err(reason) => exchange.refuse(session, reason).await,
            },
        }
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let Some(body) = body else { return Ok(()) };
        exchange.ctx.body_received += body.len() as u64;
        match exchange.generation.limits.max_body_size {
            Some(limit) if exchange.ctx.body_received > limit => {
                Error::e_explain(ErrorType::HTTPStatus(413), "body larger than limits.max_body_size")
            }
            _ => Ok(()),
        }
    }

    async fn upstream_peer(&self, session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        let Some(pool) = exchange.ctx.pool.clone() else {
            return Err(exchange.fail(Reason::Internal, "the route has no pool"));
        };
        let lease = exchange.acquire(session, &pool).await?;
        let now = Instant::now();
        let left = pool.deadline(exchange.ctx.started).saturating_duration_since(now);
        if left.is_zero() {
            return Err(exchange.fail(Reason::RequestTimeout, "timeouts.request has passed"));
        }
        let mut peer = pool.peer(&lease, left.max(Duration::from_millis(1)));
        if exchange.needs_fresh_connection() {
            peer.group_key = FRESH_GROUP.fetch_add(1, Relaxed);
            peer.options.idle_timeout = Some(FRESH_IDLE);
        }
        if session.is_upgrade_req() {
            // Pingora has one timeout for the answer and for the tunnel after it.
            peer.options.read_timeout = Some(pool.timeouts().tunnel);
        }
        exchange.begin_attempt(&pool, lease, now);
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.as_up();
        let reason = failure::of_connect(&error.etype);
        // Nothing was sent: safe whatever the method.
        let again = exchange.end_failed_attempt(&error, reason, false, true);
        error.set_retry(again);
        error
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        #[cfg(unix)] _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let attempt = &mut exchange.ctx.attempt;
        attempt.reused = reused;
        attempt.connect = if reused { Some(Duration::ZERO) } else { attempt.started.map(|at| at.elapsed()) };
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        let peer = exchange::peer_address(session);
        let received = session.req_header();
        forwarded::tell(upstream_request, &exchange.ctx, peer, tls, received)?;
        if received.version == Version::HTTP_2 {
            request::join_cookies(upstream_request)?;
        } else {
            request::to_origin_form(upstream_request)?;
        }
        for filter in exchange.filters() {
            filter.upstream_request_filter(session, upstream_request, &mut exchange.ctx).await?;
        }
        Ok(())
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        exchange: &mut Exchange,
        reused: bool,
    ) -> Box<Error> {
        let broken = retry::Broken {
            response_started: failure::response_started(session),
            body_kept: !session.as_ref().retry_buffer_truncated(),
        };
        let safe = retry::may_send_again(&session.req_header().method, &error, &broken);
        let again = error.esource == ErrorSource::Upstream && {
            let (reason, stale) = (failure::of_backend(&error.etype), retry::stale(&error, reused, &broken));
            exchange.end_failed_attempt(&error, reason, stale, safe)
        };
        error.set_retry(again);
        error
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if response.status.is_informational() && response.status.as_u16() != 101 {
            return Ok(());
        }
        let attempt = &mut exchange.ctx.attempt;
        attempt.first_byte = attempt.started.map(|at| at.elapsed());
        if let Some(lease) = &mut exchange.ctx.lease {
            let failed = response.status.is_server_error();
            let outcome = if failed { Outcome::Failed } else { Outcome::Succeeded };
            lease.report(outcome, attempt.first_byte.unwrap_or_default());
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if response.status.is_informational() && response.status.as_u16() != 101 {
            return Ok(());
        }
        response::strip_hop_by_hop(response);
        if let Some(cookie) = exchange.sticky_cookie(session) {
            response.append_header(SET_COOKIE, cookie)?;
        }
        if session.req_header().version == Version::HTTP_10 && response.headers.contains_key(TRANSFER_ENCODING) {
            // An HTTP/1.0 client knows no chunks: the end of its connection is the end of the body.
            response.remove_header(&TRANSFER_ENCODING);
            session.set_keepalive(None);
        }
        for filter in exchange.filters() {
            filter.response_filter(session, response, &mut exchange.ctx).await?;
        }
        Ok(())
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
        let (reason, status) = match exchange.ctx.reason {
            Some(reason) => (reason, reason.status()),
            None => failure::classify(error),
        };
        // Only a filter's refusal leaves the connection as it was; after any other failure pingora closes it, and must say so.
        let of_a_filter = exchange.ctx.reason.is_none() && exchange.ctx.attempt.number == 0;
        let can_reuse_downstream = of_a_filter && error.esource == ErrorSource::Unset && reason != Reason::BodyTooLarge;
        if !can_reuse_downstream {
            session.set_keepalive(None);
        }
        exchange.ctx.reason = Some(reason);
        if reason == Reason::Internal {
            warn!("{}: {error}", Reason::Internal);
        }
        session.set_total_drain_timeout(Some(exchange::DRAIN_REFUSED));
        let error_code = match failure::answer(session, status, reason).await {
            Ok(sent) => sent,
            Err(e) => {
                debug!("could not answer the client: {e}");
                0
            }
        };
        FailToProxy { error_code, can_reuse_downstream }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        for filter in exchange.filters() {
            filter.logging(session, error, &mut exchange.ctx).await;
        }
        exchange.close(session, error);
    }

    /// A backend's failure is said in `Exchange::end_failed_attempt`, our own above; a client's is in the access log.
    fn suppress_error_log(&self, _: &Session, _: &Exchange, _: &Error) -> bool {
        true
    }

    /// Said in `Exchange::end_failed_attempt`.
    fn suppress_proxy_warn_log(&self, _: &Session, _: &Exchange, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
