//! A validated configuration into a generation that serves.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::build_pool::{Checks, build_pool};
use super::registry::Registry;
use crate::access_log::AccessLog;
use crate::config::{self, Config, Extension, Mistake, Position};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::proxy::{Action, Generation, Route};
use crate::route::Router;

/// Build what `config` describes.
///
/// # Errors
/// Every name that nobody registered, and every option that its owner refuses.
pub(super) fn build(config: &Config, registry: &Registry, metrics: &Metrics) -> Result<Generation, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut checks = Checks::new(registry, config.server.ca_file.as_deref());
    let pools: Vec<_> = config.pools.iter().map(|pool| build_pool(pool, &mut checks, metrics)).collect();
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
        watches: pools.iter().any(|pool| pool.hedge().is_some() || pool.retry().per_try_timeout.is_some()),
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
    let (action, timeouts) = match &route.action {
        config::Action::Pool(number) => {
            let pool = &pools[*number];
            (Action::Pool(Arc::clone(pool)), pool.timeouts().with(&route.timeouts))
        }
        config::Action::Respond(respond) => (Action::Respond(respond.clone()), config::Timeouts::default()),
    };
    Route { filters, priority: route.priority, action, timeouts }
}

type Made<T> = Vec<Result<T, Mistake>>;

fn build_filters(filters: &[Extension], registry: &Registry) -> Made<Arc<dyn crate::filter::Filter>> {
    filters.iter().map(|named| registry.filter(named)).collect()
}
