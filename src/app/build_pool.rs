//! A pool of the configuration into one that serves.

use std::sync::Arc;
use std::time::Duration;

use super::checks::Checks;
use super::registry::Registry;
use crate::backend::{Policy, PoolState};
use crate::config::{self, Balance, Hashing, HealthCheck, Mistake, Probe, Source};
use crate::discovery::{self, Configured};
use crate::health::Check;
use crate::metrics::Metrics;
use crate::pool::{Pool, PoolBuilder, Secret, Transport};
use crate::selection::{
    AtRandom, FewestInFlight, HashTable, Hashed, LessLoaded, Maglev, Rendezvous, Ring, ShortestTime, Sooner, Turns,
};

/// How often names are looked up anew: about what resolvers cache.
const NAMES_EVERY: Duration = Duration::from_secs(30);
/// How often a source that a library user brought is asked: it is the one that knows when nothing has changed.
const SOURCES_EVERY: Duration = Duration::from_secs(10);

/// What pools are built with.
pub(super) struct Tools<'a> {
    pub(super) registry: &'a Registry,
    pub(super) metrics: &'a Metrics,
    pub(super) checks: &'a mut Checks,
}

/// A pool, and the configuration that it was built from.
pub(super) type Built<'a> = (&'a config::Pool, &'a Arc<Pool>);

/// Where the backends of a pool come from.
///
/// # Errors
/// A name that nobody registered, an option that its owner refuses.
pub(super) fn source(pool: &config::Pool, registry: &Registry) -> Result<discovery::Source, Mistake> {
    Ok(match &pool.source {
        Source::Backends(backends) => Box::new(Configured::new(backends)),
        Source::Discovery(named) => registry.source(named)?,
    })
}

/// How often that is asked; `None` for what cannot change.
fn rediscover(pool: &config::Pool) -> Option<Duration> {
    match &pool.source {
        Source::Backends(backends) => Configured::new(backends).has_names().then_some(NAMES_EVERY),
        Source::Discovery(_) => Some(SOURCES_EVERY),
    }
}

/// Build a pool of the backends that `source` finds, in the place of `predecessor` if there is one.
///
/// # Errors
/// A name that nobody registered, an option that its owner refuses, a file that cannot be read.
pub(super) fn build_pool(
    pool: &config::Pool,
    source: discovery::Source,
    predecessor: Option<Built<'_>>,
    tools: &mut Tools<'_>,
) -> Result<Pool, Mistake> {
    let mut builder = PoolBuilder::new(&pool.name, source)
        .policy(policy(pool))
        .retry(pool.retry.clone())
        .timeouts(pool.timeouts.clone())
        .transport(transport(pool, tools)?)
        .grpc_web(pool.grpc_web);
    if let Some((_, before)) = predecessor {
        builder = builder.succeed(before);
    }
    if let Some(every) = rediscover(pool) {
        builder = builder.rediscover(every);
    }
    // The reader has checked that it is a token.
    if let Some(header) = pool.deadline_header.as_ref().and_then(|name| name.parse().ok()) {
        builder = builder.deadline_header(header);
    }
    if let Some(hedge) = pool.hedge {
        builder = builder.hedge(hedge);
    }
    if let Some(queue) = pool.queue {
        builder = builder.queue(queue);
    }
    if let Some(max) = pool.max_connections {
        builder = builder.max_connections(max);
    }
    if let Some(rules) = &pool.ejection {
        builder = builder.ejection(rules.clone());
    }
    if let Some(sticky) = &pool.sticky {
        builder = builder.sticky(&sticky.cookie, sticky.ttl, secret(pool, sticky)?).drain_grace(sticky.drain_grace);
    }
    if let Some(settings) = &pool.health_check {
        builder = builder.health_check(check(&pool.name, settings, predecessor, tools)?, settings);
    }
    balance(builder, &pool.balance, tools.registry, tools.metrics)
}

/// The check that `settings` of a pool ask for: that of its predecessor, if it is one that a library user brought, or it would
/// begin anew.
fn check(
    pool: &str,
    settings: &HealthCheck,
    predecessor: Option<Built<'_>>,
    tools: &mut Tools<'_>,
) -> Result<Check, Mistake> {
    let Probe::Extension(named) = &settings.probe else { return tools.checks.built_in(pool, settings) };
    let same = |(config, _): &Built<'_>| config.health_check.as_ref().is_some_and(|it| it.probe == settings.probe);
    match predecessor.filter(same).and_then(|(_, pool)| pool.check()) {
        Some(check) => Ok(Arc::clone(check)),
        None => tools.registry.check(named),
    }
}

fn transport(pool: &config::Pool, tools: &Tools<'_>) -> Result<Transport, Mistake> {
    Transport::new(&pool.transport, tools.checks.trust()).map_err(|(key, message)| {
        let at = pool.transport.tls.as_ref().map_or(pool.at, |tls| tls.at);
        Mistake::new(at, format!("pools.{}.{key}", pool.name), format!("not usable here: {message}"))
    })
}

fn policy(pool: &config::Pool) -> Policy {
    Policy {
        slow_start: pool.slow_start,
        zone: pool.zone.clone(),
        overflow: pool.overflow,
        panic_threshold: pool.panic_threshold,
        when_unavailable: pool.when_unavailable,
        max_in_flight: pool.max_in_flight,
        concurrency: pool.concurrency,
        ..Policy::default()
    }
}

fn secret(pool: &config::Pool, sticky: &config::Sticky) -> Result<Secret, Mistake> {
    let key = || format!("pools.{}.sticky.secret_file", pool.name);
    let secret = sticky.secret().map_err(|message| Mistake::new(sticky.at, key(), message))?;
    Ok(secret.map_or_else(Secret::of_process, |secret| Secret::new(&secret)))
}

fn balance(builder: PoolBuilder, balance: &Balance, registry: &Registry, metrics: &Metrics) -> Result<Pool, Mistake> {
    Ok(match balance {
        Balance::RoundRobin => builder.algorithm(metrics, |pool| Turns::of(pool)),
        Balance::Random => builder.algorithm(metrics, |_| AtRandom),
        Balance::LeastRequest(choices) => builder.algorithm(metrics, |_| FewestInFlight { choices: *choices }),
        Balance::P2c => builder.algorithm(metrics, |_| LessLoaded),
        Balance::PeakEwma(decay) => builder.algorithm(metrics, |pool| Sooner::new(*decay, pool)),
        Balance::LeastTime(options) => builder.algorithm(metrics, |pool| ShortestTime::new(*options, pool)),
        Balance::Extension(named) => return registry.pool(builder, metrics, named),
        Balance::ConsistentHash(hashing) => hashed::<Ring>(builder, metrics, hashing, ()),
        Balance::Maglev(hashing, size) => hashed::<Maglev>(builder, metrics, hashing, *size),
        Balance::Rendezvous(hashing) => hashed::<Rendezvous>(builder, metrics, hashing, ()),
    })
}

fn hashed<T: HashTable>(builder: PoolBuilder, metrics: &Metrics, hashing: &Hashing, options: T::Options) -> Pool {
    let make = |pool: &Arc<PoolState>| Hashed::<T>::new(options, hashing.bounded_load, pool);
    builder.key(&hashing.key).algorithm(metrics, make)
}
