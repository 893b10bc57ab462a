//! Rendezvous hashing: for each key every backend draws a number from the key and its own name, and the highest draw has
//! the key (Thaler & Ravishankar, *Using Name-Based Mappings to Increase Hit Rates*, 1998). A draw `u` between 0 and 1
//! counts as `ln u / weight`, which makes the chances of winning proportional to the weights (Schindelhauer & Schomaker,
//! *Weighted Distributed Hash Tables*, 2005).
//!
//! When a backend comes or goes only its own keys move, with any weights. But a pick by the book draws as often as there are
//! backends. So, as in GitHub's GLB director, keys are put in 65,536 rows and the winners written down: a pick is one
//! look-up. Shares stray as chance does: a backend with `n` rows by its weight has `n ± √n`.

use std::cmp::Reverse;

use super::HashTable;
use super::hash::{self, seeded, split_mix};
use super::node::{Node, by_name, nodes};
use crate::backend::Group;

const ROW_BITS: u32 = 16;

/// Rendezvous hashing: who wins each of 65,536 rows of keys. When a backend comes or goes only its own keys move.
///
/// Sources: Thaler and Ravishankar, Using Name-Based Mappings to Increase Hit Rates, 1998; for weights Schindelhauer and Schomaker,
/// Weighted Distributed Hash Tables, 2005.
pub struct Rendezvous(Box<[u32]>);

/// Everybody who draws: the heaviest first and, among those of one weight, by name. The first wins if two draw the same.
struct Contest {
    owners: Vec<u32>,
    seeds: Vec<Seed>,
    classes: Vec<Class>,
}

/// The backends of one weight, up to a position. Among them the highest draw has the highest score: one logarithm for all.
struct Class {
    weight: f64,
    end: usize,
}

/// What a row or a backend's name brings to a draw.
#[derive(Clone, Copy)]
struct Seed(u64, u64);

impl HashTable for Rendezvous {
    type Options = ();

    fn new(group: &Group, (): &()) -> Self {
        Rendezvous::over(&nodes(group))
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

impl Rendezvous {
    /// The table of all rows: 65,536 draws for each backend, of a nanosecond or two each.
    fn over(nodes: &[Node<'_>]) -> Self {
        let contest = Contest::new(nodes);
        let rows = if nodes.is_empty() { 0 } else { 1 << ROW_BITS };
        Rendezvous((0..rows).map(|row| contest.winner(Seed::of_row(row))).collect())
    }

    /// The winner of a hash's row. Who is refused it asks with [another hash](super::hash::nth).
    #[inline]
    fn at(&self, hash: u64) -> Option<usize> {
        let row = hash >> (64 - ROW_BITS);
        self.0.get(row as usize).map(|&owner| owner as usize)
    }
}

impl Contest {
    fn new(nodes: &[Node<'_>]) -> Self {
        let mut owners = by_name(nodes);
        let node = |i: &u32| &nodes[*i as usize];
        owners.sort_by_key(|i| Reverse(node(i).weight()));
        let mut end = 0;
        let class = |of_one_weight: &[u32]| {
            end += of_one_weight.len();
            Class { weight: node(&of_one_weight[0]).weight() as f64, end }
        };
        let classes = owners.chunk_by(|a, b| node(a).weight() == node(b).weight()).map(class).collect();
        Contest { seeds: owners.iter().map(|i| Seed::of_name(&node(i).name())).collect(), classes, owners }
    }

    /// Whoever has the highest `ln u / weight`, which is the least `-ln u / weight`.
    fn winner(&self, row: Seed) -> u32 {
        let (mut winner, mut least, mut start) = (0, f64::INFINITY, 0);
        for class in &self.classes {
            let (best, shortfall) = best(&self.seeds[start..class.end], row);
            // `-ln u` is never less than `1 - u`: nearly every logarithm that would not win is not taken.
            if shortfall < least * class.weight {
                // Not the standard library's, which may differ from machine to machine in the last bit.
                let score = -libm::log(1.0 - shortfall) / class.weight;
                if score < least {
                    (winner, least) = (start + best, score);
                }
            }
            start = class.end;
        }
        self.owners[winner]
    }
}

/// Whose draw is the highest, and by how much it falls short of 1: a multiple of 2⁻⁵³ below 1.
#[inline]
fn best(seeds: &[Seed], row: Seed) -> (usize, f64) {
    let (mut best, mut least) = (0, u64::MAX);
    for (i, seed) in seeds.iter().enumerate() {
        let shortfall = seed.shortfall(row);
        if shortfall < least {
            (best, least) = (i, shortfall);
        }
    }
    (best, (least >> 11) as f64 * (f64::EPSILON / 2.0))
}

impl Seed {
    fn of_row(row: u64) -> Self {
        Seed(split_mix(1, row), split_mix(2, row))
    }

    fn of_name(name: &[u8]) -> Self {
        Seed(seeded(name, 3), seeded(name, 4))
    }

    /// By how much the draw falls short of the highest: a product folded onto itself, as wyhash has it.
    #[inline]
    fn shortfall(self, row: Seed) -> u64 {
        let product = u128::from(self.0 ^ row.0) * u128::from(self.1 ^ row.1);
        (product >> 64) as u64 ^ product as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::hash::hash;
    use super::super::testing::{self, Set, Table, count};
    use super::*;

    impl Table for Rendezvous {
        fn build(nodes: &[Node<'_>]) -> Self {
            Rendezvous::over(nodes)
        }

        fn owner(&self, key: &[u8]) -> Option<usize> {
            self.at(hash(key))
        }

        fn shares(&self, backends: usize) -> Vec<f64> {
            let rows = self.rows(backends);
            rows.into_iter().map(|rows| rows as f64 / self.0.len() as f64).collect()
        }
    }

    impl Rendezvous {
        fn rows(&self, backends: usize) -> Vec<usize> {
            count(self.0.iter().map(|&owner| owner as usize), backends)
        }
    }

    #[test]
    fn known_answers() {
        testing::answers_with::<Rendezvous>(&[
            ("", "10.0.0.1:80"),
            ("a", "[2001:db8::1]:8443"),
            ("b", "unix:/run/app.sock"),
            ("192.0.2.1", "10.0.0.3:80"),
            ("192.0.2.2", "unix:/run/app.sock"),
            ("2001:db8::7", "10.0.0.3:80"),
            ("/", "10.0.0.3:80"),
            ("/index.html", "10.0.0.3:80"),
            ("user-1", "10.0.0.4:80"),
            ("user-2", "10.0.0.2:80"),
            ("ключ", "10.0.0.4:80"),
        ]);
    }

    /// Each row goes to a backend with the probability that its weight gives: `n` rows stray by √n, and the worst of a
    /// hundred is within four times that.
    #[test]
    fn spreads_keys_by_weight() {
        let set = Set::random(100, 1..=10);
        for (ratio, fair) in testing::spreads_keys::<Rendezvous>().iter().zip(set.fair_shares()) {
            let stray = (ratio - 1.0).abs() * (fair * 65_536.0).sqrt();
            assert!(stray < 4.0, "{ratio}, {stray:.1} σ");
        }
    }

    /// The rows are won as by chance, whatever the backends: χ² is 0 on average, and hardly ever 4 σ off. So is the
    /// inheritance of one that leaves. (Of 2,000 sets of heirs the mean was -0.01 σ, the deviation 1.01 σ, the worst 5.03 σ.)
    #[test]
    fn draws_are_as_good_as_chance() {
        let (mut by_weight, mut inherited) = (Vec::new(), Vec::new());
        for first in (0..400).step_by(20) {
            let weights = [1, 1, 2, 3, 5, 8, 13, 20, 1, 7].into_iter().enumerate();
            let set = Set(weights.map(|(i, weight)| (testing::address(first + i), weight)).collect());
            let (nodes, shares) = (set.nodes(), set.fair_shares());
            let table = Rendezvous::over(&nodes);
            by_weight.push(testing::deviations(&table.rows(10), &shares));

            let without = Rendezvous::over(&nodes[..9]);
            let heirs =
                table.0.iter().zip(&without.0).filter(|(owner, _)| **owner == 9).map(|(_, &heir)| heir as usize);
            let rest: Vec<f64> = shares[..9].iter().map(|share| share / (1.0 - shares[9])).collect();
            inherited.push(testing::deviations(&count(heirs, 9), &rest));
        }
        for off in [by_weight, inherited] {
            let mean = off.iter().sum::<f64>() / off.len() as f64;
            println!("χ² of {} sets is {mean:.2} σ off on average: {off:.2?}", off.len());
            assert!(mean.abs() < 3.0 / (off.len() as f64).sqrt() && off.iter().all(|off| off.abs() < 5.0), "{off:?}");
        }
    }

    #[test]
    fn only_keys_of_a_changed_backend_move() {
        for moved in testing::moves::<Rendezvous>() {
            assert_eq!(moved.needlessly, 0.0, "{moved:?}");
        }
    }

    #[test]
    fn ignores_order_and_scale() {
        testing::ignores_order_and_scale::<Rendezvous>();
    }

    #[test]
    fn takes_anything() {
        testing::takes_anything::<Rendezvous>();
    }

    #[test]
    fn who_is_refused_asks_again() {
        testing::who_is_refused_asks_again::<Rendezvous>();
    }
}
