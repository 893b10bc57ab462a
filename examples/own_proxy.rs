//! A `ProxyHttp` of your own, on Evenkeel's pools: health checks, ejection, weights, leases and second attempts within a budget,
//! without its configuration, routes, listeners and admin pages. A request's body, client and headers are yours to look after.
//!
//! ```text
//! RUST_LOG=evenkeel=info cargo run --example own_proxy -- 127.0.0.1:8000 127.0.0.1:8001 127.0.0.1:8002
//! curl -i 127.0.0.1:8000/
//! ```
//!
//! The first address is where it listens, the others are its backends. Two of them, each in a terminal: `python3 -m http.server
//! 8001` and `python3 -m http.server 8002`. End one of them and ask on: no request fails, and soon it is not even tried any more.

use std::env;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use evenkeel::backend::Lease;
use evenkeel::config::{Ejection, HealthCheck, Retry};
use evenkeel::health::TcpCheck;
use evenkeel::metrics::Metrics;
use evenkeel::pool::{self, Attempts, Broken, Permit, Pick, Pool, PoolBuilder, PoolService, Trouble};
use pingora::http::ResponseHeader;
use pingora::lb::discovery::Static;
use pingora::prelude::{Error, ErrorType, HTTPStatus, HttpPeer, Result, Server, background_service};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};

struct OwnProxy(Arc<Pool>);

/// What a request has been through.
struct Request {
    began: Instant,
    /// The attempt under way, which counts as in flight at its backend until the lease is dropped, with this at the latest.
    lease: Option<(Lease, Instant)>,
    made: usize,
    tried: Vec<SocketAddr>,
    /// The right to the attempt under way, if it is not the first, and how long to wait before it.
    permit: Option<Permit>,
    pause: Duration,
    /// A response was not passed on, and another attempt follows.
    refused: bool,
}

impl OwnProxy {
    /// How long the request may still take.
    fn left(&self, request: &Request) -> Duration {
        self.0.timeouts().request.saturating_sub(request.began.elapsed())
    }

    /// The attempt under way has failed: say so, and find out whether another follows.
    fn again(&self, session: &Session, request: &mut Request, trouble: Trouble, wait: Option<Duration>) -> bool {
        let Some((lease, began)) = &mut request.lease else { return false };
        // What the backend did counts for its ejection, and for algorithms that look at how backends do.
        lease.report(trouble.outcome(), began.elapsed());
        request.tried.push(lease.backend().address().clone());
        // A POST that a backend has seen is not sent twice, nor is anything once the client has some of an answer.
        let (retry, method) = (self.0.retry(), &session.req_header().method);
        if !trouble.allows(method, retry.non_idempotent, &Broken::of(session)) {
            return false;
        }
        let attempts = Attempts { made: request.made, tried: &request.tried, left: self.left(request) };
        let Some(again) = self.0.again(trouble, wait, &attempts) else { return false };
        // The permit of the attempt that has failed ends with it. The budget is asked last: what it gives is spent.
        request.permit = None;
        let Ok(permit) = self.0.permit_retry(trouble.unseen()) else { return false };
        (request.permit, request.pause, request.lease) = (Some(permit), again.pause, None);
        if again.anew {
            request.tried.clear();
        }
        true
    }
}

#[async_trait]
impl ProxyHttp for OwnProxy {
    type CTX = Request;

    fn new_ctx(&self) -> Request {
        let (began, pause) = (Instant::now(), Duration::ZERO);
        Request { began, lease: None, made: 0, tried: Vec::new(), permit: None, pause, refused: false }
    }

    async fn upstream_peer(&self, _: &mut Session, request: &mut Request) -> Result<Box<HttpPeer>> {
        tokio::time::sleep(request.pause).await;
        if request.made == 0 {
            self.0.earn_retries(request.began);
        }
        let pick = Pick { tried: &request.tried, again: request.made > 0, ..Pick::default() };
        let until = request.began + self.0.timeouts().request;
        let Ok(lease) = self.0.acquire_or_wait(&pick, until).await else {
            return Error::e_explain(HTTPStatus(503), "no backend");
        };
        let left = self.left(request);
        let peer =
            self.0.peer(&lease, self.0.timeouts(), self.0.retry().per_try_timeout.map_or(left, |it| it.min(left)));
        (request.lease, request.made) = (Some((lease, Instant::now())), request.made + 1);
        Ok(peer)
    }

    fn fail_to_connect(&self, session: &mut Session, _: &HttpPeer, ctx: &mut Request, mut e: Box<Error>) -> Box<Error> {
        let again = self.again(session, ctx, Trouble::of_connect(&e), None);
        e.set_retry(again);
        e
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Request,
        _: bool,
    ) -> Box<Error> {
        // An error on the client's side is nothing to try again, and blames nobody.
        let again = std::mem::take(&mut ctx.refused) || self.again(session, ctx, Trouble::of(&e), None);
        e.set_retry(again);
        e
    }

    async fn upstream_response_filter(
        &self,
        s: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut Request,
    ) -> Result<()> {
        let trouble = Trouble::Status(answer.status.as_u16());
        if trouble.wanted(&self.0.retry().on) && self.again(s, ctx, trouble, pool::retry_after(&answer.headers)) {
            ctx.refused = true;
            return Err(Error::explain(ErrorType::Custom("AnotherAttempt"), "a status of retry.on").into_up());
        }
        if let Some((lease, began)) = &mut ctx.lease {
            answer.insert_header("X-Backend", lease.backend().label())?;
            lease.report(trouble.outcome(), began.elapsed());
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn StdError>> {
    env_logger::init();
    let addresses: Vec<String> = env::args().skip(1).collect();
    let [listen, backends @ ..] = &addresses[..] else { return Err("usage: own_proxy LISTEN BACKEND...".into()) };
    let mut server = Server::new(None)?;
    server.bootstrap();
    let pool = PoolBuilder::new("web", Static::try_from_iter(backends)?)
        .health_check(Arc::new(TcpCheck), &HealthCheck::default())
        .ejection(Ejection::default())
        .retry(Retry::default());
    let pool = Arc::new(pool.round_robin(&Metrics::new()?));
    let pools = server.add_service(background_service("pools", PoolService::new(vec![Arc::clone(&pool)])));
    let mut proxy = http_proxy_service(&server.configuration, OwnProxy(pool));
    proxy.add_tcp(listen);
    // Clients come in when every backend has been probed.
    server.add_service(proxy).add_dependency(&pools);
    server.run_forever()
}
