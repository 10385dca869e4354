//! Reading a text: which entries of the lexicon it has, and its n-grams, in one walk.
//!
//! Each language is counted alone, and the one with the most words in the text is believed: "gift" is a
//! present in one language and poison in another.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::super::beyond_ascii::is_wide;
use super::super::boundaries::joins;
use super::super::fold::fold;
use super::super::folded::Folded;
use super::super::ngrams::{Ngrams, Sink};
use super::super::phrases::Start;
use super::super::sample::Sample;
use super::super::tokens::{Visitor, Word, walk};
use super::super::wrappers::own_words;
use super::Stake;
use super::words::{LANGUAGES, Says, Words};

pub(super) static WORDS: LazyLock<Words> = LazyLock::new(Words::shipped);

/// A text of which fewer than one word in so many is known is in none of the languages.
const KNOWN_SHARE: usize = 5;

/// The user's own words, of a long text its head and its tail; none where a program wrote all of it.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    let own = own_words(text).map_or("", |own| &text[own]);
    let [head, tail] = *Sample::of(own).parts();
    [head, tail].into_iter().filter(|part| !part.is_empty())
}

/// Reads all of `part` and tells `sink` its n-grams.
pub(super) fn read<S: Sink>(part: &str, sink: &mut S) -> Found {
    // The apostrophe that phones write.
    let text = if part.contains('’') { Cow::Owned(part.replace('’', "'")) } else { Cow::Borrowed(part) };
    let mut found = Found::new(part.len());
    fold(&text, |folded| {
        Ngrams::fours(folded, sink);
        let mut reader = Reader::new(folded, &mut found, sink);
        walk(folded, &mut reader);
        reader.look(None);
    });
    found
}

/// What was found in a text.
#[derive(Debug)]
pub(super) struct Found {
    /// Which entries, as bits.
    entries: Vec<u64>,
    /// Bytes that were read.
    bytes: usize,
    words_in_text: usize,
    /// How many words of each language.
    known: [usize; LANGUAGES],
}

impl Found {
    fn new(bytes: usize) -> Self {
        Self { entries: vec![0; WORDS.len().div_ceil(64)], bytes, words_in_text: 0, known: [0; LANGUAGES] }
    }

    fn take(&mut self, place: usize) {
        self.entries[place / 64] |= 1 << (place % 64);
        for (language, _) in WORDS.said(place) {
            if let Some(language) = language {
                self.known[*language] += 1;
            }
        }
    }

    /// The places of the entries found.
    pub(super) fn entries(&self) -> impl Iterator<Item = usize> {
        let bits = |(cell, bits): (usize, &u64)| {
            let bits = *bits;
            (0..64).filter(move |bit| bits >> bit & 1 != 0).map(move |bit| 64 * cell + bit)
        };
        self.entries.iter().enumerate().filter(|(_, bits)| **bits != 0).flat_map(bits)
    }

    /// What the entries say that `counts` lets count, in the language that is believed; of two with as many words,
    /// in the one that says more. `None` of a text in no known language.
    pub(super) fn points(&self, counts: impl Fn(usize) -> bool) -> Option<Points> {
        let most = self.known.iter().copied().max().unwrap_or(0);
        if self.words_in_text > KNOWN_SHARE * (most + 1) {
            return None;
        }
        let mut points = [Points::new(self.bytes); LANGUAGES];
        for (language, says) in
            self.entries().filter(|place| counts(*place)).flat_map(|place| WORDS.said(place))
        {
            match language {
                Some(language) => points[*language].add(*says),
                None => points.iter_mut().for_each(|points| points.add(*says)),
            }
        }
        let believed = (0..LANGUAGES).rev().filter(|language| self.known[*language] == most);
        believed.map(|language| points[language]).max_by_key(Points::weight)
    }
}

/// What the entries found in a text say, in one language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Points {
    /// For each stake.
    pub(super) of: [u16; Stake::ALL.len()],
    /// That it is another kind of request.
    pub(super) away: u16,
    /// Whether somebody asks for themselves.
    pub(super) is_asked: bool,
    /// Bytes that were read.
    pub(super) bytes: usize,
}

impl Points {
    const fn new(bytes: usize) -> Self {
        Self { of: [0; Stake::ALL.len()], away: 0, is_asked: false, bytes }
    }

    fn add(&mut self, says: Says) {
        match says {
            Says::Stake(stake, points) => self.of[stake as usize] += points,
            Says::Away(points) => self.away += points,
            Says::Asked => self.is_asked = true,
            Says::Nothing => {}
        }
    }

    pub(super) fn most(&self) -> u16 {
        self.of.iter().copied().max().unwrap_or(0)
    }

    fn weight(&self) -> i32 {
        i32::from(self.most()) - i32::from(self.away)
    }
}

/// Looks for phrases at the tokens of a part, and tells their n-grams. A phrase that begins with a word is
/// looked for when the next token is known.
struct Reader<'a, S: Sink> {
    folded: &'a Folded<'a>,
    found: &'a mut Found,
    ngrams: Ngrams,
    sink: &'a mut S,
    under: S::Under,
    /// The word shown last, unless something else came behind it, and where it ends.
    last: Option<(Start, usize)>,
    /// Where the last phrase found ends; tokens inside it begin no other.
    done_until: usize,
}

impl<'a, S: Sink> Reader<'a, S> {
    fn new(folded: &'a Folded<'a>, found: &'a mut Found, sink: &'a mut S) -> Self {
        let (ngrams, under) = (Ngrams::new(), S::Under::default());
        Self { folded, found, ngrams, sink, under, last: None, done_until: 0 }
    }

    /// Looks at the last word. `next`: the hash of it and the word behind it, and where that begins.
    fn look(&mut self, next: Option<(u64, usize)>) {
        let Some((start, end)) = self.last.take().filter(|(start, _)| start.byte >= self.done_until) else {
            return;
        };
        let phrases = &WORDS.phrases;
        let pair = next.filter(|(_, at)| *at == end + 1).map(|(pair, _)| pair);
        if phrases.may_begin(&start) | pair.is_some_and(|pair| phrases.may_begin_pair(pair)) {
            let bytes = self.folded.text.as_bytes();
            phrases.find(bytes, &start, pair, &mut |start, end, place| self.take(start, end, place));
        }
    }

    fn look_at_char(&mut self, at: usize, c: char) {
        if at >= self.done_until {
            let bytes = self.folded.text.as_bytes();
            WORDS.phrases.find_at_char(bytes, at, c, &mut |start, end, place| self.take(start, end, place));
        }
    }

    /// Takes what stands at `start..end`, unless it is part of a longer word there.
    fn take(&mut self, start: usize, mut end: usize, place: usize) -> bool {
        let text = self.folded.text;
        if joins(text, start) || (joins(text, end) && !WORDS.is_stem(place)) {
            return false;
        }
        // The rest of a word that a stem began belongs to it.
        while joins(text, end) {
            end += text[end..].chars().next().map_or(1, char::len_utf8);
        }
        self.done_until = end;
        self.found.take(place);
        true
    }
}

impl<S: Sink> Visitor for Reader<'_, S> {
    fn word(&mut self, word: Word) {
        self.found.words_in_text += 1;
        let (hashes, under) = self.ngrams.word(&word, self.under, self.sink);
        self.under = under;
        let bytes = self.folded.bytes(word.symbols());
        self.look(Some((hashes.pair, bytes.start)));
        if word.is_foreign {
            let text = self.folded.text;
            for (at, c) in text[bytes.clone()].char_indices().filter(|(_, c)| !c.is_ascii()) {
                self.look_at_char(bytes.start + at, c);
            }
        }
        self.last = Some((Start::of(&word, bytes.start, hashes.word), bytes.end));
    }

    fn other(&mut self, at: usize, c: char) {
        if is_wide(c) {
            self.under = self.ngrams.wide(c, at, self.under, self.sink);
        } else if c != '\n' {
            self.under = Ngrams::sign(c, at, self.under, self.sink);
        }
        self.look(None);
        self.look_at_char(self.folded.byte(at), c);
    }

    fn end_block(&mut self) {
        self.sink.settle(std::mem::take(&mut self.under));
    }
}
