//! Finding any of some thousand phrases at the tokens of a text.
//!
//! A phrase is found by the hash of its first two words, or of its only one, so that few words are looked
//! at twice: a table of bits tells most that begin no phrase. Stems are found by their first four letters,
//! signs by their first byte, and words beyond ASCII by their first character.

use std::collections::HashMap;
use std::ops::Range;

use super::fold::fold;
use super::hash_table::{Filter, Table};
use super::ngrams::{hash, hash_of_pair};
use super::tokens::{PLAIN_KEY, Visitor, Word, walk};

/// The phrases, each known by its place in the list they were made from.
#[derive(Debug)]
pub(super) struct Phrases {
    /// All phrases; those that are found by the same key stand together, the longest first.
    listed: Vec<Listed>,
    words: Table,
    pairs: Table,
    stems: Table,
    characters: Table,
    signs: Vec<Range<usize>>,
    filter: Filter,
}

/// One phrase and the place it is known by.
#[derive(Debug)]
struct Listed {
    phrase: Box<[u8]>,
    /// How many of its first bytes its key vouches for.
    vouched: usize,
    place: usize,
}

/// How a phrase is found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    /// The hash of its first word, and that of its stem.
    Word(u64, u64),
    /// The hash of its first two words, a blank between.
    Pair(u64),
    /// The hash of its first letters.
    Stem(u64),
    Character(u64),
    Sign(u8),
}

/// A stem is found by this many letters and must be as long.
const STEM_LETTERS: usize = 4;

/// The hash of the first letters of a word; of a word that is shorter than a stem, no stem's.
#[inline]
const fn hash_of_stem(word: &Word) -> u64 {
    hash(word.head & 0xFFFF_FFFF)
}

/// A word of a text, where phrases may begin.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start {
    pub(super) byte: usize,
    hash: u64,
    stem: u64,
}

impl Start {
    /// The word at `byte`, whose hash is `hash`.
    #[inline]
    pub(super) const fn of(word: &Word, byte: usize, hash: u64) -> Self {
        Self { byte, hash, stem: hash_of_stem(word) }
    }
}

impl Phrases {
    /// Phrases in lower case, none empty; `is_stem` tells of which any ending is welcome.
    pub(super) fn new(phrases: &[String], is_stem: impl Fn(usize) -> bool) -> Self {
        let mut by_key: HashMap<Key, Vec<(usize, usize)>> = HashMap::new();
        for (place, phrase) in phrases.iter().enumerate() {
            if let Some((key, vouched)) = Key::of(phrase, is_stem(place)) {
                by_key.entry(key).or_default().push((place, vouched));
            }
        }
        let mut listed = Vec::with_capacity(phrases.len());
        let (mut words, mut pairs, mut stems, mut characters) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut signs = vec![0..0; 256];
        let mut filter = Filter::new();
        let mut sorted: Vec<_> = by_key.into_iter().collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        for (key, mut places) in sorted {
            places.sort_by_key(|(place, _)| std::cmp::Reverse(phrases[*place].len()));
            let first = listed.len();
            listed.extend(places.into_iter().map(|(place, vouched)| Listed {
                phrase: phrases[place].as_bytes().into(),
                vouched,
                place,
            }));
            let range = first..listed.len();
            let table = match key {
                Key::Word(hash, stem) => Some((&mut words, hash, stem)),
                Key::Pair(hash) => Some((&mut pairs, hash, hash)),
                Key::Stem(hash) => Some((&mut stems, hash, hash)),
                Key::Character(code) => {
                    characters.push((hash(code), range.clone()));
                    None
                }
                Key::Sign(byte) => {
                    signs[usize::from(byte)] = range.clone();
                    None
                }
            };
            if let Some((table, hash, line)) = table {
                filter.insert(line, hash);
                table.push((hash, range));
            }
        }
        let [words, pairs, stems, characters] =
            [words, pairs, stems, characters].map(|keyed| Table::new(&keyed));
        Self { listed, words, pairs, stems, characters, signs, filter }
    }

    /// Whether a phrase may begin with this word alone; seldom true where none does.
    #[inline]
    pub(super) fn may_begin(&self, start: &Start) -> bool {
        self.filter.has_either(start.stem, start.hash, start.stem)
    }

    /// Whether a phrase may begin with the two words of this hash; seldom true where none does.
    #[inline]
    pub(super) fn may_begin_pair(&self, pair: u64) -> bool {
        self.filter.has(pair)
    }

    /// Offers what begins at a word of `bytes` as (start, end, place), the longest first, until `take`
    /// accepts one. `pair`: the hash of it and the next word, if a blank stands between.
    pub(super) fn find(
        &self,
        bytes: &[u8],
        start: &Start,
        pair: Option<u64>,
        take: &mut impl FnMut(usize, usize, usize) -> bool,
    ) {
        let at = start.byte;
        let _ = pair.is_some_and(|pair| self.offer(bytes, at, self.pairs.get(pair), take))
            || self.offer(bytes, at, self.words.get(start.hash), take)
            || self.offer(bytes, at, self.stems.get(start.stem), take);
    }

    /// The same of a character of its own, or one of a word beyond ASCII.
    pub(super) fn find_at_char(
        &self,
        bytes: &[u8],
        at: usize,
        c: char,
        take: &mut impl FnMut(usize, usize, usize) -> bool,
    ) {
        let among = if c.is_ascii() {
            self.signs[c as usize].clone()
        } else {
            self.characters.get(hash(u64::from(u32::from(c))))
        };
        self.offer(bytes, at, among, take);
    }

    fn offer(
        &self,
        bytes: &[u8],
        at: usize,
        among: Range<usize>,
        take: &mut impl FnMut(usize, usize, usize) -> bool,
    ) -> bool {
        self.listed[among].iter().any(|listed| {
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

/// The first two words of a phrase, and where they stand.
#[derive(Default)]
struct Words(Vec<(Word, Range<usize>)>);

impl Visitor for Words {
    fn word(&mut self, word: Word) {
        self.0.push((word, word.symbols()));
    }

    fn other(&mut self, _at: usize, _c: char) {}
}

impl Key {
    /// The key of a phrase, and how many of its first bytes it vouches for.
    fn of(phrase: &str, is_stem: bool) -> Option<(Self, usize)> {
        let first = phrase.chars().next()?;
        if !first.is_ascii() {
            return Some((Self::Character(u64::from(u32::from(first))), first.len_utf8()));
        }
        let mut words = Words::default();
        fold(phrase, |folded| {
            walk(folded, &mut words);
            words.0.iter_mut().for_each(|(_, symbols)| *symbols = folded.bytes(symbols.clone()));
        });
        let Some((word, place)) = words.0.first().filter(|(_, place)| place.start == 0) else {
            return Some((Self::Sign(phrase.as_bytes()[0]), 1));
        };
        // The ending of a stem may follow within its last word, so that word's own end is not known.
        let is_known = |place: &Range<usize>| !is_stem || place.end < phrase.len();
        // All digits are alike to a key, and longer words are mixed.
        let is_plain = |place: &Range<usize>| {
            place.len() <= PLAIN_KEY && !phrase.as_bytes()[place.clone()].iter().any(u8::is_ascii_digit)
        };
        let vouched = if is_plain(place) { place.len() } else { 0 };
        if !is_known(place) {
            let is_long_enough = word.length >= STEM_LETTERS;
            return is_long_enough.then(|| (Self::Stem(hash_of_stem(word)), 0));
        }
        let beside = words.0.get(1).filter(|(_, next)| {
            next.start == place.end + 1 && phrase.as_bytes()[place.end] == b' ' && is_known(next)
        });
        Some(match beside {
            Some((next, place)) => {
                let is_plain = vouched > 0 && place.end == phrase.len() && is_plain(place);
                (Self::Pair(hash_of_pair(word.key, next.key)), if is_plain { phrase.len() } else { 0 })
            }
            None => (Self::Word(hash(word.key), hash_of_stem(word)), vouched),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Phrases, Start, hash, hash_of_pair};
    use crate::classify::fold::fold;
    use crate::classify::folded::Folded;
    use crate::classify::tokens::{Visitor, Word, walk};

    /// Offers all that begins anywhere in a text.
    struct Finder<'a, T> {
        phrases: &'a Phrases,
        folded: Folded<'a>,
        start: Option<(Start, Word)>,
        take: T,
    }

    impl<T: FnMut(usize, usize, usize) -> bool> Finder<'_, T> {
        fn look(&mut self, next: Option<&Word>) {
            let Some((start, word)) = self.start.take() else { return };
            let beside = next.filter(|next| next.at == word.at + word.length + 1);
            let pair = beside.map(|next| hash_of_pair(word.key, next.key));
            if self.phrases.may_begin(&start) | pair.is_some_and(|pair| self.phrases.may_begin_pair(pair)) {
                self.phrases.find(self.folded.text.as_bytes(), &start, pair, &mut self.take);
            }
        }

        fn look_at_chars(&mut self, bytes: std::ops::Range<usize>) {
            let text = self.folded.text;
            for (at, c) in text[bytes.clone()].char_indices().filter(|(_, c)| !c.is_ascii_alphanumeric()) {
                self.phrases.find_at_char(text.as_bytes(), bytes.start + at, c, &mut self.take);
            }
        }
    }

    impl<T: FnMut(usize, usize, usize) -> bool> Visitor for Finder<'_, T> {
        fn word(&mut self, word: Word) {
            self.look(Some(&word));
            let bytes = self.folded.bytes(word.symbols());
            self.start = Some((Start::of(&word, bytes.start, hash(word.key)), word));
            self.look_at_chars(bytes);
        }

        fn other(&mut self, at: usize, c: char) {
            self.look(None);
            let byte = self.folded.byte(at);
            self.look_at_chars(byte..byte + c.len_utf8());
        }
    }

    fn offered(phrases: &[&str], text: &str, mut accepts: impl FnMut(&str) -> bool) -> Vec<(usize, String)> {
        let list: Vec<String> =
            phrases.iter().map(|phrase| phrase.trim_end_matches('*').to_owned()).collect();
        let all = Phrases::new(&list, |place| phrases[place].ends_with('*'));
        let mut found = Vec::new();
        fold(text, |folded| {
            let take = |start, _, place: usize| {
                found.push((start, list[place].clone()));
                accepts(&list[place])
            };
            let mut finder = Finder { phrases: &all, folded: *folded, start: None, take };
            walk(folded, &mut finder);
            finder.look(None);
        });
        found
    }

    fn found(phrases: &[&str], text: &str) -> Vec<(usize, String)> {
        offered(phrases, text, |_| true)
    }

    #[test]
    fn the_longest_phrase_is_offered_first_and_may_be_refused() {
        let phrases = ["write", "write a poem", "write a"];
        assert_eq!(found(&phrases, "Write A Poem"), [(0, "write a poem".to_owned())]);
        assert_eq!(found(&phrases, "rewrite, write an ode"), [(9, "write".to_owned())]);
        let all = offered(&phrases, "write a poem", |phrase| phrase == "write");
        assert_eq!(
            all.iter().map(|(_, phrase)| phrase.as_str()).collect::<Vec<_>>(),
            ["write a poem", "write a", "write"]
        );
    }

    #[test]
    fn every_kind_of_phrase_is_found() {
        let phrases = [
            "```",
            "debug*",
            "c++",
            "log2",
            "trade-off*",
            "sql quer*",
            "would you",
            "函数",
            "код",
            "философ*",
            "' or 1=1",
            "कोड",
        ];
        for (text, start, phrase) in [
            ("see ```x```", 4, "```"),
            ("debugging", 0, "debug"),
            ("in C++ now", 3, "c++"),
            ("my MIS2 is log2", 11, "log2"),
            ("many trade-offs", 5, "trade-off"),
            ("an sql query", 3, "sql quer"),
            ("how would you do", 4, "would you"),
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
