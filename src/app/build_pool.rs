//! A pool of the configuration into one that serves.

use std::sync::Arc;
use std::time::Duration;

use super::registry::Registry;
use crate::backend::{Policy, PoolState};
use crate::config::{self, Balance, Hashing, Mistake, Probe, Source};
use crate::discovery::{self, Configured};
use crate::health::{Check, HttpCheck, TcpCheck};
use crate::metrics::Metrics;
use crate::pool::{Pool, PoolBuilder, Secret};
use crate::selection::{
    AtRandom, FewestInFlight, HashTable, Hashed, LessLoaded, Maglev, Rendezvous, Ring, ShortestTime, Sooner, Turns,
};

/// How often names are looked up anew: about what resolvers cache.
const NAMES_EVERY: Duration = Duration::from_secs(30);
/// How often a source that a library user brought is asked: it is the one that knows when nothing has changed.
const SOURCES_EVERY: Duration = Duration::from_secs(10);

/// Build a pool.
///
/// # Errors
/// A name that nobody registered, an option that its owner refuses, a file that cannot be read.
pub(super) fn build_pool(pool: &config::Pool, registry: &Registry, metrics: &Metrics) -> Result<Pool, Mistake> {
    let (source, every): (discovery::Source, _) = match &pool.source {
        Source::Backends(backends) => {
            let configured = Configured::new(backends);
            let every = configured.has_names().then_some(NAMES_EVERY);
            (Box::new(configured), every)
        }
        Source::Discovery(named) => (registry.source(named)?, Some(SOURCES_EVERY)),
    };
    let mut builder = PoolBuilder::new(&pool.name, source)
        .policy(policy(pool))
        .retry(pool.retry.clone())
        .timeouts(pool.timeouts.clone());
    if let Some(every) = every {
        builder = builder.rediscover(every);
    }
    if let Some(queue) = pool.queue {
        builder = builder.queue(queue);
    }
    if let Some(sticky) = &pool.sticky {
        builder = builder.sticky(&sticky.cookie, sticky.ttl, secret(pool, sticky)?);
    }
    if let Some(settings) = &pool.health_check {
        builder = builder.health_check(build_check(&settings.probe, registry)?, settings);
    }
    balance(builder, &pool.balance, registry, metrics)
}

fn policy(pool: &config::Pool) -> Policy {
    Policy {
        slow_start: pool.slow_start,
        zone: pool.zone.clone(),
        overflow: pool.overflow,
        panic_threshold: pool.panic_threshold,
        when_unavailable: pool.when_unavailable,
        max_in_flight: pool.max_in_flight,
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
        Balance::RoundRobin => builder.algorithm(metrics, |_| Turns::default()),
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

fn build_check(probe: &Probe, registry: &Registry) -> Result<Check, Mistake> {
    match probe {
        Probe::Tcp => Ok(Arc::new(TcpCheck)),
        Probe::Http(probe) => Ok(Arc::new(HttpCheck::new(probe))),
        Probe::Extension(named) => registry.check(named),
    }
}
