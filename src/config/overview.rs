//! A configuration as people are shown it: what there is, by its names, and no secret.

use serde::Serialize;

use super::{Action, Balance, Config, Extension, HealthCheck, Place, Pool, Probe, Rewrite, Route, Source};

/// What is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// Filters that every request passes, by their names.
    pub filters: Vec<String>,
    /// Where clients connect.
    pub listeners: Vec<ListenerOverview>,
    /// In the order of the file.
    pub routes: Vec<RouteOverview>,
    /// In the order of the file.
    pub pools: Vec<PoolOverview>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerOverview {
    /// As the file says.
    pub address: String,
    /// What is spoken there: `http`, `https`.
    pub scheme: &'static str,
    /// Filters that requests pass that come here.
    pub filters: Vec<String>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RouteOverview {
    /// Its line in the file; 0 if there is none.
    pub line: usize,
    /// What it asks, like `GET api.example.com/v1/* header x-canary=1`.
    pub matches: String,
    /// What becomes of its requests.
    pub does: String,
    /// Filters that its requests pass.
    pub filters: Vec<String>,
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolOverview {
    /// Its name.
    pub name: String,
    /// The name of its algorithm.
    pub balance: String,
    /// The name of its health check, or `off`.
    pub health_check: String,
    /// `backends`, or the name of what finds them.
    pub source: String,
}

impl Overview {
    /// Of this configuration.
    pub fn of(config: &Config) -> Self {
        let listener = |listener: &super::Listener| ListenerOverview {
            address: listener.address.to_string(),
            scheme: if listener.tls.is_some() { "https" } else { "http" },
            filters: names(&listener.filters),
        };
        let route = |route: &Route| RouteOverview {
            line: config.line(route.at),
            matches: route.matches.to_string(),
            does: does(config, route),
            filters: names(&route.filters),
        };
        Overview {
            filters: names(&config.filters),
            listeners: config.listeners.iter().map(listener).collect(),
            routes: config.routes.iter().map(route).collect(),
            pools: config.pools.iter().map(pool).collect(),
        }
    }
}

impl Config {
    /// The line of a place in its file; 0 if it was made of no file that somebody could look into.
    pub(crate) fn line(&self, at: Place) -> usize {
        if self.file.is_some() { at.0.line } else { 0 }
    }
}

fn names(filters: &[Extension]) -> Vec<String> {
    filters.iter().map(|named| named.name.clone()).collect()
}

fn pool(pool: &Pool) -> PoolOverview {
    PoolOverview {
        name: pool.name.clone(),
        balance: pool.balance.name().to_owned(),
        health_check: pool.health_check.as_ref().map_or("off", HealthCheck::name).to_owned(),
        source: match &pool.source {
            Source::Backends(_) => "backends".to_owned(),
            Source::Discovery(named) => named.name.clone(),
        },
    }
}

impl Balance {
    /// As the file calls it.
    pub fn name(&self) -> &str {
        match self {
            Balance::RoundRobin => "round_robin",
            Balance::Random => "random",
            Balance::LeastRequest(_) => "least_request",
            Balance::P2c => "p2c",
            Balance::PeakEwma(_) => "peak_ewma",
            Balance::LeastTime(_) => "least_time",
            Balance::ConsistentHash(_) => "consistent_hash",
            Balance::Maglev(..) => "maglev",
            Balance::Rendezvous(_) => "rendezvous",
            Balance::Extension(named) => &named.name,
        }
    }
}

impl HealthCheck {
    /// What the file calls its probe.
    pub fn name(&self) -> &str {
        match &self.probe {
            Probe::Tcp => "tcp",
            Probe::Http(_) => "http",
            Probe::Grpc(_) => "grpc",
            Probe::Extension(named) => &named.name,
        }
    }
}

fn pool_name(config: &Config, pool: usize) -> &str {
    config.pools.get(pool).map_or("", |pool| pool.name.as_str())
}

/// What becomes of the requests of a route: `goes to pool web`.
pub(crate) fn does(config: &Config, route: &Route) -> String {
    let mut does = match &route.action {
        Action::Pool(pool) => format!("goes to pool {}", pool_name(config, *pool)),
        Action::Split(split) => {
            let share = |share: &super::Share| format!("{} {}", pool_name(config, share.pool), share.weight);
            let shares: Vec<String> = split.shares.iter().map(share).collect();
            let by = if split.by.is_empty() { "chance" } else { "a key" };
            format!("goes to one of the pools {}, by {by}", shares.join(", "))
        }
        Action::Redirect(redirect) => format!("is redirected, with status {}", redirect.status),
        Action::Respond(respond) => format!("is answered here, with status {}", respond.status),
    };
    if route.rewrite != Rewrite::default() {
        does.push_str(", rewritten");
    }
    if let Some(mirror) = &route.mirror {
        does.push_str(&format!(", {} of them copied to pool {}", mirror.percent, pool_name(config, mirror.pool)));
    }
    does
}
