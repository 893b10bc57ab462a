//! What happens to the process as a whole.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Gauge, IntCounterVec, IntGauge, Opts, Registry};

/// Counted seldom: nothing here is on a request's way.
pub(crate) struct ProcessMetrics {
    reloads: IntCounterVec,
    last_successful: IntGauge,
    last_success: Gauge,
    generation: IntGauge,
    upgrades: IntCounterVec,
}

impl ProcessMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = ProcessMetrics {
            reloads: IntCounterVec::new(
                Opts::new("evenkeel_config_reloads_total", "Reloads, by whether the new configuration is in place."),
                &["result"],
            )?,
            last_successful: IntGauge::new(
                "evenkeel_config_last_reload_successful",
                "1 if the last reload put its configuration in place, or there was none.",
            )?,
            last_success: Gauge::new(
                "evenkeel_config_last_reload_success_timestamp_seconds",
                "When the configuration that serves was put in place.",
            )?,
            generation: IntGauge::new(
                "evenkeel_config_generation",
                "How many configurations this process has served by, with this one.",
            )?,
            upgrades: IntCounterVec::new(
                Opts::new(
                    "evenkeel_upgrades_total",
                    "Upgrades: 1 success in a process that took over, failures in one that stayed.",
                ),
                &["result"],
            )?,
        };
        registry.register(Box::new(metrics.reloads.clone()))?;
        registry.register(Box::new(metrics.last_successful.clone()))?;
        registry.register(Box::new(metrics.last_success.clone()))?;
        registry.register(Box::new(metrics.generation.clone()))?;
        registry.register(Box::new(metrics.upgrades.clone()))?;
        for result in ["success", "failure"] {
            metrics.reloads.with_label_values(&[result]);
            metrics.upgrades.with_label_values(&[result]);
        }
        metrics.serves(1);
        Ok(metrics)
    }

    /// A reload has ended, with this generation in place or nothing changed.
    pub(crate) fn reloaded(&self, generation: Option<u64>) {
        let result = if generation.is_some() { "success" } else { "failure" };
        self.reloads.with_label_values(&[result]).inc();
        match generation {
            Some(number) => self.serves(number),
            None => self.last_successful.set(0),
        }
    }

    /// This process has taken another's place, or another has failed to take its.
    pub(crate) fn upgraded(&self, success: bool) {
        self.upgrades.with_label_values(&[if success { "success" } else { "failure" }]).inc();
    }

    fn serves(&self, generation: u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.last_success.set(now.as_secs_f64());
        self.last_successful.set(1);
    }
}
