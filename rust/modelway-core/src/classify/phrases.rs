//! Finding any of some thousand phrases in one walk over a text.
//!
//! A phrase is found by its first word, hashed while the walk passes over it, so that a word that begins
//! no phrase costs one look at a table. Stems are found by their first four bytes, signs by their first
//! byte, and words of scripts without spaces by their first character.

use std::collections::HashMap;
use std::ops::Range;

/// A stem must be as long as the part it is found by.
pub(super) const STEM_BYTES: usize = 4;

/// Letters, digits and `_` in lower case; 0 for every other byte.
const LOWER: [u8; 256] = {
    let mut lower = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let ascii = byte as u8;
        if ascii.is_ascii_alphanumeric() || ascii == b'_' {
            lower[byte] = ascii.to_ascii_lowercase();
        }
        byte += 1;
    }
    lower
};

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

/// One phrase, the place it is known by, and how many of its bytes its key was made from.
#[derive(Debug)]
struct Listed {
    /// The second byte behind the key, where there is one: the first letter of the second word, which
    /// tells most phrases with the same first word apart.
    telling: Option<u8>,
    phrase: Box<[u8]>,
    key_bytes: usize,
    place: usize,
}

/// How a phrase is found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Word(u32),
    Stem(u32),
    Character(u32),
    Sign(u8),
}

impl Phrases {
    /// Phrases in lower case, none empty; `is_stem` tells of which any ending is welcome.
    pub(super) fn new(phrases: &[String], is_stem: impl Fn(usize) -> bool) -> Self {
        let mut by_key: HashMap<Key, Vec<(usize, usize)>> = HashMap::new();
        for (place, phrase) in phrases.iter().enumerate() {
            if let Some((key, key_bytes)) = Key::of(phrase, is_stem(place)) {
                by_key.entry(key).or_default().push((place, key_bytes));
            }
        }
        let mut listed = Vec::with_capacity(phrases.len());
        let (mut words, mut stems, mut characters) = (Vec::new(), Vec::new(), Vec::new());
        let mut signs = vec![0..0; 256];
        let mut sorted: Vec<_> = by_key.into_iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        for (key, mut places) in sorted {
            places.sort_by_key(|(place, _)| std::cmp::Reverse(phrases[*place].len()));
            let first = listed.len();
            listed.extend(places.into_iter().map(|(place, key_bytes)| Listed {
                telling: phrases[place].as_bytes().get(key_bytes + 1).copied(),
                phrase: phrases[place].as_bytes().into(),
                key_bytes,
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

    /// Walks over `text` and offers what it finds as (start, end, place), the longest first; `take`
    /// answers where to go on, or `None` to be offered a shorter one.
    pub(super) fn scan(&self, text: &str, take: &mut impl FnMut(usize, usize, usize) -> Option<usize>) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if LOWER[usize::from(byte)] != 0 {
                let (word, stem, end) = hash_word(bytes, at);
                at = self
                    .offer(bytes, at, self.words.get(word), take)
                    .or_else(|| self.offer(bytes, at, self.stems.get(stem?), take))
                    .unwrap_or(end);
            } else if byte == b' ' {
                at += 1;
            } else if byte.is_ascii() {
                let range = self.signs[usize::from(byte)].clone();
                at = self.offer(bytes, at, range, take).unwrap_or(at + 1);
            } else {
                at = self.beyond_ascii(text, at, take);
            }
        }
    }

    fn beyond_ascii(
        &self,
        text: &str,
        at: usize,
        take: &mut impl FnMut(usize, usize, usize) -> Option<usize>,
    ) -> usize {
        let bytes = text.as_bytes();
        let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else { return at + 1 };
        let next = at + c.len_utf8();
        if is_unspaced(c) {
            let found = self.characters.get(hash(&bytes[at..next]));
            return self.offer(bytes, at, found, take).unwrap_or(next);
        }
        let (word, stem, end) = hash_wide_word(text, at);
        self.offer(bytes, at, self.words.get(word), take)
            .or_else(|| self.offer(bytes, at, self.stems.get(stem?), take))
            .unwrap_or(end.max(next))
    }

    fn offer(
        &self,
        bytes: &[u8],
        at: usize,
        among: Range<usize>,
        take: &mut impl FnMut(usize, usize, usize) -> Option<usize>,
    ) -> Option<usize> {
        self.listed[among].iter().find_map(|listed| {
            if let Some(byte) = listed.telling
                && bytes.get(at + listed.key_bytes + 1).map(u8::to_ascii_lowercase) != Some(byte)
            {
                return None;
            }
            let end = at + listed.phrase.len();
            let is_here = bytes.get(at..end).is_some_and(|here| is_lower_of(&listed.phrase, here));
            if is_here { take(at, end, listed.place) } else { None }
        })
    }
}

/// Whether `lower` is `text` in lower case; both are of one length.
fn is_lower_of(lower: &[u8], text: &[u8]) -> bool {
    lower.iter().zip(text).all(|(low, byte)| *low == byte.to_ascii_lowercase())
}

impl Key {
    /// The key of a phrase and the length of what it is made from.
    fn of(phrase: &str, is_stem: bool) -> Option<(Self, usize)> {
        let first = phrase.chars().next()?;
        let bytes = phrase.as_bytes();
        if is_unspaced(first) {
            let length = first.len_utf8();
            return Some((Self::Character(hash(&bytes[..length])), length));
        }
        let (word, stem, end) = match first {
            _ if LOWER[usize::from(bytes[0])] != 0 => hash_word(bytes, 0),
            _ if first.is_ascii() => return Some((Self::Sign(bytes[0]), 1)),
            _ => hash_wide_word(phrase, 0),
        };
        // Only where the whole phrase is one word may the ending follow within that word.
        if is_stem && end == bytes.len() {
            stem.map(|hash| (Self::Stem(hash), STEM_BYTES))
        } else {
            Some((Self::Word(word), end))
        }
    }
}

/// FNV-1a, 32 bits: one multiplication a byte, and spread enough for some thousand keys.
const BASIS: u32 = 0x811C_9DC5;
const fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(BASIS, |hash, byte| step(hash, *byte))
}

/// The hash of the ASCII word at `at` in lower case, that of its first bytes where it is long enough to
/// hold a stem, and its end.
fn hash_word(bytes: &[u8], at: usize) -> (u32, Option<u32>, usize) {
    let (mut hash, mut stem) = (BASIS, None);
    let mut length = 0;
    for byte in &bytes[at..] {
        let low = LOWER[usize::from(*byte)];
        if low == 0 {
            break;
        }
        hash = step(hash, low);
        length += 1;
        if length == STEM_BYTES {
            stem = Some(hash);
        }
    }
    (hash, stem, at + length)
}

/// The same for a word of a script beyond ASCII that sets spaces.
fn hash_wide_word(text: &str, at: usize) -> (u32, Option<u32>, usize) {
    let length: usize = text[at..]
        .chars()
        .take_while(|c| !c.is_ascii() && !is_unspaced(*c) && (c.is_alphanumeric() || is_mark(*c)))
        .map(char::len_utf8)
        .sum();
    let word = &text.as_bytes()[at..at + length];
    (hash(word), word.get(..STEM_BYTES).map(hash), at + length)
}

/// Vowel signs of Indic scripts and the like, which are no letters of their own.
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{591}'..='\u{5C7}' | '\u{610}'..='\u{65F}' | '\u{900}'..='\u{DFF}')
}

/// Whether `c` is of a script that sets no spaces between words: kana, Han, Hangul.
pub(super) const fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{20000}'..='\u{3FFFF}')
}

/// Whether a word goes on across `at`: letters or digits on both sides. Where a script without spaces
/// meets another, a word ends.
pub(super) fn joins(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    match (at.checked_sub(1).map(|before| bytes[before]), bytes.get(at)) {
        (None, _) | (_, None) => false,
        (Some(left), Some(&right)) if left.is_ascii() && right.is_ascii() => {
            LOWER[usize::from(left)] != 0 && LOWER[usize::from(right)] != 0
        }
        _ => {
            let is_word = |c: char| (c.is_alphanumeric() || is_mark(c) || c == '_') && !is_unspaced(c);
            let (before, after) = text.split_at(at);
            before.chars().next_back().is_some_and(is_word) && after.chars().next().is_some_and(is_word)
        }
    }
}

/// Where the word that goes on at `at` ends.
pub(super) fn word_end(bytes: &[u8], at: usize) -> usize {
    let is_part = |byte: &u8| LOWER[usize::from(*byte)] != 0 || !byte.is_ascii();
    bytes[at..].iter().position(|byte| !is_part(byte)).map_or(bytes.len(), |length| at + length)
}

/// Ranges by hash, open addressing at most half full.
#[derive(Debug)]
struct Table {
    slots: Vec<Slot>,
    mask: usize,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    hash: u32,
    range: Range<u32>,
}

impl Table {
    fn new(keyed: &[(u32, Range<usize>)]) -> Self {
        let mask = (keyed.len() * 2).next_power_of_two().max(16) - 1;
        let mut slots = vec![Slot::default(); mask + 1];
        for (hash, range) in keyed {
            let mut place = *hash as usize & mask;
            while !slots[place].range.is_empty() {
                place = (place + 1) & mask;
            }
            slots[place] = Slot { hash: *hash, range: range.start as u32..range.end as u32 };
        }
        Self { slots, mask }
    }

    /// The range of `hash`, empty where there is none.
    fn get(&self, hash: u32) -> Range<usize> {
        let mut place = hash as usize & self.mask;
        loop {
            let slot = &self.slots[place];
            if slot.hash == hash || slot.range.is_empty() {
                return slot.range.start as usize..slot.range.end as usize;
            }
            place = (place + 1) & self.mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Phrases;

    fn found(phrases: &[&str], text: &str) -> Vec<(usize, String)> {
        let list: Vec<String> =
            phrases.iter().map(|phrase| phrase.trim_end_matches('*').to_owned()).collect();
        let is_stem = |place: usize| phrases[place].ends_with('*');
        let mut found = Vec::new();
        Phrases::new(&list, is_stem).scan(text, &mut |start, end, place| {
            found.push((start, list[place].clone()));
            Some(end)
        });
        found
    }

    #[test]
    fn the_longest_phrase_is_offered_first_and_may_be_refused() {
        let phrases = ["write", "write a poem", "write a"];
        assert_eq!(found(&phrases, "Write A Poem"), [(0, "write a poem".to_owned())]);
        assert_eq!(found(&phrases, "rewrite, write an ode"), [(9, "write a".to_owned())]);
        let list: Vec<String> = phrases.iter().map(|phrase| (*phrase).to_owned()).collect();
        let mut offered = Vec::new();
        Phrases::new(&list, |_| false).scan("write a poem", &mut |_, end, place| {
            offered.push(place);
            (place == 0).then_some(end)
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
