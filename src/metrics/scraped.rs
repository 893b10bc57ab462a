//! What is counted elsewhere, read when somebody scrapes.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Encoder, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, TextEncoder};

/// What is read of one backend when somebody scrapes.
pub(crate) struct BackendSample<'a> {
    pub(crate) pool: &'a str,
    pub(crate) backend: &'a str,
    pub(crate) state: &'static str,
    /// For how long it has drained, by the cause.
    pub(crate) draining: [(&'static str, Option<Duration>); 2],
    pub(crate) admitted: bool,
    pub(crate) in_flight: u32,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) probes_sent: u64,
    /// By their causes.
    pub(crate) ejections: Vec<(&'static str, u64)>,
    pub(crate) probes_passed: u64,
    pub(crate) probes_failed: u64,
    pub(crate) last_probe_age: Option<Duration>,
    pub(crate) probe_lateness: Option<Duration>,
    /// `None` without a health check.
    pub(crate) probes_overdue: Option<bool>,
}

/// What is counted elsewhere, made anew for each scrape: a backend's counts live in its state.
pub(crate) struct ScrapedFamilies {
    state: IntGaugeVec,
    draining: GaugeVec,
    admitted: IntGaugeVec,
    in_flight: IntGaugeVec,
    attempts: IntCounterVec,
    ejections: IntCounterVec,
    probes: IntCounterVec,
    probes_sent: IntCounterVec,
    last_probe_age: GaugeVec,
    probe_lateness: GaugeVec,
    probes_overdue: IntGaugeVec,
    queued: IntGaugeVec,
    discovery_failures: IntCounterVec,
    concurrency_limit: IntGaugeVec,
    connections: IntGaugeVec,
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
            draining: GaugeVec::new(
                Opts::new("evenkeel_backend_draining_seconds", "For how long the backend has drained, by the cause."),
                &["pool", "backend", "cause"],
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
            ejections: IntCounterVec::new(
                Opts::new("evenkeel_ejections_total", "Ejections of the backend by their cause."),
                &["pool", "backend", "cause"],
            )?,
            probes: IntCounterVec::new(
                Opts::new("evenkeel_health_checks_total", "Probes of the backend by their result."),
                &["pool", "backend", "result"],
            )?,
            probes_sent: IntCounterVec::new(
                Opts::new("evenkeel_health_checks_sent_total", "Probes of the backend that began."),
                &labels,
            )?,
            last_probe_age: GaugeVec::new(
                Opts::new(
                    "evenkeel_health_check_last_age_seconds",
                    "How long ago the last probe of the backend ended.",
                ),
                &labels,
            )?,
            probe_lateness: GaugeVec::new(
                Opts::new(
                    "evenkeel_health_check_lateness_seconds",
                    "How much later than it was due the last probe of the backend began.",
                ),
                &labels,
            )?,
            probes_overdue: IntGaugeVec::new(
                Opts::new(
                    "evenkeel_health_check_overdue",
                    "1 if no probe of the backend has ended in three intervals; only with a health check.",
                ),
                &labels,
            )?,
            discovery_failures: IntCounterVec::new(
                Opts::new(
                    "evenkeel_discovery_failures_total",
                    "Times that the source of the pool's backends did not answer.",
                ),
                &["pool"],
            )?,
            queued: IntGaugeVec::new(
                Opts::new("evenkeel_queued_requests", "Requests that wait for room in the pool."),
                &["pool"],
            )?,
            concurrency_limit: IntGaugeVec::new(
                Opts::new(
                    "evenkeel_concurrency_limit",
                    "Attempts that the pool may have under way before it gets slow, as its latencies show.",
                ),
                &["pool"],
            )?,
            connections: IntGaugeVec::new(
                Opts::new("evenkeel_pool_connections", "Open connections to the backends of a pool that limits them."),
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
    pub(crate) fn add_pool(&self, pool: &str, waiting: usize, discovery_failures: u64) {
        self.discovery_failures.with_label_values(&[pool]).inc_by(discovery_failures);
        self.queued.with_label_values(&[pool]).set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Add what limits a pool, if that does.
    pub(crate) fn add_limits(&self, pool: &str, concurrency: Option<usize>, connections: Option<usize>) {
        for (family, value) in [(&self.concurrency_limit, concurrency), (&self.connections, connections)] {
            if let Some(value) = value {
                family.with_label_values(&[pool]).set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
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
        for (cause, age) in sample.draining {
            if let Some(age) = age {
                self.draining.with_label_values(&with(cause)).set(age.as_secs_f64());
            }
        }
        self.admitted.with_label_values(&labels).set(i64::from(sample.admitted));
        self.in_flight.with_label_values(&labels).set(i64::from(sample.in_flight));
        for (outcome, count) in
            [("succeeded", sample.succeeded), ("failed", sample.failed), ("cancelled", sample.cancelled)]
        {
            self.attempts.with_label_values(&with(outcome)).inc_by(count);
        }
        for (cause, count) in &sample.ejections {
            self.ejections.with_label_values(&with(cause)).inc_by(*count);
        }
        for (result, count) in [("passed", sample.probes_passed), ("failed", sample.probes_failed)] {
            self.probes.with_label_values(&with(result)).inc_by(count);
        }
        self.probes_sent.with_label_values(&labels).inc_by(sample.probes_sent);
        if let Some(age) = sample.last_probe_age {
            self.last_probe_age.with_label_values(&labels).set(age.as_secs_f64());
        }
        if let Some(late) = sample.probe_lateness {
            self.probe_lateness.with_label_values(&labels).set(late.as_secs_f64());
        }
        if let Some(overdue) = sample.probes_overdue {
            self.probes_overdue.with_label_values(&labels).set(i64::from(overdue));
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), prometheus::Error> {
        let families: [&dyn Collector; 17] = [
            &self.requests_in_flight,
            &self.log_lines_dropped,
            &self.queued,
            &self.discovery_failures,
            &self.concurrency_limit,
            &self.connections,
            &self.state,
            &self.draining,
            &self.admitted,
            &self.in_flight,
            &self.attempts,
            &self.ejections,
            &self.probes,
            &self.probes_sent,
            &self.last_probe_age,
            &self.probe_lateness,
            &self.probes_overdue,
        ];
        // The encoder takes a family without a sample for an error.
        let filled = families.into_iter().flat_map(Collector::collect).filter(|family| !family.get_metric().is_empty());
        TextEncoder::new().encode(&filled.collect::<Vec<_>>(), out)
    }
}
