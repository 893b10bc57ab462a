//! From a pool to a lease.

use std::cell::Cell;
use std::sync::Arc;

use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_load_balancing::Backend;

use super::Pool;
use crate::backend::{BackendState, Candidate, Lease, Snapshot};
use crate::config::Priority;
use crate::selection::take_offered;

/// What a pick depends on beside the pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pick<'a> {
    /// What a hashing algorithm hashes; if it is empty, the request may go anywhere.
    pub key: &'a [u8],
    /// The value of the pool's sticky cookie, if the client sent one.
    pub cookie: Option<&'a [u8]>,
    /// Who is taken if it may be, before the cookie counts.
    pub preferred: Option<&'a SocketAddr>,
    /// Who is not to be asked again.
    pub tried: &'a [SocketAddr],
    /// Whether the request has had an attempt before: it goes ahead of those who wait for their first.
    pub again: bool,
    /// Who is sent away first when the pool has too much to do.
    pub priority: Priority,
}

/// Why a pool has nobody to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// No backend is admitted, for another reason than want of room.
    NoneAdmitted,
    /// This request has tried every admitted one.
    AllTried,
    /// `max_in_flight` is reached, the pool's or each backend's, and there is no queue.
    Full,
    /// `max_in_flight` is reached, and there is no place in the queue.
    QueueFull,
    /// More would make the pool slow, as its `concurrency` found.
    Overloaded,
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
        if self.roster.pool().counts()
            && let Some(why) = self.refuses(pick)
        {
            return Err(if self.available() { why } else { Unavailable::NoneAdmitted });
        }
        if let Some(lease) =
            pick.preferred.and_then(|address| self.at(address, pick.tried)).or_else(|| self.stuck(pick))
        {
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
            None => match walk(&self.roster.load(), pick.tried) {
                // Another took the last of the room meanwhile.
                Err(Unavailable::Full) if self.sheds(pick) => Err(Unavailable::Overloaded),
                decided => decided,
            },
        }
    }

    /// Why the pool as a whole cannot take the request, if that is so.
    fn refuses(&self, pick: &Pick<'_>) -> Option<Unavailable> {
        if self.sheds(pick) {
            return Some(Unavailable::Overloaded);
        }
        // Whoever is asked would refuse: thousands need not be, for each request that a full pool sends away.
        (!self.roster.pool().has_room()).then_some(Unavailable::Full)
    }

    /// Whether the request is sent away rather than to make the pool slow, which is counted. Who only has no second attempt is
    /// not.
    #[inline]
    fn sheds(&self, pick: &Pick<'_>) -> bool {
        let state = self.roster.pool();
        let sheds = state.sheds(pick.priority);
        if sheds
            && !pick.again
            && let Some(concurrency) = state.concurrency()
        {
            concurrency.refuse();
        }
        sheds
    }

    /// The state of a backend that was offered, by an algorithm of ours or another's.
    #[inline(always)]
    fn state(&self, address: &SocketAddr) -> Option<Arc<BackendState>> {
        // An algorithm that wraps one of ours may offer what is not this pool's: a state of the same address that no probe moves.
        let offered = take_offered(address).filter(|state| state.is_of(self.roster.pool()));
        offered.or_else(|| self.roster.load().find(address).cloned())
    }

    // Called for each offer; the compiler would make it a function of its own, because cookies call it, too.
    #[inline(always)]
    fn begin(&self, state: Arc<BackendState>, tried: &[SocketAddr]) -> Option<Lease> {
        let candidate = state.eligible() || self.roster.load().accepts(&state);
        if candidate && !tried.contains(state.address()) { begin(state) } else { None }
    }

    /// A lease on the backend at this address.
    fn at(&self, address: &SocketAddr, tried: &[SocketAddr]) -> Option<Lease> {
        self.begin(self.roster.load().find(address).cloned()?, tried)
    }

    /// A lease on the backend that the client's cookie names; for a while even if it drains.
    fn stuck(&self, pick: &Pick<'_>) -> Option<Lease> {
        let state = self.sticky.as_ref()?.find(pick.cookie?)?;
        if !state.draining() {
            return self.begin(state, pick.tried);
        }
        let in_grace = |state: &BackendState| self.grace_left(state).is_some();
        if !in_grace(&state) || pick.tried.contains(state.address()) {
            return None;
        }
        Lease::begin(state).filter(|lease| in_grace(lease.backend()) || lease.backend().eligible())
    }

    /// Whether there is anybody to try beside these, now or as soon as there is room.
    pub fn has_other_than(&self, tried: &[SocketAddr]) -> bool {
        let snapshot = self.roster.load();
        snapshot.candidates().any(|candidate| acceptable(&snapshot, &candidate.state, tried))
    }
}

/// Begin an attempt, but not if draining has begun in between: whoever has been told that nothing is in flight stops the backend.
#[inline]
fn begin(state: Arc<BackendState>) -> Option<Lease> {
    Lease::begin(state).filter(|lease| !lease.backend().draining())
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
        if tried.contains(candidate.state.address()) { None } else { begin(Arc::clone(&candidate.state)) }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use futures_util::FutureExt;
    use pingora_load_balancing::discovery::Static;
    use pingora_load_balancing::selection::BackendSelection;

    use super::super::{PoolBuilder, Secret};
    use super::*;
    use crate::backend::{Failure, Outcome, Policy, Thresholds};
    use crate::config::WhenUnavailable;
    use crate::metrics::Metrics;
    use crate::selection::{Offers, RoundRobin, Turns};

    const ONCE: Thresholds = Thresholds { rise: 1, fall: 1 };

    fn pool(policy: Policy) -> Pool {
        let source = Static::try_from_iter(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"]).unwrap();
        let builder = PoolBuilder::new("web", source).policy(policy).sticky("lb", None, Secret::of_process());
        let pool = builder.round_robin(&Metrics::new().unwrap());
        pool.discover().now_or_never().unwrap().unwrap();
        pool
    }

    fn cookie(pool: &Pool, lease: &Lease) -> Vec<u8> {
        let set = pool.sticky().unwrap().set_cookie(lease, None, &[], false).unwrap();
        set.split(['=', ';']).nth(1).unwrap().as_bytes().to_vec()
    }

    /// A pool that fails open asked even those that drain, if a cookie named them.
    #[test]
    fn a_cookie_leads_to_nobody_who_drains() {
        let pool = pool(Policy { when_unavailable: WhenUnavailable::TryAny, ..Policy::default() });
        let lease = pool.acquire(&Pick::default()).unwrap();
        let (cookie, bound) = (cookie(&pool, &lease), lease.backend().label().to_owned());
        let pick = Pick { cookie: Some(&cookie), ..Pick::default() };
        assert_eq!(pool.acquire(&pick).unwrap().backend().label(), bound);

        let mut backends: Vec<_> = pool.roster().load().members().iter().map(|m| Backend::clone(&m.backend)).collect();
        backends.iter_mut().filter(|b| b.addr.to_string() == bound).for_each(|b| b.weight = 0);
        pool.roster().set_members(&backends);
        for member in pool.roster().load().members() {
            member.state.observe(Err("dead".to_owned()), ONCE);
        }
        pool.roster().refresh();
        for _ in 0..20 {
            assert_ne!(pool.acquire(&pick).unwrap().backend().label(), bound);
        }
    }

    /// Whoever has seen nothing in flight stops the backend: an attempt that was decided on before must not begin after that.
    #[test]
    fn what_was_decided_on_before_a_drain_does_not_begin() {
        let pool = pool(Policy::default());
        let state = Arc::clone(&pool.roster().load().members()[0].state);
        assert!(begin(Arc::clone(&state)).is_some());
        state.begin_drain();
        assert!(begin(Arc::clone(&state)).is_none());
        assert_eq!(state.in_flight(), 0);
    }

    /// A lease that nobody reports on, as when the client leaves, blames nobody.
    #[test]
    fn a_lease_ends_with_its_drop() {
        let pool = pool(Policy { max_in_flight: Some(2), ..Policy::default() });
        let held = [(); 2].map(|()| pool.acquire(&Pick::default()).unwrap());
        assert_eq!(pool.acquire(&Pick::default()).unwrap_err(), Unavailable::Full);
        let states = held.each_ref().map(|lease| Arc::clone(lease.backend()));
        drop(held);
        for state in states {
            let counts = state.counts();
            assert_eq!((state.in_flight(), counts.cancelled, counts.failed), (0, 1, 0));
        }
        pool.acquire(&Pick::default()).unwrap().report(Outcome::Failed(Failure::Broken), Duration::ZERO);
        assert_eq!(pool.roster().pool().in_flight(), 0);
    }

    /// What a library user may write: an algorithm over one of ours that was built without the roster, and so has states of its
    /// own for the same addresses.
    struct Wrapped(Arc<RoundRobin>);

    impl BackendSelection for Wrapped {
        type Iter = Offers<Turns>;
        type Config = ();

        fn build_with_config(backends: &BTreeSet<Backend>, (): &()) -> Self {
            Self::build(backends)
        }

        fn build(backends: &BTreeSet<Backend>) -> Self {
            Wrapped(Arc::new(RoundRobin::build(backends)))
        }

        fn iter(self: &Arc<Self>, key: &[u8]) -> Offers<Turns> {
            self.0.iter(key)
        }
    }

    #[test]
    fn what_an_algorithm_offers_counts_by_the_state_in_this_pool() {
        let source = Static::try_from_iter(["10.0.0.1:80", "10.0.0.2:80"]).unwrap();
        let pool = PoolBuilder::new("web", source);
        let pool = pool.build::<Wrapped, _>(&Metrics::new().unwrap(), |_| Ok::<_, ()>(())).unwrap();
        pool.discover().now_or_never().unwrap().unwrap();
        let dead = Arc::clone(&pool.roster().load().members()[0].state);
        dead.observe(Err("dead".to_owned()), ONCE);
        pool.roster().refresh();
        for _ in 0..10 {
            let lease = pool.acquire(&Pick::default()).unwrap();
            assert_eq!((lease.backend().label(), lease.backend().in_flight()), ("10.0.0.2:80", 1));
            assert!(Arc::ptr_eq(lease.backend(), &pool.roster().load().members()[1].state));
        }
    }
}
