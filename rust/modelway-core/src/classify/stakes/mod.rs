//! Whether somebody could be harmed by relying on a wrong answer: questions of tax, medicine and law.
//!
//! Words found in a bounded look at the user's own words give points, once each. Words of other kinds of
//! request ("write a story", "history of") take points away, and phrases that only look like it ("law of
//! cosines") hide the words inside them. Each language is counted alone, and the one with the most words in
//! the text is believed: "gift" is a present in one language and poison in another.

mod words;

use std::borrow::Cow;
use std::sync::LazyLock;

use smallvec::SmallVec;

use super::boundaries::joins;
use super::fold::fold;
use super::folded::Folded;
use super::ngrams::Ngrams;
use super::phrases::Start;
use super::sample::Sample;
use super::tokens::{Visitor, Word, walk};
use super::wrappers::own_words;
use words::{LANGUAGES, Says, Words};

/// What a wrong answer could do harm in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stake {
    /// What is owed to the state, and how it is told.
    Tax,
    /// Body and mind: symptoms, medicines, crises.
    Medical,
    /// Rights and duties: contracts, work, housing, family, police, papers.
    Legal,
}

impl Stake {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Tax, Self::Medical, Self::Legal];

    /// Its name in warnings and in the lexicon.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tax => "tax",
            Self::Medical => "medical",
            Self::Legal => "legal",
        }
    }
}

/// Points from which a stake counts: those of one word that hardly says anything else.
const ENOUGH: u16 = 3;
/// Points for a question that somebody asks for themselves ("do I have to"), added to the likeliest stake.
const ASKED: u16 = 1;
/// A text of which fewer than one word in so many is known is in none of the languages.
const KNOWN_SHARE: usize = 8;

static WORDS: LazyLock<Words> = LazyLock::new(Words::shipped);

/// The stakes of a request, in the order of [`Stake::ALL`]; of a long text its head and its tail are read.
#[must_use]
pub fn stakes_of(text: &str) -> SmallVec<[Stake; 3]> {
    let Some(own) = own_words(text) else { return SmallVec::new() };
    let words = &*WORDS;
    let mut tally = Tally::new(words.len());
    for part in Sample::of(&text[own]).parts() {
        // The apostrophe that phones write.
        let part = if part.contains('’') { Cow::Owned(part.replace('’', "'")) } else { Cow::Borrowed(*part) };
        fold(&part, |folded| {
            let mut reader = Reader::new(words, folded, &mut tally);
            walk(folded, &mut reader);
            reader.look(None);
        });
    }
    tally.stakes()
}

/// What was found, language by language.
struct Tally {
    /// Which entries were found, as bits.
    found: Vec<u64>,
    words_in_text: usize,
    known: [usize; LANGUAGES],
    points: [[u16; Stake::ALL.len()]; LANGUAGES],
    away: [u16; LANGUAGES],
    is_asked: [bool; LANGUAGES],
}

impl Tally {
    fn new(entries: usize) -> Self {
        Self {
            found: vec![0; entries.div_ceil(64)],
            words_in_text: 0,
            known: [0; LANGUAGES],
            points: [[0; Stake::ALL.len()]; LANGUAGES],
            away: [0; LANGUAGES],
            is_asked: [false; LANGUAGES],
        }
    }

    fn take(&mut self, words: &Words, place: usize) {
        let (cell, bit) = (&mut self.found[place / 64], 1 << (place % 64));
        let is_new = *cell & bit == 0;
        *cell |= bit;
        for (language, says) in words.said(place) {
            match language {
                Some(language) => {
                    self.known[*language] += 1;
                    self.count(*language, *says, is_new);
                }
                None => (0..LANGUAGES).for_each(|language| self.count(language, *says, is_new)),
            }
        }
    }

    fn count(&mut self, language: usize, says: Says, is_new: bool) {
        match says {
            Says::Stake(stake, points) if is_new => self.points[language][stake as usize] += points,
            Says::Away(points) if is_new => self.away[language] += points,
            Says::Asked => self.is_asked[language] = true,
            _ => {}
        }
    }

    fn stakes(&self) -> SmallVec<[Stake; 3]> {
        let most = self.known.iter().copied().max().unwrap_or(0);
        if self.words_in_text > KNOWN_SHARE * (most + 1) {
            return SmallVec::new();
        }
        let believed = (0..LANGUAGES).filter(|language| self.known[*language] == most);
        let is_at_stake = |stake: &Stake| believed.clone().any(|language| self.is_enough(language, *stake));
        Stake::ALL.into_iter().filter(is_at_stake).collect()
    }

    fn is_enough(&self, language: usize, stake: Stake) -> bool {
        let points = self.points[language][stake as usize];
        let top = self.points[language].iter().copied().max().unwrap_or(0);
        // A second stake that has less than half the points of the first is mentioned, not asked about.
        if points == 0 || points < top.div_ceil(2) {
            return false;
        }
        let asked = if points == top && self.is_asked[language] { ASKED } else { 0 };
        points + asked >= ENOUGH + self.away[language]
    }
}

/// Looks for phrases at the tokens of a part. One that begins with a word is looked for when the next
/// token is known.
struct Reader<'a> {
    words: &'static Words,
    folded: &'a Folded<'a>,
    tally: &'a mut Tally,
    ngrams: Ngrams,
    /// The word shown last, unless something else came behind it, and where it ends.
    last: Option<(Start, usize)>,
    /// Where the last phrase found ends; tokens inside it begin no other.
    done_until: usize,
}

impl<'a> Reader<'a> {
    fn new(words: &'static Words, folded: &'a Folded<'a>, tally: &'a mut Tally) -> Self {
        Self { words, folded, tally, ngrams: Ngrams::new(), last: None, done_until: 0 }
    }

    /// Looks at the last word. `next`: the hash of it and the word behind it, and where that begins.
    fn look(&mut self, next: Option<(u64, usize)>) {
        let Some((start, end)) = self.last.take().filter(|(start, _)| start.byte >= self.done_until) else {
            return;
        };
        let phrases = &self.words.phrases;
        let pair = next.filter(|(_, at)| *at == end + 1).map(|(pair, _)| pair);
        if phrases.may_begin(&start) | pair.is_some_and(|pair| phrases.may_begin_pair(pair)) {
            let bytes = self.folded.text.as_bytes();
            phrases.find(bytes, &start, pair, &mut |start, end, place| self.take(start, end, place));
        }
    }

    fn look_at_char(&mut self, at: usize, c: char) {
        if at >= self.done_until {
            let bytes = self.folded.text.as_bytes();
            let phrases = &self.words.phrases;
            phrases.find_at_char(bytes, at, c, &mut |start, end, place| self.take(start, end, place));
        }
    }

    /// Takes what stands at `start..end`, unless it is part of a longer word there.
    fn take(&mut self, start: usize, mut end: usize, place: usize) -> bool {
        let text = self.folded.text;
        let is_stem = self.words.is_stem(place);
        if joins(text, start) || (joins(text, end) && !is_stem) {
            return false;
        }
        // The rest of a word that a stem began belongs to it.
        while joins(text, end) {
            end += text[end..].chars().next().map_or(1, char::len_utf8);
        }
        self.done_until = end;
        self.tally.take(self.words, place);
        true
    }
}

impl Visitor for Reader<'_> {
    fn word(&mut self, word: Word) {
        self.tally.words_in_text += 1;
        let hashes = self.ngrams.hashes(&word);
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
        self.look(None);
        self.look_at_char(self.folded.byte(at), c);
    }
}

#[cfg(test)]
mod tests;
