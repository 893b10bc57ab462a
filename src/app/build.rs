//! A validated configuration into a generation that serves.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::build_pool::{Tools, build_pool, source};
use super::filters::filters;
use crate::access_log::AccessLog;
use crate::config::{self, Config, Mistake, Overview, Position};
use crate::filter::{Chains, Filter};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::proxy::{Action, Destination, Filters, Generation, Made, Mirror, Route, Split};
use crate::route::Router;

/// A configuration, and the generation that was built from it.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    pub(super) config: &'a Config,
    pub(super) generation: &'a Generation,
}

/// Build what `config` describes, with nothing before it.
///
/// # Errors
/// Every name that nobody registered, and every option that its owner refuses.
pub(super) fn build(config: &Config, tools: &mut Tools<'_>) -> Result<Generation, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut make = |pool| build_pool(pool, source(pool, tools.registry)?, None, tools).map(Arc::new);
    let pools: Vec<_> = config.pools.iter().map(&mut make).collect();
    let pools = all(pools, &mut mistakes);
    let filters = filters(config, tools.registry, None).unwrap_or_else(|more| {
        mistakes.extend(more);
        Filters::default()
    });
    let access_log = access_log(config, None).unwrap_or_else(|mistake| {
        mistakes.push(mistake);
        None
    });
    match &mistakes[..] {
        [] => Ok(assemble(config, pools, filters, access_log, tools.metrics, None)),
        _ => Err(mistakes),
    }
}

/// Put a generation together, the next after the one before.
pub(super) fn assemble(
    config: &Config,
    pools: Vec<Arc<Pool>>,
    filters: Filters,
    access_log: Option<AccessLog>,
    metrics: &Metrics,
    before: Option<&Generation>,
) -> Generation {
    let own = |listener: &&config::Listener| !listener.filters.is_empty();
    let listeners = config.listeners.iter().filter(own).map(|listener| listener.address.to_string()).collect();
    let own: Vec<_> = filters.listeners.iter().filter(|own| !own.is_empty()).map(|own| plain(own)).collect();
    let outer = Chains::outer(&plain(&filters.whole), &own);
    let route = |(route, made): (_, &Vec<Made>)| build_route(route, outer.with(&plain(made)), &pools);
    Generation {
        number: before.map_or(0, |before| before.number) + 1,
        overview: Overview::of(config),
        router: Router::new(config.routes.iter().map(|route| &route.matches)),
        routes: config.routes.iter().zip(&filters.routes).map(route).collect(),
        listeners,
        outer,
        filters,
        spawns: pools.iter().any(|pool| pool.hedge().is_some() || pool.retry().per_try_timeout.is_some())
            || config.routes.iter().any(|route| route.mirror.is_some()),
        pools,
        limits: config.limits.clone(),
        normalize_path: config.normalize_path,
        trusted_proxies: config.trusted_proxies.clone(),
        forwarded_headers: config.forwarded_headers,
        access_log,
        unrouted: metrics.pool(""),
        in_flight: before.map_or_else(|| Arc::new(AtomicUsize::new(0)), |before| Arc::clone(&before.in_flight)),
    }
}

/// The log that the configuration asks for, the same as before if it asks for the same.
pub(super) fn access_log(config: &Config, before: Option<Before<'_>>) -> Result<Option<AccessLog>, Mistake> {
    match before {
        Some(before) if before.config.access_log == config.access_log => Ok(before.generation.access_log.clone()),
        _ => config.access_log.as_ref().map(AccessLog::open).transpose().map_err(|e| {
            let message = format!("not usable here: {e}");
            Mistake::new(Position::default(), "access_log.path", message)
        }),
    }
}

/// What was made; what was not goes to `mistakes`.
pub(super) fn all<T>(results: Vec<Result<T, Mistake>>, mistakes: &mut Vec<Mistake>) -> Vec<T> {
    results.into_iter().filter_map(|result| result.map_err(|mistake| mistakes.push(mistake)).ok()).collect()
}

fn plain(made: &[Made]) -> Vec<Arc<dyn Filter>> {
    made.iter().map(|made| Arc::clone(&made.filter)).collect()
}

fn build_route(route: &config::Route, chains: Chains, pools: &[Arc<Pool>]) -> Route {
    let destination = |pool: usize| Destination {
        pool: Arc::clone(&pools[pool]),
        timeouts: pools[pool].timeouts().with(&route.timeouts),
    };
    Route {
        chains,
        priority: route.priority,
        destinations: route.action.pools().into_iter().map(destination).collect(),
        action: match &route.action {
            config::Action::Pool(_) => Action::Forward,
            config::Action::Split(split) => {
                let shares = split.shares.iter().map(|share| (pools[share.pool].name(), share.weight));
                Action::Split(Split::new(split.by.clone(), shares))
            }
            config::Action::Redirect(to) => Action::Redirect(to.clone()),
            config::Action::Respond(answer) => Action::Respond(answer.clone()),
        },
        rewrite: Some(&route.rewrite).filter(|rewrite| **rewrite != config::Rewrite::default()).cloned(),
        mirror: route.mirror.as_ref().map(|mirror| Mirror::new(mirror, Arc::clone(&pools[mirror.pool]))),
    }
}
