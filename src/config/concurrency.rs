//! `concurrency` of a pool and `priority` of a route: who is sent away when there is too much to do.

use super::Percent;

/// `concurrency: adaptive`: how many requests the pool takes before it gets slow is found from its latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adaptive {
    /// The limit is never less, 1 or more. Default 4.
    pub min: u32,
    /// The limit is never more, `min` to [`Adaptive::MOST`]. It begins at a tenth of it. Default 1000.
    pub max: u32,
}

impl Adaptive {
    /// The largest `max`.
    pub const MOST: u32 = 1_000_000;
}

impl Default for Adaptive {
    fn default() -> Self {
        Adaptive { min: 4, max: 1000 }
    }
}

/// `priority` of a route: who is sent away first when the pool behind it has too much to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// May use [three fifths](Priority::share) of the limit.
    Low,
    /// May use four fifths.
    #[default]
    Normal,
    /// May use all of it.
    High,
}

impl Priority {
    /// The share of the limit that requests of this priority may fill.
    pub const fn share(self) -> Percent {
        match self {
            Priority::Low => Percent(60),
            Priority::Normal => Percent(80),
            Priority::High => Percent(100),
        }
    }
}
