//! From a pool to a lease.

use std::cell::Cell;
use std::sync::Arc;

use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::Backend;

use super::Pool;
use crate::backend::{BackendState, Candidate, Lease, Snapshot};
use crate::selection::take_offered;

/// What a pick depends on beside the pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pick<'a> {
    /// What a hashing algorithm hashes; if it is empty, the request may go anywhere.
    pub key: &'a [u8],
    /// The value of the pool's sticky cookie, if the client sent one.
    pub cookie: Option<&'a [u8]>,
    /// Who is not to be asked again.
    pub tried: &'a [SocketAddr],
}

/// Why a pool has nobody to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// No backend is admitted, for another reason than want of room.
    NoneAdmitted,
    /// This request has tried every admitted one.
    AllTried,
    /// `max_in_flight` is reached, the pool's or each backend's, and there is no place in the queue.
    Full,
    /// There was no room within `queue.timeout`.
    QueueTimeout,
    /// There was no room within what the request had left.
    Deadline,
}

impl Pool {
    /// Whether somebody may be picked, now or as soon as there is room.
    #[inline]
    pub fn available(&self) -> bool {
        !self.roster.load().groups().is_empty()
    }

    /// Begin an attempt on the next backend that is admitted and not among those tried.
    ///
    /// # Errors
    /// Why there is nobody; never while an admitted backend is left to try.
    pub fn acquire(&self, pick: &Pick<'_>) -> Result<Lease, Unavailable> {
        if !self.roster.pool().has_room() {
            // Whoever is asked would refuse: thousands need not be, for each request that a full pool sends away.
            return Err(if self.available() { Unavailable::Full } else { Unavailable::NoneAdmitted });
        }
        if let Some(lease) = self.stuck(pick) {
            return Ok(lease);
        }
        let lease = Cell::new(None);
        let accept = |backend: &Backend| {
            let begun = self.state(&backend.addr).and_then(|state| self.begin(state, pick.tried));
            let accepted = begun.is_some();
            lease.set(begun);
            accepted
        };
        self.balancer.select(pick.key, &accept);
        match lease.into_inner() {
            Some(lease) => Ok(lease),
            None => walk(&self.roster.load(), pick.tried),
        }
    }

    /// The state of a backend that was offered, by an algorithm of ours or another's.
    #[inline]
    fn state(&self, address: &SocketAddr) -> Option<Arc<BackendState>> {
        take_offered(address).or_else(|| self.roster.load().find(address).cloned())
    }

    #[inline]
    fn begin(&self, state: Arc<BackendState>, tried: &[SocketAddr]) -> Option<Lease> {
        let candidate = state.eligible() || self.roster.load().fails_open();
        if candidate && !tried.contains(state.address()) { Lease::begin(state) } else { None }
    }

    /// A lease on the backend that the client's cookie names.
    fn stuck(&self, pick: &Pick<'_>) -> Option<Lease> {
        let state = self.sticky.as_ref()?.find(pick.cookie?)?;
        self.begin(state, pick.tried)
    }

    /// Whether there is anybody to try beside these, now or as soon as there is room.
    pub fn has_other_than(&self, tried: &[SocketAddr]) -> bool {
        let snapshot = self.roster.load();
        snapshot.candidates().any(|candidate| acceptable(&snapshot, &candidate.state, tried))
    }
}

#[inline]
fn acceptable(snapshot: &Snapshot, state: &BackendState, tried: &[SocketAddr]) -> bool {
    snapshot.accepts(state) && !tried.contains(state.address())
}

/// Anybody acceptable, when an algorithm offered nobody: one that a library user brought may give up early. The walk begins
/// anywhere, or the first backend would inherit it all.
fn walk(snapshot: &Snapshot, tried: &[SocketAddr]) -> Result<Lease, Unavailable> {
    let mut eligible = false;
    let mut begin = |candidate: &Candidate| {
        if !snapshot.accepts(&candidate.state) {
            return None;
        }
        eligible = true;
        if tried.contains(candidate.state.address()) { None } else { Lease::begin(Arc::clone(&candidate.state)) }
    };
    for group in snapshot.groups() {
        let start = fastrand::usize(..group.candidates.len());
        let (before, after) = group.candidates.split_at(start);
        if let Some(lease) = after.iter().chain(before).find_map(&mut begin) {
            return Ok(lease);
        }
    }
    let untried = |c: &Candidate| acceptable(snapshot, &c.state, tried);
    Err(match (eligible, snapshot.candidates().any(untried)) {
        (false, _) => Unavailable::NoneAdmitted,
        (true, true) => Unavailable::Full,
        (true, false) => Unavailable::AllTried,
    })
}
