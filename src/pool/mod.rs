//! A pool: a set of backends with one balancing algorithm, one health check, one set of policies.
//!
//! [`Pool::acquire`] is all that a request needs: it asks the pool's pingora `LoadBalancer` for the next backend that is
//! admitted and not yet tried, and gives a [`Lease`] on it; [`Pool::acquire_or_wait`] also waits in line. The rest happens
//! aside, in [`PoolService`]. [`Pool::again`] says whether another attempt follows one that has failed.

mod acquire;
mod adapt;
mod again;
mod backoff;
mod balancer;
mod budget;
mod builder;
mod connections;
mod drain;
mod introduce;
#[cfg(test)]
mod invariants;
mod keepers;
mod observer;
mod probe;
mod prober;
mod queue;
mod refresh;
mod retries;
mod rhythm;
mod saved;
mod service;
mod sticky;
mod transport;
mod trouble;
mod watchdog;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderName;
use pingora_core::upstreams::peer::HttpPeer;

use crate::backend::{Lease, Roster};
use crate::config::{Ejection, Hedge, KeySource, Protocol, Queue, Retry, Timeouts};
use crate::health::Check;
use crate::metrics::{PoolMetrics, RetryDenied};
use crate::proxy_header::Ends;
use balancer::Balancer;
use connections::Connections;
use prober::Checking;
use refresh::Refreshes;
use retries::Retries;

pub use acquire::{Pick, Unavailable};
pub use again::{Again, Attempts};
pub use builder::PoolBuilder;
pub(crate) use connections::CONNECTION_LIMIT;
pub use keepers::{FirstRound, Keepers};
pub use retries::Permit;
pub use saved::SavedPool;
pub(crate) use service::FIRST_ROUND;
pub use service::PoolService;
pub use sticky::{Secret, Stickiness};
pub(crate) use sticky::{bytes_of_process, go_on_with};
pub use transport::Transport;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use trouble::retry_after_at;
pub use trouble::{Broken, Trouble, retry_after, stale};
pub(crate) use trouble::{NOT_HTTP2, ended_by_backend, is_tunnel, response_started};
pub use watchdog::Overdue;

/// A set of backends, and how to choose among them.
pub struct Pool {
    name: String,
    balancer: Box<dyn Balancer>,
    roster: Arc<Roster>,
    refreshes: Refreshes,
    /// What of a request is hashed; empty for an algorithm that does not hash.
    key: Vec<KeySource>,
    sticky: Option<Arc<Stickiness>>,
    drain_grace: Duration,
    queue: Option<Queue>,
    connections: Option<Arc<Connections>>,
    retry: Retry,
    retries: Arc<Retries>,
    hedge: Option<Hedge>,
    timeouts: Timeouts,
    deadline_header: Option<HeaderName>,
    /// Everything that is alike in the peers of this pool; each attempt copies it and puts its address in.
    peer: HttpPeer,
    transport: Transport,
    grpc_web: bool,
    check: Option<Checking>,
    /// How often to ask discovery; `None` asks once.
    rediscover: Option<Duration>,
    /// How often to move on those that are in slow start.
    ramp: Option<Duration>,
    /// Who is taken out because of what live traffic shows.
    ejection: Option<Ejection>,
    pub(crate) metrics: PoolMetrics,
}

impl Pool {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its backends.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// The check that probes its backends.
    pub(crate) fn check(&self) -> Option<&Check> {
        self.check.as_ref().map(|checking| &checking.check)
    }

    /// Ask its source for backends now. [`PoolService`] does so regularly; who uses a pool without that, must.
    ///
    /// # Errors
    /// Those of the source, if it is not known what the backends are.
    pub async fn discover(&self) -> pingora_core::Result<()> {
        self.balancer.update().await
    }

    /// What of a request its algorithm hashes: the first of these that the request has. Empty if it does not hash.
    pub fn key(&self) -> &[KeySource] {
        &self.key
    }

    /// How it keeps clients on their backends, if it does.
    pub fn sticky(&self) -> Option<&Stickiness> {
        self.sticky.as_deref()
    }

    /// Its policy for second chances.
    pub fn retry(&self) -> &Retry {
        &self.retry
    }

    /// Count a request that began at `started`, of which second attempts may be a share.
    #[inline]
    pub fn earn_retries(&self, started: Instant) {
        self.retries.earn(started);
    }

    /// Ask for a second attempt; the permit is to be kept until it ends. `free` is for those after which no backend has seen
    /// the request: they are no load on any, and cost nothing of the budget.
    ///
    /// # Errors
    /// What forbids it.
    pub fn permit_retry(&self, free: bool) -> Result<Permit, RetryDenied> {
        self.retries.permit(free).inspect_err(|why| self.metrics.retry_denied(*why))
    }

    /// The header that tells a backend how long a request may still take.
    pub fn deadline_header(&self) -> Option<&HeaderName> {
        self.deadline_header.as_ref()
    }

    /// The same for who has a permit already, which it goes on with.
    ///
    /// # Errors
    /// That the budget is spent.
    pub fn spend_on_retry(&self, free: bool) -> Result<(), RetryDenied> {
        self.retries.spend(free).inspect_err(|why| self.metrics.retry_denied(*why))
    }

    /// Its policy for requests that are answered slowly.
    pub fn hedge(&self) -> Option<Hedge> {
        self.hedge
    }

    /// How long each step may take.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Where to connect for this lease, under `timeouts`, which are the pool's own or a route's, with `left` to go until the
    /// header of its response must be there.
    pub fn peer(&self, lease: &Lease, timeouts: &Timeouts, left: Duration) -> Box<HttpPeer> {
        let mut peer = Box::new(self.peer.clone());
        peer._address = lease.backend().address().clone();
        self.transport.address(&mut peer, lease.backend());
        if let Some(connections) = &self.connections {
            connections.watch(&mut peer);
        }
        let options = &mut peer.options;
        // Pingora has one for the header and for the pauses in the body.
        options.read_timeout = Some(timeouts.read.min(left));
        if left < self.timeouts.connect {
            options.connection_timeout = Some(left);
            options.total_connection_timeout = Some(left);
        }
        peer
    }

    /// Tell the backend of `peer`, if it is to know, whose connection a request came on.
    #[inline]
    pub(crate) fn introduce(&self, peer: &mut HttpPeer, ends: impl FnOnce() -> Ends) {
        if let Some(version) = self.transport.proxy_protocol {
            introduce::introduce(peer, version, ends());
        }
    }

    /// Ask the backend of `peer` in HTTP/1.1, if it may be asked in that.
    pub(crate) fn in_http1(&self, peer: &mut HttpPeer) {
        self.transport.in_http1(peer);
    }

    /// Which HTTP its backends are asked in.
    pub fn protocol(&self) -> Protocol {
        self.transport.protocol
    }

    /// `http` or `https`, as its backends are asked.
    pub fn scheme(&self) -> &'static str {
        self.transport.scheme()
    }

    /// Whether grpc-web requests go to its backends as gRPC.
    pub fn grpc_web(&self) -> bool {
        self.grpc_web
    }

    /// How many connections to its backends are open, where `max_connections` limits them.
    pub fn connections(&self) -> Option<usize> {
        self.connections.as_ref().map(|connections| connections.open())
    }

    /// How many there may be.
    pub fn max_connections(&self) -> Option<usize> {
        self.connections.as_ref().map(|connections| connections.max())
    }

    /// Whether the connection of an attempt is to be closed after it, since `max_connections` is reached and another backend
    /// wants one.
    #[inline]
    pub(crate) fn wants_connection(&self) -> bool {
        self.connections.as_ref().is_some_and(|connections| connections.wanted())
    }
}
