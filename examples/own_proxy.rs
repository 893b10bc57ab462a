//! A `ProxyHttp` of your own, on Evenkeel's pools: health checks, weights and leases without its configuration and routes.
//!
//! ```text
//! RUST_LOG=evenkeel=info cargo run --example own_proxy      # takes pingora's own options: -c FILE, -d, -u, -t
//! curl -i 127.0.0.1:8000/
//! ```
//!
//! Two backends for it, each in a terminal: `python3 -m http.server 8001` and `python3 -m http.server 8002`. End one of
//! them and ask on: no request fails, and within about 15 s it is not even tried any more.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use evenkeel::backend::{Failure, Lease, Outcome};
use evenkeel::config::HealthCheck;
use evenkeel::health::TcpCheck;
use evenkeel::metrics::Metrics;
use evenkeel::pool::{Pick, Pool, PoolBuilder, PoolService};
use pingora::http::ResponseHeader;
use pingora::lb::discovery::Static;
use pingora::prelude::{Error, HTTPStatus, HttpPeer, Opt, Result, Server, background_service};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};

struct OwnProxy(Arc<Pool>);

/// The attempt under way, and where this request has been.
#[derive(Default)]
struct Attempts {
    lease: Option<(Lease, Instant)>,
    tried: Vec<SocketAddr>,
}

#[async_trait]
impl ProxyHttp for OwnProxy {
    type CTX = Attempts;

    fn new_ctx(&self) -> Attempts {
        Attempts::default()
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Attempts) -> Result<Box<HttpPeer>> {
        let Ok(lease) = self.0.acquire(&Pick { tried: &ctx.tried, ..Pick::default() }) else {
            return Error::e_explain(HTTPStatus(503), "no backend");
        };
        let peer = self.0.peer(&lease, self.0.timeouts(), self.0.timeouts().request);
        ctx.tried.push(lease.backend().address().clone());
        ctx.lease = Some((lease, Instant::now()));
        Ok(peer)
    }

    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, ctx: &mut Attempts, mut e: Box<Error>) -> Box<Error> {
        if let Some((mut lease, began)) = ctx.lease.take() {
            lease.report(Outcome::Failed(Failure::Connect), began.elapsed());
        }
        e.set_retry(ctx.tried.len() < usize::from(self.0.retry().attempts));
        e
    }

    // A lease counts as in flight until it is dropped, here with the context of its request.
    async fn response_filter(&self, _: &mut Session, answer: &mut ResponseHeader, ctx: &mut Attempts) -> Result<()> {
        if let Some((lease, began)) = &mut ctx.lease {
            answer.insert_header("X-Backend", lease.backend().label())?;
            lease.report(Outcome::Succeeded, began.elapsed());
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn StdError>> {
    env_logger::init();
    let mut server = Server::new(Some(Opt::parse_args()))?;
    server.bootstrap();
    let backends = Static::try_from_iter(["127.0.0.1:8001", "127.0.0.1:8002"])?;
    let pool = PoolBuilder::new("web", backends).health_check(Arc::new(TcpCheck), &HealthCheck::default());
    let pool = Arc::new(pool.round_robin(&Metrics::new()?));
    let pools = server.add_service(background_service("pools", PoolService::new(vec![Arc::clone(&pool)])));
    let mut proxy = http_proxy_service(&server.configuration, OwnProxy(pool));
    proxy.add_tcp("127.0.0.1:8000");
    // Clients come in when every backend has been probed.
    server.add_service(proxy).add_dependency(&pools);
    server.run_forever()
}
