//! A Maglev table: a list of places, each a backend's, of which a key's hash names one (Eisenbud et al., *Maglev: A Fast and
//! Reliable Software Network Load Balancer*, NSDI 2016, section 3.4).
//!
//! Each backend prefers the places in an order of its own. They take turns, each taking the first of its order that is still
//! free, so that shares are even to a place or so. When a backend comes or goes most places stay whose they were, but some
//! pass between others: the price of the evenness. One cache miss for a pick, if that.
//!
//! With weights, a backend's `n`th turn is at the time `n / weight`, in exact fractions. Who else is there has no influence
//! on these times, and everybody has a place before anybody has a second turn.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::HashTable;
use super::hash::{self, seeded};
use super::node::{Node, by_name, nodes};
use crate::backend::Group;
use crate::config::TableSize;
use crate::selection::schedule::gcd;

/// A Maglev table: whose each of its places is. Even to a place or so; when a backend comes or goes, some keys of others move, too.
///
/// Source: Eisenbud and others, Maglev: A Fast and Reliable Software Network Load Balancer, NSDI 2016, section 3.4.
pub struct Maglev(Box<[u32]>);

/// When a backend's next turn is.
#[derive(PartialEq, Eq)]
struct Turn {
    taken: u64,
    weight: u64,
    /// Among backends whose turns are at the same time; by name.
    rank: usize,
}

/// A backend's order of the places: from one on, in steps of the same width.
struct Walk {
    place: u64,
    step: u64,
}

impl HashTable for Maglev {
    type Options = TableSize;

    fn new(group: &Group, TableSize(size): &TableSize) -> Self {
        Maglev::over(&nodes(group), *size)
    }

    #[inline]
    fn hash(key: &[u8]) -> u64 {
        hash::hash(key)
    }

    #[inline]
    fn nth(&self, hash: u64, nth: u32) -> usize {
        self.at(hash::nth(hash, u64::from(nth))).unwrap_or(0)
    }
}

impl Maglev {
    /// A table of so many places, which should be a prime, and a hundred for each backend.
    fn over(nodes: &[Node<'_>], size: u32) -> Self {
        if nodes.is_empty() {
            return Maglev(Box::default());
        }
        let size = u64::from(size.max(2));
        let order = by_name(nodes);
        let mut walks: Vec<Walk> = order.iter().map(|&i| Walk::new(&nodes[i as usize], size)).collect();
        let turn = |(rank, &i): (usize, &u32)| Reverse(Turn { taken: 0, weight: nodes[i as usize].weight(), rank });
        let mut turns: BinaryHeap<_> = order.iter().enumerate().map(turn).collect();
        let mut places = vec![0; size as usize];
        // A bit for each place. The search for free ones jumps about, and these stay in the cache.
        let mut taken = vec![0u64; size as usize / 64 + 1];
        for _ in 0..size {
            let Some(mut turn) = turns.peek_mut() else { break };
            let place = walks[turn.0.rank].next_free(&taken, size);
            taken[place / 64] |= 1 << (place % 64);
            places[place] = order[turn.0.rank];
            turn.0.taken += 1;
        }
        Maglev(places.into())
    }

    /// Whose the place of a hash is. Who is refused it asks with [another hash](super::hash::nth).
    #[inline]
    fn at(&self, hash: u64) -> Option<usize> {
        let place = (u128::from(hash) * self.0.len() as u128) >> 64;
        self.0.get(place as usize).map(|&owner| owner as usize)
    }
}

impl Walk {
    fn new(node: &Node<'_>, size: u64) -> Self {
        let name = node.name();
        let step = seeded(&name, 2) % (size - 1) + 1;
        // Only a step without a common divisor visits every place. If the size is a prime each is one.
        let step = (step..).find(|&step| gcd(step, size) == 1).unwrap_or(1) % size;
        Walk { place: seeded(&name, 1) % size, step }
    }

    /// The first place from here on that is not taken.
    fn next_free(&mut self, taken: &[u64], size: u64) -> usize {
        while taken[self.place as usize / 64] >> (self.place % 64) & 1 == 1 {
            self.place += self.step;
            if self.place >= size {
                self.place -= size;
            }
        }
        self.place as usize
    }
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        let time = |a: &Turn, b: &Turn| u128::from(a.taken) * u128::from(b.weight);
        time(self, other).cmp(&time(other, self)).then(self.rank.cmp(&other.rank))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::hash;
    use super::super::testing::{self, Set, Table, count};
    use super::*;

    const SIZE: u32 = 65_537;

    impl Table for Maglev {
        fn build(nodes: &[Node<'_>]) -> Self {
            Maglev::over(nodes, SIZE)
        }

        fn owner(&self, key: &[u8]) -> Option<usize> {
            self.at(hash(key))
        }

        fn shares(&self, backends: usize) -> Vec<f64> {
            self.places(backends).into_iter().map(|places| places as f64 / self.0.len() as f64).collect()
        }
    }

    impl Maglev {
        fn places(&self, backends: usize) -> Vec<usize> {
            count(self.0.iter().map(|&owner| owner as usize), backends)
        }
    }

    #[test]
    fn known_answers() {
        testing::answers_with::<Maglev>(&[
            ("", "10.0.0.1:80"),
            ("a", "10.0.0.3:80"),
            ("b", "10.0.0.3:80"),
            ("192.0.2.1", "unix:/run/app.sock"),
            ("192.0.2.2", "10.0.0.3:80"),
            ("2001:db8::7", "10.0.0.3:80"),
            ("/", "10.0.0.3:80"),
            ("/index.html", "10.0.0.3:80"),
            ("user-1", "10.0.0.4:80"),
            ("user-2", "[2001:db8::1]:8443"),
            ("ключ", "[2001:db8::1]:8443"),
        ]);
    }

    /// When the table is full everybody has taken the turns of the same time, up to rounding. Rounding up gives each half a
    /// place on average, which comes off all by weight: 50 places of 65,537 here, so that nobody is off by more than two.
    #[test]
    fn spreads_keys_by_weight() {
        let set = Set::random(100, 1..=10);
        for (ratio, fair) in testing::spreads_keys::<Maglev>().iter().zip(set.fair_shares()) {
            let places = (ratio - 1.0) * fair * f64::from(SIZE);
            assert!(places.abs() < 2.0, "{places:+.1} places");
        }
    }

    #[test]
    fn equal_backends_have_equal_places_but_one() {
        for backends in [1, 3, 100, 1000] {
            let places = Maglev::build(&Set::equal(backends).nodes()).places(backends);
            let fair = SIZE as usize / backends;
            assert!(places.iter().all(|places| (fair..=fair + 1).contains(places)), "{backends}: {places:?}");
        }
    }

    /// Some move that need not: in a table of 65,537 places about half as many again as have to.
    #[test]
    fn few_keys_of_others_move() {
        for moved in testing::moves::<Maglev>() {
            assert!(moved.needlessly < 0.01, "{moved:?}");
        }
    }

    #[test]
    fn ignores_order_and_scale() {
        testing::ignores_order_and_scale::<Maglev>();
    }

    #[test]
    fn takes_anything() {
        testing::takes_anything::<Maglev>();
    }

    /// Neither a size that is no prime nor one below the number of backends leaves a place to nobody, or does not end.
    #[test]
    fn fills_a_table_of_any_size() {
        for size in [0, 1, 2, 3, 64, 100, 210, 211, 65_536] {
            for backends in [1, 2, 100, 300] {
                let set = Set::random(backends, 1..=20_000);
                let places = Maglev::over(&set.nodes(), size).places(backends);
                assert_eq!(places.iter().sum::<usize>(), size.max(2) as usize);
                let served = places.iter().filter(|&&places| places > 0).count();
                assert_eq!(served, backends.min(size.max(2) as usize), "everybody, as long as there are places");
            }
        }
    }

    #[test]
    fn thousands_of_very_different_weights() {
        let set = Set::random(10_000, 1..=20_000);
        let table = Maglev::build(&set.nodes());
        assert!(table.places(10_000).iter().all(|&places| places > 0));
    }

    #[test]
    fn who_is_refused_asks_again() {
        testing::who_is_refused_asks_again::<Maglev>();
    }
}
