//! The `ProxyHttp` implementation: its hooks in the order of a request's life, each a few lines that say what happens and
//! leave how to the modules around it.

mod failure;
mod forwarded;
mod generation;
mod request;
mod retry;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::{HeaderName, Version};
use log::{debug, warn};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::access_log::Entry;
use crate::backend::{Lease, Outcome};
use crate::ctx::{Attempt, Ctx, FailedAttempt};
use crate::pool::{Pool, Unavailable};
use crate::reason::Reason;

pub use generation::{Action, Generation, Route};

/// How long the rest of a refused body is read, so that the client sees the answer and not a reset.
const DRAIN_REFUSED: Duration = Duration::from_secs(2);

/// The group of connections that were opened because a kept one turned out stale, and may be the last that works.
const FRESH_GROUP: u64 = 1;

/// The proxy: finds the route of a request, asks its pool for a backend, forwards, and tells what happened.
pub struct Proxy {
    generation: Arc<ArcSwap<Generation>>,
}

/// A request under way: the generation that it began in, its route there, and its context.
pub struct Request {
    generation: Arc<Generation>,
    route: Option<usize>,
    ctx: Ctx,
}

impl Proxy {
    /// A proxy that serves each request by the generation that is current when it begins.
    pub fn new(generation: Arc<ArcSwap<Generation>>) -> Self {
        Proxy { generation }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        Request {
            generation: self.generation.load_full(),
            route: None,
            ctx: Ctx::new(),
        }
    }

    /// None: pingora's default is a compression module that does nothing, for each request.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, request: &mut Request) -> Result<()> {
        let limits = &request.generation.limits;
        // Only where the connection is kept at all: pingora would keep it for an HTTP/1.0 client or a stopping process, too.
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(limits.idle_timeout.as_secs().max(1)));
        }
        session.set_read_timeout(Some(limits.body_timeout));
        session.set_write_timeout(Some(limits.write_timeout));
        session.set_pipelining_enabled(true);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, request: &mut Request) -> Result<bool> {
        request.identify(session);
        let header = session.req_header();
        if let Err(reason) = request::validate(header, request.generation.limits.max_body_size) {
            return request.refuse(session, reason).await;
        }
        if !request.find_route(header) {
            return request.refuse(session, Reason::NoRoute).await;
        }
        let generation = Arc::clone(&request.generation);
        let Some(route) = request.route.and_then(|number| generation.routes.get(number)) else {
            return request.refuse(session, Reason::NoRoute).await;
        };
        for filter in &route.filters {
            if filter.request_filter(session, &mut request.ctx).await? {
                return Ok(true);
            }
        }
        match &route.action {
            Action::Respond(answer) => {
                failure::respond(session, answer.status, &answer.body).await?;
                Ok(true)
            }
            Action::Pool(pool) if pool.available() => {
                if session.is_upgrade_req() {
                    session.set_read_timeout(Some(pool.timeouts().tunnel));
                }
                Ok(false)
            }
            // Here rather than in `upstream_peer`, whose errors cost the client its connection.
            Action::Pool(_) => request.refuse(session, Reason::NoBackend).await,
        }
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        request: &mut Request,
    ) -> Result<()> {
        let Some(body) = body else { return Ok(()) };
        request.ctx.body_received += body.len() as u64;
        match request.generation.limits.max_body_size {
            Some(limit) if request.ctx.body_received > limit => {
                Error::e_explain(ErrorType::HTTPStatus(413), "body larger than limits.max_body_size")
            }
            _ => Ok(()),
        }
    }

    async fn upstream_peer(&self, session: &mut Session, request: &mut Request) -> Result<Box<HttpPeer>> {
        let Some(pool) = request.ctx.pool.clone() else {
            return Err(request.fail(Reason::Internal, "the route has no pool"));
        };
        let now = Instant::now();
        let left = pool.deadline(request.ctx.started).saturating_duration_since(now);
        if left.is_zero() && request.ctx.body_received == 0 {
            return Err(request.fail(Reason::RequestTimeout, "timeouts.request has passed"));
        }
        let (lease, fresh) = request.acquire(&pool)?;
        let mut peer = pool.peer(&lease, left.max(Duration::from_millis(1)));
        if fresh {
            peer.group_key = FRESH_GROUP;
        }
        if session.is_upgrade_req() {
            peer.options.read_timeout = Some(pool.timeouts().tunnel);
        }
        request.begin_attempt(&pool, lease, now);
        Ok(peer)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        request: &mut Request,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.as_up();
        let reason = failure::of_connect(&error.etype);
        let again = request.end_failed_attempt(&error, reason, false);
        // Nothing was sent: whatever the method.
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
        request: &mut Request,
    ) -> Result<()> {
        let attempt = &mut request.ctx.attempt;
        attempt.reused = reused;
        attempt.connect = if reused {
            Some(Duration::ZERO)
        } else {
            attempt.started.map(|at| at.elapsed())
        };
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        request: &mut Request,
    ) -> Result<()> {
        let tls = session.digest().is_some_and(|digest| digest.ssl_digest.is_some());
        let peer = peer_address(session);
        forwarded::tell(
            upstream_request,
            &request.ctx,
            peer,
            tls,
            session.req_header().headers.get(HOST),
        )?;
        if upstream_request.uri.authority().is_some() && session.req_header().version != Version::HTTP_2 {
            to_origin_form(upstream_request)?;
        }
        for filter in request.filters() {
            filter
                .upstream_request_filter(session, upstream_request, &mut request.ctx)
                .await?;
        }
        Ok(())
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        request: &mut Request,
        reused: bool,
    ) -> Box<Error> {
        let broken = retry::Broken {
            reused,
            response_started: session.response_written().is_some_and(|r| !r.status.is_informational()),
            body_kept: !session.as_ref().retry_buffer_truncated(),
        };
        let safe = retry::may_send_again(&session.req_header().method, &error, &broken);
        let left_over = if error.esource == ErrorSource::Upstream {
            let stale = retry::stale(&error, broken.reused);
            request.end_failed_attempt(&error, failure::of_backend(&error.etype), stale)
        } else {
            false
        };
        error.set_retry(safe && left_over);
        error
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        request: &mut Request,
    ) -> Result<()> {
        if response.status.is_informational() && response.status.as_u16() != 101 {
            return Ok(());
        }
        let attempt = &mut request.ctx.attempt;
        attempt.first_byte = attempt.started.map(|at| at.elapsed());
        if let Some(lease) = &mut request.ctx.lease {
            let failed = response.status.is_server_error();
            lease.report(if failed { Outcome::Failed } else { Outcome::Succeeded });
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        request: &mut Request,
    ) -> Result<()> {
        if response.status.is_informational() && response.status.as_u16() != 101 {
            return Ok(());
        }
        strip_hop_by_hop(response);
        if session.req_header().version == Version::HTTP_10 && response.headers.contains_key(TRANSFER_ENCODING) {
            // An HTTP/1.0 client knows no chunks: the end of its connection is the end of the body.
            response.remove_header(&TRANSFER_ENCODING);
            session.set_keepalive(None);
        }
        for filter in request.filters() {
            filter.response_filter(session, response, &mut request.ctx).await?;
        }
        Ok(())
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, request: &mut Request) -> FailToProxy {
        let (reason, status) = match request.ctx.reason {
            Some(reason) => (reason, reason.status()),
            None => failure::classify(error),
        };
        request.ctx.reason = Some(reason);
        if reason == Reason::BodyTooLarge {
            session.set_total_drain_timeout(Some(DRAIN_REFUSED));
        }
        let error_code = match failure::answer(session, status, reason).await {
            Ok(sent) => sent,
            Err(e) => {
                debug!("could not answer the client: {e}");
                0
            }
        };
        FailToProxy {
            error_code,
            // A filter's refusal leaves the connection as it was.
            can_reuse_downstream: error.esource == ErrorSource::Unset && reason != Reason::BodyTooLarge,
        }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, request: &mut Request) {
        for filter in request.filters() {
            filter.logging(session, error, &mut request.ctx).await;
        }
        request.close(session, error);
    }

    /// Said in [`Request::close`], in one line that names reason, pool and backend.
    fn suppress_error_log(&self, _: &Session, _: &Request, _: &Error) -> bool {
        true
    }

    /// Said in [`Request::end_failed_attempt`].
    fn suppress_proxy_warn_log(&self, _: &Session, _: &Request, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}

impl Request {
    /// Note who the client is.
    fn identify(&mut self, session: &Session) {
        let headers = &session.req_header().headers;
        forwarded::identify(
            &mut self.ctx,
            peer_address(session),
            headers,
            &self.generation.trusted_proxies,
        );
    }

    /// Find the route, and note its pool.
    fn find_route(&mut self, header: &RequestHeader) -> bool {
        let router = &self.generation.router;
        self.route = router.only().or_else(|| {
            let host = request::authority(header)
                .map(request::without_port)
                .unwrap_or_default();
            router.find(host, header.uri.path())
        });
        let route = self.route.and_then(|number| self.generation.routes.get(number));
        if let Some(Action::Pool(pool)) = route.map(|route| &route.action) {
            self.ctx.pool = Some(Arc::clone(pool));
        }
        route.is_some()
    }

    /// The filters of the route; none if there is none.
    fn filters(&self) -> Vec<Arc<dyn crate::filter::Filter>> {
        let route = self.route.and_then(|number| self.generation.routes.get(number));
        // An empty vector allocates nothing; the copy frees the request for the filter to change.
        route.map(|route| route.filters.clone()).unwrap_or_default()
    }

    /// Answer with a refusal; the connection lives on.
    async fn refuse(&mut self, session: &mut Session, reason: Reason) -> Result<bool> {
        self.ctx.reason = Some(reason);
        session.set_total_drain_timeout(Some(DRAIN_REFUSED));
        failure::answer(session, reason.status(), reason).await?;
        Ok(true)
    }

    /// An error for which the reason is known.
    fn fail(&mut self, reason: Reason, text: &'static str) -> Box<Error> {
        self.ctx.reason = Some(reason);
        Error::explain(ErrorType::HTTPStatus(reason.status()), text)
    }

    /// A lease for the next attempt, and whether it must have a connection of its own: when the only backend left is the one
    /// whose kept connection was stale, another kept one may be stale too.
    fn acquire(&mut self, pool: &Pool) -> Result<(Lease, bool)> {
        let stale = self.ctx.failed.last().is_some_and(|attempt| attempt.stale);
        match pool.acquire(b"", &self.ctx.tried) {
            Ok(lease) => Ok((lease, false)),
            Err(Unavailable::AllTried) if stale => {
                self.ctx.tried.pop();
                match pool.acquire(b"", &self.ctx.tried) {
                    Ok(lease) => Ok((lease, true)),
                    Err(_) => Err(self.fail(Reason::NoBackend, "no backend is admitted any more")),
                }
            }
            Err(_) => {
                // What the last attempt met says more than that nobody is left.
                let reason = self
                    .ctx
                    .failed
                    .last()
                    .map_or(Reason::NoBackend, |attempt| attempt.reason);
                Err(self.fail(reason, "no backend is left to try"))
            }
        }
    }

    fn begin_attempt(&mut self, pool: &Pool, lease: Lease, now: Instant) {
        let number = self.ctx.attempt.number.saturating_add(1);
        if number > 1 {
            pool.metrics.retry();
        }
        self.ctx.lease = Some(lease);
        self.ctx.attempt = Attempt {
            number,
            started: Some(now),
            ..Attempt::default()
        };
    }

    /// Note that the attempt under way has failed, and say whether another may follow.
    fn end_failed_attempt(&mut self, error: &Error, reason: Reason, stale: bool) -> bool {
        let (Some(pool), Some(mut lease)) = (self.ctx.pool.clone(), self.ctx.lease.take()) else {
            return false;
        };
        lease.report(if stale { Outcome::Cancelled } else { Outcome::Failed });
        let backend = Arc::clone(lease.backend());
        if stale {
            debug!(
                "pool {}: backend {}: a kept connection had been closed",
                pool.name(),
                backend.label()
            );
        } else {
            warn!("pool {}: backend {}: {reason}: {error}", pool.name(), backend.label());
        }
        self.ctx.tried.push(backend.address().clone());
        self.ctx.failed.push(FailedAttempt {
            backend,
            reason,
            took: self.ctx.attempt.started.map(|at| at.elapsed()).unwrap_or_default(),
            stale,
        });
        self.ctx.attempt.number < pool.retry().attempts && Instant::now() < pool.deadline(self.ctx.started)
    }

    /// Count it, log it, and let its backend go.
    fn close(&mut self, session: &Session, error: Option<&Error>) {
        if self.ctx.reason.is_none() {
            self.ctx.reason = error.map(|e| failure::classify(e).0);
        }
        if let (Some(lease), Some(error)) = (&mut self.ctx.lease, error) {
            let backends_fault = error.esource == ErrorSource::Upstream;
            lease.report(if backends_fault {
                Outcome::Failed
            } else {
                Outcome::Cancelled
            });
        }
        let status = match (session.response_written(), self.ctx.reason) {
            (_, Some(Reason::ClientGone)) => 499,
            (Some(response), _) => response.status.as_u16(),
            (None, reason) => reason.map_or(499, Reason::status),
        };
        let elapsed = self.ctx.elapsed();
        let pool = self
            .ctx
            .pool
            .as_ref()
            .map_or(&self.generation.unrouted, |pool| &pool.metrics);
        pool.request(status, elapsed.as_secs_f64());
        if let Some(reason) = self.ctx.reason {
            pool.failure(reason);
        }
        if let Some(log) = &self.generation.access_log {
            log.write(&Entry {
                session,
                ctx: &self.ctx,
                status,
                elapsed,
            });
        }
        self.ctx.lease = None;
    }
}

/// The address at the other end of the connection.
fn peer_address(session: &Session) -> Option<IpAddr> {
    session.client_addr()?.as_inet().map(|address| address.ip())
}

/// `GET http://host/path` as `GET /path`, which is what an origin expects; the host stays in `Host`, which must agree.
fn to_origin_form(request: &mut RequestHeader) -> Result<()> {
    let path = request
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let uri = path
        .parse()
        .map_err(|_| Error::explain(ErrorType::HTTPStatus(400), "bad request target"))?;
    request.set_uri(uri);
    Ok(())
}

/// Remove what is for one hop only (RFC 9110, 7.6.1). Pingora does so for requests, and writes `Connection` itself.
fn strip_hop_by_hop(response: &mut ResponseHeader) {
    const ALWAYS: [HeaderName; 3] = [
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        http::header::PROXY_AUTHENTICATE,
    ];
    let nominated: Vec<HeaderName> = response
        .headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // These two are pingora's to write, from its own knowledge of the connection and the body.
        .filter(|name| name != http::header::UPGRADE && name != TRANSFER_ENCODING && name != CONNECTION)
        .filter(|name: &HeaderName| !matches!(name.as_str(), "close"))
        .collect();
    for name in ALWAYS.iter().chain(&nominated) {
        if response.headers.contains_key(name) {
            response.remove_header(name);
        }
    }
    if response.status.as_u16() != 101 && response.headers.contains_key(http::header::UPGRADE) {
        response.remove_header(&http::header::UPGRADE);
    }
}
