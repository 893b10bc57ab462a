//! The policies of a pool that hold whatever its algorithm.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Position;

/// Hundredths, written `70%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u16);

impl Percent {
    /// As a part of one: 0.7 for 70 %.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// `sticky`: a client stays with its backend by a cookie that we issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// The name of the cookie.
    pub cookie: String,
    /// How long the client keeps it, from its issue. Default: until the browser is closed.
    pub ttl: Option<Duration>,
    /// A file with the secret that cookies are signed with, at least [`Sticky::MIN_SECRET`] bytes. Balancers that share it
    /// honour each other's cookies. Default: a random one that lasts as long as the process.
    pub secret_file: Option<PathBuf>,
    /// Where the file says so: its `secret_file`, if there is one.
    pub at: Position,
}

impl Sticky {
    /// Fewer bytes could be guessed.
    pub const MIN_SECRET: usize = 32;
}

/// `queue`: who waits when `max_in_flight` is reached. First come, first served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many requests may wait, 1 to [`Queue::MAX_SIZE`]; more get a 503 at once. Default 1000.
    pub size: u32,
    /// How long each may wait, then it gets a 503. Default 1 s: `timeouts.request` bounds it, too.
    pub timeout: Duration,
}

impl Queue {
    /// The largest queue. A longer one only keeps clients that have left.
    pub const MAX_SIZE: u32 = 1_000_000;
}

impl Default for Queue {
    fn default() -> Self {
        Queue { size: 1000, timeout: Duration::from_secs(1) }
    }
}

/// `zone`: prefer the backends of one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The zone that this balancer stands in.
    pub name: String,
    /// While at least this share of the zone's weight is healthy, everything stays in it. Below, what is missing goes to the
    /// other zones, in proportion: half of `minimum` healthy keeps half of the requests. 0 to 100 %. Default 70 %.
    pub minimum: Percent,
}

impl Zone {
    /// A zone that has lost more than three backends of ten can hardly carry everything alone.
    pub const MINIMUM: Percent = Percent(70);
}
