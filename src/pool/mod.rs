//! A pool: a set of backends with one balancing algorithm, one health check, one set of policies.
//!
//! [`Pool::acquire`] is all that a request needs: it asks the pool's pingora `LoadBalancer` for the next backend that is
//! admitted and not yet tried, and gives a [`Lease`] on it. The rest happens aside, in [`PoolService`].

mod balancer;
mod builder;
mod prober;
mod service;

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_load_balancing::Backend;

use crate::backend::{BackendState, Lease, Roster, Snapshot};
use crate::config::{Retry, Timeouts, WhenUnavailable};
use crate::health::Check;
use crate::metrics::PoolMetrics;
use balancer::Balancer;
use prober::Probing;

pub use builder::PoolBuilder;
pub use service::PoolService;

/// A set of backends, and how to choose among them.
pub struct Pool {
    name: String,
    balancer: Box<dyn Balancer>,
    roster: Arc<Roster>,
    when_unavailable: WhenUnavailable,
    retry: Retry,
    timeouts: Timeouts,
    /// Everything that is alike in the peers of this pool; each attempt copies it and puts its address in.
    peer: HttpPeer,
    check: Option<(Check, Probing)>,
    /// How often to ask discovery; `None` asks once.
    rediscover: Option<Duration>,
    pub(crate) metrics: PoolMetrics,
}

/// Why a pool has nobody to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// No backend is admitted.
    NoneAdmitted,
    /// This request has tried every admitted one.
    AllTried,
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

    /// Its policy for second chances.
    pub fn retry(&self) -> &Retry {
        &self.retry
    }

    /// How long each step may take.
    pub fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// Whether a request would find somebody now.
    #[inline]
    pub fn available(&self) -> bool {
        let snapshot = self.roster.load();
        match self.when_unavailable {
            WhenUnavailable::Reject => !snapshot.admitted().is_empty(),
            WhenUnavailable::TryAny => !snapshot.members().is_empty(),
        }
    }

    /// Begin an attempt on the next backend that is admitted and not among `tried`. `key` is what a hashing algorithm
    /// hashes; empty for the others.
    ///
    /// # Errors
    /// Why there is nobody; never while an admitted backend is left to try.
    pub fn acquire(&self, key: &[u8], tried: &[SocketAddr]) -> Result<Lease, Unavailable> {
        let snapshot = self.roster.load();
        let Some(accept) = self.acceptable(&snapshot, tried) else {
            return Err(Unavailable::NoneAdmitted);
        };
        let found: Cell<Option<&Arc<BackendState>>> = Cell::new(None);
        let offered = |backend: &Backend| {
            let state = snapshot.find(&backend.addr).filter(|state| accept(state));
            found.set(state);
            state.is_some()
        };
        if self.balancer.select(key, &offered).is_some()
            && let Some(state) = found.get()
        {
            return Ok(Lease::new(Arc::clone(state)));
        }
        match walk(&snapshot, accept) {
            Some(state) => Ok(Lease::new(Arc::clone(state))),
            None if tried.is_empty() => Err(Unavailable::NoneAdmitted),
            None => Err(Unavailable::AllTried),
        }
    }

    /// Whether there is anybody to try beside these.
    pub fn has_other_than(&self, tried: &[SocketAddr]) -> bool {
        let snapshot = self.roster.load();
        let accept = self.acceptable(&snapshot, tried);
        accept.is_some_and(|accept| snapshot.candidates().iter().any(|member| accept(&member.state)))
    }

    /// Who will do for a request that has tried these; `None` if nobody, because nobody is admitted.
    fn acceptable<'a>(
        &self,
        snapshot: &Snapshot,
        tried: &'a [SocketAddr],
    ) -> Option<impl Fn(&BackendState) -> bool + use<'a>> {
        let fail_open = snapshot.admitted().is_empty();
        if fail_open && self.when_unavailable == WhenUnavailable::Reject {
            return None;
        }
        Some(move |state: &BackendState| (fail_open || state.admitted()) && !tried.contains(state.address()))
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

/// Anybody acceptable, when an algorithm offered nobody: one that a library user brought may give up early. The walk begins
/// anywhere, or the first backend would inherit it all.
fn walk(snapshot: &Snapshot, accept: impl Fn(&BackendState) -> bool) -> Option<&Arc<BackendState>> {
    let candidates = snapshot.candidates();
    let start = fastrand::usize(..candidates.len().max(1));
    let (before, after) = candidates.split_at(start.min(candidates.len()));
    let in_turn = after.iter().chain(before).map(|member| &member.state);
    in_turn.into_iter().find(|state| accept(state))
}
