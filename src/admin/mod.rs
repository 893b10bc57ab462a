//! What people see of a running process: health and readiness, metrics, and its state as JSON. Reads only.

mod api;

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
use crate::proxy::Generation;

pub use api::{BackendView, PoolView};

/// The admin pages.
pub struct Admin {
    generation: Arc<ArcSwap<Generation>>,
    metrics: Arc<Metrics>,
    settled: watch::Receiver<bool>,
    stopping: watch::Receiver<bool>,
    /// Every bound address, as the configuration orders them, the admin's own last.
    listeners: Vec<String>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// The version of Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

const INDEX: &str = "evenkeel\n\n\
    /healthz           200 while the process lives\n\
    /readyz            200 while it takes traffic, 503 while it starts or stops\n\
    /metrics           Prometheus metrics\n\
    /api/v1/pools      pools and their backends, as JSON\n\
    /api/v1/listeners  addresses listened on, as JSON\n";

type Page = (StatusCode, &'static str, Vec<u8>);

impl Admin {
    /// Pages about what `generation` serves. `settled` turns true after the first round of probes, `stopping` when the
    /// process begins to stop.
    pub fn new(
        generation: Arc<ArcSwap<Generation>>,
        metrics: Arc<Metrics>,
        settled: watch::Receiver<bool>,
        stopping: watch::Receiver<bool>,
        listeners: Vec<String>,
    ) -> Self {
        Admin { generation, metrics, settled, stopping, listeners }
    }

    fn page(&self, path: &str) -> Page {
        match path {
            "/" => text(StatusCode::OK, INDEX),
            "/healthz" => text(StatusCode::OK, "alive\n"),
            "/readyz" => self.readiness(),
            "/metrics" => match self.scrape() {
                Ok(body) => (StatusCode::OK, PROMETHEUS, body),
                Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{e}\n")),
            },
            "/api/v1/pools" => json(&api::pools(&self.generation.load())),
            "/api/v1/listeners" => json(&self.listeners),
            _ => text(StatusCode::NOT_FOUND, "no such page; / lists them\n"),
        }
    }

    fn readiness(&self) -> Page {
        if *self.stopping.borrow() {
            text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
        } else if !*self.settled.borrow() {
            text(StatusCode::SERVICE_UNAVAILABLE, "starting: not every backend has been probed\n")
        } else {
            text(StatusCode::OK, "ready\n")
        }
    }

    fn scrape(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut out = Vec::new();
        self.metrics.encode(&mut out)?;
        let families = ScrapedFamilies::new()?;
        let generation = self.generation.load();
        let dropped = generation.access_log.as_ref().map_or(0, |log| log.dropped());
        families.add_process(generation.in_flight.load(Relaxed), dropped);
        for pool in &generation.pools {
            families.add_pool(pool.name(), pool.roster().pool().waiting());
            for member in pool.roster().load().members() {
                let (state, counts) = (&member.state, member.state.counts());
                families.add(&BackendSample {
                    pool: pool.name(),
                    backend: state.label(),
                    state: state.standing(),
                    admitted: state.admitted(),
                    in_flight: state.in_flight(),
                    succeeded: counts.succeeded,
                    failed: counts.failed,
                    cancelled: counts.cancelled,
                    probes_passed: counts.probes_passed,
                    probes_failed: counts.probes_failed,
                    last_probe_age: state.last_probe_age(),
                });
            }
        }
        families.encode(&mut out)?;
        Ok(out)
    }
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
        let request = session.req_header();
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let (status, kind, mut body) = if reads {
            self.page(request.uri.path())
        } else {
            text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n")
        };
        let length = body.len();
        if request.method == Method::HEAD {
            body.clear();
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
        headers.insert(CONTENT_LENGTH, length.into());
        headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}
