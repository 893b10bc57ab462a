//! Where the requests of a route go: to its pool, or to one of several, each for its share.
//!
//! By chance it is exact in the long run. By a key it is weighted rendezvous hashing over the names of the pools: a key keeps its
//! pool whatever the order in the file, and where a pool's weight grows or shrinks, only keys of those whose shares shrink move,
//! and no other pools exchange keys beyond that.

use std::net::IpAddr;
use std::sync::Arc;

use pingora::http::RequestHeader;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::config::{KeySource, Timeouts};
use crate::filter::key;
use crate::pool::Pool;

/// One pool of a route.
pub struct Destination {
    /// Who is asked.
    pub pool: Arc<Pool>,
    /// The pool's times, but for what the route says otherwise.
    pub timeouts: Timeouts,
}

/// How the requests of a route are shared among its destinations.
pub struct Split {
    by: Vec<KeySource>,
    total: u64,
    shares: Vec<Share>,
}

struct Share {
    weight: u32,
    /// Of the pool's name.
    seed: u64,
}

impl Split {
    /// Shares by weight, each with the name of its pool.
    pub fn new<'a>(by: Vec<KeySource>, shares: impl IntoIterator<Item = (&'a str, u32)>) -> Self {
        let share = |(name, weight): (&str, u32)| Share { weight, seed: xxh3_64(name.as_bytes()) };
        let shares: Vec<_> = shares.into_iter().map(share).collect();
        Split { by, total: shares.iter().map(|share| u64::from(share.weight)).sum(), shares }
    }

    /// The place of the destination of a request.
    pub(super) fn choose(&self, request: &RequestHeader, client: Option<IpAddr>) -> usize {
        match key::of(&self.by, request, client).as_bytes() {
            [] => self.at(fastrand::u64(..self.total.max(1))),
            key => self.of_key(key),
        }
    }

    /// Whose range of the weights, put one after the other, this is in.
    fn at(&self, mut point: u64) -> usize {
        for (place, share) in self.shares.iter().enumerate() {
            match point.checked_sub(u64::from(share.weight)) {
                Some(rest) => point = rest,
                None => return place,
            }
        }
        0
    }

    fn of_key(&self, key: &[u8]) -> usize {
        let (mut winner, mut least) = (0, f64::INFINITY);
        for (place, share) in self.shares.iter().enumerate().filter(|(_, share)| share.weight > 0) {
            // Above 0 and at most 1.
            let draw = ((xxh3_64_with_seed(key, share.seed) >> 11) + 1) as f64 * (f64::EPSILON / 2.0);
            // Not the standard library's, which may differ from machine to machine in the last bit.
            let score = -libm::log(draw) / f64::from(share.weight);
            if score < least {
                (winner, least) = (place, score);
            }
        }
        winner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_users(split: &Split) -> Vec<usize> {
        (0..20_000).map(|user| split.of_key(format!("user-{user}").as_bytes())).collect()
    }

    fn shares(chosen: &[usize]) -> [usize; 3] {
        [0, 1, 2].map(|place| chosen.iter().filter(|one| **one == place).count() * 1000 / chosen.len())
    }

    #[test]
    fn a_key_stays_and_a_greater_weight_only_draws_keys_in() {
        let split = |weights: [u32; 3]| Split::new(Vec::new(), ["api", "canary", "old"].into_iter().zip(weights));
        let before = of_users(&split([95, 5, 0]));
        let after = of_users(&split([90, 10, 0]));
        let [api, canary, old] = shares(&before);
        assert!((940..960).contains(&api) && (40..60).contains(&canary) && old == 0, "{:?}", shares(&before));
        assert!((90..110).contains(&shares(&after)[1]), "{:?}", shares(&after));
        for (before, after) in before.iter().zip(&after) {
            assert!(before == after || *after == 1, "only into the canary");
        }
        let three = (of_users(&split([60, 10, 30])), of_users(&split([60, 20, 30])));
        for (before, after) in three.0.iter().zip(&three.1) {
            assert!(before == after || *after == 1, "only into the canary");
        }
    }

    #[test]
    fn the_order_in_the_file_does_not_matter() {
        let one = Split::new(Vec::new(), [("a", 3), ("b", 1)]);
        let other = Split::new(Vec::new(), [("b", 1), ("a", 3)]);
        for (one, other) in of_users(&one).into_iter().zip(of_users(&other)) {
            assert_eq!(one, 1 - other);
        }
    }

    /// Another version of this program must send a key to the same pool.
    #[test]
    fn known_answers() {
        let split = Split::new(Vec::new(), [("api", 50), ("canary", 50)]);
        let chosen: Vec<_> = ["ann", "bob", "cat", "dan", "eve", "fay"].map(|key| split.of_key(key.as_bytes())).into();
        assert_eq!(chosen, [1, 1, 1, 1, 0, 1]);
    }

    #[test]
    fn by_chance_each_has_its_range() {
        let split = Split::new(Vec::new(), [("a", 0), ("b", 2), ("c", 1)]);
        assert_eq!([0, 1, 2].map(|point| split.at(point)), [1, 1, 2]);
        let request = RequestHeader::build("GET", b"/", None).unwrap();
        let chosen: Vec<_> = (0..3000).map(|_| split.choose(&request, None)).collect();
        let [a, b, _] = shares(&chosen);
        assert!(a == 0 && (600..730).contains(&b), "{:?}", shares(&chosen));
    }

    #[test]
    fn a_request_without_a_key_goes_anywhere() {
        let by = vec![KeySource::Header("x-user".into())];
        let split = Split::new(by, [("a", 1), ("b", 1)]);
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        let anywhere: Vec<_> = (0..100).map(|_| split.choose(&request, None)).collect();
        assert!(anywhere.contains(&0) && anywhere.contains(&1));
        request.insert_header("x-user", "ann").unwrap();
        let ann: Vec<_> = (0..100).map(|_| split.choose(&request, None)).collect();
        assert!(ann.iter().all(|one| *one == ann[0]));
    }
}
