//! A validated configuration into a generation that serves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::build_pool::{Tools, build_pool, source};
use super::registry::Registry;
use crate::access_log::AccessLog;
use crate::config::{self, Config, Extension, Match, Mistake, Position};
use crate::filter::Filter;
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::proxy::{Action, Destination, Generation, Mirror, Route, Split};
use crate::route::Router;

/// A configuration, and the generation that was built from it.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    pub(super) config: &'a Config,
    pub(super) generation: &'a Generation,
}

/// The filters of each route.
pub(super) type Filters = Vec<Vec<Arc<dyn Filter>>>;

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
        Vec::new()
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
    Generation {
        number: before.map_or(0, |before| before.number) + 1,
        router: Router::new(config.routes.iter().map(|route| &route.matches)),
        routes: config.routes.iter().zip(filters).map(|(route, filters)| build_route(route, filters, &pools)).collect(),
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

/// A filter, and what it was made from.
type Known<'a> = (&'a Extension, &'a Arc<dyn Filter>);

/// The filters of each route. One that the route had before goes on, with whatever it remembers.
///
/// # Errors
/// Every name that nobody registered, and every option that its owner refuses.
pub(super) fn filters(
    config: &Config,
    registry: &Registry,
    before: Option<Before<'_>>,
) -> Result<Filters, Vec<Mistake>> {
    let mut known: HashMap<&Match, Vec<Known<'_>>> = HashMap::new();
    if let Some(Before { config, generation }) = before {
        for (route, built) in config.routes.iter().zip(&generation.routes) {
            known.entry(&route.matches).or_default().extend(route.filters.iter().zip(&built.filters));
        }
    }
    let mut mistakes = Vec::new();
    let make = |route: &config::Route| {
        let known = known.get(&route.matches).map_or(&[][..], Vec::as_slice);
        let make = |named: &Extension| match known.iter().find(|(it, _)| *it == named) {
            Some((_, filter)) => Ok(Arc::clone(filter)),
            None => registry.filter(named),
        };
        route.filters.iter().map(make).collect::<Vec<_>>()
    };
    let made: Vec<_> = config.routes.iter().map(make).collect();
    let filters = made.into_iter().map(|made| all(made, &mut mistakes)).collect();
    if mistakes.is_empty() { Ok(filters) } else { Err(mistakes) }
}

/// What was made; what was not goes to `mistakes`.
pub(super) fn all<T>(results: Vec<Result<T, Mistake>>, mistakes: &mut Vec<Mistake>) -> Vec<T> {
    results.into_iter().filter_map(|result| result.map_err(|mistake| mistakes.push(mistake)).ok()).collect()
}

fn build_route(route: &config::Route, filters: Vec<Arc<dyn Filter>>, pools: &[Arc<Pool>]) -> Route {
    let destination = |pool: usize| Destination {
        pool: Arc::clone(&pools[pool]),
        timeouts: pools[pool].timeouts().with(&route.timeouts),
    };
    Route {
        filters,
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
