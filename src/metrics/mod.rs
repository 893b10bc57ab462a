//! Every metric, declared and described once.
//!
//! What a request counts is a handle, looked up by its labels when a generation is built. What belongs to a backend is
//! counted in its state, and read out when somebody scrapes.

mod labels;
mod process;
mod scraped;
#[cfg(feature = "script")]
mod scripts;
mod tls;

use std::sync::OnceLock;

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};

use crate::reason::Reason;
pub use labels::RetryDenied;
pub(crate) use labels::{Hedged, Mirrored};
pub(crate) use process::ProcessMetrics;
pub(crate) use scraped::{BackendSample, ScrapedFamilies};
#[cfg(feature = "script")]
pub(crate) use scripts::script_failed;
pub(crate) use tls::{Handshake, Handshakes, TlsMetrics};

/// From half a millisecond, which a local backend answers in, to the default `timeouts.request`.
const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// The `code` label: the class of the status. 499 is apart, for it is nobody's answer.
const CODE_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "499"];

/// gRPC has so many statuses, from 0.
const GRPC_STATUSES: usize = 17;
const GRPC_UNKNOWN: usize = 2;

/// The families whose handles requests hold.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    failures: IntCounterVec,
    retries: IntCounterVec,
    retries_denied: IntCounterVec,
    hedges: IntCounterVec,
    calls: IntCounterVec,
    mirrors: IntCounterVec,
    process: ProcessMetrics,
    tls: TlsMetrics,
}

/// The handles of one pool.
pub struct PoolMetrics {
    requests: [IntCounter; CODE_CLASSES.len()],
    duration: Histogram,
    failures: [IntCounter; Reason::ALL.len()],
    retries: IntCounter,
    retries_denied: [IntCounter; RetryDenied::ALL.len()],
    hedges: [IntCounter; Hedged::ALL.len()],
    /// Of a pool that has had a call of gRPC.
    calls: OnceLock<[IntCounter; GRPC_STATUSES]>,
    all_calls: IntCounterVec,
    /// Of a pool that has been sent a copy of a request.
    mirrors: OnceLock<[IntCounter; Mirrored::ALL.len()]>,
    all_mirrors: IntCounterVec,
    name: String,
}

impl Metrics {
    /// Every family, empty.
    ///
    /// # Errors
    /// Never, as long as the names below are well-formed and differ.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Metrics {
            requests: IntCounterVec::new(
                Opts::new(
                    "evenkeel_requests_total",
                    "Requests by pool and class of the status; no pool: answered without one.",
                ),
                &["pool", "code"],
            )?,
            durations: HistogramVec::new(
                HistogramOpts::new(
                    "evenkeel_request_duration_seconds",
                    "From the end of a request's header to the end of its response.",
                )
                .buckets(DURATION_BUCKETS.to_vec()),
                &["pool"],
            )?,
            failures: IntCounterVec::new(
                Opts::new("evenkeel_request_failures_total", "Requests without an answer of a backend, by the reason."),
                &["pool", "reason"],
            )?,
            retries: IntCounterVec::new(
                Opts::new("evenkeel_retries_total", "Attempts after a request's first."),
                &["pool"],
            )?,
            retries_denied: IntCounterVec::new(
                Opts::new("evenkeel_retries_denied_total", "Second attempts that were not made, by what forbade them."),
                &["pool", "reason"],
            )?,
            hedges: IntCounterVec::new(
                Opts::new("evenkeel_hedges_total", "Second attempts beside a slow first, by whose answer came first."),
                &["pool", "result"],
            )?,
            calls: IntCounterVec::new(
                Opts::new("evenkeel_grpc_calls_total", "Calls of gRPC that have ended, by their status."),
                &["pool", "grpc_status"],
            )?,
            mirrors: IntCounterVec::new(
                Opts::new("evenkeel_mirrors_total", "Copies of requests for a route's mirror, by what became of them."),
                &["pool", "outcome"],
            )?,
            process: ProcessMetrics::new(&registry)?,
            tls: TlsMetrics::new(&registry)?,
            registry,
        };
        metrics.registry.register(Box::new(metrics.requests.clone()))?;
        metrics.registry.register(Box::new(metrics.durations.clone()))?;
        metrics.registry.register(Box::new(metrics.failures.clone()))?;
        metrics.registry.register(Box::new(metrics.retries.clone()))?;
        metrics.registry.register(Box::new(metrics.retries_denied.clone()))?;
        metrics.registry.register(Box::new(metrics.hedges.clone()))?;
        metrics.registry.register(Box::new(metrics.calls.clone()))?;
        metrics.registry.register(Box::new(metrics.mirrors.clone()))?;
        #[cfg(feature = "script")]
        scripts::register(&metrics.registry)?;
        Ok(metrics)
    }

    /// The handles of a pool; the empty name is for requests that get no pool.
    pub fn pool(&self, name: &str) -> PoolMetrics {
        PoolMetrics {
            requests: CODE_CLASSES.map(|class| self.requests.with_label_values(&[name, class])),
            duration: self.durations.with_label_values(&[name]),
            failures: Reason::ALL.map(|reason| self.failures.with_label_values(&[name, reason.as_str()])),
            retries: self.retries.with_label_values(&[name]),
            retries_denied: RetryDenied::ALL.map(|why| self.retries_denied.with_label_values(&[name, why.as_str()])),
            hedges: Hedged::ALL.map(|result| self.hedges.with_label_values(&[name, result.as_str()])),
            calls: OnceLock::new(),
            all_calls: self.calls.clone(),
            mirrors: OnceLock::new(),
            all_mirrors: self.mirrors.clone(),
            name: name.to_owned(),
        }
    }

    /// Take a pool's series out that is no more. What still ends there is not seen any more.
    pub(crate) fn forget(&self, name: &str) {
        // An error says that there is none.
        for class in CODE_CLASSES {
            let _ = self.requests.remove_label_values(&[name, class]);
        }
        let _ = self.durations.remove_label_values(&[name]);
        for reason in Reason::ALL {
            let _ = self.failures.remove_label_values(&[name, reason.as_str()]);
        }
        let _ = self.retries.remove_label_values(&[name]);
        for why in RetryDenied::ALL {
            let _ = self.retries_denied.remove_label_values(&[name, why.as_str()]);
        }
        for result in Hedged::ALL {
            let _ = self.hedges.remove_label_values(&[name, result.as_str()]);
        }
        for status in 0..GRPC_STATUSES {
            let _ = self.calls.remove_label_values(&[name, &status.to_string()]);
        }
        for outcome in Mirrored::ALL {
            let _ = self.mirrors.remove_label_values(&[name, outcome.as_str()]);
        }
    }

    /// What happens to the process as a whole.
    pub(crate) fn process(&self) -> &ProcessMetrics {
        &self.process
    }

    /// What happens with TLS towards clients.
    pub(crate) fn tls(&self) -> &TlsMetrics {
        &self.tls
    }

    /// Everything that requests counted, in Prometheus' text format.
    ///
    /// # Errors
    /// Those of the encoder: none when the families above are well-formed.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), prometheus::Error> {
        TextEncoder::new().encode(&self.registry.gather(), out)
    }
}

impl PoolMetrics {
    /// Count a request that ended with `status` after `seconds`.
    #[inline]
    pub(crate) fn request(&self, status: u16, seconds: f64) {
        let class = match status {
            499 => 5,
            status => usize::from(status / 100).clamp(1, 5) - 1,
        };
        self.requests[class].inc();
        self.duration.observe(seconds);
    }

    /// Count a request without an answer of a backend.
    pub(crate) fn failure(&self, reason: Reason) {
        self.failures[reason as usize].inc();
    }

    /// Count an attempt after a request's first.
    pub(crate) fn retry(&self) {
        self.retries.inc();
    }

    /// Count a second attempt that was not made.
    pub(crate) fn retry_denied(&self, why: RetryDenied) {
        self.retries_denied[why as usize].inc();
    }

    /// Count a call of gRPC that has ended with this status; without one its end is unknown.
    pub(crate) fn call(&self, status: Option<u8>) {
        let of = |status: usize| self.all_calls.with_label_values(&[&self.name, &status.to_string()]);
        let calls = self.calls.get_or_init(|| std::array::from_fn(of));
        calls[status.map(usize::from).filter(|status| *status < GRPC_STATUSES).unwrap_or(GRPC_UNKNOWN)].inc();
    }

    /// Count what became of a copy of a request.
    pub(crate) fn mirrored(&self, outcome: Mirrored) {
        let of = |outcome: Mirrored| self.all_mirrors.with_label_values(&[&self.name, outcome.as_str()]);
        self.mirrors.get_or_init(|| Mirrored::ALL.map(of))[outcome as usize].inc();
    }

    /// Count a hedge.
    pub(crate) fn hedge(&self, result: Hedged) {
        self.hedges[result as usize].inc();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn counts_under_the_declared_names() {
        let metrics = Metrics::new().unwrap();
        let pool = metrics.pool("web");
        pool.request(200, 0.003);
        pool.request(499, 1.0);
        pool.failure(Reason::NoBackend);
        pool.retry();
        let mut text = Vec::new();
        metrics.encode(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        for line in [
            "evenkeel_requests_total{code=\"2xx\",pool=\"web\"} 1",
            "evenkeel_requests_total{code=\"499\",pool=\"web\"} 1",
            "evenkeel_requests_total{code=\"5xx\",pool=\"web\"} 0",
            "evenkeel_request_duration_seconds_bucket{pool=\"web\",le=\"0.005\"} 1",
            "evenkeel_request_failures_total{pool=\"web\",reason=\"no_backend\"} 1",
            "evenkeel_retries_total{pool=\"web\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_pool_that_is_no_more_has_no_series() {
        let metrics = Metrics::new().unwrap();
        let (gone, stays) = (metrics.pool("former"), metrics.pool("stays"));
        metrics.forget("former");
        gone.request(200, 0.003);
        stays.request(200, 0.003);
        let mut text = Vec::new();
        metrics.encode(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(!text.contains("former") && text.contains("stays"), "{text}");
    }

    #[test]
    fn reasons_are_numbered_as_listed() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
    }
}
