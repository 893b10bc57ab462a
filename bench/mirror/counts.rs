//! What came to one address: how many requests and probes, and how many probes at most within a second.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

pub(crate) struct Counts(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    requests: u64,
    probes: u64,
    /// The probes of the last second.
    recent: VecDeque<Instant>,
    /// The most that there have been in there since the counts were last asked for.
    burst: usize,
}

impl Counts {
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    pub(crate) fn request(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).requests += 1;
    }

    pub(crate) fn probe(&self) {
        let now = Instant::now();
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.probes += 1;
        inner.recent.push_back(now);
        while inner.recent.front().is_some_and(|first| now - *first > WINDOW) {
            inner.recent.pop_front();
        }
        inner.burst = inner.burst.max(inner.recent.len());
    }

    /// The counts so far, and the largest burst since this was last called.
    pub(crate) fn take(&self) -> serde_json::Value {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let burst = std::mem::take(&mut inner.burst);
        serde_json::json!({ "requests": inner.requests, "probes": inner.probes, "burst": burst })
    }
}
