//! Ranges found by the hash of a key, and a filter that tells most other hashes in one look.

use std::ops::Range;

/// A bit for each hash that is in a table, in one of 512 machine words.
#[derive(Debug)]
pub(super) struct Filter {
    bits: Box<[u64; Self::WORDS]>,
}

impl Filter {
    /// 4 KiB: with 2,000 hashes one in sixteen others passes.
    const WORDS: usize = 512;

    pub(super) fn new() -> Self {
        Self { bits: Box::new([0; Self::WORDS]) }
    }

    const fn place(hash: u64) -> usize {
        (hash >> (64 - Self::WORDS.trailing_zeros())) as usize
    }

    const fn bit(hash: u64) -> u64 {
        1 << (hash >> (58 - Self::WORDS.trailing_zeros()) & 63)
    }

    pub(super) fn insert(&mut self, line: u64, hash: u64) {
        self.bits[Self::place(line)] |= Self::bit(hash);
    }

    #[inline]
    pub(super) fn has(&self, hash: u64) -> bool {
        self.has_either(hash, hash, hash)
    }

    /// Whether one of two hashes that stand in the line of a third may be in a table.
    #[inline]
    pub(super) fn has_either(&self, line: u64, one: u64, other: u64) -> bool {
        self.bits[Self::place(line)] & (Self::bit(one) | Self::bit(other)) != 0
    }
}

/// Ranges by hash, open addressing at most half full.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    bits: u32,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    key: u64,
    range: Range<u32>,
}

impl Table {
    pub(super) fn new(keyed: &[(u64, Range<usize>)]) -> Self {
        let bits = (keyed.len() * 2).max(16).next_power_of_two().trailing_zeros();
        let mut slots = vec![Slot::default(); 1 << bits];
        for (key, range) in keyed {
            let mut place = (*key >> (64 - bits)) as usize;
            while !slots[place].range.is_empty() {
                place = (place + 1) % slots.len();
            }
            slots[place] = Slot { key: *key, range: range.start as u32..range.end as u32 };
        }
        Self { slots, bits }
    }

    /// The range of `key`, empty where there is none.
    pub(super) fn get(&self, key: u64) -> Range<usize> {
        let mut place = (key >> (64 - self.bits)) as usize;
        loop {
            let slot = &self.slots[place];
            if slot.key == key || slot.range.is_empty() {
                return slot.range.start as usize..slot.range.end as usize;
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }
}
