//! One walk over a text: words, signs, and characters beyond ASCII; white space between them is passed over.
//!
//! Words are measured eight bytes at a time inside one machine word, and get a key from those same
//! bytes, so that most words cost a few dozen instructions, whatever their letters.

/// What stands at a place of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// ASCII letters, digits and `_`.
    Word(Word),
    /// One other ASCII byte, but no blank; a line end is one.
    Sign(usize),
    /// A character beyond ASCII.
    Wide(usize, char),
}

/// An ASCII word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Its first eight bytes in lower case (`_` as 0x7F), zeros behind a shorter word.
    head: u64,
    /// The same for words that are equal but for case; for no others where it has at most eight bytes,
    /// and seldom for others beyond that.
    pub(super) key: u64,
    /// Not zero where a capital or `_` stands behind its first byte. A whole machine word: a bool, written
    /// as one byte and copied as eight, would make each copy wait for the write.
    inner_capitals: u64,
}

/// A stem is found by this many bytes and must be as long.
pub(super) const STEM_BYTES: usize = 4;

const LOW_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
const CASE_BITS: u64 = 0x2020_2020_2020_2020;
/// An odd number with well-mixed bits: the golden ratio times 2^64, as in Fibonacci hashing (Knuth, TAOCP 3, 6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

const fn splat(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

/// The high bit of each byte of `eight` that is a letter, a digit or `_`.
///
/// Adding 0x80 less a limit to a byte below 0x80 sets its high bit where the byte reaches the limit, and
/// never carries into the next byte.
fn word_bits(eight: u64) -> u64 {
    let low = eight & LOW_BITS;
    let cased = low | CASE_BITS;
    let reaches = |bytes: u64, limit: u8| bytes.wrapping_add(splat(0x80 - limit));
    let letters = reaches(cased, b'a') & !reaches(cased, b'z' + 1);
    let digits = reaches(low, b'0') & !reaches(low, b'9' + 1);
    let underscores = !(low ^ splat(b'_')).wrapping_add(LOW_BITS);
    (letters | digits | underscores) & HIGH_BITS & !eight
}

/// Eight bytes from `at`, zeros behind the end.
fn eight_from(bytes: &[u8], at: usize) -> u64 {
    let rest = &bytes[at..];
    if let Some(eight) = rest.first_chunk::<8>() {
        return u64::from_le_bytes(*eight);
    }
    // The last eight bytes of the text, moved down; a text shorter than that is gathered byte by byte.
    match bytes.last_chunk::<8>() {
        Some(eight) => u64::from_le_bytes(*eight).checked_shr(64 - 8 * rest.len() as u32).unwrap_or(0),
        None => rest.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    }
}

/// The lowest `count` bytes set, at most eight.
const fn mask(count: usize) -> u64 {
    if count >= 8 { u64::MAX } else { !(u64::MAX << (count as u32 * 8)) }
}

/// A key's place in a table of `2^bits` slots.
pub(super) const fn slot_of(key: u64, bits: u32) -> usize {
    (key.wrapping_mul(GOLDEN) >> (64 - bits)) as usize
}

impl Word {
    /// The word at `start`, which must be a letter, digit or `_`.
    pub(super) fn at(bytes: &[u8], start: usize) -> Self {
        let first = eight_from(bytes, start);
        let bits = word_bits(first);
        let length = ((!bits & HIGH_BITS).trailing_zeros() / 8) as usize;
        // Letters differ in case by one bit, which digits have set; `_` becomes a byte that is no word's.
        let head = (first | CASE_BITS) & mask(length);
        // Capitals and `_` are the bytes of a word without that bit.
        let capitals = (!first << 2) & bits & mask(length);
        let word = Self { start, end: start + length, head, key: head, inner_capitals: capitals & !0xFF };
        if length < 8 { word } else { word.longer(bytes) }
    }

    /// Whether a capital or `_` stands behind its first byte.
    pub(super) const fn has_inner_capital(&self) -> bool {
        self.inner_capitals != 0
    }

    /// The key of its first four bytes, where it has as many.
    pub(super) const fn stem(&self) -> Option<u64> {
        if self.end - self.start >= STEM_BYTES { Some(self.head & mask(STEM_BYTES)) } else { None }
    }

    /// How many of its first bytes its key vouches for.
    pub(super) const fn vouched(&self) -> usize {
        let length = self.end - self.start;
        if length <= 8 { length } else { 0 }
    }

    /// The rest of a word whose first eight bytes do not end it.
    #[cold]
    fn longer(mut self, bytes: &[u8]) -> Self {
        loop {
            let next = eight_from(bytes, self.end);
            let bits = word_bits(next);
            let length = ((!bits & HIGH_BITS).trailing_zeros() / 8) as usize;
            if length > 0 {
                self.key =
                    self.key.rotate_left(25).wrapping_mul(GOLDEN) ^ ((next | CASE_BITS) & mask(length));
            }
            self.inner_capitals |= (!next << 2) & bits & mask(length);
            self.end += length;
            if length < 8 {
                return self;
            }
        }
    }
}

/// Walks over `text` and tells every token in order.
pub(super) fn walk(text: &str, tell: &mut impl FnMut(Token)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            let word = Word::at(bytes, at);
            at = word.end;
            tell(Token::Word(word));
        } else if matches!(byte, b' ' | b'\t' | b'\r') {
            at += 1;
        } else if byte.is_ascii() {
            tell(Token::Sign(at));
            at += 1;
        } else if let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            tell(Token::Wide(at, c));
            at += c.len_utf8();
        } else {
            at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Token, Word, walk, word_bits};

    #[test]
    fn every_byte_is_told_from_every_other_in_every_place() {
        for byte in 0..=u8::MAX {
            let is_word = byte.is_ascii_alphanumeric() || byte == b'_';
            for place in 0..8 {
                for other in [0_u8, b' ', b'a', b'Z', b'_', 0x7F, 0x80, 0xFF] {
                    let mut eight = [other; 8];
                    eight[place] = byte;
                    let bits = word_bits(u64::from_le_bytes(eight)).to_le_bytes();
                    assert_eq!(bits[place], u8::from(is_word) << 7, "{byte:#x} at {place} among {other:#x}");
                }
            }
        }
    }

    #[test]
    fn words_of_any_length_end_where_they_end() {
        for length in 1..40 {
            for behind in ["", " ", "-x", "é"] {
                let text = format!("{}{behind}", "aB3_x".repeat(8)[..length].to_owned());
                let word = Word::at(text.as_bytes(), 0);
                assert_eq!((word.start, word.end), (0, length), "{text:?}");
                assert_eq!(word.stem().is_some(), length >= 4);
                assert_eq!(word.has_inner_capital(), length > 1, "{text:?}");
            }
        }
    }

    #[test]
    fn keys_ignore_case_and_nothing_else() {
        let key = |text: &str| Word::at(text.as_bytes(), 0).key;
        for (one, other) in [("Python", "pYTHON"), ("Internationalisation", "INTERNATIONALISATION")] {
            assert_eq!(key(one), key(other));
        }
        let words =
            ["a", "b", "aa", "code", "coda", "codes", "function", "functions", "x1", "x_", "internationals"];
        for (index, one) in words.iter().enumerate() {
            assert!(words[index + 1..].iter().all(|other| key(one) != key(other)), "{one}");
        }
    }

    #[test]
    fn a_walk_passes_everything_but_blanks() {
        let mut seen = Vec::new();
        walk("Hi, é x\n", &mut |token| {
            seen.push(match token {
                Token::Word(word) => (word.start, word.end),
                Token::Sign(at) => (at, at + 1),
                Token::Wide(at, c) => (at, at + c.len_utf8()),
            });
        });
        assert_eq!(seen, [(0, 2), (2, 3), (4, 6), (7, 8), (8, 9)]);
    }
}
