//! What scripts fail by. One family for the process: a filter is made before it is known what counts it.

use std::sync::LazyLock;

use prometheus::{IntCounterVec, Opts};

static FAILURES: LazyLock<Option<IntCounterVec>> = LazyLock::new(|| {
    let opts = Opts::new(
        "evenkeel_script_failures_total",
        "Hooks of scripts that failed, by the script and by what: time, memory, or an error.",
    );
    IntCounterVec::new(opts, &["script", "cause"]).ok()
});

/// Count a hook of a script that has failed.
pub(crate) fn script_failed(script: &str, cause: &str) {
    if let Some(failures) = &*FAILURES {
        failures.with_label_values(&[script, cause]).inc();
    }
}

pub(super) fn register(registry: &prometheus::Registry) -> Result<(), prometheus::Error> {
    match &*FAILURES {
        Some(failures) => registry.register(Box::new(failures.clone())),
        None => Ok(()),
    }
}
