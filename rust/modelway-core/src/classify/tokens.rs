//! One walk over a folded text: words with their keys, and all other tokens.

use std::ops::Range;

use super::folded::{BLOCK, Block, Folded, eight_at};

/// An odd number with well-mixed bits: the golden ratio times 2^64, as in Fibonacci hashing (Knuth, TAOCP 3, 6.4).
pub(super) const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
/// Another: a prime of xxHash.
pub(super) const MIX_PAIR: u64 = 0xC2B2_AE3D_27D4_EB4F;

/// A word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// Its first symbol.
    pub(super) at: usize,
    /// How many symbols.
    pub(super) length: usize,
    /// Its first eight symbols, the first in the lowest byte, zeros behind a shorter word.
    pub(super) head: u64,
    /// The same, with all further symbols mixed into it.
    pub(super) key: u64,
    /// Whether a letter is beyond ASCII.
    pub(super) is_foreign: bool,
}

/// Is shown the tokens of a text in order.
pub(super) trait Visitor {
    /// A word.
    fn word(&mut self, word: Word);
    /// A character that is a token of its own, and its symbol.
    fn other(&mut self, at: usize, c: char);
    /// The tokens that begin in one block were shown.
    fn end_block(&mut self) {}
}

/// A word of at most so many symbols has a key that no other word has.
pub(super) const PLAIN_KEY: usize = 8;
/// Set in each symbol of a letter beyond ASCII.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The lowest `count` bytes, at most eight.
const fn mask(count: usize) -> u64 {
    if count >= 8 { u64::MAX } else { !(u64::MAX << (8 * count as u32)) }
}

impl Word {
    /// Its symbols.
    #[inline]
    pub(super) const fn symbols(&self) -> Range<usize> {
        self.at..self.at + self.length
    }

    #[inline]
    fn of(folded: &Folded<'_>, first: u64, at: usize, length: usize) -> Self {
        let head = first & mask(length);
        let (mut key, mut all) = (head, head);
        let mut done = PLAIN_KEY;
        while done < length {
            let next = folded.eight(at + done) & mask(length - done);
            key = key.rotate_left(25).wrapping_mul(MIX) ^ next;
            all |= next;
            done += PLAIN_KEY;
        }
        Self { at, length, head, key, is_foreign: all & HIGH != 0 }
    }
}

/// The key of a character that is a token of its own: no word's, since its highest bit is set and its
/// next ones are not.
pub(super) const fn key_of_char(c: char) -> u64 {
    1 << 63 | c as u64
}

/// How many symbols of words `blocks` begin with.
#[cold]
fn goes_on(blocks: &[Block]) -> usize {
    let mut length = 0;
    for block in blocks {
        let ones = block.words.trailing_ones() as usize;
        length += ones;
        if ones < BLOCK {
            break;
        }
    }
    length
}

/// Shows `visitor` every token.
#[inline]
pub(super) fn walk(folded: &Folded<'_>, visitor: &mut impl Visitor) {
    let mut before = 0;
    for (index, block) in folded.blocks.iter().enumerate() {
        let mut tokens = (block.words & !(block.words << 1 | before)) | block.others;
        before = block.words >> (BLOCK - 1);
        let window = folded.window(index);
        while tokens != 0 {
            let bit = tokens.trailing_zeros() as usize % BLOCK;
            tokens &= tokens - 1;
            let at = index * BLOCK + bit;
            let rest = block.words >> bit;
            if rest & 1 != 0 {
                let mut length = rest.trailing_ones() as usize;
                if bit + length == BLOCK {
                    length += goes_on(&folded.blocks[index + 1..]);
                }
                visitor.word(Word::of(folded, eight_at(window, bit), at, length));
            } else if let Some(c) = folded.char_at(at) {
                visitor.other(at, c);
            }
        }
        visitor.end_block();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Visitor, Word, walk};
    use crate::classify::fold::fold;

    #[derive(Default)]
    struct Seen(Vec<(String, usize)>, Vec<Word>);

    impl Seen {
        fn of(text: &str) -> Self {
            let mut seen = Self::default();
            fold(text, |folded| walk(folded, &mut seen));
            seen
        }
    }

    impl Visitor for Seen {
        fn word(&mut self, word: Word) {
            self.0.push((format!("{}", word.length), word.at));
            self.1.push(word);
        }

        fn other(&mut self, at: usize, c: char) {
            self.0.push((c.to_string(), at));
        }
    }

    fn key(text: &str) -> u64 {
        Seen::of(text).1[0].key
    }

    #[test]
    fn keys_ignore_case_and_the_value_of_digits_and_nothing_else() {
        for (one, other) in
            [("Python", "pYTHON"), ("x19", "X20"), ("Internationalisation", "INTERNATIONALISATION")]
        {
            assert_eq!(key(one), key(other));
        }
        let words = [
            "a",
            "b",
            "aa",
            "code",
            "coda",
            "codes",
            "function",
            "functions",
            "x1",
            "x_",
            "internationals",
            "internationale",
            "eeeeeeeeeeeeeeeea",
            "eeeeeeeeeeeeeeeeb",
            "код",
            "кот",
        ];
        for (index, one) in words.iter().enumerate() {
            assert!(words[index + 1..].iter().all(|other| key(one) != key(other)), "{one}");
        }
    }

    #[test]
    fn tokens_come_in_order_and_blanks_do_not() {
        let seen = Seen::of("Hi, é x\n字b");
        let expected = [("2", 0), (",", 2), ("1", 4), ("1", 6), ("\n", 7), ("字", 8), ("1", 9)];
        assert_eq!(seen.0, expected.map(|(token, at)| (token.to_owned(), at)));
    }

    #[test]
    fn words_of_any_length_at_any_place_end_where_they_end() {
        for at in [0, 1, 55, 56, 63, 64, 100] {
            for length in (1..20).chain([63, 64, 65, 127, 128, 129, 200]) {
                for behind in ["", " ", "-"] {
                    let text =
                        format!("{}{}{behind}", " ".repeat(at), "aB3_x".repeat(40)[..length].to_owned());
                    let word = Seen::of(&text).1[0];
                    assert_eq!((word.at, word.length), (at, length), "{text:?}");
                    let alone = key(&text[at..at + length]);
                    assert_eq!(word.key, alone, "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_walked(text in "\\PC{0,300}") {
            let seen = Seen::of(&text);
            prop_assert!(seen.0.iter().zip(seen.0.iter().skip(1)).all(|(one, next)| one.1 < next.1));
        }
    }
}
