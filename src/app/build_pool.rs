//! A pool of the configuration into one that serves.

use std::sync::Arc;
use std::time::Duration;

use super::registry::Registry;
use crate::backend::{Policy, PoolState};
use crate::config::{self, Balance, Hashing, HealthCheck, Mistake, Probe, Source};
use crate::discovery::{self, Configured};
use crate::health::{Check, GrpcCheck, HttpCheck, TcpCheck, Trust};
use crate::metrics::Metrics;
use crate::pool::{Pool, PoolBuilder, Secret};
use crate::selection::{
    AtRandom, FewestInFlight, HashTable, Hashed, LessLoaded, Maglev, Rendezvous, Ring, ShortestTime, Sooner, Turns,
};

/// How often names are looked up anew: about what resolvers cache.
const NAMES_EVERY: Duration = Duration::from_secs(30);
/// How often a source that a library user brought is asked: it is the one that knows when nothing has changed.
const SOURCES_EVERY: Duration = Duration::from_secs(10);

/// The health checks of a configuration. Pools that ask the same get the very same check, by which it is known that one probe
/// is enough for all of them. Not one that a library user brought: it may look at what differs between the pools.
pub(super) struct Checks<'a> {
    registry: &'a Registry,
    trust: Trust,
    built: Vec<(Probe, Check)>,
}

impl<'a> Checks<'a> {
    /// None so far. `ca_file` says whom those over TLS trust.
    pub(super) fn new(registry: &'a Registry, ca_file: Option<&str>) -> Self {
        Checks { registry, trust: Trust::new(ca_file), built: Vec::new() }
    }
}

/// Build a pool.
///
/// # Errors
/// A name that nobody registered, an option that its owner refuses, a file that cannot be read.
pub(super) fn build_pool(pool: &config::Pool, checks: &mut Checks<'_>, metrics: &Metrics) -> Result<Pool, Mistake> {
    let registry = checks.registry;
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
        builder = builder.health_check(checks.build(&pool.name, settings)?, settings);
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

impl Checks<'_> {
    /// The check that `settings` of a pool ask for.
    fn build(&mut self, pool: &str, settings: &HealthCheck) -> Result<Check, Mistake> {
        if let Probe::Extension(named) = &settings.probe {
            return self.registry.check(named);
        }
        if let Some((_, check)) = self.built.iter().find(|(probe, _)| *probe == settings.probe) {
            return Ok(Arc::clone(check));
        }
        let (key, made): (_, Result<Check, String>) = match &settings.probe {
            Probe::Http(probe) => {
                ("http.tls", HttpCheck::new(probe, &self.trust).map(|check| Arc::new(check) as Check))
            }
            Probe::Grpc(probe) => {
                ("grpc.tls", GrpcCheck::new(probe, &self.trust).map(|check| Arc::new(check) as Check))
            }
            Probe::Tcp | Probe::Extension(_) => ("", Ok(Arc::new(TcpCheck))),
        };
        let check = made.map_err(|message| {
            let key = format!("pools.{pool}.health_check.{key}");
            Mistake::new(settings.at, key, format!("not usable here: {message}"))
        })?;
        self.built.push((settings.probe.clone(), Arc::clone(&check)));
        Ok(check)
    }
}
