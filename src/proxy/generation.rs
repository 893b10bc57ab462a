//! One loaded configuration, ready to serve: everything that a request needs, behind one pointer.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ipnet::IpNet;
use pingora::http::RequestHeader;

use super::destination::{Destination, Split};
use super::mirror::Mirror;
use crate::access_log::AccessLog;
use crate::config::{ForwardedHeaders, Limits, Priority, Respond, Rewrite, RouteRedirect};
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
    /// Whether there may be subrequests: a pool watches its attempts, for it hedges or has a `per_try_timeout`, or there is a mirror.
    pub spawns: bool,
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
    /// The pools that it may lead to.
    pub destinations: Vec<Destination>,
    /// What is done in the end.
    pub action: Action,
    /// What a backend is asked in place of what the client has asked.
    pub rewrite: Option<Rewrite>,
    /// Who gets copies.
    pub mirror: Option<Mirror>,
}

impl Route {
    /// The place of the pool that a request goes to.
    pub(super) fn choose(&self, request: &RequestHeader, client: Option<IpAddr>) -> Option<usize> {
        match &self.action {
            Action::Forward => Some(0),
            Action::Split(split) => Some(split.choose(request, client)),
            Action::Redirect(_) | Action::Respond(_) => None,
        }
    }
}

/// What is done in the end.
pub enum Action {
    /// Forward to a backend of the one destination.
    Forward,
    /// Forward to one of the destinations.
    Split(Split),
    /// Send the client elsewhere.
    Redirect(RouteRedirect),
    /// Answer here.
    Respond(Respond),
}
