//! The policies of a pool that hold whatever its algorithm.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Place;

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
    /// How long a client still reaches its backend when that drains, from the beginning of the draining; then it goes elsewhere,
    /// with a new cookie. 0 is at once, written `off`. Default [`Sticky::DRAIN_GRACE`].
    pub drain_grace: Duration,
    /// A file with the secret that cookies are signed with, at least [`Sticky::MIN_SECRET`] bytes. Balancers that share it
    /// honour each other's cookies. Default: a random one that lasts as long as the process.
    pub secret_file: Option<PathBuf>,
    /// Where the file says so: its `secret_file`, if there is one.
    pub at: Place,
}

impl Sticky {
    /// Fewer bytes could be guessed.
    pub const MIN_SECRET: usize = 32;
    /// Enough to end what a client does in several requests, like loading a page; every drain takes at least as long.
    pub const DRAIN_GRACE: Duration = Duration::from_secs(10);
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

/// `ejection`: who is taken out because of what live traffic showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Failures of any kind in a row that eject, 1 or more. Default 5.
    pub consecutive_failures: Option<u16>,
    /// Failures to connect in a row that eject, 1 or more. Default 3.
    pub consecutive_connect_failures: Option<u16>,
    /// Whether a success rate far below the peers' ejects. Default yes.
    pub success_rate: bool,
    /// Whether answers that take several times as long as the peers' eject. Default yes.
    pub latency: bool,
    /// How long the first ejection lasts; each further one lasts that much longer. Default 10 s.
    pub base_time: Duration,
    /// How long an ejection lasts at most, `base_time` or more. For each such time that a backend is well, half of its
    /// ejections are forgotten. Default 5 min.
    pub max_time: Duration,
    /// How much of the pool may be ejected, in percent of its backends, 1 to 100. It is always one at least, and never the
    /// last one that is admitted. Default 50.
    pub max_percent: u8,
    /// How long a window is, in which answers are counted that are compared: 10 ms to 1 min. Default 1 s.
    pub window: Duration,
}

impl Ejection {
    /// The shortest and the longest `window`.
    pub const WINDOWS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));
}

impl Default for Ejection {
    fn default() -> Self {
        Ejection {
            consecutive_failures: Some(5),
            consecutive_connect_failures: Some(3),
            success_rate: true,
            latency: true,
            base_time: Duration::from_secs(10),
            max_time: Duration::from_secs(300),
            max_percent: 50,
            window: Duration::from_secs(1),
        }
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
