//! What goes wrong with every request is said once, and once more when it is over.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use log::{info, warn};

/// Whether somebody that a filter asks answers, as far as the log knows.
#[derive(Default)]
pub(super) struct Quiet(AtomicBool);

impl Quiet {
    /// It does not answer.
    pub(super) fn failed(&self, filter: &str, whom: &str, why: &str) {
        if !self.0.swap(true, Relaxed) {
            warn!("{filter}: {whom}: {why}");
        }
    }

    /// It does.
    pub(super) fn answered(&self, filter: &str, whom: &str) {
        // Read first: one cache line for all requests, which none of them writes.
        if self.0.load(Relaxed) && self.0.swap(false, Relaxed) {
            info!("{filter}: {whom} answers again");
        }
    }
}
