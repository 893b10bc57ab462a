//! The hash functions of the Maglev and the rendezvous table. Two machines, and two versions of this program, send a key to
//! the same backend only while these stay as they are: the tables' known answers see to it.
//!
//! Nothing here is secret, so a client that chooses its keys can choose its backend.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The hash of a key: XXH3, 64 bits.
#[inline]
pub(super) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// One of several hashes of a backend's name that have nothing to do with each other, nor with those of keys.
pub(super) fn seeded(name: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(name, seed)
}

/// The hash by which a key asks once more after `n` refusals, for a table that has no second choice of its own.
#[inline]
pub(super) fn nth(hash: u64, n: u64) -> u64 {
    if n == 0 { hash } else { split_mix(hash, n) }
}

/// The `n`th number of Steele's SplitMix64 generator.
#[inline]
pub(super) fn split_mix(seed: u64, n: u64) -> u64 {
    let mut x = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// XXH3's and SplitMix64's published values.
    #[test]
    fn known_answers() {
        assert_eq!(hash(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(
            [1, 2, 3].map(|n| split_mix(1_234_567, n)),
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn asking_again_is_another_hash() {
        let hashes = [0, 1, 2, 3].map(|n| nth(42, n));
        assert_eq!(hashes[0], 42);
        assert!((1..4).all(|n| !hashes[..n].contains(&hashes[n])), "{hashes:?}");
    }
}
