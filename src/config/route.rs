//! A route: a match on a request, where it goes, the filters it passes.

use super::{Extension, KeySource, Match, Percent, Place, Priority, RouteTimeouts};

/// One route.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// What must hold; an empty match takes everything else.
    pub matches: Match,
    /// What is done with a request that matches.
    pub action: Action,
    /// What becomes of host and path on their way to a backend.
    pub rewrite: Rewrite,
    /// Who gets a copy of each request.
    pub mirror: Option<Mirror>,
    /// The filters that it passes, in order; each is `NAME: {…}` or `NAME`.
    pub filters: Vec<Extension>,
    /// Who is sent away first when the pool's [`concurrency`](super::Pool::concurrency) is reached. Default normal.
    pub priority: Priority,
    /// What it says of times in place of its pool.
    pub timeouts: RouteTimeouts,
    /// Where the file says so.
    pub at: Place,
}

/// What is done with a request that matches.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `pool: NAME`: forward it; an index into [`Config::pools`](super::Config::pools).
    Pool(usize),
    /// `split: …`: forward it to one of several pools.
    Split(Split),
    /// `redirect: { … }`: send the client elsewhere.
    Redirect(RouteRedirect),
    /// `respond: { status, body }`: answer it here.
    Respond(Respond),
}

impl Action {
    /// The pools that requests may go to, by their index.
    pub fn pools(&self) -> Vec<usize> {
        match self {
            Action::Pool(pool) => vec![*pool],
            Action::Split(split) => split.shares.iter().map(|share| share.pool).collect(),
            Action::Redirect(_) | Action::Respond(_) => Vec::new(),
        }
    }
}

/// Several pools, each with its share of the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// What of a request decides, so that the same goes to the same pool; the first that a request has. Without any, or for a
    /// request that has none of it, it is by chance. Default none.
    pub by: Vec<KeySource>,
    /// Whose weights are not all 0.
    pub shares: Vec<Share>,
}

/// One of the pools of a [`Split`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// An index into [`Config::pools`](super::Config::pools).
    pub pool: usize,
    /// Its part of the sum of all weights, 0 to [`Share::MAX_WEIGHT`]. Default 1.
    pub weight: u32,
}

impl Share {
    /// The Gateway API's.
    pub const MAX_WEIGHT: u32 = 1_000_000;
}

/// Where a client is sent to. What is `None` stays as it was in the request, and so does the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRedirect {
    /// `http` or `https`.
    pub scheme: Option<&'static str>,
    /// A host name.
    pub host: Option<String>,
    /// A port.
    pub port: Option<u16>,
    /// Another path.
    pub path: Option<NewPath>,
    /// 301, 302, 303, 307 or 308. Default 302.
    pub status: u16,
}

impl RouteRedirect {
    /// Which a redirect may be.
    pub const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];
}

/// What becomes of host and path on their way to a backend. The client's own are in the log, and in `X-Forwarded-Host`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// In place of the host, with its port if it has one.
    pub host: Option<String>,
    /// In place of the path, or of its beginning; the query stays.
    pub path: Option<NewPath>,
}

/// What a path is replaced by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewPath {
    /// `path: /new`: all of it.
    Full(String),
    /// `prefix: /new`: what the route's `path_prefix` matched.
    Prefix {
        /// Without a slash at its end: of `/` it is empty.
        with: String,
        /// What is replaced, without a slash at its end.
        matched: String,
    },
}

/// `mirror`: a second pool gets a copy of each request, whose answer nobody sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// An index into [`Config::pools`](super::Config::pools).
    pub pool: usize,
    /// Of how many requests, 1 % to 100 %. Default all.
    pub percent: Percent,
    /// How many copies may be under way, 1 or more; beyond that none are made. Default [`Mirror::MAX_IN_FLIGHT`].
    pub max_in_flight: u32,
    /// Of requests with a larger body there is no copy. Default [`Mirror::MAX_BODY_SIZE`].
    pub max_body_size: u64,
}

impl Mirror {
    /// A pool that hangs holds no more than that many.
    pub const MAX_IN_FLIGHT: u32 = 100;
    /// It is kept in memory until the copy is sent.
    pub const MAX_BODY_SIZE: u64 = 64 * 1024;
    /// The largest that either may be: 10,000 copies, and 16 MiB.
    pub const LIMITS: (u32, u64) = (10_000, 16 * 1024 * 1024);
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599. Default 200.
    pub status: u16,
    /// Sent as `text/plain`. Default empty.
    pub body: String,
}
