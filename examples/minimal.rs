//! The smallest honest load balancer on Pingora: plain HTTP, round robin, one thread, nothing else.
//!
//! It is what the framework alone costs, untuned, and so the baseline of the benchmarks in `bench/`: no configuration
//! file, no health checks, no retries, no limits, no logs, no metrics.
//!
//! ```text
//! cargo run --release --example minimal -- 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002
//! curl -i http://127.0.0.1:8080/
//! ```
//!
//! The first address is where it listens, the others are its backends. SIGINT (Ctrl-C) stops it at once.

use std::env;
use std::net::{AddrParseError, SocketAddr};
use std::process::ExitCode;

use async_trait::async_trait;
use pingora::lb::LoadBalancer;
use pingora::lb::selection::RoundRobin;
use pingora::prelude::{Error, ErrorType, HttpPeer, Result};
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};

struct Minimal(LoadBalancer<RoundRobin>);

#[async_trait]
impl ProxyHttp for Minimal {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let Some(backend) = self.0.select(b"", 256) else {
            return Error::e_explain(ErrorType::ConnectNoRoute, "no backend");
        };
        Ok(Box::new(HttpPeer::new(backend, false, String::new())))
    }
}

fn addresses() -> Result<Vec<SocketAddr>, AddrParseError> {
    let arguments = env::args_os().skip(1);
    arguments.map(|argument| argument.to_string_lossy().parse()).collect()
}

fn main() -> ExitCode {
    let addresses = addresses().unwrap_or_default();
    let [listen, backends @ ..] = addresses.as_slice() else {
        return usage();
    };
    if backends.is_empty() {
        return usage();
    }
    let balancer = match LoadBalancer::try_from_iter(backends) {
        Ok(balancer) => balancer,
        Err(error) => {
            eprintln!("minimal: {error}");
            return ExitCode::FAILURE;
        }
    };

    let conf = ServerConf { threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Minimal(balancer));
    proxy.add_tcp(&listen.to_string());
    server.add_service(proxy);
    server.run(RunArgs::default());
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: minimal LISTEN BACKEND...\n\nEach is an address with a port, like 127.0.0.1:8080.");
    ExitCode::from(2)
}
