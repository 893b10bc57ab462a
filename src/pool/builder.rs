//! How a pool is put together.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};
use pingora_load_balancing::{Backends, LoadBalancer};

use super::balancer::Balancer;
use super::connections::Connections;
use super::prober::{Checking, Timing};
use super::refresh::Refreshes;
use super::retries::Retries;
use super::sticky::{Secret, Stickiness};
use super::transport::Transport;
use super::{Pool, Retry, Timeouts};
use crate::backend::{Health, Policy, PoolState, RAMP_STEPS, Roster, Thresholds};
use crate::config::{Ejection, HealthCheck, Hedge, Initial, KeySource, Queue, Sticky};
use crate::discovery::{Source, Tracked};
use crate::health::Check;
use crate::metrics::Metrics;
use crate::selection::{Algorithm, Following, Selection, Turns};

/// How often a slow start goes a step on, at most: each step may rebuild a large table.
const LEAST_RAMP: Duration = Duration::from_millis(100);

/// Puts a pool together; for the configuration as for those who bring their own `ProxyHttp`.
pub struct PoolBuilder {
    name: String,
    source: Source,
    rediscover: Option<Duration>,
    check: Option<(Check, HealthCheck)>,
    policy: Policy,
    key: Vec<KeySource>,
    sticky: Option<(String, Option<Duration>, Secret)>,
    drain_grace: Duration,
    queue: Option<Queue>,
    max_connections: Option<u32>,
    ejection: Option<Ejection>,
    retry: Retry,
    hedge: Option<Hedge>,
    timeouts: Timeouts,
    deadline_header: Option<HeaderName>,
    transport: Transport,
    grpc_web: bool,
    predecessor: Option<Arc<Pool>>,
}

impl PoolBuilder {
    /// A pool of the backends that `source` finds, without a health check.
    pub fn new(name: &str, source: Source) -> Self {
        PoolBuilder {
            name: name.to_owned(),
            source,
            rediscover: None,
            check: None,
            policy: Policy::default(),
            key: Vec::new(),
            sticky: None,
            drain_grace: Sticky::DRAIN_GRACE,
            queue: None,
            max_connections: None,
            ejection: None,
            retry: Retry::default(),
            hedge: None,
            timeouts: Timeouts::default(),
            deadline_header: None,
            transport: Transport::default(),
            grpc_web: false,
            predecessor: None,
        }
    }

    /// Ask the source anew every so often. Default: once.
    #[must_use]
    pub fn rediscover(mut self, every: Duration) -> Self {
        self.rediscover = Some(every);
        self
    }

    /// Probe the backends with `check`, as often and as long as `settings` say. Pools that are given clones of one `Arc`, with
    /// the same intervals and timeout, share the probes of the addresses that they have in common.
    #[must_use]
    pub fn health_check(mut self, check: Check, settings: &HealthCheck) -> Self {
        self.check = Some((check, settings.clone()));
        self
    }

    /// What the pool wants of its backends. Its `initial` is the health check's to say, if there is one. Default: everybody
    /// alike.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// What of a request a hashing algorithm hashes: the first of these that the request has. Default: nothing.
    #[must_use]
    pub fn key(mut self, key: &[KeySource]) -> Self {
        self.key = key.to_vec();
        self
    }

    /// Keep clients on their backends by a cookie of this name, for so long or until the browser is closed. Default: not.
    #[must_use]
    pub fn sticky(mut self, cookie: &str, ttl: Option<Duration>, secret: Secret) -> Self {
        self.sticky = Some((cookie.to_owned(), ttl, secret));
        self
    }

    /// How long sticky clients still reach a backend of theirs that drains; 0 for not at all. Default
    /// [`Sticky::DRAIN_GRACE`].
    #[must_use]
    pub fn drain_grace(mut self, grace: Duration) -> Self {
        self.drain_grace = grace;
        self
    }

    /// Who waits when nobody has room, in [`Pool::acquire_or_wait`]. Default: nobody.
    #[must_use]
    pub fn queue(mut self, queue: Queue) -> Self {
        self.queue = Some(queue);
        self
    }

    /// How many connections to the backends may be open, those kept for later included. Default: any number.
    #[must_use]
    pub fn max_connections(mut self, max: u32) -> Self {
        self.max_connections = Some(max);
        self
    }

    /// Take backends out because of what live traffic shows, by these rules. It is [`PoolService`](super::PoolService) that
    /// does. Default: not.
    #[must_use]
    pub fn ejection(mut self, rules: Ejection) -> Self {
        self.ejection = Some(rules);
        self
    }

    /// Second chances. Default: three attempts.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Second attempts beside slow ones. Default: none.
    #[must_use]
    pub fn hedge(mut self, hedge: Hedge) -> Self {
        self.hedge = Some(hedge);
        self
    }

    /// How long each step may take. Default: as in the file, 2 s to connect, 60 s for a request.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Speak to the backends in this way. Default: plain HTTP/1.1.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Pass grpc-web requests on as gRPC, and what answers them as grpc-web; the backends must be asked in HTTP/2. Default: not.
    #[must_use]
    pub fn grpc_web(mut self, on: bool) -> Self {
        self.grpc_web = on;
        self
    }

    /// Tell backends in this header how many milliseconds a request has left. Default: not.
    #[must_use]
    pub fn deadline_header(mut self, header: HeaderName) -> Self {
        self.deadline_header = Some(header);
        self
    }

    /// Take the place of this pool, which goes on to serve what has begun in it: backends that both have keep their state, and
    /// the pool its own. Default: of none.
    #[must_use]
    pub(crate) fn succeed(mut self, predecessor: &Arc<Pool>) -> Self {
        self.predecessor = Some(Arc::clone(predecessor));
        self
    }

    /// The pool, picking by smooth weighted round robin.
    pub fn round_robin(self, metrics: &Metrics) -> Pool {
        self.algorithm(metrics, |pool| Turns::of(pool))
    }

    /// The pool, picking by one of our algorithms, which `make` makes of what the backends have in common.
    pub fn algorithm<A: Algorithm>(self, metrics: &Metrics, make: impl FnOnce(&Arc<PoolState>) -> A) -> Pool {
        let follow = |roster: &Arc<Roster>| Ok::<_, Infallible>(Following::roster(make(roster.pool()), roster));
        match self.build::<Selection<A>, _>(metrics, follow) {
            Ok(pool) => pool,
            Err(never) => match never {},
        }
    }

    /// The pool, picking by any of pingora's selections or your own. `configure` makes the selection's configuration; what it
    /// keeps of the roster lets an algorithm see the state of each backend.
    ///
    /// # Errors
    /// Those of `configure`.
    pub fn build<S, E>(
        self,
        metrics: &Metrics,
        configure: impl FnOnce(&Arc<Roster>) -> Result<S::Config, E>,
    ) -> Result<Pool, E>
    where
        S: BackendSelection + Send + Sync + 'static,
        S::Iter: BackendIter,
        S::Config: 'static,
    {
        let mut policy = self.policy;
        if let Some((_, settings)) = &self.check {
            policy.initial = match settings.initial {
                Initial::Up => Health::UP,
                Initial::Probe => Health::Unprobed,
                Initial::Down => Health::DOWN,
            };
        }
        let ramp = policy.slow_start.map(|length| (length / RAMP_STEPS as u32).max(LEAST_RAMP));
        let before = self.predecessor.as_deref();
        let roster = match before {
            Some(pool) => pool.roster.successor(policy, self.check.is_some()),
            None => Roster::new(policy),
        };
        let stick = |(cookie, ttl, secret): (String, _, _)| Stickiness::new(&cookie, ttl, secret, &self.name, &roster);
        let sticky = self.sticky.map(stick);
        let configuration = configure(&roster)?;
        let tracked = Tracked::new(&self.name, self.source, Arc::clone(&roster));
        let backends = Backends::new(Box::new(tracked));
        let balancer = LoadBalancer::<S>::from_backends_with_config(backends, Some(configuration));
        Ok(Pool {
            metrics: metrics.pool(&self.name),
            name: self.name,
            balancer: Box::new(balancer) as Box<dyn Balancer>,
            roster,
            refreshes: Refreshes::default(),
            key: self.key,
            sticky,
            drain_grace: self.drain_grace,
            queue: self.queue,
            connections: connections(self.max_connections, before),
            ejection: self.ejection,
            retries: retries(&self.retry, before),
            retry: self.retry,
            hedge: self.hedge,
            peer: self.transport.peer(&self.timeouts),
            transport: self.transport,
            grpc_web: self.grpc_web,
            timeouts: self.timeouts,
            deadline_header: self.deadline_header,
            check: self.check.map(|(check, settings)| checking(check, &settings)),
            rediscover: self.rediscover,
            ramp,
        })
    }
}

/// Those of the predecessor go on to count.
fn connections(max: Option<u32>, before: Option<&Pool>) -> Option<Arc<Connections>> {
    let max = max?;
    let known = before.and_then(|pool| pool.connections.clone());
    Some(known.inspect(|known| known.set_max(max)).unwrap_or_else(|| Connections::new(max)))
}

/// What has been saved up and spent holds on, unless the rules are others.
fn retries(retry: &Retry, before: Option<&Pool>) -> Arc<Retries> {
    let known = before.filter(|pool| pool.retry == *retry).map(|pool| Arc::clone(&pool.retries));
    known.unwrap_or_else(|| Arc::new(Retries::new(retry)))
}

fn checking(check: Check, settings: &HealthCheck) -> Checking {
    let HealthCheck { interval, unhealthy_interval, timeout, rise, fall, .. } = *settings;
    let timing = Timing { interval, unhealthy_interval, timeout };
    Checking { check, timing, thresholds: Thresholds { rise, fall } }
}
