//! Hashed n-grams: each word, each pair of words, and every four characters of a word become a number.
//!
//! Training and serving share this one extraction, and a slow twin of it stands among the tests. Signs
//! and characters of scripts without spaces count alone, the latter in pairs too. Digits are all alike,
//! and so are capitals and small letters.

use super::folded::{BLOCK, Folded, four_round};
use super::tokens::{MIX, MIX_PAIR, Word, key_of_char};

/// How many buckets the n-grams share: with eight bytes each and the shape, half a megabyte, which stays in the
/// second-level cache.
pub const BUCKETS: usize = 64_512;
/// The value of an opening in its bucket, where an n-gram's is its share of all.
pub const OPENING_VALUE: f32 = 0.3;

/// As `MIX`, of 32 bits.
const MIX_FOUR: u32 = 0x9E37_79B1;
/// Where the hash of an opening begins.
const OPENING_SEED: u64 = 0x51ED;
/// How many tokens an opening has.
const OPENING_TOKENS: u32 = 3;

/// Words that open a request and say nothing of it. None is longer than a key that is the word itself.
const POLITE: [&str; 27] = [
    "please", "hi", "hello", "hey", "kindly", "thanks", "thank", "you", "can", "could", "would", "i", "need",
    "want", "to", "like", "me", "help", "with", "my", "dear", "sir", "so", "ok", "okay", "well", "just",
];
const POLITE_BITS: u32 = 7;
/// The keys of polite words, each in the first free slot from its hash on; 0: free.
const POLITE_SLOTS: [u64; 1 << POLITE_BITS] = {
    let mut slots = [0; 1 << POLITE_BITS];
    let mut word = 0;
    while word < POLITE.len() {
        let bytes = POLITE[word].as_bytes();
        let (mut key, mut at) = (0, bytes.len());
        while at > 0 {
            at -= 1;
            key = key << 8 | bytes[at] as u64;
        }
        let mut slot = polite_slot(key);
        while slots[slot] != 0 {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = key;
        word += 1;
    }
    slots
};

const fn polite_slot(key: u64) -> usize {
    (key.wrapping_mul(MIX) >> (u64::BITS - POLITE_BITS)) as usize
}

fn is_polite(key: u64) -> bool {
    let mut slot = polite_slot(key);
    while POLITE_SLOTS[slot] != 0 && POLITE_SLOTS[slot] != key {
        slot = (slot + 1) % POLITE_SLOTS.len();
    }
    POLITE_SLOTS[slot] == key
}

/// Is told what is found.
pub(super) trait Sink {
    /// What it holds of the n-grams it is being told: handed to and fro, so that it stays in registers.
    type Under: Copy + Default;
    /// An n-gram of the token that `at` is a symbol of.
    fn ngram(&mut self, under: Self::Under, id: u32, at: usize) -> Self::Under;
    /// The n-grams told since the last time are done.
    fn settle(&mut self, under: Self::Under);
    /// A number for the words that the text opens with, the last of which `at` is a symbol of.
    fn opening(&mut self, id: u32, at: usize);
}

/// The bucket of an n-gram or opening, of so many.
pub(super) const fn bucket(id: u32, buckets: usize) -> usize {
    ((id as u64 * buckets as u64) >> 32) as usize
}

const fn upper_half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// A word's hash, and that of the pair it makes with the word before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hashes {
    pub(super) word: u64,
    pub(super) pair: u64,
}

/// The hash of a word of its own.
pub(super) const fn hash(key: u64) -> u64 {
    key.wrapping_mul(MIX)
}

/// The hash of two words.
pub(super) const fn hash_of_pair(before: u64, key: u64) -> u64 {
    before.wrapping_mul(MIX_PAIR).wrapping_add(key).wrapping_mul(MIX)
}

/// The n-grams of one text's tokens, part by part.
#[derive(Debug)]
pub(super) struct Ngrams {
    /// Keys of the word and of the character that the next one makes a pair with; 0: none.
    word_before: u64,
    char_before: u64,
    /// Only polite words so far.
    is_polite: bool,
    opened: u32,
    chain: u64,
}

impl Ngrams {
    pub(super) const fn new() -> Self {
        Self { word_before: 0, char_before: 0, is_polite: true, opened: 0, chain: OPENING_SEED }
    }

    /// Tells every four characters of each word of `folded`, a blank at either end of the word among them.
    #[inline]
    pub(super) fn fours<S: Sink>(folded: &Folded<'_>, sink: &mut S) {
        for (index, block) in folded.blocks.iter().enumerate() {
            let next = folded.blocks.get(index + 1).map_or(0, |next| next.words & 1);
            // Wherever two symbols of a word stand beside each other, with one more on both sides.
            let mut middles = block.words & (block.words >> 1 | next << (BLOCK - 1));
            let window = folded.window(index);
            let mut under = S::Under::default();
            while middles != 0 {
                let bit = middles.trailing_zeros() as usize % BLOCK;
                middles &= middles - 1;
                let id = four_round(window, bit).wrapping_mul(MIX_FOUR);
                under = sink.ngram(under, id, index * BLOCK + bit);
            }
            sink.settle(under);
        }
    }

    /// A part of the text begins.
    pub(super) const fn begin_part(&mut self) {
        (self.word_before, self.char_before) = (0, 0);
    }

    /// The hashes of the next word.
    #[inline]
    pub(super) const fn hashes(&mut self, word: &Word) -> Hashes {
        let hashes = Hashes { word: hash(word.key), pair: hash_of_pair(self.word_before, word.key) };
        (self.word_before, self.char_before) = (word.key, 0);
        hashes
    }

    /// Tells a word alone, with the word before it, and as an opening.
    #[inline]
    pub(super) fn word<S: Sink>(&mut self, word: &Word, under: S::Under, sink: &mut S) -> (Hashes, S::Under) {
        let is_pair = self.word_before != 0;
        let hashes = self.hashes(word);
        let mut under = sink.ngram(under, upper_half(hashes.word), word.at);
        if is_pair {
            under = sink.ngram(under, upper_half(hashes.pair), word.at);
        }
        if self.opened < OPENING_TOKENS {
            self.open(word.key, word.at, true, sink);
        }
        (hashes, under)
    }

    /// Tells a character of a script without spaces, alone and with the one before it.
    pub(super) fn wide<S: Sink>(&mut self, c: char, at: usize, under: S::Under, sink: &mut S) -> S::Under {
        let key = key_of_char(c);
        let mut under = sink.ngram(under, upper_half(hash(key)), at);
        if self.char_before != 0 {
            under = sink.ngram(under, upper_half(hash_of_pair(self.char_before, key)), at);
        }
        (self.word_before, self.char_before) = (0, key);
        if self.opened < OPENING_TOKENS {
            self.open(key, at, false, sink);
        }
        under
    }

    /// Tells a sign.
    #[inline]
    pub(super) fn sign<S: Sink>(c: char, at: usize, under: S::Under, sink: &mut S) -> S::Under {
        sink.ngram(under, upper_half(hash(key_of_char(c))), at)
    }

    /// Takes the next token that is no sign into the opening.
    fn open(&mut self, key: u64, at: usize, is_word: bool, sink: &mut impl Sink) {
        if self.is_polite && is_word && is_polite(key) {
            return;
        }
        self.is_polite = false;
        self.chain = (self.chain.wrapping_mul(MIX_PAIR) ^ key).wrapping_mul(MIX);
        sink.opening(upper_half((self.chain ^ u64::from(self.opened)).wrapping_mul(MIX)), at);
        self.opened += 1;
    }
}
