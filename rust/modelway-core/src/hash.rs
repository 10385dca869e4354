//! A quick hash for maps whose keys nobody outside can choose: names of a configuration, numbers that we made.
//!
//! The standard library's hash withstands chosen keys and costs several times as much for keys as short as these.
//! This one is a multiplication and a rotation a word (Fx, of Firefox and rustc).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map for such keys.
pub(crate) type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<QuickHasher>>;

/// Not for keys that a stranger can choose.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QuickHasher(u64);

impl QuickHasher {
    /// 2^64 divided by the golden ratio, made odd: neighbours land far from each other.
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
}

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.write_u64(word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            self.write_u64(rest.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(Self::FACTOR);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    /// The map takes its bucket from the low bits and its tag from the high ones: both must be mixed.
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::{QuickHasher, QuickMap};
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    #[test]
    fn different_keys_are_spread() {
        let hash = BuildHasherDefault::<QuickHasher>::default();
        let mut seen = HashSet::new();
        let mut buckets = HashSet::new();
        for number in 0..10_000_u64 {
            let own = hash.hash_one(number);
            seen.insert(own);
            buckets.insert(own % 16_384);
            seen.insert(hash.hash_one(format!("model-{number}:7b")));
        }
        assert_eq!(seen.len(), 20_000);
        assert!(buckets.len() > 6_000, "{} of 16,384 buckets for 10,000 numbers", buckets.len());
    }

    #[test]
    fn a_map_finds_what_it_was_given() {
        let map: QuickMap<String, usize> = (0..100).map(|n| ("x".repeat(n), n)).collect();
        assert!((0..100).all(|n| map.get("x".repeat(n).as_str()) == Some(&n)));
    }
}
