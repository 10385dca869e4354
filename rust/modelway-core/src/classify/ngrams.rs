//! Hashed n-grams: each word, each pair of words, and every four characters of a word become a number.
//!
//! Training and serving share this one extraction, and a slow twin of it stands among the tests. Words
//! are runs of letters, digits and marks; characters of scripts without spaces are tokens of their own;
//! so is every other visible character. Digits are all alike, and so are capitals and small letters.

use unicode_normalization::char::is_combining_mark;

use super::shape::{Shape, counted};

/// How many buckets the n-grams share.
pub const BUCKETS: usize = 30_720;

/// Two odd numbers with well-mixed bits: the golden ratio times 2^64, and a prime of xxHash.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
const MIX_PAIR: u64 = 0xC2B2_AE3D_27D4_EB4F;
/// Where the hash of an opening begins.
const OPENING_SEED: u64 = 0x51ED;
/// How many tokens an opening has.
const OPENING_TOKENS: u32 = 3;
/// Four symbols of twelve bits: an n-gram of characters.
const FOUR: u64 = (1 << 48) - 1;
const SYMBOL_BITS: u32 = 12;

/// Hashes of the words that open a request and say nothing of it.
const POLITE: [u64; 28] = {
    let words = [
        "please",
        "hi",
        "hello",
        "hey",
        "kindly",
        "thanks",
        "thank",
        "you",
        "can",
        "could",
        "would",
        "i",
        "need",
        "want",
        "to",
        "like",
        "me",
        "help",
        "with",
        "my",
        "dear",
        "sir",
        "assistant",
        "so",
        "ok",
        "okay",
        "well",
        "just",
    ];
    let mut hashes = [0; 28];
    let mut place = 0;
    while place < hashes.len() {
        hashes[place] = hash_of(words[place].as_bytes());
        place += 1;
    }
    hashes
};

/// What each ASCII byte is inside a word: small letters themselves, capitals their small letter, digits
/// `0`; 0: no byte of a word.
const FOLDED: [u8; 256] = {
    let mut folded = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        folded[byte] = match byte as u8 {
            digit if digit.is_ascii_digit() => b'0',
            letter if letter.is_ascii_alphabetic() => letter.to_ascii_lowercase(),
            _ => 0,
        };
        byte += 1;
    }
    folded
};

/// Is told what is found, in the order of the text.
pub(super) trait Sink {
    /// What it holds of the token under way: handed to and fro, so that it stays in registers.
    type Under: Copy + Default;
    /// An n-gram of the token under way.
    fn ngram(&mut self, under: Self::Under, id: u32) -> Self::Under;
    /// A number for the words that the text opens with.
    fn opening(&mut self, id: u32);
    /// The token under way was `start..end`, in bytes of the part.
    fn token(&mut self, under: Self::Under, start: usize, end: usize);
}

/// The bucket of an n-gram or opening.
pub(super) const fn bucket(id: u32) -> usize {
    ((id as u64 * BUCKETS as u64) >> 32) as usize
}

const fn upper_half(hash: u64) -> u32 {
    (hash.wrapping_mul(MIX) >> 32) as u32
}

const fn pair(before: u64, hash: u64) -> u32 {
    upper_half(before.wrapping_mul(MIX_PAIR).wrapping_add(hash))
}

const fn absorb(hash: u64, eight: u64) -> u64 {
    let mixed = (hash ^ eight).wrapping_mul(MIX);
    mixed ^ (mixed >> 32)
}

/// The hash of a token: its length, then its bytes eight at a time.
const fn hash_of(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let mut eight = 0;
    let mut at = 0;
    while at < bytes.len() {
        eight |= (bytes[at] as u64) << (at % 8 * 8);
        at += 1;
        if at % 8 == 0 || at == bytes.len() {
            hash = absorb(hash, eight);
            eight = 0;
        }
    }
    hash
}

fn hash_of_char(c: char) -> u64 {
    hash_of(c.encode_utf8(&mut [0; 4]).as_bytes())
}

/// A character in twelve bits.
const fn symbol(c: char) -> u64 {
    let code = c as u32;
    if code < 128 { code as u64 } else { (0x800 | (code.wrapping_mul(MIX_SYMBOL) >> 21)) as u64 }
}

const MIX_SYMBOL: u32 = 0x9E37_79B1;

/// Whether a character beyond ASCII is a token of its own: scripts that set no spaces between words.
const fn is_wide(c: char) -> bool {
    matches!(c, '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{20000}'..='\u{3FFFF}')
}

/// Whether a character beyond ASCII is part of a word: letters, numbers, marks. Letters in circles and
/// squares, which Unicode calls alphabetic symbols, are signs.
fn is_of_word(c: char) -> bool {
    (c.is_alphanumeric() && !matches!(c, '\u{1F130}'..='\u{1F189}'))
        || (is_combining_mark(c) && c < '\u{30000}')
}

/// A word while its characters come in.
struct Word {
    /// The last four symbols or more.
    key: u64,
    symbols: u32,
    /// The hash of all eights but the one under way.
    hash: u64,
    eight: u64,
    /// Bits of `eight` in use.
    bits: u32,
    is_foreign: bool,
}

impl Word {
    const fn new(length: usize) -> Self {
        Self { key: b' ' as u64, symbols: 1, hash: length as u64, eight: 0, bits: 0, is_foreign: false }
    }

    #[inline]
    fn push_byte(&mut self, byte: u8) {
        if self.bits == u64::BITS {
            self.hash = absorb(self.hash, self.eight);
            (self.eight, self.bits) = (0, 0);
        }
        self.eight |= u64::from(byte) << self.bits;
        self.bits += u8::BITS;
    }

    #[inline]
    fn push_symbol<S: Sink>(&mut self, symbol: u64, under: S::Under, sink: &mut S) -> S::Under {
        self.key = self.key << SYMBOL_BITS | symbol;
        self.symbols += 1;
        if self.symbols >= 4 { sink.ngram(under, upper_half(self.key & FOUR)) } else { under }
    }

    /// Its hash; tells the last n-gram of its characters.
    #[inline]
    fn end<S: Sink>(mut self, under: S::Under, sink: &mut S) -> (u64, S::Under) {
        let mut under = self.push_symbol(u64::from(b' '), under, sink);
        if self.symbols == 3 {
            under = sink.ngram(under, upper_half(self.key));
        }
        (absorb(self.hash, self.eight), under)
    }
}

/// Where the word at `start` ends.
#[inline]
fn word_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start;
    loop {
        while bytes.get(at).is_some_and(|byte| FOLDED[usize::from(*byte)] != 0) {
            at += 1;
        }
        if bytes.get(at).is_none_or(u8::is_ascii) {
            return at;
        }
        match text[at..].chars().next() {
            Some(c) if !is_wide(c) && is_of_word(c) => at += c.len_utf8(),
            _ => return at,
        }
    }
}

/// The extraction of one text, part by part.
#[derive(Debug)]
pub(super) struct Ngrams {
    /// What was counted so far.
    pub(super) shape: Shape,
    /// Only polite words so far.
    is_polite: bool,
    opened: u32,
    chain: u64,
}

impl Ngrams {
    /// For a text of so many bytes, all of them counted.
    pub(super) fn new(bytes: usize) -> Self {
        Self { shape: Shape::new(bytes), is_polite: true, opened: 0, chain: OPENING_SEED }
    }

    /// Reads one part, in normal form.
    pub(super) fn read<S: Sink>(&mut self, text: &str, sink: &mut S) {
        let bytes = text.as_bytes();
        let (mut word_before, mut wide_before) = (None, None);
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let start = at;
            if FOLDED[usize::from(byte)] == 0 {
                if byte.is_ascii() {
                    at += 1;
                    if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                        let under = self.sign(char::from(byte), sink);
                        sink.token(under, start, at);
                    }
                    continue;
                }
                let Some(c) = text[at..].chars().next() else { return };
                if is_wide(c) {
                    at += c.len_utf8();
                    let hash = hash_of_char(c);
                    let mut under = sink.ngram(S::Under::default(), upper_half(hash));
                    if let Some(before) = wide_before {
                        under = sink.ngram(under, pair(before, hash));
                    }
                    (word_before, wide_before) = (None, Some(hash));
                    self.shape.wide += 1;
                    self.open(hash, false, sink);
                    sink.token(under, start, at);
                    continue;
                }
                if !is_of_word(c) {
                    at += c.len_utf8();
                    if !c.is_whitespace() {
                        let under = self.sign(c, sink);
                        sink.token(under, start, at);
                    }
                    continue;
                }
            }
            let (hash, end, under) = self.word(text, start, sink);
            at = end;
            let mut under = sink.ngram(under, upper_half(hash));
            if let Some(before) = word_before {
                under = sink.ngram(under, pair(before, hash));
            }
            (word_before, wide_before) = (Some(hash), None);
            self.open(hash, true, sink);
            sink.token(under, start, at);
        }
        self.shape.end_part(text);
    }

    /// The word at `start`: its hash, its end, and what the sink holds of it.
    #[inline]
    fn word<S: Sink>(&mut self, text: &str, start: usize, sink: &mut S) -> (u64, usize, S::Under) {
        let end = word_end(text, start);
        let mut word = Word::new(end - start);
        let mut under = S::Under::default();
        for (at, &byte) in (start..).zip(&text.as_bytes()[start..end]) {
            let folded = FOLDED[usize::from(byte)];
            if folded != 0 {
                word.push_byte(folded);
                under = word.push_symbol(u64::from(folded), under, sink);
            } else {
                word.push_byte(byte);
                if let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
                    word.is_foreign = true;
                    self.shape.count_letter(c);
                    under = word.push_symbol(symbol(c), under, sink);
                }
            }
        }
        self.shape.words += 1;
        self.shape.foreign += u32::from(word.is_foreign);
        let (hash, under) = word.end(under, sink);
        (hash, end, under)
    }

    fn sign<S: Sink>(&mut self, c: char, sink: &mut S) -> S::Under {
        match counted(c) {
            Some(place) => self.shape.marks[place] += 1,
            None => self.shape.count_letter(c),
        }
        sink.ngram(S::Under::default(), upper_half(hash_of_char(c)))
    }

    /// Takes the next token that is no sign into the opening.
    fn open(&mut self, hash: u64, is_word: bool, sink: &mut impl Sink) {
        if self.opened == OPENING_TOKENS {
            return;
        }
        if self.is_polite && is_word && POLITE.contains(&hash) {
            return;
        }
        self.is_polite = false;
        self.chain = (self.chain.wrapping_mul(MIX_PAIR) ^ hash).wrapping_mul(MIX);
        sink.opening(upper_half(self.chain ^ u64::from(self.opened)));
        self.opened += 1;
    }
}
