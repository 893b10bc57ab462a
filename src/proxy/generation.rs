//! One loaded configuration, ready to serve: everything that a request needs, behind one pointer.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ipnet::IpNet;

use crate::access_log::AccessLog;
use crate::config::{ForwardedHeaders, Limits, Priority, Respond, Timeouts};
use crate::filter::Filter;
use crate::metrics::PoolMetrics;
use crate::pool::Pool;
use crate::route::Router;

/// One loaded configuration, ready to serve.
pub struct Generation {
    /// How many there have been in this process, with this one.
    pub number: u64,
    /// Finds a route's place in `routes`.
    pub router: Router,
    /// The routes, in the order of the configuration.
    pub routes: Vec<Route>,
    /// Every pool, in the order of the configuration.
    pub pools: Vec<Arc<Pool>>,
    /// Whether there is a pool that watches its attempts, for it hedges or has a `per_try_timeout`.
    pub watches: bool,
    /// Limits of the client's side.
    pub limits: Limits,
    /// Whether paths are brought into their one form before they are routed.
    pub normalize_path: bool,
    /// Whose `X-Forwarded-*` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What backends are told of the client.
    pub forwarded_headers: ForwardedHeaders,
    /// Where requests are logged.
    pub access_log: Option<AccessLog>,
    /// Counts the requests that get no pool.
    pub unrouted: PoolMetrics,
    /// Requests under way, from the end of their header to the end of their response, of all generations.
    pub in_flight: Arc<AtomicUsize>,
}

/// What is done with the requests of one route.
pub struct Route {
    /// Passed in this order.
    pub filters: Vec<Arc<dyn Filter>>,
    /// Who is sent away first when the pool has too much to do.
    pub priority: Priority,
    /// What is done in the end.
    pub action: Action,
    /// How long it may take: the pool's times, but for what the route says otherwise.
    pub timeouts: Timeouts,
}

/// What is done in the end.
pub enum Action {
    /// Forward to a backend of this pool.
    Pool(Arc<Pool>),
    /// Answer here.
    Respond(Respond),
}
