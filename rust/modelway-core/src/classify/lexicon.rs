//! The lexicon: words, phrases, verbs with their objects, and signs, found in one walk over a text.
//!
//! An entry is looked for where a word begins, where a sign stands, and at each character of a script
//! without spaces; the longest that ends at a word's end counts, so that a phrase shields the words
//! inside it ("code of conduct" is not about code). What a verb asks for is its first object: "write a
//! poem about a function" asks for a poem.

use std::collections::HashMap;

use aho_corasick::automaton::Automaton;
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind, StartKind};
use smallvec::SmallVec;

use super::normal::Normal;
use crate::task::TaskClass;

/// Keywords of the configuration, by class.
#[derive(Clone, Debug, Default)]
pub struct Keywords(pub Vec<(TaskClass, Vec<String>)>);

/// Points of a configured keyword: alone it is a lead (0.44), two of one class decide (0.84).
const KEYWORD_POINTS: f32 = 1.8;
/// Points for what a verb asks for.
const OBJECT_POINTS: f32 = 3.5;
/// How far behind its verb an object may stand, in bytes.
const OBJECT_REACH: usize = 48;
/// Words in the middle of a long text say less of what is wanted than those at its ends.
const END_BYTES: usize = 400;
const MIDDLE_SHARE: f32 = 0.4;

/// What one entry says.
#[derive(Clone, Debug, Default)]
struct Entry {
    points: SmallVec<[(TaskClass, f32); 2]>,
    object: Option<TaskClass>,
    is_verb: bool,
    is_symbol: bool,
    /// Any ending may follow.
    is_stem: bool,
    /// Written in a script that sets no spaces between words.
    is_unspaced: bool,
}

/// Something found: `start..end` in bytes of the text gives a class points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) task: TaskClass,
    pub(super) points: f32,
    pub(super) is_symbol: bool,
}

/// All entries, ready to be found.
#[derive(Debug)]
pub(super) struct Lexicon {
    /// `None` only where the automaton could not be built; then structure alone is read.
    automaton: Option<DFA>,
    entries: Vec<Entry>,
}

impl Lexicon {
    /// The built-in lexicon and the configured keywords.
    pub(super) fn new(keywords: &Keywords) -> Self {
        let mut source = Source::default();
        source.read(include_str!("lexicon.txt"));
        for (task, words) in &keywords.0 {
            for word in words {
                let normal = Normal::of(word.trim(), false).text().to_ascii_lowercase();
                source.entry(&normal).set(*task, KEYWORD_POINTS);
            }
        }
        let automaton = DFA::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(StartKind::Anchored)
            .ascii_case_insensitive(true)
            .build(&source.phrases)
            .ok();
        Self { automaton, entries: source.entries }
    }

    /// Tells every hit in `text`, which is in normal form, in order.
    pub(super) fn scan(&self, text: &str, tell: &mut impl FnMut(Hit)) {
        let Some(automaton) = &self.automaton else { return };
        let bytes = text.as_bytes();
        let mut verb_end: Option<usize> = None;
        let mut at = 0;
        while at < bytes.len() {
            let Some((entry, end)) = self.longest(automaton, text, at) else {
                at = next_start(bytes, at);
                continue;
            };
            let share = if end <= END_BYTES || at + END_BYTES >= bytes.len() { 1.0 } else { MIDDLE_SHARE };
            for &(task, points) in &entry.points {
                tell(Hit { start: at, end, task, points: points * share, is_symbol: entry.is_symbol });
            }
            if let (Some(task), Some(verb)) = (entry.object, verb_end)
                && at - verb <= OBJECT_REACH
                && !bytes[verb..at].iter().any(|byte| matches!(byte, b'.' | b'?' | b'!' | b'\n'))
            {
                tell(Hit { start: at, end, task, points: OBJECT_POINTS * share, is_symbol: false });
                verb_end = None;
            }
            if entry.is_verb {
                verb_end = Some(end);
            }
            // The last byte of a hit may be a sign, behind which a word begins.
            at = if is_word(bytes[end - 1]) { next_start(bytes, end - 1) } else { end };
        }
    }

    /// The longest entry that begins at `at` and stands alone, and where it ends.
    fn longest(&self, automaton: &DFA, text: &str, at: usize) -> Option<(&Entry, usize)> {
        let bytes = text.as_bytes();
        let mut state = automaton.start_state(Anchored::Yes).ok()?;
        let mut found = None;
        for (offset, byte) in bytes[at..].iter().enumerate() {
            state = automaton.next_state(Anchored::Yes, state, *byte);
            if automaton.is_special(state) {
                if automaton.is_dead(state) {
                    break;
                }
                if automaton.is_match(state) {
                    let entry = &self.entries[automaton.match_pattern(state, 0).as_usize()];
                    let end = at + offset + 1;
                    if entry.is_symbol || entry.is_unspaced || stands_alone(text, at, end, entry.is_stem) {
                        found = Some((entry, end));
                    }
                }
            }
        }
        found
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The next place behind `at` where an entry may begin: behind the rest of a word, at anything that is
/// no white space. Bytes inside a character are passed over: no entry begins with one.
fn next_start(bytes: &[u8], at: usize) -> usize {
    let mut next = at + 1;
    if bytes.get(at).copied().is_some_and(is_word) {
        while bytes.get(next).copied().is_some_and(is_word) {
            next += 1;
        }
    }
    while bytes.get(next).is_some_and(|byte| matches!(byte, b' ' | 0x80..0xC0)) {
        next += 1;
    }
    next
}

/// Whether no letter or digit touches `start..end`; behind a stem any letters may follow.
fn stands_alone(text: &str, start: usize, end: usize, is_stem: bool) -> bool {
    let touches = |left: Option<char>, right: Option<char>| {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        left.is_some_and(is_word) && right.is_some_and(is_word)
    };
    let (before, after) = text.split_at(end);
    !touches(text[..start].chars().next_back(), text[start..].chars().next())
        && (is_stem || !touches(before.chars().next_back(), after.chars().next()))
}

impl Entry {
    fn set(&mut self, task: TaskClass, points: f32) {
        match self.points.iter_mut().find(|(held, _)| *held == task) {
            Some((_, held)) => *held = held.max(points),
            None => self.points.push((task, points)),
        }
    }
}

/// The entries while they are collected.
#[derive(Debug, Default)]
struct Source {
    phrases: Vec<String>,
    entries: Vec<Entry>,
    place_of: HashMap<String, usize>,
    /// Lines that could not be read; a test holds that there are none.
    refused: Vec<String>,
}

/// What a section of the lexicon says of its entries.
#[derive(Clone, Copy, Debug)]
enum Section {
    Points(TaskClass, f32),
    Symbol(TaskClass, f32),
    Object(TaskClass),
    Verb,
    Nothing,
}

impl Source {
    fn read(&mut self, text: &str) {
        let mut section = Section::Nothing;
        for line in text.lines() {
            // Leading blanks are part of a sign; only a line's end is free of meaning.
            if line.is_empty() || line.starts_with("# ") {
                continue;
            }
            if let Some(head) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                match Section::parse(head) {
                    Some(next) => section = next,
                    None => self.refused.push(line.to_owned()),
                }
                continue;
            }
            for item in line.split(", ") {
                self.add(item, section);
            }
        }
    }

    fn add(&mut self, item: &str, section: Section) {
        let phrase = if matches!(section, Section::Symbol(..)) { item } else { item.trim() };
        let stem = phrase.strip_suffix('*').filter(|_| !matches!(section, Section::Symbol(..)));
        let phrase = Normal::of(stem.unwrap_or(phrase), false).text().to_ascii_lowercase();
        if phrase.is_empty() {
            self.refused.push(item.to_owned());
            return;
        }
        let entry = self.entry(&phrase);
        entry.is_stem |= stem.is_some();
        match section {
            Section::Points(task, points) => entry.set(task, points),
            Section::Symbol(task, points) => {
                entry.is_symbol = true;
                entry.set(task, points);
            }
            Section::Object(task) => entry.object = Some(task),
            Section::Verb => entry.is_verb = true,
            Section::Nothing => {}
        }
    }

    fn entry(&mut self, phrase: &str) -> &mut Entry {
        let place = *self.place_of.entry(phrase.to_owned()).or_insert_with(|| {
            self.phrases.push(phrase.to_owned());
            let is_unspaced = phrase.chars().any(|c| matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}'));
            self.entries.push(Entry { is_unspaced, ..Entry::default() });
            self.entries.len() - 1
        });
        &mut self.entries[place]
    }
}

impl Section {
    fn parse(head: &str) -> Option<Self> {
        let words: Vec<&str> = head.split(' ').collect();
        let task = |name: &str| TaskClass::parse(name);
        match words.as_slice() {
            ["verb"] => Some(Self::Verb),
            ["nothing"] => Some(Self::Nothing),
            ["object", name] => Some(Self::Object(task(name)?)),
            ["symbol", name, points] => Some(Self::Symbol(task(name)?, points.parse().ok()?)),
            [name, points] => Some(Self::Points(task(name)?, points.parse().ok()?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hit, Keywords, Lexicon, Source};
    use crate::task::TaskClass;

    fn hits(text: &str) -> Vec<Hit> {
        let mut hits = Vec::new();
        Lexicon::new(&Keywords::default()).scan(text, &mut |hit| hits.push(hit));
        hits
    }

    #[test]
    fn every_line_of_the_lexicon_is_understood() {
        let mut source = Source::default();
        source.read(include_str!("lexicon.txt"));
        assert_eq!(source.refused, Vec::<String>::new());
        assert!(source.entries.len() > 900);
    }

    #[test]
    fn words_are_whole_words() {
        for text in ["terrorism", "encoded", "decode", "codebase", "классная", "iff", "_python_x"] {
            assert_eq!(hits(text), [], "{text:?}");
        }
        for text in ["code", "CODE!", "(code)", "debugging", "x=python;", "код на питоне"] {
            assert!(!hits(text).is_empty(), "{text:?}");
        }
    }

    #[test]
    fn phrases_shield_their_words() {
        assert_eq!(hits("the code of conduct"), []);
        assert_eq!(hits("an integral role"), []);
        assert!(hits("the integral of x").iter().any(|hit| hit.task == TaskClass::Mathematical));
    }

    #[test]
    fn the_first_object_behind_a_verb_is_what_is_wanted() {
        let wanted = |text: &str| {
            let strong = |hit: &&Hit| hit.points >= super::OBJECT_POINTS;
            hits(text).iter().filter(strong).map(|hit| hit.task).collect::<Vec<_>>()
        };
        assert_eq!(wanted("write me a small program that tells a story"), [TaskClass::CodeGeneration]);
        assert_eq!(wanted("write something. Later, a program"), []);
        assert_eq!(wanted("create a training program"), [TaskClass::General]);
    }
}
