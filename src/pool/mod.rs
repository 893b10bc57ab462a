//! A pool: a set of backends with one balancing algorithm, one health check, one set of policies.
//!
//! [`Pool::acquire`] is all that a request needs: it asks the pool's pingora `LoadBalancer` for the next backend that is
//! admitted and not yet tried, and gives a [`Lease`] on it; [`Pool::acquire_or_wait`] also waits in line. The rest happens
//! aside, in [`PoolService`].

mod acquire;
mod balancer;
mod builder;
#[cfg(test)]
mod invariants;
mod prober;
mod queue;
mod refresh;
mod service;
mod sticky;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora_core::upstreams::peer::HttpPeer;

use crate::backend::{Lease, Roster};
use crate::config::{KeySource, Queue, Retry, Timeouts};
use crate::health::Check;
use crate::metrics::PoolMetrics;
use balancer::Balancer;
use prober::Probing;
use refresh::Refreshes;

pub use acquire::{Pick, Unavailable};
pub use builder::PoolBuilder;
pub use service::PoolService;
pub use sticky::{Secret, Stickiness};

/// A set of backends, and how to choose among them.
pub struct Pool {
    name: String,
    balancer: Box<dyn Balancer>,
    roster: Arc<Roster>,
    refreshes: Refreshes,
    /// What of a request is hashed; empty for an algorithm that does not hash.
    key: Vec<KeySource>,
    sticky: Option<Arc<Stickiness>>,
    queue: Option<Queue>,
    retry: Retry,
    timeouts: Timeouts,
    /// Everything that is alike in the peers of this pool; each attempt copies it and puts its address in.
    peer: HttpPeer,
    check: Option<(Check, Probing)>,
    /// How often to ask discovery; `None` asks once.
    rediscover: Option<Duration>,
    /// How often to move on those that are in slow start.
    ramp: Option<Duration>,
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

    /// How long each step may take.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Where to connect for this lease, with `left` of the request's time to go.
    pub fn peer(&self, lease: &Lease, left: Duration) -> Box<HttpPeer> {
        let mut peer = Box::new(self.peer.clone());
        peer._address = lease.backend().address().clone();
        let options = &mut peer.options;
        if left < self.timeouts.read {
            options.read_timeout = Some(left);
        }
        if left < self.timeouts.connect {
            options.connection_timeout = Some(left);
            options.total_connection_timeout = Some(left);
        }
        peer
    }

    /// When a request that begins now must have its response's header.
    pub fn deadline(&self, now: Instant) -> Instant {
        now + self.timeouts.request
    }
}
