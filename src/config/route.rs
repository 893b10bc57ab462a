//! A route: a match on a request, where it goes, the filters it passes.

use super::{Extension, Place, Priority, RouteTimeouts};

/// One route.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// What must hold; an empty match takes everything else.
    pub matches: Match,
    /// What is done with a request that matches.
    pub action: Action,
    /// The filters that it passes, in order; each is `NAME: {…}` or `NAME`.
    pub filters: Vec<Extension>,
    /// Who is sent away first when the pool's [`concurrency`](super::Pool::concurrency) is reached. Default normal.
    pub priority: Priority,
    /// What it says of times in place of its pool.
    pub timeouts: RouteTimeouts,
    /// Where the file says so.
    pub at: Place,
}

/// What a request must be to take a route. What is absent matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// The host, without a port, in lower case.
    pub host: Option<HostMatch>,
    /// The path, without the query.
    pub path: Option<PathMatch>,
}

/// A match on the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// `api.example.com`
    Exact(String),
    /// `*.example.com`, kept without the star: `.example.com`. One label or more in its place.
    Suffix(String),
}

/// A match on the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// `path: /health`
    Exact(String),
    /// `path_prefix: /v1` matches `/v1` and `/v1/x`, not `/v10`. Kept without a trailing slash.
    Prefix(String),
}

/// What is done with a request that matches.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `pool: NAME`: forward it; an index into [`Config::pools`](super::Config::pools).
    Pool(usize),
    /// `respond: { status, body }`: answer it here.
    Respond(Respond),
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599. Default 200.
    pub status: u16,
    /// Sent as `text/plain`. Default empty.
    pub body: String,
}
