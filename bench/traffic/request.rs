//! Requests that are due at the times of a Poisson process, by either protocol, and the check of their answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::ledger::Phase;
use crate::{Shared, http1, http2, kind, pattern};

/// The largest body of a POST.
const BODY: usize = 64 * 1024;

pub(crate) type Body = Full<Bytes>;

pub(crate) enum Client {
    Http1(http1::Client),
    Http2(http2::Client),
}

impl Client {
    fn protocol(&self) -> &'static str {
        match self {
            Client::Http1(_) => "h1",
            Client::Http2(_) => "h2",
        }
    }
}

/// One request and what its answer must be.
pub(crate) struct Errand {
    pub(crate) who: &'static str,
    pub(crate) request: Request<Body>,
    pub(crate) deadline: Instant,
    expected: Bytes,
    /// Whether it goes to the pool whose distribution is looked at.
    is_web: bool,
}

impl Errand {
    fn new(protocol: &str, number: u64, deadline: Instant, random: &mut fastrand::Rng, posts: f64) -> Self {
        let is_post = random.f64() < posts;
        let is_web = number.is_multiple_of(2);
        let path = format!("/{}/{number}", if is_web { "web" } else { "api" });
        let body = if is_post { Bytes::from(pattern::bytes(number, random.usize(1..BODY))) } else { Bytes::new() };
        let expected = if is_post { body.clone() } else { Bytes::from(path.clone()) };
        let who = match (protocol, is_post) {
            ("h1", false) => "h1 GET",
            ("h1", true) => "h1 POST",
            (_, false) => "h2 GET",
            (_, true) => "h2 POST",
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = if is_post { hyper::Method::POST } else { hyper::Method::GET };
        // A path of letters, digits and slashes is one.
        if let Ok(uri) = format!("http://endurance.test{path}").parse() {
            *request.uri_mut() = uri;
        }
        Self { who, request, deadline, expected, is_web: is_web && !is_post }
    }

    /// Reads the answer to its end. What is wrong with it is an error.
    pub(crate) async fn check(&self, response: Response<Incoming>) -> Result<Option<String>, String> {
        let status = response.status();
        let origin = response.headers().get("x-origin").and_then(|name| name.to_str().ok()).map(str::to_owned);
        let body = timeout_at(self.deadline, response.into_body().collect()).await;
        let body = body.map_err(|_| "timeout in the body")?.map_err(|error| kind::of_body(&error))?.to_bytes();
        if status != 200 {
            return Err(format!("status {}", status.as_u16()));
        }
        if body != self.expected {
            return Err("wrong body".to_owned());
        }
        Ok(origin.filter(|_| self.is_web))
    }
}

pub(crate) async fn connect(address: SocketAddr, deadline: Instant) -> Result<TcpStream, String> {
    let stream = timeout_at(deadline, TcpStream::connect(address)).await.map_err(|_| "connect timeout")?;
    let stream = stream.map_err(|error| kind::of_connecting(&error))?;
    stream.set_nodelay(true).map_err(|error| kind::of_connecting(&error))?;
    Ok(stream)
}

/// Sends every request when it is due, until it is time to stop, and waits for what was begun.
pub(crate) async fn arrive(shared: Shared, client: Client) {
    let (options, client) = (Arc::clone(&shared.options), Arc::new(client));
    let (rate, seed) = match *client {
        Client::Http1(_) => (options.rate, options.seed),
        Client::Http2(_) => (options.h2_rate, options.seed.wrapping_add(1)),
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let mut under_way = JoinSet::new();
    let mut due = Instant::now();
    for number in 0.. {
        due += Duration::from_secs_f64(-(1.0 - random.f64()).ln() / rate);
        tokio::select! {
            () = sleep_until(due) => {}
            () = shared.stopped() => break,
        }
        shared.ledger.late(due.elapsed());
        let errand = Errand::new(client.protocol(), number, due + options.timeout, &mut random, options.posts);
        under_way.spawn(run(shared.clone(), Arc::clone(&client), errand, due, shared.ledger.phase()));
        while under_way.try_join_next().is_some() {}
    }
    under_way.join_all().await;
}

async fn run(shared: Shared, client: Arc<Client>, errand: Errand, due: Instant, phase: Phase) {
    let ledger = &shared.ledger;
    ledger.count(errand.who, 1);
    let answer = match &*client {
        Client::Http1(client) => client.send(&errand, ledger).await,
        Client::Http2(client) => client.send(&errand, ledger).await,
    };
    match answer {
        Ok(origin) => ledger.answered(due.elapsed(), origin),
        Err(kind) => ledger.failed(errand.who, &kind, phase),
    }
}
