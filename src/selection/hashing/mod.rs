//! What the hashing algorithms share: a request's key decides, so that equal keys go to the same backend.
//!
//! A backend that comes or goes moves its own part of the keys only, as far as the table allows; one that is refused, dead or
//! full passes its keys on, each to another backend that the key decides as well. With a bounded load, a backend that has
//! more than its part of the requests in flight passes on what comes above that (Mirrokni, Thorup and Zadimoghaddam,
//! Consistent Hashing with Bounded Loads, SODA 2018).

mod hash;
mod maglev;
mod node;
mod rendezvous;
mod ring;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use super::Algorithm;
use crate::backend::{Candidate, Group, PoolState};
use crate::config::Percent;
use hash::split_mix;

pub use maglev::Maglev;
pub use rendezvous::Rendezvous;
pub use ring::Ring;

/// How many choices of a key are asked whether they have their load, before it is anybody who has not.
const ASKED: u32 = 64;

/// A table that gives each hash its backend.
pub trait HashTable: Sized + Send + Sync + 'static {
    /// What the table is told beside the backends.
    type Options: Default + Send + Sync + 'static;

    /// The table of a group.
    fn new(group: &Group, options: &Self::Options) -> Self;

    /// The hash of a key.
    fn hash(key: &[u8]) -> u64;

    /// The candidate that a hash chooses, the `nth` time that it is asked. May repeat itself.
    fn nth(&self, hash: u64, nth: u32) -> usize;
}

/// Picks by a table.
pub struct Hashed<T: HashTable> {
    options: T::Options,
    bound: Option<Bound>,
}

/// How much more than the average load a backend may have.
struct Bound {
    factor: f64,
    pool: Arc<PoolState>,
}

/// What is worked out for a group.
pub struct Chosen<T> {
    table: T,
    weight: u64,
}

impl<T: HashTable> Hashed<T> {
    /// For a pool whose requests will be counted if the load is bounded.
    pub fn new(options: T::Options, bounded_load: Option<Percent>, pool: &Arc<PoolState>) -> Self {
        let bound = bounded_load.map(|percent| {
            pool.count();
            Bound { factor: percent.fraction(), pool: Arc::clone(pool) }
        });
        Hashed { options, bound }
    }
}

impl<T: HashTable> Algorithm for Hashed<T> {
    type Table = Chosen<T>;

    const DRAWS: u32 = 16;

    fn standard() -> Self {
        Hashed { options: T::Options::default(), bound: None }
    }

    fn table(&self, group: &Group) -> Chosen<T> {
        let weight = group.candidates.iter().map(|candidate| candidate.weight).sum();
        Chosen { table: T::new(group, &self.options), weight }
    }

    /// A request without a key goes anywhere.
    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        if key.is_empty() { fastrand::u64(..) } else { T::hash(key) }
    }

    fn spread(&self, hash: u64) -> f64 {
        // Another hash than the table's, or a group would hold only a part of the table.
        (split_mix(hash, u64::from(ASKED)) >> 11) as f64 / (1u64 << 53) as f64
    }

    #[inline]
    fn draw(&self, chosen: &Chosen<T>, candidates: &[Candidate], hash: u64, nth: u32) -> usize {
        let first = chosen.table.nth(hash, nth);
        match &self.bound {
            None => first,
            Some(bound) => bound.pass_on(chosen, candidates, hash, nth).unwrap_or(first),
        }
    }
}

impl Bound {
    /// The first choice from the `nth` on that has room within the bound.
    fn pass_on<T: HashTable>(&self, of: &Chosen<T>, candidates: &[Candidate], hash: u64, nth: u32) -> Option<usize> {
        // For each unit of weight, with the request that is being placed.
        let allowed = self.factor * (self.pool.in_flight() + 1) as f64 / of.weight as f64;
        let within = |place: &usize| {
            let candidate = candidates.get(*place);
            candidate.is_some_and(|c| f64::from(c.state.in_flight()) < (allowed * c.weight as f64).ceil())
        };
        let asked = (nth..nth.saturating_add(ASKED)).map(|nth| of.table.nth(hash, nth));
        asked.into_iter().find(within).or_else(|| (0..candidates.len()).find(within))
    }
}
