//! A ketama ring: each backend has many points on a circle of 32-bit numbers, and a key belongs to the next point.
//!
//! The points are those of `pingora-ketama` and, for IPv4 addresses with ports, of nginx's `hash … consistent`, so that equal
//! keys stay where they were when one of these is replaced. When a backend comes or goes only its own keys move.
//!
//! A search by halves in a million points misses the cache twenty times. Hashes are spread evenly, so the upper bits of one
//! say where its point is, give or take a few: an index by these bits leaves one miss for itself and one for the point.

use std::sync::LazyLock;

use super::HashTable;
use super::node::{Node, by_name, nodes};
use crate::backend::Group;

/// Points for each unit of weight, which is nginx's number: shares stray by some 8 % (1 / √160).
const POINTS: u128 = 160;

/// The most points in all, but for those who have only one: 13,000 backends of the same weight. 24 MiB, and a tenth of a
/// second to build.
const MAX_POINTS: u128 = 1 << 21;

/// Hardly any entry of the index has more points.
const AT_ONCE: usize = 4;

/// A ketama ring: the points of all backends around a circle of 32-bit numbers. When a backend comes or goes only its own keys
/// move.
///
/// Source: Karger and others, Consistent Hashing and Random Trees, STOC 1997; the points are those of `pingora-ketama`.
pub struct Ring {
    points: Box<[Point]>,
    /// For each value of a hash's upper bits, the first place that is not before it; one more entry ends the last.
    index: Box<[u32]>,
    /// How many bits are left out of the index.
    shift: u32,
}

#[derive(Clone, Copy)]
struct Point {
    hash: u32,
    owner: u32,
}

impl HashTable for Ring {
    type Options = ();

    fn new(group: &Group, (): &()) -> Self {
        Ring::with_unit(&nodes(group), unit(group))
    }

    #[inline]
    fn hash(key: &[u8]) -> u64 {
        // What the processor can do is found out once and not for each key.
        static FRESH: LazyLock<crc32fast::Hasher> = LazyLock::new(crc32fast::Hasher::new);
        let mut hasher = FRESH.clone();
        hasher.update(key);
        u64::from(hasher.finalize())
    }

    #[inline]
    fn nth(&self, hash: u64, nth: u32) -> usize {
        self.at(self.place(hash as u32).wrapping_add(nth as usize)).unwrap_or(0)
    }
}

/// The weight that has 160 points: one, as in pingora, but for pools of so much weight that there would be too many points.
/// It may depend on nothing that changes while the configuration stays: health and slow start, which would then move
/// everybody's keys. So it goes by the weight of the whole pool, in powers of two, so that a backend that comes or goes
/// hardly ever changes it.
fn unit(group: &Group) -> u64 {
    let weights = u128::from(group.pool_weight);
    let least = (weights * POINTS).div_ceil(MAX_POINTS).max(1);
    u64::try_from(least).unwrap_or(u64::MAX / 2).next_power_of_two().saturating_mul(group.scale)
}

impl Ring {
    /// A ring of 160 points for each `unit` of weight. While the unit stays the same, a backend's points depend on its own
    /// weight only, as long as there are not too many of them in all.
    fn with_unit(nodes: &[Node<'_>], unit: u64) -> Self {
        let order = by_name(nodes);
        let mut points = Vec::new();
        for (rank, count) in counts(nodes, &order, unit).enumerate() {
            push_points(&mut points, &nodes[order[rank] as usize], rank as u64, count);
        }
        // Where two backends have a point at the same place it is the first one's by name, whoever else there is.
        points.sort_unstable();
        points.dedup_by_key(|point| *point >> 32);
        let point = |point| Point { hash: (point >> 32) as u32, owner: order[point as u32 as usize] };
        Ring::over(points.into_iter().map(point).collect())
    }

    fn over(points: Box<[Point]>) -> Self {
        // One or two points for each entry.
        let bits = points.len().max(1).ilog2().min(32);
        let shift = 32 - bits;
        let mut index = vec![0u32; (1 << bits) + 1];
        for point in &points {
            index[bucket(point.hash, shift) + 1] += 1;
        }
        let mut end = 0;
        for entry in &mut index {
            end += *entry;
            *entry = end;
        }
        Ring { points, index: index.into(), shift }
    }

    /// The place of a key's hash: that of its owner's point.
    #[inline]
    fn place(&self, hash: u32) -> usize {
        let bucket = bucket(hash, self.shift);
        let (first, end) = (self.index[bucket] as usize, self.index[bucket + 1] as usize);
        let before = |point: &Point| point.hash < hash;
        match self.points[first..].first_chunk::<AT_ONCE>() {
            // What is beyond the end is not before the hash. To compare them all takes less than to guess wrong when to stop.
            Some(next) if end - first <= AT_ONCE => first + next.iter().filter(|point| before(point)).count(),
            _ => first + self.points[first..end].partition_point(before),
        }
    }

    /// Whose point is at a place; beyond the last comes the first again. The places that follow a key's are where it goes
    /// when its owner is refused, one backend more than once among them.
    #[inline]
    fn at(&self, place: usize) -> Option<usize> {
        let place = place.checked_rem(self.points.len())?;
        Some(self.points[place].owner as usize)
    }

    /// How many points there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.points.len()
    }
}

fn bucket(hash: u32, shift: u32) -> usize {
    (u64::from(hash) >> shift) as usize
}

/// How many points each backend has, in this order. Everybody has one at least.
fn counts(nodes: &[Node<'_>], order: &[u32], unit: u64) -> impl Iterator<Item = u64> {
    let weights = order.iter().map(|&i| u128::from(nodes[i as usize].weight()));
    let (unit, sum) = (u128::from(unit.max(1)), weights.clone().sum::<u128>());
    let (multiplier, divisor) = if sum * POINTS <= MAX_POINTS * unit { (POINTS, unit) } else { (MAX_POINTS, sum) };
    weights.map(move |weight| ((weight * multiplier + divisor / 2) / divisor).max(1) as u64)
}

/// Each point hashes the name and the point before it, so that fewer points are a part of more. The rank is below the hash:
/// where backends stand when they are sorted by name.
fn push_points(points: &mut Vec<u64>, node: &Node<'_>, rank: u64, count: u64) {
    let mut name = crc32fast::Hasher::new();
    name.update(&node.ketama_name());
    let mut hash = 0u32;
    for _ in 0..count {
        let mut hasher = name.clone();
        hasher.update(&hash.to_le_bytes());
        hash = hasher.finalize();
        points.push(u64::from(hash) << 32 | rank);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use pingora_load_balancing::Backend;
    use pingora_load_balancing::selection::{BackendIter, BackendSelection, Consistent};

    use super::super::testing::{self, Set, Table, keys};
    use super::*;
    use crate::selection::schedule::gcd;

    /// With the unit that all weights are multiples of.
    fn by_gcd(nodes: &[Node<'_>]) -> Ring {
        Ring::with_unit(nodes, nodes.iter().fold(0, |unit, node| gcd(unit, node.weight())))
    }

    impl Table for Ring {
        fn build(nodes: &[Node<'_>]) -> Self {
            by_gcd(nodes)
        }

        fn owner(&self, key: &[u8]) -> Option<usize> {
            self.at(self.place(crc32fast::hash(key)))
        }

        fn shares(&self, backends: usize) -> Vec<f64> {
            let mut shares = vec![0.0; backends];
            let mut before = self.points.last().unwrap().hash;
            for point in &self.points {
                shares[point.owner as usize] += f64::from(point.hash.wrapping_sub(before)) / 2f64.powi(32);
                before = point.hash;
            }
            shares
        }
    }

    /// The first so many backends of a key, each once.
    fn walk(ring: &Ring, set: &Set, key: &[u8], count: usize) -> Vec<String> {
        let start = ring.place(crc32fast::hash(key));
        let places = (start..start + ring.len()).map(|place| set.0[ring.at(place).unwrap()].0.to_string());
        distinct(places, count)
    }

    fn distinct(addresses: impl Iterator<Item = String>, count: usize) -> Vec<String> {
        let mut seen = BTreeSet::new();
        addresses.filter(|address| seen.insert(address.clone())).take(count).collect()
    }

    /// No two points of these sets are at the same place: pingora leaves open whose it is then.
    #[test]
    fn agrees_with_pingora_on_every_choice() {
        let v6 = ["[2001:db8::1]:80", "[::1]:65535", "127.0.0.1:1"].map(|address| (address.parse().unwrap(), 2));
        let sets = [
            (Set::equal(1), 1),
            (Set::equal(3), 1),
            (Set::equal(100), 1),
            (Set::weighing([7, 1, 2]), 1),
            (Set::random(30, 1..=9), 1),
            (Set(v6.to_vec()), 1),
        ];
        for (set, unit) in sets {
            let ring = Ring::with_unit(&set.nodes(), unit);
            assert_eq!(ring.len() as u64, 160 * set.0.iter().map(|(_, weight)| weight).sum::<u64>(), "no collisions");
            let backend =
                |(at, weight): &(_, u64)| Backend::new_with_weight(&format!("{at}"), *weight as usize).unwrap();
            let pingora = Arc::new(Consistent::build(&set.0.iter().map(backend).collect()));
            for key in keys(10_000) {
                let mut iter = pingora.iter(&key);
                let theirs = std::iter::from_fn(|| iter.next().map(|backend| backend.addr.to_string()));
                let count = set.0.len().min(4);
                assert_eq!(walk(&ring, &set, &key, count), distinct(theirs, count), "{}", key.escape_ascii());
            }
        }
    }

    #[test]
    fn known_answers() {
        testing::answers_with::<Ring>(&[
            ("", "10.0.0.1:80"),
            ("a", "10.0.0.2:80"),
            ("b", "10.0.0.3:80"),
            ("192.0.2.1", "10.0.0.2:80"),
            ("192.0.2.2", "10.0.0.1:80"),
            ("2001:db8::7", "10.0.0.3:80"),
            ("/", "10.0.0.2:80"),
            ("/index.html", "10.0.0.1:80"),
            ("user-1", "10.0.0.1:80"),
            ("user-2", "10.0.0.3:80"),
            ("ключ", "unix:/run/app.sock"),
        ]);
    }

    /// A share is a sum of 160 × weight gaps, each of which strays by its own length: by 1 / √(160 × weight) of itself,
    /// 8 % for a weight of 1. The worst of a hundred is within four times that.
    #[test]
    fn spreads_keys_by_weight() {
        let ratios = testing::spreads_keys::<Ring>();
        for ((_, weight), ratio) in Set::random(100, 1..=10).0.iter().zip(ratios) {
            let stray = (ratio - 1.0).abs() * (160.0 * *weight as f64).sqrt();
            assert!(stray < 4.0, "weight {weight}: {ratio}, {stray:.1} σ");
        }
    }

    #[test]
    fn only_keys_of_a_changed_backend_move() {
        for moved in testing::moves::<Ring>() {
            assert_eq!(moved.needlessly, 0.0, "{moved:?}");
        }
    }

    /// Nothing but the two backends decides whose a point is that both have: some two dozen of these.
    #[test]
    fn backends_share_points_by_name() {
        let set = Set::equal(3000);
        let ring = by_gcd(&set.nodes());
        assert!((479_900..480_000).contains(&ring.len()), "{} points", ring.len());
        let mut backwards = set.clone();
        backwards.0.reverse();
        let other = by_gcd(&backwards.nodes());
        let same = |(a, b): (&Point, &Point)| a.hash == b.hash && a.owner + b.owner == 2999;
        assert!(ring.len() == other.len() && ring.points.iter().zip(&other.points).all(same));
    }

    #[test]
    fn ten_thousand_backends_are_found_by_the_index() {
        let ring = by_gcd(&Set::equal(10_000).nodes());
        let most = ring.index.windows(2).map(|pair| pair[1] - pair[0]).max();
        println!("{} points, at most {most:?} in an entry of the index", ring.len());
        assert!(most.unwrap() < 20, "spread evenly");
        let search = |hash| ring.points.partition_point(|point| point.hash < hash);
        let mut random = fastrand::Rng::with_seed(0x5eed);
        let hashes = (0..10_000).map(|_| random.u32(..)).chain([0, 1, u32::MAX]);
        hashes.for_each(|hash| assert_eq!(ring.place(hash), search(hash), "{hash:#x}"));
    }

    /// Too many points are fewer for everybody, in proportion.
    #[test]
    fn bounds_the_points() {
        let counts = |set: &Set, unit| counts(&set.nodes(), &by_name(&set.nodes()), unit).collect::<Vec<u64>>();
        assert_eq!(counts(&Set::weighing([3, 1, 2]), 1), [480, 160, 320]);
        assert_eq!(counts(&Set::weighing([40, 10, 1]), 20), [320, 80, 8]);
        assert_eq!(counts(&Set::weighing([20_000, 10_000, 1]), 1), [1_398_055, 699_027, 70]);
        assert_eq!(counts(&Set::weighing([u64::MAX, u64::MAX, 1]), 1), [1 << 20, 1 << 20, 1]);
        assert!(counts(&Set::equal(40_000), 1).iter().all(|&count| count == 52));
    }

    #[test]
    fn ignores_order_and_scale() {
        testing::ignores_order_and_scale::<Ring>();
    }

    #[test]
    fn takes_anything() {
        testing::takes_anything::<Ring>();
    }
}
