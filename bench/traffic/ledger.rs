//! What became of everything, and the report about it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// Streams that were cut are told one by one, as many as this.
const CUTS: usize = 10_000;

/// What was going on when something happened.
pub(crate) type Phase = Arc<str>;

pub(crate) struct Ledger {
    begin: Instant,
    books: Mutex<Books>,
}

struct Books {
    phase: Phase,
    /// What went well, by its name.
    counts: BTreeMap<&'static str, u64>,
    failures: BTreeMap<String, Failures>,
    cuts: Vec<Value>,
    /// The good answers of the pool that is looked at, by who gave them.
    origins: BTreeMap<String, u64>,
    /// Of good answers, from when they were due, in microseconds.
    latencies: Vec<u32>,
    late: Duration,
}

/// All of one kind.
struct Failures {
    count: u64,
    first: Duration,
    phases: BTreeMap<Phase, u64>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let books = Books {
            phase: "start".into(),
            counts: BTreeMap::new(),
            failures: BTreeMap::new(),
            cuts: Vec::new(),
            origins: BTreeMap::new(),
            latencies: Vec::new(),
            late: Duration::ZERO,
        };
        Self { begin: Instant::now(), books: Mutex::new(books) }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enter(&self, name: &str) {
        self.books().phase = name.into();
    }

    pub(crate) fn phase(&self) -> Phase {
        Arc::clone(&self.books().phase)
    }

    pub(crate) fn count(&self, what: &'static str, how_many: u64) {
        *self.books().counts.entry(what).or_default() += how_many;
    }

    /// How long after it was due something was begun: large only if this program was kept from its work.
    pub(crate) fn late(&self, by: Duration) {
        let mut books = self.books();
        books.late = books.late.max(by);
    }

    pub(crate) fn answered(&self, latency: Duration, origin: Option<String>) {
        let mut books = self.books();
        books.latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        if let Some(origin) = origin {
            *books.origins.entry(origin).or_default() += 1;
        }
    }

    /// A failure of a request that was begun in this phase.
    pub(crate) fn failed(&self, who: &str, kind: &str, phase: Phase) {
        let at = self.begin.elapsed();
        let mut books = self.books();
        let name = format!("{who}: {kind}");
        let all =
            books.failures.entry(name).or_insert_with(|| Failures { count: 0, first: at, phases: BTreeMap::new() });
        all.count += 1;
        *all.phases.entry(phase).or_default() += 1;
    }

    /// A failure of a stream, now.
    pub(crate) fn cut(&self, who: &str, kind: &str, opened: Instant) {
        self.failed(who, kind, self.phase());
        let (opened, at) = ((opened - self.begin).as_secs_f64(), self.begin.elapsed().as_secs_f64());
        let mut books = self.books();
        if books.cuts.len() < CUTS {
            books.cuts.push(json!({ "who": who, "kind": kind, "opened_s": opened, "at_s": at }));
        }
    }

    pub(crate) fn report(&self) -> Value {
        let mut books = self.books();
        books.latencies.sort_unstable();
        let failures: BTreeMap<_, _> = books.failures.iter().map(|(kind, all)| (kind, all.report())).collect();
        json!({
            "at_s": self.begin.elapsed().as_secs_f64(),
            "counts": books.counts,
            "failures": failures,
            "cuts": books.cuts,
            "origins": books.origins,
            "p50_ms": percentile(&books.latencies, 0.5),
            "p99_ms": percentile(&books.latencies, 0.99),
            "p999_ms": percentile(&books.latencies, 0.999),
            "max_ms": percentile(&books.latencies, 1.0),
            "late_ms": books.late.as_secs_f64() * 1000.0,
        })
    }
}

impl Failures {
    fn report(&self) -> Value {
        let phases: BTreeMap<_, _> = self.phases.iter().map(|(phase, count)| (phase.to_string(), count)).collect();
        json!({ "count": self.count, "first_s": self.first.as_secs_f64(), "phases": phases })
    }
}

/// The smallest of the sorted values that at least this share of them does not exceed, in milliseconds.
fn percentile(sorted: &[u32], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map(|value| f64::from(*value) / 1000.0)
}
