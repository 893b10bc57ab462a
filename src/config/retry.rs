//! Second chances for a request: `retry`.

use std::time::Duration;

use super::Percent;

/// Second chances for a request: which failures get one, and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts in all, the first included, 1 to 10; each on a backend that this request has not tried. Default 3.
    pub attempts: u8,
    /// After which failures another attempt is made.
    pub on: RetryOn,
    /// Whether what is not the same done twice (POST, PATCH) is sent again, too, although a backend may have acted on it.
    /// Default no. Where no backend has seen the request, it is sent again whatever its method.
    pub non_idempotent: bool,
    /// How long an attempt may take to the header of its response. Default: as long as `timeouts.read` allows.
    pub per_try_timeout: Option<Duration>,
    /// How long to wait before an attempt. Default [`Backoff::default`].
    pub backoff: Option<Backoff>,
    /// How many second attempts a pool may make. Default [`Budget::default`].
    pub budget: Option<Budget>,
    /// How many second attempts may be under way at once. Default any number.
    pub max_in_flight: Option<u32>,
}

impl Retry {
    /// Two backends may die at once; more than three attempts rather feed an overload.
    pub const ATTEMPTS: u8 = 3;
    /// The largest number of attempts.
    pub const MAX_ATTEMPTS: u8 = 10;
}

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: Self::ATTEMPTS,
            on: RetryOn::default(),
            non_idempotent: false,
            per_try_timeout: None,
            backoff: Some(Backoff::default()),
            budget: Some(Budget::default()),
            max_in_flight: None,
        }
    }
}

/// After which failures another attempt is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryOn {
    /// The backend could not be reached: nothing was sent.
    pub connect: bool,
    /// It closed or reset the connection before its response began.
    pub reset: bool,
    /// It was too late.
    pub timeout: bool,
    /// In HTTP/2, it said that it has not looked at the request: REFUSED_STREAM, or GOAWAY without an error.
    pub refused_stream: bool,
    /// It answered with one of these, 400 to 599.
    pub statuses: Vec<u16>,
    /// It answered a call of gRPC with one of these statuses and nothing else. Default none.
    pub calls: Vec<u8>,
}

impl RetryOn {
    /// Nothing.
    pub const NEVER: RetryOn = RetryOn {
        connect: false,
        reset: false,
        timeout: false,
        refused_stream: false,
        statuses: Vec::new(),
        calls: Vec::new(),
    };
    /// The statuses of gRPC that may be in it, by their names: those that say nothing of the request itself.
    pub const CALLS: [(&str, u8); 5] =
        [("cancelled", 1), ("deadline_exceeded", 4), ("resource_exhausted", 8), ("internal", 13), ("unavailable", 14)];
}

/// Everything but a plain 500: that is most often the request's fault, and would be the same anywhere.
impl Default for RetryOn {
    fn default() -> Self {
        RetryOn {
            connect: true,
            reset: true,
            timeout: true,
            refused_stream: true,
            statuses: vec![502, 503, 504],
            calls: Vec::new(),
        }
    }
}

/// How long to wait before another attempt: at random up to `base`, twice that before the next, and so on up to `max`. The
/// first attempt after a backend that could not be reached does not wait: it is another backend that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Default 25 ms.
    pub base: Duration,
    /// Default 250 ms; at least `base`.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { base: Duration::from_millis(25), max: Duration::from_millis(250) }
    }
}

/// How many second attempts a pool may make, so that they cannot drown it when everything fails: a share of its requests of
/// the last ten seconds, and some each second whatever its traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The share of the requests, 0 to 100 %. Default 20 %.
    pub percent: Percent,
    /// What may be made each second beside it, 0 to 1000. Default 3.
    pub min_per_second: u16,
}

impl Budget {
    /// The most that `min_per_second` may be.
    pub const MAX_PER_SECOND: u16 = 1000;
}

impl Default for Budget {
    fn default() -> Self {
        Budget { percent: Percent(20), min_per_second: 3 }
    }
}

/// When a second attempt is sent beside a first that has not been answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    /// After so long.
    Delay(Duration),
    /// After the time within which this many of a hundred attempts of the pool have lately been answered, 50 to 99.
    Percentile(u8),
}

/// `hedge`: for safe methods without a body, ask another backend when the first is slow, and take the answer that comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// When.
    pub after: HedgeAfter,
}
