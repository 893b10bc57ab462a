//! What a pool wants of its backends, whatever the algorithm.

use std::time::Duration;

use super::Health;
use crate::config::{Adaptive, Percent, WhenUnavailable, Zone};

/// What a pool wants of its backends, whatever the algorithm. The default admits everybody at once and prefers nobody.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The health of a backend that has never been seen before, or was away. Default healthy.
    pub initial: Health,
    /// How long the share of a backend that became eligible grows to its weight. Default not at all.
    pub slow_start: Option<Duration>,
    /// Which zone is preferred. Default none.
    pub zone: Option<Zone>,
    /// The share of a priority's weight that must be eligible to keep everything from the next. Default 0 %: anybody.
    pub overflow: Percent,
    /// While less than this share of the weight of every priority is eligible, health is not believed. Default 0 %: never.
    pub panic_threshold: Percent,
    /// What to do when nobody is eligible. Default [`WhenUnavailable::Reject`].
    pub when_unavailable: WhenUnavailable,
    /// How many attempts the pool as a whole may have under way. Default any number.
    pub max_in_flight: Option<u32>,
    /// Between which bounds the number of attempts is found that the pool takes before it gets slow. Default: not at all.
    pub concurrency: Option<Adaptive>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            initial: Health::UP,
            slow_start: None,
            zone: None,
            overflow: Percent::default(),
            panic_threshold: Percent::default(),
            when_unavailable: WhenUnavailable::default(),
            max_in_flight: None,
            concurrency: None,
        }
    }
}
