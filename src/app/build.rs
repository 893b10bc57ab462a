//! A validated configuration into a generation that serves.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use super::registry::Registry;
use crate::access_log::AccessLog;
use crate::config::{self, Balance, Config, Extension, Mistake, Position, Probe, Source};
use crate::discovery::{self, Configured};
use crate::health::{Check, HttpCheck, TcpCheck};
use crate::metrics::Metrics;
use crate::pool::{Pool, PoolBuilder};
use crate::proxy::{Action, Generation, Route};
use crate::route::Router;

/// How often names are looked up anew: about what resolvers cache.
const NAMES_EVERY: Duration = Duration::from_secs(30);
/// How often a source that a library user brought is asked: it is the one that knows when nothing has changed.
const SOURCES_EVERY: Duration = Duration::from_secs(10);

/// Build what `config` describes.
///
/// # Errors
/// Every name that nobody registered, and every option that its owner refuses.
pub(super) fn build(config: &Config, registry: &Registry, metrics: &Metrics) -> Result<Generation, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let pools: Vec<_> = config.pools.iter().map(|pool| build_pool(pool, registry, metrics)).collect();
    let pools: Vec<_> = all(pools, &mut mistakes).into_iter().map(Arc::new).collect();
    let filters: Vec<_> = config.routes.iter().map(|route| build_filters(&route.filters, registry)).collect();
    let filters: Vec<_> = filters.into_iter().map(|made| all(made, &mut mistakes)).collect();
    let access_log = config.access_log.as_ref().map(AccessLog::open).transpose();
    let access_log = access_log.map_err(|e| {
        let message = format!("not usable here: {e}");
        mistakes.push(Mistake::new(Position::default(), "access_log.path", message));
    });
    let Ok(access_log) = access_log else {
        return Err(mistakes);
    };
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    Ok(Generation {
        router: Router::new(config.routes.iter().map(|route| &route.matches)),
        routes: config.routes.iter().zip(filters).map(|(route, filters)| build_route(route, filters, &pools)).collect(),
        pools,
        limits: config.limits.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        access_log,
        unrouted: metrics.pool(""),
        in_flight: AtomicUsize::new(0),
    })
}

/// What was made; what was not goes to `mistakes`.
fn all<T>(results: Vec<Result<T, Mistake>>, mistakes: &mut Vec<Mistake>) -> Vec<T> {
    results.into_iter().filter_map(|result| result.map_err(|mistake| mistakes.push(mistake)).ok()).collect()
}

fn build_route(route: &config::Route, filters: Vec<Arc<dyn crate::filter::Filter>>, pools: &[Arc<Pool>]) -> Route {
    Route {
        filters,
        action: match &route.action {
            config::Action::Pool(number) => Action::Pool(Arc::clone(&pools[*number])),
            config::Action::Respond(respond) => Action::Respond(respond.clone()),
        },
    }
}

type Made<T> = Vec<Result<T, Mistake>>;

fn build_filters(filters: &[Extension], registry: &Registry) -> Made<Arc<dyn crate::filter::Filter>> {
    filters.iter().map(|named| registry.filter(named)).collect()
}

fn build_pool(pool: &config::Pool, registry: &Registry, metrics: &Metrics) -> Result<Pool, Mistake> {
    let (source, every): (discovery::Source, _) = match &pool.source {
        Source::Backends(backends) => {
            let configured = Configured::new(backends);
            let every = configured.has_names().then_some(NAMES_EVERY);
            (Box::new(configured), every)
        }
        Source::Discovery(named) => (registry.source(named)?, Some(SOURCES_EVERY)),
    };
    let mut builder = PoolBuilder::new(&pool.name, source)
        .when_unavailable(pool.when_unavailable)
        .retry(pool.retry.clone())
        .timeouts(pool.timeouts.clone());
    if let Some(every) = every {
        builder = builder.rediscover(every);
    }
    if let Some(settings) = &pool.health_check {
        builder = builder.health_check(build_check(&settings.probe, registry)?, settings);
    }
    match &pool.balance {
        Balance::RoundRobin => Ok(builder.round_robin(metrics)),
        Balance::Extension(named) => registry.pool(builder, metrics, named),
        other => unreachable!("no reader gives {other:?} yet"),
    }
}

fn build_check(probe: &Probe, registry: &Registry) -> Result<Check, Mistake> {
    match probe {
        Probe::Tcp => Ok(Arc::new(TcpCheck)),
        Probe::Http(probe) => Ok(Arc::new(HttpCheck::new(probe))),
        Probe::Extension(named) => registry.check(named),
    }
}
