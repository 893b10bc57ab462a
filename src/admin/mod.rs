//! What people see of a running process: health and readiness, metrics, and its state as JSON. It changes nothing but what an
//! operator drains.

mod api;
mod dashboard;
mod drain;
mod explanation;
mod guard;
mod orders;
mod process;
mod receipt;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Response, StatusCode};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use tokio::sync::watch;

use crate::metrics::{BackendSample, Metrics, ScrapedFamilies};
use crate::pool::Pool;
use crate::proxy::Generation;

pub(crate) use api::pools;
pub use api::{BackendView, DrainView, PoolView};
pub use drain::{ApiError, DrainAnswer};
pub use explanation::{Explanation, FilterPlace, PassedOver, PoolChoice, Question, TakenRoute};
pub use orders::{Candidate, Handover, Order, Orders, Refusal, Reply, Successor};
pub use process::ReloadRequest;
pub use receipt::{Change, Difference, Receipt, Tally};

/// The admin pages.
pub struct Admin {
    generation: Arc<ArcSwap<Generation>>,
    metrics: Arc<Metrics>,
    settled: watch::Receiver<bool>,
    stopping: watch::Receiver<bool>,
    /// Every bound address, as the configuration orders them, the admin's own last.
    listeners: Arc<ArcSwap<Vec<String>>>,
    orders: Orders,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// The version of Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

const INDEX: &str = "evenkeel\n\n\
    /healthz           200 while the process lives\n\
    /readyz            200 while it takes traffic, 503 while it starts or stops\n\
    /metrics           Prometheus metrics\n\
    /                  all of it for people, in a browser\n\
    /api/v1/pools      pools and their backends, as JSON\n\
    /api/v1/config     what is loaded, by its names, as JSON\n\
    /api/v1/listeners  addresses listened on, as JSON\n\
    /api/v1/pools/POOL/backends/BACKEND                one backend, as JSON\n\
    POST /api/v1/pools/POOL/backends/BACKEND/drain     send it no new work; with Content-Type: application/json\n\
    POST /api/v1/pools/POOL/backends/BACKEND/undrain   take that back\n\
    POST /api/v1/reload                                load the configuration file anew\n\
    POST /api/v1/plan                                  what a reload of this file and text would do: {\"file\", \"text\"}\n\
    POST /api/v1/explain                               what would become of a request: {\"method\", \"host\", \"path\", \"headers\", \"client\"}\n\
    POST /api/v1/upgrade                               start the program that is there now, and hand over to it\n";

/// More than that is read of no request's body.
const MAX_BODY: usize = 4096;

/// How many backends `/readyz` names.
const MAX_WARNINGS: usize = 20;

type Page = (StatusCode, &'static str, Vec<u8>);

impl Admin {
    /// Pages about what `generation` serves. `settled` turns true after the first round of probes, `stopping` when the
    /// process begins to stop.
    pub fn new(
        generation: Arc<ArcSwap<Generation>>,
        metrics: Arc<Metrics>,
        settled: watch::Receiver<bool>,
        stopping: watch::Receiver<bool>,
        listeners: Arc<ArcSwap<Vec<String>>>,
        orders: Orders,
    ) -> Self {
        Admin { generation, metrics, settled, stopping, listeners, orders }
    }

    fn page(&self, path: &str) -> Page {
        match path {
            "/" => text(StatusCode::OK, INDEX),
            "/healthz" => text(StatusCode::OK, "alive\n"),
            "/readyz" => self.readiness(),
            "/metrics" => match scrape(&self.metrics, &self.generation.load()) {
                Ok(body) => (StatusCode::OK, PROMETHEUS, body),
                Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{e}\n")),
            },
            "/api/v1/pools" => json(&api::pools(&self.generation.load())),
            "/api/v1/config" => json(&self.generation.load().overview),
            "/api/v1/listeners" => json(&**self.listeners.load()),
            _ => text(StatusCode::NOT_FOUND, "no such page; / lists them\n"),
        }
    }

    /// About one backend: what it is, or a drain of it.
    async fn backend(&self, session: &mut ServerSession, method: &Method, target: &drain::Target) -> Page {
        let Some(body) = read_body(session, MAX_BODY).await else { return too_large() };
        let generation = self.generation.load_full();
        target.answer(&generation, method, &session.req_header().headers, &body).await
    }

    /// About the process as a whole.
    async fn process(&self, session: &mut ServerSession, method: &Method, target: process::Target) -> Page {
        let Some(body) = read_body(session, target.max_body()).await else { return too_large() };
        target.answer(&self.orders, method, &session.req_header().headers, &body).await
    }

    fn readiness(&self) -> Page {
        if *self.stopping.borrow() {
            text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
        } else if !*self.settled.borrow() {
            text(StatusCode::SERVICE_UNAVAILABLE, "starting: not every backend has been probed\n")
        } else {
            text(StatusCode::OK, &format!("ready\n{}", warnings(&self.generation.load().pools)))
        }
    }
}

/// What is counted and what is known of each backend, in Prometheus' text format.
pub(crate) fn scrape(metrics: &Metrics, generation: &Generation) -> Result<Vec<u8>, prometheus::Error> {
    let mut out = Vec::new();
    metrics.encode(&mut out)?;
    let families = ScrapedFamilies::new()?;
    let dropped = generation.access_log.as_ref().map_or(0, |log| log.dropped());
    families.add_process(generation.in_flight.load(Relaxed), dropped);
    generation.pools.iter().for_each(|pool| scrape_pool(pool, &families));
    families.encode(&mut out)?;
    Ok(out)
}

fn scrape_pool(pool: &Pool, families: &ScrapedFamilies) {
    families.add_pool(pool.name(), pool.roster().pool().waiting(), pool.roster().pool().discovery_failures());
    let concurrency = pool.roster().pool().concurrency().map(|found| found.limit());
    families.add_limits(pool.name(), concurrency, pool.connections());
    for member in pool.roster().load().members() {
        let (state, counts) = (&member.state, member.state.counts());
        let drain = state.drain().unwrap_or_default();
        families.add(&BackendSample {
            pool: pool.name(),
            backend: state.label(),
            state: state.standing(),
            draining: [("operator", drain.operator), ("weight", drain.weight)],
            admitted: state.admitted(),
            in_flight: state.in_flight(),
            succeeded: counts.succeeded,
            failed: counts.failed,
            cancelled: counts.cancelled,
            probes_sent: counts.probes_sent,
            ejections: state.ejections().collect(),
            probes_passed: counts.probes_passed,
            probes_failed: counts.probes_failed,
            last_probe_age: state.last_probe_age(),
            probe_lateness: state.probe_lateness(),
            probes_overdue: pool.probes_overdue(state),
        });
    }
}

/// What does not keep the process from taking traffic, but somebody should look at: a line each.
fn warnings(pools: &[Arc<Pool>]) -> String {
    let overdue = |pool: &Arc<Pool>| {
        let name = pool.name().to_owned();
        pool.overdue().into_iter().map(move |overdue| format!("warning: pool {name}: {overdue}\n"))
    };
    let unknown = |pool: &Arc<Pool>| {
        let why = pool.roster().discovery_failure()?;
        Some(format!("warning: pool {}: discovery failed: {why}\n", pool.name()))
    };
    let mut lines: Vec<String> = pools.iter().filter_map(unknown).chain(pools.iter().flat_map(overdue)).collect();
    let more = lines.len().saturating_sub(MAX_WARNINGS);
    lines.truncate(MAX_WARNINGS);
    if more > 0 {
        lines.push(format!("warning: and {more} more\n"));
    }
    lines.concat()
}

/// The body of a request; `None` if it is longer than that.
async fn read_body(session: &mut ServerSession, most: usize) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = session.read_request_body().await {
        if body.len() + chunk.len() > most {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

fn too_large() -> Page {
    drain::error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
}

fn text(status: StatusCode, body: &str) -> Page {
    (status, TEXT, body.as_bytes().to_vec())
}

fn json(value: &impl serde::Serialize) -> Page {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            (StatusCode::OK, JSON, body)
        }
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{e}\n")),
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let (method, path) = (session.req_header().method.clone(), session.req_header().uri.path().to_owned());
        let reads = matches!(method, Method::GET | Method::HEAD);
        let mut allowed = "GET, HEAD";
        let (status, kind, mut body) = match drain::Target::of(&path) {
            Some(Ok(target)) => {
                allowed = target.allows();
                self.backend(session, &method, &target).await
            }
            Some(Err(page)) => page,
            None => match process::Target::of(&path) {
                Some(target) => {
                    allowed = "POST";
                    self.process(session, &method, target).await
                }
                None if reads => {
                    dashboard::page(&path, &session.req_header().headers).unwrap_or_else(|| self.page(&path))
                }
                None => text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n"),
            },
        };
        let length = body.len();
        if method == Method::HEAD {
            body.clear();
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
        headers.extend(dashboard::GUARDS);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, http::HeaderValue::from_static(allowed));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use pingora_load_balancing::discovery::Static;

    use super::*;
    use crate::config::HealthCheck;
    use crate::pool::PoolBuilder;

    /// Which is never asked.
    struct Check;

    #[async_trait]
    impl pingora_load_balancing::health_check::HealthCheck for Check {
        async fn check(&self, _: &pingora_load_balancing::Backend) -> pingora_core::Result<()> {
            Ok(())
        }

        fn health_threshold(&self, _: bool) -> usize {
            1
        }
    }

    #[test]
    fn backends_that_are_not_probed_are_a_warning_and_not_too_many() {
        let settings = HealthCheck { interval: Duration::from_millis(10), ..HealthCheck::default() };
        let addresses: Vec<String> = (1..=30).map(|i| format!("127.0.0.1:{i}")).collect();
        let builder = PoolBuilder::new("web", Static::try_from_iter(addresses).unwrap());
        let check = Arc::new(Check);
        let pool = Arc::new(builder.health_check(check, &settings).round_robin(&Metrics::new().unwrap()));
        assert_eq!(warnings(&[Arc::clone(&pool)]), "");
        // Nobody probes: there is no service for it.
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(pool.discover()).unwrap();
        let began = Instant::now();
        while pool.overdue().len() < 30 {
            assert!(began.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(10));
        }
        let text = warnings(&[pool]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 21, "{text}");
        assert_eq!(lines[0], "warning: pool web: backend 127.0.0.1:1 not probed for 1s (interval 10ms)");
        assert_eq!(lines[20], "warning: and 10 more");
    }
}
