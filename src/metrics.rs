//! Every metric, declared and described once.
//!
//! What a request counts is a handle, looked up by its labels when a generation is built. What belongs to a backend is
//! counted in its state, and read out when somebody scrapes.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::reason::Reason;

/// From half a millisecond, which a local backend answers in, to the default `timeouts.request`.
const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// The `code` label: the class of the status. 499 is apart, for it is nobody's answer.
const CODE_CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "499"];

/// The families whose handles requests hold.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    failures: IntCounterVec,
    retries: IntCounterVec,
}

/// What is read of one backend when somebody scrapes.
pub(crate) struct BackendSample<'a> {
    pub(crate) pool: &'a str,
    pub(crate) backend: &'a str,
    pub(crate) state: &'static str,
    pub(crate) admitted: bool,
    pub(crate) in_flight: u32,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) probes_passed: u64,
    pub(crate) probes_failed: u64,
    pub(crate) last_probe_age: Option<Duration>,
}

/// What is counted elsewhere, made anew for each scrape: a backend's counts live in its state.
pub(crate) struct ScrapedFamilies {
    state: IntGaugeVec,
    admitted: IntGaugeVec,
    in_flight: IntGaugeVec,
    attempts: IntCounterVec,
    probes: IntCounterVec,
    last_probe_age: GaugeVec,
    queued: IntGaugeVec,
    requests_in_flight: IntGauge,
    log_lines_dropped: IntCounter,
}

impl ScrapedFamilies {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let labels = ["pool", "backend"];
        Ok(ScrapedFamilies {
            state: IntGaugeVec::new(
                Opts::new("evenkeel_backend_state", "1 for the state that the backend is in."),
                &["pool", "backend", "state"],
            )?,
            admitted: IntGaugeVec::new(
                Opts::new("evenkeel_backend_admitted", "1 if the backend may be picked now."),
                &labels,
            )?,
            in_flight: IntGaugeVec::new(
                Opts::new("evenkeel_backend_in_flight", "Attempts under way on the backend."),
                &labels,
            )?,
            attempts: IntCounterVec::new(
                Opts::new("evenkeel_backend_attempts_total", "Attempts on the backend by how they ended."),
                &["pool", "backend", "outcome"],
            )?,
            probes: IntCounterVec::new(
                Opts::new("evenkeel_health_checks_total", "Probes of the backend by their result."),
                &["pool", "backend", "result"],
            )?,
            last_probe_age: GaugeVec::new(
                Opts::new(
                    "evenkeel_health_check_last_age_seconds",
                    "How long ago the last probe of the backend ended.",
                ),
                &labels,
            )?,
            queued: IntGaugeVec::new(
                Opts::new("evenkeel_queued_requests", "Requests that wait for room in the pool."),
                &["pool"],
            )?,
            requests_in_flight: IntGauge::new("evenkeel_requests_in_flight", "Requests under way.")?,
            log_lines_dropped: IntCounter::new(
                "evenkeel_access_log_dropped_total",
                "Lines of the access log that were dropped because it could not be written fast enough.",
            )?,
        })
    }

    /// Add what is of a pool as a whole.
    pub(crate) fn add_pool(&self, pool: &str, waiting: usize) {
        self.queued.with_label_values(&[pool]).set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Add what is of the whole process.
    pub(crate) fn add_process(&self, in_flight: usize, log_lines_dropped: u64) {
        self.requests_in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        self.log_lines_dropped.inc_by(log_lines_dropped);
    }

    pub(crate) fn add(&self, sample: &BackendSample<'_>) {
        let labels = [sample.pool, sample.backend];
        let with = |last| [sample.pool, sample.backend, last];
        self.state.with_label_values(&with(sample.state)).set(1);
        self.admitted.with_label_values(&labels).set(i64::from(sample.admitted));
        self.in_flight.with_label_values(&labels).set(i64::from(sample.in_flight));
        for (outcome, count) in
            [("succeeded", sample.succeeded), ("failed", sample.failed), ("cancelled", sample.cancelled)]
        {
            self.attempts.with_label_values(&with(outcome)).inc_by(count);
        }
        for (result, count) in [("passed", sample.probes_passed), ("failed", sample.probes_failed)] {
            self.probes.with_label_values(&with(result)).inc_by(count);
        }
        if let Some(age) = sample.last_probe_age {
            self.last_probe_age.with_label_values(&labels).set(age.as_secs_f64());
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), prometheus::Error> {
        let families: [&dyn Collector; 9] = [
            &self.requests_in_flight,
            &self.log_lines_dropped,
            &self.queued,
            &self.state,
            &self.admitted,
            &self.in_flight,
            &self.attempts,
            &self.probes,
            &self.last_probe_age,
        ];
        // The encoder takes a family without a sample for an error.
        let filled = families.into_iter().flat_map(Collector::collect).filter(|family| !family.get_metric().is_empty());
        TextEncoder::new().encode(&filled.collect::<Vec<_>>(), out)
    }
}

/// The handles of one pool.
pub struct PoolMetrics {
    requests: [IntCounter; CODE_CLASSES.len()],
    duration: Histogram,
    failures: [IntCounter; Reason::ALL.len()],
    retries: IntCounter,
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
            registry,
        };
        metrics.registry.register(Box::new(metrics.requests.clone()))?;
        metrics.registry.register(Box::new(metrics.durations.clone()))?;
        metrics.registry.register(Box::new(metrics.failures.clone()))?;
        metrics.registry.register(Box::new(metrics.retries.clone()))?;
        Ok(metrics)
    }

    /// The handles of a pool; the empty name is for requests that get no pool.
    pub fn pool(&self, name: &str) -> PoolMetrics {
        PoolMetrics {
            requests: CODE_CLASSES.map(|class| self.requests.with_label_values(&[name, class])),
            duration: self.durations.with_label_values(&[name]),
            failures: Reason::ALL.map(|reason| self.failures.with_label_values(&[name, reason.as_str()])),
            retries: self.retries.with_label_values(&[name]),
        }
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
    fn reasons_are_numbered_as_listed() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
    }
}
