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

/// Picks by a table; with a bounded load, a backend that has more than its part of the requests passes on what is above that.
///
/// Source of the bound: Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads, SODA 2018.
pub struct Hashed<T: HashTable> {
    options: T::Options,
    bound: Option<Bound>,
}

/// How many requests in flight a backend may have, as a part of the average for its weight: of the whole pool's requests, over
/// the weight of its group.
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
    /// By a table of these options. With a bounded load, which is a part of the average above 1, the requests of `pool` are
    /// counted from now on.
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
        let first = of.table.nth(hash, nth);
        let anybody = (0..candidates.len()).map(|step| (first + step) % candidates.len());
        asked.into_iter().find(within).or_else(|| anybody.into_iter().find(within))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pingora_load_balancing::selection::{BackendIter, BackendSelection};
    use pingora_load_balancing::{Backend, LoadBalancer};

    use super::testing::{Set, address, keys};
    use super::*;
    use crate::backend::{Health, Lease, Policy, Roster, Thresholds};
    use crate::selection::{Following, Selection};

    /// A roster of a set, and an algorithm over it.
    struct Bench<T: HashTable>(Arc<Roster>, Arc<Selection<Hashed<T>>>);

    impl<T: HashTable> Bench<T> {
        fn new(set: &Set, slow_start: Option<Duration>, bound: Option<Percent>) -> Self {
            let roster = Roster::new(Policy { slow_start, initial: Health::UP, ..Policy::default() });
            roster.set_members(&backends(set));
            let hashed = Hashed::<T>::new(T::Options::default(), bound, roster.pool());
            let following = Following::roster(hashed, &roster);
            let selection = Selection::build_with_config(&backends(set).into_iter().collect(), &following);
            Bench(roster, Arc::new(selection))
        }

        fn pick(&self, key: &[u8]) -> String {
            self.1.iter(key).next().unwrap().addr.to_string()
        }

        fn owners(&self, keys: &[Vec<u8>]) -> Vec<String> {
            keys.iter().map(|key| self.pick(key)).collect()
        }

        fn state(&self, address: &str) -> Arc<crate::backend::BackendState> {
            Arc::clone(self.0.load().find(&address.parse().unwrap()).unwrap())
        }

        fn probe(&self, address: &str, result: Result<(), String>) {
            self.state(address).observe(result, Thresholds { rise: 1, fall: 1 });
            self.0.refresh();
        }
    }

    fn backends(set: &Set) -> Vec<Backend> {
        let backend = |(at, weight): &(_, u64)| Backend::new_with_weight(&format!("{at}"), *weight as usize).unwrap();
        set.0.iter().map(backend).collect()
    }

    /// Its weight is odd among even ones, so that it decides what all weights are multiples of: with that as the unit of a ring
    /// half of all keys would move when it dies, and nearly all while it starts slowly.
    fn a_death_and_a_slow_start_move_no_other_keys<T: HashTable>() {
        let set = Set::weighing([2; 50]).with(address(50), 3);
        let (keys, odd) = (keys(5000), address(50).to_string());
        let bench = Bench::<T>::new(&set, Some(Duration::from_secs(3600)), None);
        let before = bench.owners(&keys);
        bench.probe(&odd, Err("dead".to_owned()));
        let dead = bench.owners(&keys);
        let others = before.iter().zip(&dead).filter(|(before, dead)| before != dead && **before != odd).count();
        assert!(!dead.contains(&odd) && others <= 50, "{others} keys of others moved when it died");
        bench.probe(&odd, Ok(()));
        assert_eq!(bench.0.load().groups()[0].scale, 20, "all of them are in slow start");
        let back = bench.owners(&keys);
        let others = before.iter().zip(&back).filter(|(before, back)| before != back && **back != odd).count();
        assert!(others <= 50, "{others} keys of others moved when it came back");
    }

    #[test]
    fn a_death_and_a_slow_start_move_no_other_keys_of_a_ring() {
        a_death_and_a_slow_start_move_no_other_keys::<Ring>();
    }

    #[test]
    fn a_death_and_a_slow_start_move_no_other_keys_of_rendezvous() {
        a_death_and_a_slow_start_move_no_other_keys::<Rendezvous>();
    }

    #[test]
    fn a_death_and_a_slow_start_move_few_other_keys_of_maglev() {
        a_death_and_a_slow_start_move_no_other_keys::<Maglev>();
    }

    #[test]
    fn a_bounded_load_passes_on_what_is_too_much() {
        let bench = Bench::<Ring>::new(&Set::equal(4), None, Some(Percent(125)));
        // Requests of one key that do not end: of n, nobody has more than 1.25 n / 4 rounded up.
        let mut leases = Vec::new();
        for n in 1..=100u32 {
            leases.push(Lease::begin(bench.state(&bench.pick(b"hot"))).unwrap());
            let most = bench.0.load().members().iter().map(|member| member.state.in_flight()).max().unwrap();
            assert!(most <= (1.25 * f64::from(n) / 4.0).ceil() as u32, "{most} of {n}");
        }
        drop(leases);
        assert_eq!(bench.pick(b"hot"), Bench::<Ring>::new(&Set::equal(4), None, None).pick(b"hot"));
    }

    #[test]
    fn a_request_without_a_key_goes_anywhere() {
        let bench = Bench::<Maglev>::new(&Set::equal(5), None, None);
        let seen: std::collections::BTreeSet<String> = (0..200).map(|_| bench.pick(b"")).collect();
        assert_eq!(seen.len(), 5);
    }

    /// As a library user would, without a configuration.
    #[test]
    fn works_in_a_load_balancer_of_its_own() {
        let balancer: LoadBalancer<Selection<Hashed<Ring>>> =
            LoadBalancer::try_from_iter(["10.0.0.1:80", "10.0.0.2:80"]).unwrap();
        assert_eq!(balancer.select(b"key", 16), balancer.select(b"key", 16));
    }
}
