//! One loaded configuration, ready to serve: everything that a request needs, behind one pointer.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ipnet::IpNet;
use pingora::http::RequestHeader;

use super::destination::{Destination, Split};
use super::mirror::Mirror;
use crate::access_log::AccessLog;
use crate::config::{ForwardedHeaders, Limits, Overview, Priority, Respond, Rewrite, RouteRedirect};
use crate::filter::{Chains, Filter};
use crate::metrics::PoolMetrics;
use crate::pool::Pool;
use crate::route::Router;

/// One loaded configuration, ready to serve.
pub struct Generation {
    /// How many there have been in this process, with this one.
    pub number: u64,
    /// What it was made of, for people.
    pub overview: Overview,
    /// Finds a route's place in `routes`.
    pub router: Router,
    /// The routes, in the order of the configuration.
    pub routes: Vec<Route>,
    /// The listeners that have filters of their own, in the order of the configuration.
    pub listeners: Vec<String>,
    /// The filters of the whole and of these listeners.
    pub outer: Chains,
    /// What the filters were made from, for the next generation to keep those that are the same.
    pub filters: Filters,
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

impl Generation {
    /// The number of the listener at this address among those with filters of their own, from 1 on.
    pub(super) fn listener(&self, address: &str) -> Option<usize> {
        self.listeners.iter().position(|listener| listener == address).map(|number| number + 1)
    }
}

/// Every filter of a configuration.
#[derive(Default)]
pub struct Filters {
    /// Those of the whole.
    pub whole: Vec<Made>,
    /// Those of each listener.
    pub listeners: Vec<Vec<Made>>,
    /// Those of each route.
    pub routes: Vec<Vec<Made>>,
}

/// A filter, and what stood in the files that it was made from.
#[derive(Clone)]
pub struct Made {
    /// The filter.
    pub filter: Arc<dyn Filter>,
    /// A digest of its files; empty if it has none.
    pub files: Vec<u8>,
}

impl Filters {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Made> {
        self.whole.iter().chain(self.listeners.iter().flatten()).chain(self.routes.iter().flatten())
    }
}

impl PartialEq for Made {
    /// The same filter, not one like it.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.filter, &other.filter)
    }
}

/// What is done with the requests of one route.
pub struct Route {
    /// Its filters, after those of the whole and of the listener.
    pub chains: Chains,
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
