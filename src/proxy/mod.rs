//! The `ProxyHttp` implementation: its hooks in the order of a request's life, each a few lines that say what happens and
//! leave how to the modules around it.

mod again;
mod attempts;
mod bodiless;
mod connection;
mod deadline;
mod destination;
mod exchange;
mod failure;
mod filters;
mod forwarded;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod generation;
mod grpc;
mod hedge;
mod http10;
mod judge;
mod leg;
mod location;
mod mirror;
mod race;
mod redirect;
mod relay;
mod request;
mod response;
mod rewrite;
mod rfc7239;
mod target;
mod translate;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};

use crate::filter::{Hook, is_call};
use crate::reason::Reason;

pub use connection::{Connection, Phase, Traffic};
pub use destination::{Destination, Split};
pub use exchange::Exchange;
pub use generation::{Action, Filters, Generation, Made, Route};
pub use mirror::Mirror;

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
        connection::request_begins();
        Exchange::new(self.generation.load_full())
    }

    /// None: pingora's default is a compression module that does nothing, for each request.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    /// A request whose attempts are watched is forwarded by subrequests, and a copy is one; none of these has further ones.
    fn allow_spawning_subrequest(&self, _: &Session, exchange: &Exchange) -> bool {
        exchange.generation.spawns && exchange.leg.is_none()
    }

    async fn early_request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<()> {
        if exchange.become_leg(session) {
            return Ok(());
        }
        let limits = &exchange.generation.limits;
        session.set_read_timeout(Some(limits.body_timeout));
        // The stream of a call may be silent on its side for as long as the call lasts.
        if session.is_http2() && !session.is_body_empty() && !is_call(session.req_header()) {
            connection::body_comes(false);
        }
        session.set_write_timeout(Some(limits.write_timeout));
        exchange.identify(session);
        exchange.enter_filters(session).await
    }

    async fn request_filter(&self, session: &mut Session, exchange: &mut Exchange) -> Result<bool> {
        if exchange.leg.is_some() {
            return Ok(false);
        }
        let generation = Arc::clone(&exchange.generation);
        let ends = session.is_http2() && session.is_body_empty();
        if let Err(reason) = request::prepare(session.req_header_mut(), ends, &generation) {
            return exchange.refuse(session, reason).await;
        }
        if exchange.keep_terms(session).await? {
            return Ok(true);
        }
        if exchange.pass_outer_filters(session).await? {
            return Ok(true);
        }
        if !exchange.find_route(session.req_header()) {
            return exchange.refuse(session, Reason::NoRoute).await;
        }
        match exchange.route.and_then(|number| generation.routes.get(number)) {
            Some(route) => exchange.follow(session, route).await,
            None => exchange.refuse(session, Reason::NoRoute).await,
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if session.is_http2() && !exchange.ctx.grpc {
            connection::body_comes(end_of_stream);
        }
        exchange.upgrade.receive(body)?;
        // Towards HTTP/2, pingora goes on after an error that is not the client's side's, and waits for an answer.
        if let Some(body) = body {
            exchange.take_in(session, body).map_err(|e| e.into_down())?;
        }
        if let Some(chain) = exchange.ctx.filters(Hook::RequestBody) {
            let passed = chain.request_body_filter(session, body, end_of_stream, &mut exchange.ctx).await;
            passed.map_err(|e| exchange.fault_of_filter(e).into_down())?;
        }
        exchange.mirror_body(session, body.as_ref(), end_of_stream);
        Ok(())
    }

    async fn upstream_peer(&self, session: &mut Session, exchange: &mut Exchange) -> Result<Box<HttpPeer>> {
        exchange.next_peer(session).await
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        exchange: &mut Exchange,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.as_up();
        let again = exchange.end_unconnected_attempt(&error);
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
        if let Some((header, left)) = exchange.left_to_tell() {
            deadline::tell(upstream_request, &header, left)?;
        }
        let received = forwarded::Received { peer: exchange::peer_address(session), tls, header: session.req_header() };
        forwarded::tell(upstream_request, &exchange.ctx, &received, &exchange.generation.forwarded_headers)?;
        exchange.translate(session, upstream_request).await?;
        exchange.rewrite(upstream_request)?;
        let chain = exchange.ctx.filters(Hook::UpstreamRequest);
        if let Some(chain) = chain.or_else(|| exchange.filters_of_copy()) {
            chain.upstream_request_filter(session, upstream_request, &mut exchange.ctx).await?;
        }
        exchange.upgrade.ask(session, upstream_request)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        exchange: &mut Exchange,
        reused: bool,
    ) -> Box<Error> {
        exchange.hear_connection(&mut error);
        let again = match std::mem::take(&mut exchange.again) {
            true => true,
            false => error.esource == ErrorSource::Upstream && exchange.end_broken_attempt(session, &error, reused),
        };
        error.set_retry(again);
        error
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if response.status.is_informational() && response.status.as_u16() != 101 {
            return response::one_more_interim(&mut exchange.ctx.attempt.interim);
        }
        response::hold_to_the_rules(response, session.is_upgrade_req())?;
        exchange.bodiless.comes(response);
        if let Some(chain) = exchange.ctx.filters(Hook::UpstreamResponse) {
            chain.upstream_response_filter(session, response, &mut exchange.ctx).await?;
        }
        exchange.judge(session, response)?;
        exchange.upgrade.answered(session, response.status.as_u16() == 101);
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
        if exchange.is_copy() {
            // Nobody gets it.
            return Ok(());
        }
        connection::answered();
        response::prepare(response)?;
        exchange.grpc_web.response_header_filter(response);
        if let Some(cookie) = exchange.sticky_cookie(session) {
            response.append_header(header::SET_COOKIE, cookie)?;
        }
        http10::until_closed(session, response);
        if let Some(chain) = exchange.ctx.filters(Hook::Response) {
            chain.response_filter(session, response, &mut exchange.ctx).await?;
        }
        exchange.bodiless.goes(response)?;
        match response.status.as_u16() {
            101 => connection::tunnel_begins(),
            _ => connection::last_if_closing(session),
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        exchange: &mut Exchange,
    ) -> Result<Option<Duration>> {
        if body.is_some() {
            exchange.still_served()?;
        }
        let pause = match exchange.ctx.filters(Hook::ResponseBody) {
            Some(chain) => chain.response_body_filter(session, body, end_of_stream, &mut exchange.ctx)?,
            None => None,
        };
        exchange.bodiless.hold_back(body);
        Ok(pause)
    }

    fn upstream_response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        exchange: &mut Exchange,
    ) -> Result<()> {
        if exchange.ctx.grpc {
            exchange.ctx.grpc_status = grpc::status(trailers);
        }
        Ok(())
    }

    async fn response_trailer_filter(
        &self,
        session: &mut Session,
        trailers: &mut HeaderMap,
        exchange: &mut Exchange,
    ) -> Result<Option<Bytes>> {
        if let Some(chain) = exchange.ctx.filters(Hook::ResponseTrailer)
            && let Some(bytes) = chain.response_trailer_filter(session, trailers, &mut exchange.ctx).await?
        {
            return Ok(Some(bytes));
        }
        exchange.grpc_web.response_trailer_filter(trailers)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, exchange: &mut Exchange) -> FailToProxy {
        if exchange.leg.is_some() {
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        exchange.give_up(session, error).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, exchange: &mut Exchange) {
        if exchange.end_leg() {
            return;
        }
        if let Some(chain) = exchange.ctx.filters(Hook::Logging) {
            chain.logging(session, error, &mut exchange.ctx).await;
        }
        exchange.close(session, error);
    }

    /// A backend's failure is said where it is noted, our own above; a client's is in the access log.
    fn suppress_error_log(&self, _: &Session, _: &Exchange, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(&self, _: &Session, _: &Exchange, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}
