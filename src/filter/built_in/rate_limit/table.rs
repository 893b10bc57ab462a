//! The buckets of all keys, in bounded memory, without a lock on the way of a request whose key is known.
//!
//! A key is known by its hash, under a seed that nobody else knows, and has its place in one set of eight. A new key takes the place
//! of the bucket in its set that lacks least: nearly always of one that is full, which is to forget nothing. Only when a set is full
//! of buckets in use, one of them is forgotten, whose key begins anew with a full one; whoever is refused is the last to be.

use std::hash::Hash;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use ahash::RandomState;
use parking_lot::Mutex;

/// Keys that compete for the same places.
const PLACES: usize = 8;

/// Places for each key that there is to be room for: keys are not spread evenly over the sets. With two, one key in a hundred finds
/// its set full when the table holds as many as it should.
const SPARE: usize = 2;

pub(super) struct Table {
    /// Made as they are needed: most tables stay nearly empty.
    sets: Box<[OnceLock<Box<Set>>]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Set {
    /// The hashes of the keys; 0 for none.
    names: [AtomicU64; PLACES],
    buckets: [AtomicU64; PLACES],
    /// Held while a key comes in: two places for one key would be two buckets.
    entering: Mutex<()>,
}

impl Table {
    /// With room for this many keys.
    pub(super) fn new(keys: usize) -> Self {
        let sets = (keys * SPARE).div_ceil(PLACES).max(1);
        Table { sets: (0..sets).map(|_| OnceLock::new()).collect(), hasher: RandomState::new() }
    }

    /// The bucket of a key, which gets one if it has none.
    pub(super) fn bucket(&self, key: &impl Hash, now: u64) -> &AtomicU64 {
        let (set, name) = self.place(key);
        let set = set.get_or_init(Box::default);
        set.find(name).unwrap_or_else(|| set.enter(name, now))
    }

    /// The bucket of a key, if it has one.
    pub(super) fn known(&self, key: &impl Hash) -> Option<&AtomicU64> {
        let (set, name) = self.place(key);
        set.get()?.find(name)
    }

    fn place(&self, key: &impl Hash) -> (&OnceLock<Box<Set>>, u64) {
        let hash = self.hasher.hash_one(key).max(1);
        // The upper bits, as many as there are sets, by a multiplication in place of a division.
        let set = (u128::from(hash) * self.sets.len() as u128) >> u64::BITS;
        (&self.sets[set as usize], hash)
    }
}

impl Set {
    fn find(&self, name: u64) -> Option<&AtomicU64> {
        let place = self.names.iter().position(|known| known.load(Acquire) == name)?;
        self.buckets.get(place)
    }

    #[cold]
    fn enter(&self, name: u64, now: u64) -> &AtomicU64 {
        let _one_at_a_time = self.entering.lock();
        // Another thread may have been first.
        if let Some(bucket) = self.find(name) {
            return bucket;
        }
        let fullest = (0..PLACES).min_by_key(|place| self.buckets[*place].load(Relaxed)).unwrap_or(0);
        let bucket = &self.buckets[fullest];
        if bucket.load(Relaxed) > now {
            // Nobody is to be charged for another's tokens: it gets its new name when it is full.
            self.names[fullest].store(0, Release);
            bucket.store(0, Release);
        }
        self.names[fullest].store(name, Release);
        bucket
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_key_keeps_its_bucket() {
        let table = Table::new(1000);
        assert!(table.known(&"ann").is_none());
        table.bucket(&"ann", 0).store(5, Relaxed);
        assert_eq!(table.bucket(&"ann", 0).load(Relaxed), 5);
        assert_eq!(table.known(&"ann").unwrap().load(Relaxed), 5);
        assert_eq!(table.bucket(&"bob", 0).load(Relaxed), 0);
    }

    #[test]
    fn as_many_keys_as_there_is_room_for_are_held_but_for_a_few() {
        let table = Table::new(10_000);
        for key in 0..10_000 {
            table.bucket(&key, 0).store(100, Relaxed);
        }
        let held = (0..10_000).filter(|key| table.known(key).is_some()).count();
        assert!(held > 9_800, "{held}");
    }

    #[test]
    fn full_buckets_give_way_before_those_in_use_and_those_that_lack_least_before_others() {
        let table = Table::new(1);
        // One set: the first seven are in use, the eighth is full again at 10.
        for key in 0..8_u64 {
            table.bucket(&key, 0).store(if key == 7 { 10 } else { 100 + key }, Relaxed);
        }
        let fresh = table.bucket(&8_u64, 50);
        assert!(fresh.load(Relaxed) <= 50, "one that is full has no past");
        fresh.store(1000, Relaxed);
        assert!((0..7_u64).all(|key| table.known(&key).is_some()) && table.known(&7_u64).is_none());
        assert_eq!(table.bucket(&9_u64, 50).load(Relaxed), 0, "in use, it was forgotten");
        assert!(table.known(&0_u64).is_none() && table.known(&6_u64).is_some() && table.known(&8_u64).is_some());
    }

    #[test]
    fn a_flood_of_keys_takes_no_more_room() {
        let table = Table::new(100);
        for key in 0..100_000_u64 {
            table.bucket(&key, key).store(key + 1000, Relaxed);
        }
        let held = (0..100_000_u64).filter(|key| table.known(key).is_some()).count();
        assert!(held <= 100 * SPARE + PLACES, "{held}");
    }

    #[test]
    fn threads_that_bring_the_same_key_get_the_same_bucket() {
        for round in 0..200_u64 {
            let table = Table::new(64);
            let found: HashSet<usize> = std::thread::scope(|scope| {
                let find = || std::ptr::from_ref(table.bucket(&round, 0)).addr();
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(find)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(found.len(), 1);
        }
    }
}
