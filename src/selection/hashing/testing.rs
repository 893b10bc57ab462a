//! What the tests of the hashing tables share: sets of backends, keys, and what is asked of every table.

use std::ops::RangeInclusive;

use pingora_core::protocols::l4::socket::SocketAddr;

use super::HashTable;
use super::node::Node;

/// Seed of the keys, of the shuffles and of the weights.
const SEED: u64 = 0x5eed;

/// A hashing table, as these tests see it.
pub(super) trait Table {
    fn build(nodes: &[Node<'_>]) -> Self;
    /// The first choice for a key.
    fn owner(&self, key: &[u8]) -> Option<usize>;
    /// The share of all keys that each of this many backends has by what is in the table.
    fn shares(&self, backends: usize) -> Vec<f64>;
}

/// Backends with weights.
#[derive(Clone, Debug)]
pub(super) struct Set(pub(super) Vec<(SocketAddr, u64)>);

impl Set {
    /// Backends of these weights at 10.0.0.1:80 and up.
    pub(super) fn weighing(weights: impl IntoIterator<Item = u64>) -> Self {
        Set(weights.into_iter().enumerate().map(|(i, weight)| (address(i), weight)).collect())
    }

    pub(super) fn equal(backends: usize) -> Self {
        Set::weighing(vec![1; backends])
    }

    pub(super) fn random(backends: usize, weights: RangeInclusive<u64>) -> Self {
        let mut random = fastrand::Rng::with_seed(SEED);
        Set::weighing((0..backends).map(|_| random.u64(weights.clone())))
    }

    pub(super) fn with(&self, address: SocketAddr, weight: u64) -> Self {
        let mut set = self.without(&address);
        set.0.push((address, weight));
        set
    }

    pub(super) fn without(&self, address: &SocketAddr) -> Self {
        Set(self.0.iter().filter(|(other, _)| other != address).cloned().collect())
    }

    pub(super) fn nodes(&self) -> Vec<Node<'_>> {
        self.0.iter().map(|(address, weight)| Node { address, weight: *weight }).collect()
    }

    /// Whom each key belongs to.
    pub(super) fn owners<T: Table>(&self, keys: &[Vec<u8>]) -> Vec<&SocketAddr> {
        let table = T::build(&self.nodes());
        keys.iter().map(|key| &self.0[table.owner(key).unwrap()].0).collect()
    }

    /// Each backend's part of the weight.
    pub(super) fn fair_shares(&self) -> Vec<f64> {
        let sum: u64 = self.0.iter().map(|(_, weight)| weight).sum();
        self.0.iter().map(|(_, weight)| *weight as f64 / sum as f64).collect()
    }
}

pub(super) fn address(i: usize) -> SocketAddr {
    format!("10.{}.{}.{}:80", i / 62500, i / 250 % 250, i % 250 + 1).parse().unwrap()
}

pub(super) fn unix(path: &str) -> SocketAddr {
    SocketAddr::Unix(std::os::unix::net::SocketAddr::from_pathname(path).unwrap())
}

/// Keys such as a session's, different from each other.
pub(super) fn keys(count: usize) -> Vec<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(SEED);
    (0..count).map(|_| format!("user-{:x}", random.u64(..)).into_bytes()).collect()
}

/// How far counts are from these shares of their sum, as a number of standard deviations of what chance does: χ², whose
/// mean is the degrees of freedom and whose variance twice that.
pub(super) fn deviations(counts: &[usize], shares: &[f64]) -> f64 {
    let sum = counts.iter().sum::<usize>() as f64;
    let square = |(&count, share): (&usize, &f64)| (count as f64 - share * sum).powi(2) / (share * sum);
    let freedom = (counts.len() - 1) as f64;
    (counts.iter().zip(shares).map(square).sum::<f64>() - freedom) / (2.0 * freedom).sqrt()
}

/// Of six backends of weights 1, 2, 3, 1, 2 and 1, a socket among them, these keys belong to those. The answers are not
/// just what came out first: a second implementation, in another language, gave the same.
pub(super) fn answers_with<T: Table>(answers: &[(&str, &str)]) {
    let set = Set::weighing([1, 2, 3, 1]).with(unix("/run/app.sock"), 2);
    let set = set.with("[2001:db8::1]:8443".parse().unwrap(), 1);
    let keys: Vec<_> = answers.iter().map(|(key, _)| key.as_bytes().to_vec()).collect();
    let owners = set.owners::<T>(&keys);
    let name = |address| String::from_utf8(Node { address, weight: 1 }.name()).unwrap();
    let given: Vec<_> = owners.into_iter().map(name).collect();
    let known: Vec<_> = answers.iter().map(|(_, owner)| *owner).collect();
    assert_eq!(given, known);
}

/// 200,000 keys spread over 100 backends of weights 1 to 10 as the table says, but for chance. Returns each backend's
/// share in the table against its fair one.
pub(super) fn spreads_keys<T: Table>() -> Vec<f64> {
    let set = Set::random(100, 1..=10);
    let table = T::build(&set.nodes());
    let shares = table.shares(100);
    let counts = count(keys(200_000).iter().map(|key| table.owner(key).unwrap()), 100);

    let (by_table, by_weight) = (deviations(&counts, &shares), deviations(&counts, &set.fair_shares()));
    let ratios: Vec<f64> = shares.iter().zip(set.fair_shares()).map(|(share, fair)| share / fair).collect();
    let (least, most) = ratios.iter().fold((f64::MAX, 0f64), |(a, b), &r| (a.min(r), b.max(r)));
    println!("seed {SEED:#x}: χ² is {by_table:.2} σ off by the table's shares, {by_weight:.2} σ by the weights");
    println!("shares in the table are {least:.3} to {most:.3} times the fair ones");
    assert!(by_table.abs() < 4.0, "χ² is {by_table} σ off");
    ratios
}

/// How many of 100,000 keys a change moved, as fractions of all.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) all: f64,
    /// Those that were not the changed backend's and did not become it.
    pub(super) needlessly: f64,
    /// By how much the changed backend's share by weight grew or shrank: that many have to move.
    pub(super) fair: f64,
}

impl Moved {
    fn by<T: Table>(change: &str, before: &Set, after: &Set, changed: &SocketAddr) -> Self {
        let share =
            |set: &Set| set.0.iter().zip(set.fair_shares()).find(|(at, _)| at.0 == *changed).map_or(0.0, |s| s.1);
        let fair = (share(after) - share(before)).abs();
        let keys = keys(100_000);
        let (before, after) = (before.owners::<T>(&keys), after.owners::<T>(&keys));
        let moved = || before.iter().zip(&after).filter(|(a, b)| a != b);
        let needlessly = moved().filter(|(a, b)| **a != changed && **b != changed).count();
        let [all, needlessly] = [moved().count(), needlessly].map(|count| count as f64 / keys.len() as f64);
        let percent = [fair, all, needlessly].map(|fraction| format!("{:.3} %", fraction * 100.0));
        println!(
            "seed {SEED:#x}: {change} should move {}, moved {}, needlessly {}",
            percent[0], percent[1], percent[2]
        );
        Moved { all, needlessly, fair }
    }
}

/// Add one to 100 equal backends, remove some of them in turn, double the weight of some, and remove some of 100 others of
/// all weights. None moves more than it has to and one in a hundred.
pub(super) fn moves<T: Table>() -> Vec<Moved> {
    let (equal, weighted) = (Set::equal(100), Set::random(100, 1..=10));
    let added = [100, 4711].map(|i| ("adding", i, &equal, equal.with(address(i), 1)));
    let removed = [0, 13, 50, 77, 99].map(|i| ("removing", i, &equal, equal.without(&address(i))));
    let doubled = [0, 50].map(|i| ("doubling", i, &equal, equal.with(address(i), 2)));
    let weighty = [1, 98].map(|i| ("removing weighted", i, &weighted, weighted.without(&address(i))));
    let changes = added.into_iter().chain(removed).chain(doubled).chain(weighty);
    let moves: Vec<Moved> = changes
        .map(|(what, i, before, after)| Moved::by::<T>(&format!("{what} #{i}"), before, &after, &address(i)))
        .collect();
    assert!(moves.iter().all(|moved| moved.all <= moved.fair + 0.01), "{moves:?}");
    moves
}

/// The order in which backends are listed changes nobody's keys, nor does a common factor of the weights.
pub(super) fn ignores_order_and_scale<T: Table>() {
    let set = Set::random(60, 1..=7).with(unix("/run/app.sock"), 3);
    let keys = keys(5000);
    let owners = set.owners::<T>(&keys);
    let mut random = fastrand::Rng::with_seed(SEED);
    for factor in [1, 20, 20_000] {
        let mut other = Set(set.0.iter().map(|(address, weight)| (address.clone(), weight * factor)).collect());
        random.shuffle(&mut other.0);
        assert!(owners == other.owners::<T>(&keys), "weights times {factor}");
    }
}

/// Whatever the backends are, there is an owner if there is anybody, and never a panic.
pub(super) fn takes_anything<T: Table>() {
    assert_eq!(T::build(&[]).owner(b"key"), None);
    let weights: [&[u64]; 7] = [&[1], &[u64::MAX], &[0, 0], &[0, 1], &[1, u64::MAX, 7], &[20_000; 50], &[u64::MAX; 3]];
    for weights in weights {
        let set = Set::weighing(weights.iter().copied());
        let table = T::build(&set.nodes());
        assert!(keys(100).iter().all(|key| table.owner(key).unwrap() < weights.len()), "{weights:?}");
    }
    // The same address twice, as discovery may list it with two weights.
    let twice = Set(vec![(address(1), 1), (address(1), 5), (address(2), 3)]);
    let mut backwards = twice.clone();
    backwards.0.reverse();
    assert_eq!(twice.owners::<T>(&keys(1000)), backwards.owners::<T>(&keys(1000)));
}

/// Asking again reaches the others, too, in proportion.
pub(super) fn who_is_refused_asks_again<T: Table + HashTable>() {
    let table = T::build(&Set::equal(10).nodes());
    let refused = keys(20_000).into_iter().map(|key| T::hash(&key)).filter(|&hash| table.nth(hash, 0) == 3);
    let second = count(refused.map(|hash| table.nth(hash, 1)), 10);
    let off = deviations(&second, &table.shares(10));
    println!("seed {SEED:#x}: second choices {second:?}: χ² is {off:.2} σ off");
    assert!(off < 4.0, "{second:?}");
}

/// How often each of so many backends is among these.
pub(super) fn count(picked: impl IntoIterator<Item = usize>, backends: usize) -> Vec<usize> {
    let mut counts = vec![0; backends];
    picked.into_iter().for_each(|i| counts[i] += 1);
    counts
}
