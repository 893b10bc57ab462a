//! A pool: a set of backends with one balancing algorithm, one health check, one set of policies.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Balance, Extension, Percent, Position, Queue, Regex, Sticky, Zone};

/// One pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its key under `pools`, unique: letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// Where its backends come from.
    pub source: Source,
    /// The algorithm that picks. Default [`Balance::RoundRobin`].
    pub balance: Balance,
    /// Active probing; `None` is `health_check: off`. Default: `tcp`, every five seconds.
    pub health_check: Option<HealthCheck>,
    /// What to do when no backend is healthy. Default [`WhenUnavailable::Reject`].
    pub when_unavailable: WhenUnavailable,
    /// While less than this share of the weight of every priority is healthy, health is not believed: backends are picked as if
    /// all were healthy. 0 to 100 %. Default 0 %: never.
    pub panic_threshold: Percent,
    /// A cookie that keeps a client on its backend. Default none.
    pub sticky: Option<Sticky>,
    /// How long the share of a backend that appeared or recovered grows, linearly, to its weight. Default: not at all.
    pub slow_start: Option<Duration>,
    /// How many requests the whole pool may have in flight, 1 or more. Default: any number.
    pub max_in_flight: Option<u32>,
    /// Who waits when `max_in_flight`, the pool's or each backend's, is reached. Default nobody: 503 at once.
    pub queue: Option<Queue>,
    /// Which zone's backends are preferred. Default none.
    pub zone: Option<Zone>,
    /// While at least this share of the weight of a priority is healthy, nothing goes to the next. Below, what is missing
    /// does, in proportion. 0 to 100 %. Default 0 %: only when nobody of the lower number is healthy.
    pub overflow: Percent,
    /// Second chances for a request. Default three attempts.
    pub retry: Retry,
    /// How long each step towards a backend may take.
    pub timeouts: Timeouts,
    /// Where the file says so.
    pub at: Position,
}

/// Where the backends of a pool come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// `backends:` a list in the file, never empty.
    Backends(Vec<Backend>),
    /// `discovery: { NAME: … }`, a source that a library user registered under that name.
    Discovery(Extension),
}

/// One entry of `backends`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Where it listens.
    pub address: BackendAddress,
    /// Its share of the traffic, 1 to [`Backend::MAX_WEIGHT`]. Default 1.
    pub weight: u16,
    /// The zone it stands in. Default none.
    pub zone: Option<String>,
    /// Lower numbers are asked first, 0 to [`Backend::MAX_PRIORITY`]; `backup: true` is the same as 1. Default 0.
    pub priority: u8,
    /// How many requests it may have in flight, 1 or more. Default: any number.
    pub max_in_flight: Option<u32>,
    /// Where the file says so.
    pub at: Position,
}

impl Backend {
    /// The largest weight. More would only make cycles longer, not shares finer.
    pub const MAX_WEIGHT: u16 = 1000;
    /// The last priority.
    pub const MAX_PRIORITY: u8 = 9;
}

/// The address of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BackendAddress {
    /// `10.0.0.1:80`, `[::1]:80`.
    Ip(SocketAddr),
    /// `host:port`; every address that the name resolves to is a backend of that weight.
    Name(String, u16),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackendAddress::Ip(address) => write!(f, "{address}"),
            BackendAddress::Name(name, port) => write!(f, "{name}:{port}"),
            BackendAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What happens to a request when no backend is healthy. Those that drain do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenUnavailable {
    /// Answer 503 at once.
    #[default]
    Reject,
    /// Fail open: pick as if every backend were healthy, but for those that drain.
    TryAny,
}

/// Active probing of a pool's backends.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// From the start of one probe of a backend to the start of the next, give or take a tenth. Default 5 s.
    pub interval: Duration,
    /// How long a whole probe may take, below `interval`. Default 2 s.
    pub timeout: Duration,
    /// Consecutive passes that make an unhealthy backend healthy, 1 to 100. Default 2.
    pub rise: u16,
    /// Consecutive failures that make a healthy backend unhealthy, 1 to 100. Default 3.
    pub fall: u16,
    /// What a backend is before its first probe. Default [`Initial::Probe`].
    pub initial: Initial,
    /// Where the file says so.
    pub at: Position,
}

impl HealthCheck {
    /// Often enough to notice within seconds, seldom enough to cost nothing.
    pub const INTERVAL: Duration = Duration::from_secs(5);
    /// A backend that needs longer to answer a probe is not well.
    pub const TIMEOUT: Duration = Duration::from_secs(2);
    /// One lucky pass does not bring a backend back.
    pub const RISE: u16 = 2;
    /// One lost probe does not take a backend out.
    pub const FALL: u16 = 3;
    /// The largest `rise` and `fall`.
    pub const MAX_THRESHOLD: u16 = 100;
}

impl Default for HealthCheck {
    fn default() -> Self {
        HealthCheck {
            probe: Probe::Tcp,
            interval: Self::INTERVAL,
            timeout: Self::TIMEOUT,
            rise: Self::RISE,
            fall: Self::FALL,
            initial: Initial::Probe,
            at: Position::default(),
        }
    }
}

/// What a health check asks a backend.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe {
    /// `tcp: {}`: a connection can be made.
    Tcp,
    /// `http: {…}`: a GET is answered as expected.
    Http(HttpProbe),
    /// `NAME: {…}`: a check that a library user registered under that name.
    Extension(Extension),
}

/// An HTTP probe.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpProbe {
    /// The target, starting with `/`. Default `/`.
    pub path: String,
    /// Inclusive ranges of statuses that pass, each 100 to 599. Default `[200-299]`.
    pub expect: Vec<(u16, u16)>,
    /// The `Host` header. Default: the backend's own address.
    pub host: Option<String>,
    /// Another port of the same host to ask. Default: the backend's own.
    pub port: Option<u16>,
    /// What the first 64 KiB of the body must match. Default: anything.
    pub body: Option<Regex>,
}

impl Default for HttpProbe {
    fn default() -> Self {
        HttpProbe { path: "/".to_owned(), expect: vec![(200, 299)], host: None, port: None, body: None }
    }
}

/// What a backend is taken for before its first probe has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Initial {
    /// Not admitted; the first probe alone decides.
    #[default]
    Probe,
    /// Healthy until `fall` probes have failed.
    Up,
    /// Unhealthy until `rise` probes have passed.
    Down,
}

/// Second chances for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many attempts in all, the first included, 1 to 10; each on a backend that this request has not tried. Default 3.
    pub attempts: u8,
}

impl Retry {
    /// Two backends may die at once; more than three attempts rather feed an overload.
    pub const ATTEMPTS: u8 = 3;
    /// The largest number of attempts.
    pub const MAX_ATTEMPTS: u8 = 10;
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: Self::ATTEMPTS }
    }
}

/// How long each step towards a backend may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect. Default 2 s: three lost SYNs on a local network are a dead host.
    pub connect: Duration,
    /// Between two reads of the response, the first included. Default 30 s.
    pub read: Duration,
    /// Between two writes of the request. Default 30 s.
    pub write: Duration,
    /// How long an unused connection is kept. Default 50 s: below the 60 s and 75 s after which common servers close.
    pub idle: Duration,
    /// From the end of the request's header to the response's, all attempts together. A body that still arrives, either
    /// way, is governed by the pauses in it instead. Default 60 s.
    pub request: Duration,
    /// How long an upgraded connection (a WebSocket) may stay silent. Default 1 h.
    pub tunnel: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(2),
            read: Duration::from_secs(30),
            write: Duration::from_secs(30),
            idle: Duration::from_secs(50),
            request: Duration::from_secs(60),
            tunnel: Duration::from_secs(3600),
        }
    }
}
