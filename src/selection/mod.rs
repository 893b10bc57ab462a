//! The algorithms that pick a backend: implementations of pingora's `BackendSelection`, one file each.
//!
//! An algorithm knows weights and what a [`BackendState`](crate::backend::BackendState) counts. It knows nothing of health,
//! retries or policies: it draws from the [candidates](crate::backend::Snapshot::candidates) of one group and draws again
//! when the first is refused. What is the same for all of them, following the roster and offering everybody in the end,
//! is [`Selection`].

mod drawing;
mod hashing;
mod least_request;
mod least_time;
mod load;
mod offered;
mod offers;
mod p2c;
mod peak_ewma;
mod random;
mod round_robin;
mod schedule;

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora_load_balancing::Backend;
use pingora_load_balancing::selection::BackendSelection;

use crate::backend::{Candidate, Group, Policy, Roster, Snapshot};

pub use hashing::{HashTable, Hashed, Maglev, Rendezvous, Ring};
pub use least_request::FewestInFlight;
pub use least_time::ShortestTime;
pub(crate) use offered::take as take_offered;
pub use offers::Offers;
pub use p2c::LessLoaded;
pub use peak_ewma::Sooner;
pub use random::AtRandom;
pub use round_robin::Turns;

/// Smooth weighted round robin, exact over each cycle. Source: nginx's (2012).
pub type RoundRobin = Selection<Turns>;
/// Weighted random choice, by the alias method. Source: M. D. Vose, A linear algorithm for generating random numbers with a given
/// distribution, IEEE TSE 17(9), 1991.
pub type Random = Selection<AtRandom>;
/// The fewest requests in flight for each unit of weight: of all, or of some drawn at random where there are many.
pub type LeastRequest = Selection<FewestInFlight>;
/// The power of two choices, by requests in flight. Source: M. Mitzenmacher, The Power of Two Choices in Randomized Load
/// Balancing, IEEE TPDS 12(10), 2001.
pub type P2c = Selection<LessLoaded>;
/// The power of two choices, by peak-sensitive latency and load. Source: Finagle's `peakEwma` (Twitter, 2016).
pub type PeakEwma = Selection<Sooner>;
/// A ketama ring, the same as `pingora-ketama`'s and nginx's `hash … consistent`. Source: Karger and others, Consistent Hashing and
/// Random Trees, STOC 1997.
pub type ConsistentHash = Selection<Hashed<Ring>>;
/// The shortest average time to the first byte, times the load. Source: nginx's `least_time header`.
pub type LeastTime = Selection<ShortestTime>;

/// What makes an algorithm different from the others. What lives in `self` outlives every change of the backends.
pub trait Algorithm: Sized + Send + Sync + 'static {
    /// What is worked out in advance for one group of candidates, whenever they change.
    type Table: Send + Sync + 'static;

    /// How often a pick draws, the first time included, before everybody is offered in turn. Draws keep proportions; the walk
    /// misses nobody. Default 8.
    const DRAWS: u32 = 8;

    /// The default algorithm, for a pingora `LoadBalancer` that is built without a configuration.
    fn standard() -> Self;

    /// Work out the table of a group.
    fn table(&self, group: &Group) -> Self::Table;

    /// What the key of a request comes down to. Default zero, for those that do not hash.
    fn hash(&self, _key: &[u8]) -> u64 {
        0
    }

    /// The place, from 0 up to but not 1, that decides which group a request belongs to, if there is more than one. Default
    /// any, by chance.
    fn spread(&self, _hash: u64) -> f64 {
        fastrand::f64()
    }

    /// A candidate's place in the list, which is that of the group's table and not empty: the first choice of a pick for `nth`
    /// 0, others for 1 and up. May repeat itself.
    fn draw(&self, table: &Self::Table, candidates: &[Candidate], hash: u64, nth: u32) -> usize;
}

/// An algorithm as pingora's `LoadBalancer` wants it. Pingora builds one anew with every change of the backends; they share
/// what is kept in the configuration, which [`Following::roster`] keeps up to date.
pub struct Selection<A: Algorithm>(Arc<Following<A>>);

/// An algorithm that follows the changes of a pool's backends.
pub struct Following<A: Algorithm> {
    current: ArcSwap<Current<A>>,
}

/// The backends at one moment, and what the algorithm has worked out for them.
struct Current<A: Algorithm> {
    algorithm: Arc<A>,
    snapshot: Arc<Snapshot>,
    /// One for each group.
    tables: Box<[A::Table]>,
}

impl<A: Algorithm> Current<A> {
    fn new(algorithm: &Arc<A>, snapshot: &Arc<Snapshot>) -> Self {
        let tables = snapshot.groups().iter().map(|group| algorithm.table(group)).collect();
        Current { algorithm: Arc::clone(algorithm), snapshot: Arc::clone(snapshot), tables }
    }
}

impl<A: Algorithm> Following<A> {
    /// The algorithm over the backends of a roster, and over whatever they become.
    pub fn roster(algorithm: A, roster: &Roster) -> Arc<Self> {
        let algorithm = Arc::new(algorithm);
        let current = Current::new(&algorithm, &roster.load());
        let following = Arc::new(Following { current: ArcSwap::from_pointee(current) });
        let weak = Arc::downgrade(&following);
        roster.subscribe(move |snapshot| {
            if let Some(following) = weak.upgrade() {
                following.current.store(Arc::new(Current::new(&algorithm, snapshot)));
            }
        });
        following
    }
}

impl<A: Algorithm> BackendSelection for Selection<A> {
    type Iter = Offers<A>;
    type Config = Arc<Following<A>>;

    fn build_with_config(_: &BTreeSet<Backend>, following: &Arc<Following<A>>) -> Self {
        Selection(Arc::clone(following))
    }

    /// Over a fixed set of backends, all of them eligible, whose requests nobody counts.
    fn build(backends: &BTreeSet<Backend>) -> Self {
        let roster = Roster::new(Policy::default());
        roster.set_members(backends);
        Selection(Following::roster(A::standard(), &roster))
    }

    fn iter(self: &Arc<Self>, key: &[u8]) -> Offers<A> {
        Offers::new(self.0.current.load(), key)
    }
}

#[cfg(test)]
mod distribution;
#[cfg(test)]
mod testing;
