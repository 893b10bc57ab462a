//! A pool: a set of backends with one balancing algorithm, one health check, one set of policies.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    Adaptive, Balance, Ejection, Extension, HealthCheck, Hedge, Percent, Place, Queue, Retry, Sticky, Timeouts,
    Transport, Zone,
};

/// One pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Its key under `pools`, unique: letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// Where its backends come from.
    pub source: Source,
    /// How its backends are spoken to.
    pub transport: Transport,
    /// Whether grpc-web requests go to its backends as gRPC. Default `false`.
    pub grpc_web: bool,
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
    /// How many connections to its backends may be open, those kept for later included, 1 or more. Default: any number.
    pub max_connections: Option<u32>,
    /// Who is sent away before the pool gets slow. Default nobody.
    pub concurrency: Option<Adaptive>,
    /// Who waits when `max_in_flight`, the pool's or each backend's, is reached. Default nobody: 503 at once.
    pub queue: Option<Queue>,
    /// Which zone's backends are preferred. Default none.
    pub zone: Option<Zone>,
    /// While at least this share of the weight of a priority is healthy, nothing goes to the next. Below, what is missing
    /// does, in proportion. 0 to 100 %. Default 0 %: only when nobody of the lower number is healthy.
    pub overflow: Percent,
    /// Who is taken out because of what live traffic showed; `None` is `ejection: off`. Default [`Ejection::default`].
    pub ejection: Option<Ejection>,
    /// Second chances for a request. Default three attempts.
    pub retry: Retry,
    /// Whether slow requests are sent twice. Default no.
    pub hedge: Option<Hedge>,
    /// How long each step towards a backend may take.
    pub timeouts: Timeouts,
    /// The header, in lower case, that tells the backend how many milliseconds the request has left; `grpc-timeout` in the form
    /// of gRPC. A gRPC request has that one instead of any other. Default none.
    pub deadline_header: Option<String>,
    /// Where the file says so.
    pub at: Place,
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
    pub at: Place,
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
