//! The configuration: one YAML file in, plain data out whose invariants hold by its types.
//!
//! [`Config::load`] reads the file, reports every mistake at once, and touches nothing else: no address is resolved, no
//! certificate opened, no port bound. What only the surroundings can answer is [`environment`]'s to ask.
//! This module imports nothing of ours, and everybody may read what it gives.

mod address;
mod balance;
mod concurrency;
mod environment;
mod error;
mod forwarded;
mod health;
mod limits;
mod listener;
mod listener_tls;
mod map;
mod name;
mod node;
mod options;
mod overview;
mod path;
mod policy;
mod pool;
mod read;
mod read_action;
mod read_backend;
mod read_balance;
mod read_ejection;
mod read_extension;
mod read_forwarded;
mod read_health;
mod read_limits;
mod read_listener;
mod read_match;
mod read_policy;
mod read_pool;
mod read_probe;
mod read_retry;
mod read_route;
mod read_server;
mod read_timeouts;
mod read_tls;
mod read_transport;
mod reader;
mod regex;
mod retry;
mod route;
mod route_match;
mod schema;
mod shadow;
mod text;
mod timeouts;
mod transport;
mod typed;
mod units;
mod yaml;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use pingora_core::server::configuration::ServerConf;

pub use balance::{Balance, Choices, Decay, Hashing, KeySource, LeastTime, TableSize};
pub use concurrency::{Adaptive, Priority};
pub(crate) use environment::{contents, not_usable, reason};
pub use environment::{environment, unresolved};
pub use error::{ConfigError, Mistake, Place, Position};
pub use forwarded::{ForwardedHeaders, Told};
pub use health::{GrpcProbe, HealthCheck, HttpProbe, HttpProtocol, Initial, Probe, ProbeTls};
pub use limits::Limits;
pub use listener::{ListenAddress, Listener};
pub use listener_tls::{Certificate, ClientAuth, Hsts, ListenerTls, Redirect, TlsVersion};
pub use options::Options;
pub(crate) use overview::does;
pub use overview::{ListenerOverview, Overview, PoolOverview, RouteOverview};
pub(crate) use path::normal as normal_path;
pub use policy::{Ejection, Percent, Queue, Sticky, Zone};
pub use pool::{Backend, BackendAddress, Pool, Source, WhenUnavailable};
pub use regex::Regex;
pub use retry::{Backoff, Budget, Hedge, HedgeAfter, Retry, RetryOn};
pub use route::{Action, Mirror, NewPath, Respond, Rewrite, Route, RouteRedirect, Share, Split};
pub use route_match::{HostMatch, Match, PathMatch, Precedence, ValueMatch};
#[cfg(test)]
pub(crate) use schema::renew_documents;
pub(crate) use schema::{Registered, options_schema, schema};
pub(crate) use text::{looks_secret, nearest};
pub use timeouts::{RouteTimeouts, Timeouts};
pub use transport::{BackendTls, ClientCertificate, Http2, Protocol, ProxyProtocol, Transport};
pub use typed::{Networks, Parts, Period, Size};
pub(crate) use units::duration;

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from, as given on the command line; `None` if it was built without one.
    pub file: Option<PathBuf>,
    /// Pingora's own keys. `threads` defaults to the number of cores rather than to Pingora's 1.
    pub server: Arc<ServerConf>,
    /// How long a process that is told to stop still accepts connections, for others to notice. Default none.
    pub stop_delay: Duration,
    /// How long a successor may take until it serves. Default [`Config::UPGRADE_TIMEOUT`].
    pub upgrade_timeout: Duration,
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Whose `X-Forwarded-*` and `X-Request-Id` are believed. Default nobody.
    pub trusted_proxies: Vec<IpNet>,
    /// What backends are told of the client, and of what the client says of itself.
    pub forwarded_headers: ForwardedHeaders,
    /// Whether paths are brought into their one form before they are routed. Default `true`.
    pub normalize_path: bool,
    /// Limits of the client's side.
    pub limits: Limits,
    /// What every request passes, before the filters of its listener and of its route.
    pub filters: Vec<Extension>,
    /// At least one, in the order of the file.
    pub pools: Vec<Pool>,
    /// In the order of the file. Default: everything to the pool, if there is just one.
    pub routes: Vec<Route>,
    /// Default none.
    pub access_log: Option<AccessLog>,
    /// Whether the file is loaded anew when it changes. Default `false`.
    pub watch: bool,
    /// Where the admin pages are served; `None` is `admin: off`. Default `127.0.0.1:9901`.
    pub admin: Option<Admin>,
}

impl Config {
    /// Time for the first probes of every pool, and for a machine that is busy.
    pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(60);
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLog {
    /// Default [`LogPath::Stdout`].
    pub path: LogPath,
    /// Default [`LogFormat::Combined`].
    pub format: LogFormat,
}

/// A place to write lines to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPath {
    /// `stdout`
    Stdout,
    /// `stderr`
    Stderr,
    /// Any other path; appended to.
    File(PathBuf),
}

/// The form of an access log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// nginx's and Apache's `combined`, to the byte.
    Combined,
    /// One JSON object a line.
    Json,
}

/// Where the admin pages are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Plain HTTP, without authentication: keep it on loopback.
    pub address: SocketAddr,
    /// Where the file says so.
    pub at: Place,
}

impl Admin {
    /// Envoy's port, on loopback.
    pub const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9901);
}

/// Something named in the file that built-in or user code is registered for, with what was written beside the name.
#[derive(Clone, Debug, PartialEq)]
pub struct Extension {
    /// The name it is registered under.
    pub name: String,
    /// What was written beside it.
    pub options: Options,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
