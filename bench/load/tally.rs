//! What became of the requests, and the report about them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Why there was no good answer: a word that is counted.
pub(crate) type Kind = String;

/// What became of one request.
pub(crate) struct Outcome {
    /// When it was due, from when requests began to count.
    pub(crate) due: Duration,
    /// How long after it was due it was begun: large only if this program or its machine is too busy.
    pub(crate) late: Duration,
    /// All connections were in use.
    pub(crate) waited: bool,
    pub(crate) latency: Duration,
    /// The X-Origin of a good answer, or why there is none.
    pub(crate) result: Result<Option<String>, Kind>,
}

#[derive(Default)]
pub(crate) struct Tally {
    /// When each was due, its latency, and whether it was answered well.
    samples: Vec<(Duration, Duration, bool)>,
    /// Of all requests, and of those that were answered well.
    latencies: Vec<Duration>,
    ok: Vec<Duration>,
    late: Vec<Duration>,
    waited: usize,
    failures: BTreeMap<Kind, usize>,
    last_failure: Option<Duration>,
    origins: BTreeMap<String, usize>,
}

impl Tally {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.samples.push((outcome.due, outcome.latency, outcome.result.is_ok()));
        self.latencies.push(outcome.latency);
        self.late.push(outcome.late);
        self.waited += usize::from(outcome.waited);
        match outcome.result {
            Ok(origin) => {
                self.ok.push(outcome.latency);
                *self.origins.entry(origin.unwrap_or_default()).or_default() += 1;
            }
            Err(kind) => {
                *self.failures.entry(kind).or_default() += 1;
                self.last_failure = self.last_failure.max(Some(outcome.due));
            }
        }
    }

    /// A line for each request, in the order in which they ended.
    pub(crate) fn samples(&self) -> String {
        let mut lines = String::new();
        for (due, latency, is_ok) in &self.samples {
            // Writing to a string does not fail.
            let _ = writeln!(lines, "{} {} {}", due.as_micros(), latency.as_micros(), u8::from(*is_ok));
        }
        lines
    }

    /// With the moment from which requests began to count, in seconds since 1970.
    pub(crate) fn report(mut self, began: f64) -> serde_json::Value {
        self.latencies.sort_unstable();
        self.ok.sort_unstable();
        self.late.sort_unstable();
        serde_json::json!({
            "began_unix_s": began,
            "sent": self.latencies.len(),
            "ok": self.ok.len(),
            "failures": self.failures,
            "last_failure_s": self.last_failure.map(|due| due.as_secs_f64()),
            "p50_ms": percentile(&self.latencies, 0.5),
            "p90_ms": percentile(&self.latencies, 0.9),
            "p99_ms": percentile(&self.latencies, 0.99),
            "p999_ms": percentile(&self.latencies, 0.999),
            "max_ms": percentile(&self.latencies, 1.0),
            "ok_p50_ms": percentile(&self.ok, 0.5),
            "ok_p99_ms": percentile(&self.ok, 0.99),
            "ok_p999_ms": percentile(&self.ok, 0.999),
            "late_p99_ms": percentile(&self.late, 0.99),
            "waited": self.waited,
            "origins": self.origins,
        })
    }
}

/// The smallest of the sorted values that at least this share of them does not exceed, in milliseconds; exact.
fn percentile(sorted: &[Duration], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map(|value| value.as_micros() as f64 / 1000.0)
}
