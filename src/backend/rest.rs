//! What is known of a backend, and no pick asks.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

use arc_swap::ArcSwapOption;
use pingora_core::protocols::l4::socket::SocketAddr;
use tokio::sync::Notify;

use super::counts::Attempts;
use super::drain::Causes;
use super::ejection::Ejection;
use super::histogram::Histogram;
use super::probes::Probes;
use super::{Cause, Health, clock, label};

/// By itself, so that the states of thousands of backends, a cache line each, lie side by side: with this between them they
/// are spread over fifteen times the memory, and over a part of the places that a cache has.
pub(super) struct Rest {
    /// Eligible, but for draining.
    pub(super) well: AtomicBool,
    pub(super) attempts: Attempts,
    /// When it last became eligible, in [`clock`] milliseconds.
    pub(super) eligible_since: AtomicU64,
    /// When it began to drain, if it does; the same.
    pub(super) draining_since: AtomicU64,
    pub(super) address: SocketAddr,
    /// The address as text, the way logs, metrics and headers show it.
    pub(super) label: String,
    /// The name that its certificate is for, as its source says.
    pub(super) name: ArcSwapOption<String>,
    pub(super) probes: Probes,
    pub(super) record: Mutex<Record>,
    /// Wakes whoever probes it.
    pub(super) prober: ArcSwapOption<Notify>,
    /// The time to the first byte of each answer below 500.
    pub(super) took: Histogram,
    /// How many of these are only what an attempt would have taken at least.
    pub(super) overtaken: AtomicU64,
    /// How often it was ejected, by cause.
    pub(super) ejections: [AtomicU64; Cause::WORDS.len()],
    /// It was removed so long ago that what is under way on it is to end.
    pub(super) cut: AtomicBool,
}

/// The inputs of [`BackendState::eligible`](super::BackendState::eligible).
pub(super) struct Record {
    pub(super) machine: Health,
    pub(super) ejection: Ejection,
    /// Why it is what it is, for people: the last failure, or nothing.
    pub(super) reason: Option<String>,
    pub(super) drain: Causes,
}

impl Rest {
    pub(super) fn new(address: SocketAddr, health: Health) -> Self {
        Rest {
            well: AtomicBool::new(health.healthy()),
            attempts: Attempts::default(),
            eligible_since: AtomicU64::new(clock::millis()),
            draining_since: AtomicU64::default(),
            label: label(&address),
            address,
            name: ArcSwapOption::empty(),
            probes: Probes::default(),
            record: Mutex::new(Record {
                machine: health,
                ejection: Ejection::NONE,
                reason: None,
                drain: Causes::default(),
            }),
            prober: ArcSwapOption::empty(),
            took: Histogram::default(),
            overtaken: AtomicU64::new(0),
            ejections: Default::default(),
            cut: AtomicBool::new(false),
        }
    }
}
