//! Finding any of some thousand phrases at the tokens of a text.
//!
//! A phrase is found by the key of its first word, so that a word that begins no phrase costs one look at
//! a table. Stems are found by their first four bytes, signs by their first byte, and words of scripts
//! beyond ASCII by their first character.

use std::collections::HashMap;
use std::ops::Range;

use super::tokens::{STEM_BYTES, Token, Word, slot_of};

/// The phrases, each known by its place in the list they were made from.
#[derive(Debug)]
pub(super) struct Phrases {
    /// All phrases; those that are found by the same key stand together, the longest first.
    listed: Vec<Listed>,
    words: Table,
    stems: Table,
    characters: Table,
    signs: Vec<Range<usize>>,
}

/// One phrase and the place it is known by.
#[derive(Debug)]
struct Listed {
    /// The second byte behind the key, where there is one: the first letter of the second word, which
    /// tells most phrases with the same first word apart.
    telling: Option<u8>,
    phrase: Box<[u8]>,
    /// How many of its bytes its key was made from, and how many of them the key vouches for.
    key_bytes: usize,
    vouched: usize,
    place: usize,
}

/// How a phrase is found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Word(u64),
    Stem(u64),
    Character(u64),
    Sign(u8),
}

impl Phrases {
    /// Phrases in lower case, none empty; `is_stem` tells of which any ending is welcome.
    pub(super) fn new(phrases: &[String], is_stem: impl Fn(usize) -> bool) -> Self {
        let mut by_key: HashMap<Key, Vec<(usize, usize, usize)>> = HashMap::new();
        for (place, phrase) in phrases.iter().enumerate() {
            if let Some((key, key_bytes, vouched)) = Key::of(phrase, is_stem(place)) {
                by_key.entry(key).or_default().push((place, key_bytes, vouched));
            }
        }
        let mut listed = Vec::with_capacity(phrases.len());
        let (mut words, mut stems, mut characters) = (Vec::new(), Vec::new(), Vec::new());
        let mut signs = vec![0..0; 256];
        let mut sorted: Vec<_> = by_key.into_iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        for (key, mut places) in sorted {
            places.sort_by_key(|(place, ..)| std::cmp::Reverse(phrases[*place].len()));
            let first = listed.len();
            listed.extend(places.into_iter().map(|(place, key_bytes, vouched)| Listed {
                telling: phrases[place].as_bytes().get(key_bytes + 1).copied(),
                phrase: phrases[place].as_bytes().into(),
                key_bytes,
                vouched,
                place,
            }));
            let range = first..listed.len();
            match key {
                Key::Word(hash) => words.push((hash, range)),
                Key::Stem(hash) => stems.push((hash, range)),
                Key::Character(hash) => characters.push((hash, range)),
                Key::Sign(byte) => signs[usize::from(byte)] = range,
            }
        }
        let [words, stems, characters] = [words, stems, characters].map(|keyed| Table::new(&keyed));
        Self { listed, words, stems, characters, signs }
    }

    /// Offers what begins at `token` of `bytes` as (start, end, place), the longest first, until `take`
    /// accepts one.
    pub(super) fn find(
        &self,
        bytes: &[u8],
        token: Token,
        take: &mut impl FnMut(usize, usize, usize) -> bool,
    ) {
        match token {
            Token::Word(word) => {
                let is_found = self.offer(bytes, word.start, self.words.get(word.key), take);
                if let (false, Some(stem)) = (is_found, word.stem()) {
                    self.offer(bytes, word.start, self.stems.get(stem), take);
                }
            }
            Token::Sign(at) => {
                self.offer(bytes, at, self.signs[usize::from(bytes[at])].clone(), take);
            }
            Token::Wide(at, c) => {
                self.offer(bytes, at, self.characters.get(u64::from(u32::from(c))), take);
            }
        }
    }

    fn offer(
        &self,
        bytes: &[u8],
        at: usize,
        among: Range<usize>,
        take: &mut impl FnMut(usize, usize, usize) -> bool,
    ) -> bool {
        self.listed[among].iter().any(|listed| {
            // Bits of case are left out: this only has to tell most others apart.
            if listed.telling.is_some_and(|byte| {
                bytes.get(at + listed.key_bytes + 1).is_none_or(|here| (here ^ byte) & 0xDF != 0)
            }) {
                return false;
            }
            let end = at + listed.phrase.len();
            let unsure = listed.vouched;
            let is_here =
                bytes.get(at + unsure..end).is_some_and(|here| is_lower_of(&listed.phrase[unsure..], here));
            is_here && take(at, end, listed.place)
        })
    }
}

/// Whether `lower` is `text` in lower case; both are of one length.
fn is_lower_of(lower: &[u8], text: &[u8]) -> bool {
    lower.iter().zip(text).all(|(low, byte)| *low == byte.to_ascii_lowercase())
}

impl Key {
    /// The key of a phrase, how many bytes it is made from, and how many of them it vouches for.
    fn of(phrase: &str, is_stem: bool) -> Option<(Self, usize, usize)> {
        let first = phrase.chars().next()?;
        let bytes = phrase.as_bytes();
        if !first.is_ascii() {
            return Some((Self::Character(u64::from(u32::from(first))), first.len_utf8(), first.len_utf8()));
        }
        if !is_word(bytes[0]) {
            return Some((Self::Sign(bytes[0]), 1, 1));
        }
        let word = Word::at(bytes, 0);
        // Only where the whole phrase is one word may the ending follow within that word.
        if is_stem && word.end == bytes.len() {
            word.stem().map(|key| (Self::Stem(key), STEM_BYTES, STEM_BYTES))
        } else {
            Some((Self::Word(word.key), word.end, word.vouched()))
        }
    }
}

/// Vowel signs of Indic scripts and the like, which are no letters of their own.
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{591}'..='\u{5C7}' | '\u{610}'..='\u{65F}' | '\u{900}'..='\u{DFF}')
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether `c` is of a script that sets no spaces between words: kana, Han, Hangul.
pub(super) const fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{20000}'..='\u{3FFFF}')
}

/// Whether a word goes on across `at`: letters or digits on both sides. Where a script without spaces
/// meets another, a word ends.
pub(super) fn joins(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    let (Some(left), Some(right)) = (at.checked_sub(1).map(|before| bytes[before]), bytes.get(at)) else {
        return false;
    };
    if left.is_ascii() && right.is_ascii() {
        return is_word(left) && is_word(*right);
    }
    let is_word = |c: char| (c.is_alphanumeric() || is_mark(c) || c == '_') && !is_unspaced(c);
    let (before, after) = text.split_at(at);
    before.chars().next_back().is_some_and(is_word) && after.chars().next().is_some_and(is_word)
}

/// Where the word that goes on at `at` ends.
pub(super) fn word_end(bytes: &[u8], at: usize) -> usize {
    let is_part = |byte: &u8| is_word(*byte) || !byte.is_ascii();
    bytes[at..].iter().position(|byte| !is_part(byte)).map_or(bytes.len(), |length| at + length)
}

/// Ranges by key, open addressing at most half full.
#[derive(Debug)]
struct Table {
    slots: Vec<Slot>,
    bits: u32,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    key: u64,
    range: Range<u32>,
}

impl Table {
    fn new(keyed: &[(u64, Range<usize>)]) -> Self {
        let bits = (keyed.len() * 2).max(16).next_power_of_two().trailing_zeros();
        let mut slots = vec![Slot::default(); 1 << bits];
        for (key, range) in keyed {
            let mut place = slot_of(*key, bits);
            while !slots[place].range.is_empty() {
                place = (place + 1) % slots.len();
            }
            slots[place] = Slot { key: *key, range: range.start as u32..range.end as u32 };
        }
        Self { slots, bits }
    }

    /// The range of `key`, empty where there is none.
    fn get(&self, key: u64) -> Range<usize> {
        let mut place = slot_of(key, self.bits);
        loop {
            let slot = &self.slots[place];
            if slot.key == key || slot.range.is_empty() {
                return slot.range.start as usize..slot.range.end as usize;
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Phrases;
    use crate::classify::tokens::walk;

    fn found(phrases: &[&str], text: &str) -> Vec<(usize, String)> {
        let list: Vec<String> =
            phrases.iter().map(|phrase| phrase.trim_end_matches('*').to_owned()).collect();
        let all = Phrases::new(&list, |place| phrases[place].ends_with('*'));
        let mut found = Vec::new();
        walk(text, &mut |token| {
            all.find(text.as_bytes(), token, &mut |start, _, place| {
                found.push((start, list[place].clone()));
                true
            });
        });
        found
    }

    #[test]
    fn the_longest_phrase_is_offered_first_and_may_be_refused() {
        let phrases = ["write", "write a poem", "write a"];
        assert_eq!(found(&phrases, "Write A Poem"), [(0, "write a poem".to_owned())]);
        assert_eq!(found(&phrases, "rewrite, write an ode"), [(9, "write a".to_owned())]);
        let list: Vec<String> = phrases.iter().map(|phrase| (*phrase).to_owned()).collect();
        let all = Phrases::new(&list, |_| false);
        let mut offered = Vec::new();
        walk("write a poem", &mut |token| {
            all.find(b"write a poem", token, &mut |_, _, place| {
                offered.push(place);
                place == 0
            });
        });
        assert_eq!(offered, [1, 2, 0]);
    }

    #[test]
    fn every_kind_of_phrase_is_found() {
        let phrases = ["```", "debug*", "c++", "函数", "код", "философ*", "' or 1=1", "कोड"];
        for (text, start, phrase) in [
            ("see ```x```", 4, "```"),
            ("debugging", 0, "debug"),
            ("in C++ now", 3, "c++"),
            ("写一个函数吧", 9, "函数"),
            ("мой код тут", 7, "код"),
            ("философия", 0, "философ"),
            ("x' OR 1=1", 1, "' or 1=1"),
            ("एक कोड", 7, "कोड"),
        ] {
            assert_eq!(found(&phrases, text).first(), Some(&(start, phrase.to_owned())), "{text:?}");
        }
    }
}
