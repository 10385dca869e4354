//! The lexicon: words, phrases, verbs with their objects, and signs, found in one walk over a text.
//!
//! An entry is looked for where a word begins, where a sign stands, and at each character of a script
//! without spaces; the longest that ends at a word's end counts, so that a phrase shields the words
//! inside it ("code of conduct" is not about code). What a verb asks for is its first object: "write a
//! poem about a function" asks for a poem.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::normal::Normal;
use super::phrases::{Phrases, is_unspaced, joins, word_end};
use super::tokens::{Token, Word};
use crate::task::TaskClass;

/// Keywords of the configuration, by class.
#[derive(Clone, Debug, Default)]
pub struct Keywords(pub Vec<(TaskClass, Vec<String>)>);

/// Points of a configured keyword: a lead, no more; what is trained and structure outweigh it.
const KEYWORD_POINTS: f32 = 1.8;
/// Points for what a verb asks for.
const OBJECT_POINTS: f32 = 3.5;
/// Words of languages that the weights were hardly trained on count this much more: nothing else speaks.
const ABROAD_SHARE: f32 = 2.0;
/// How far behind its verb an object may stand, in bytes.
const OBJECT_REACH: usize = 48;
/// Words in the middle of a long text say less of what is wanted than those at its ends.
const END_BYTES: usize = 400;
const MIDDLE_SHARE: f32 = 0.4;

/// What one entry says.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing of the entry; no two exclude each other"
)]
#[derive(Clone, Debug, Default)]
struct Entry {
    points: SmallVec<[(TaskClass, f32); 2]>,
    object: Option<TaskClass>,
    is_verb: bool,
    is_symbol: bool,
    is_vague: bool,
    /// Only in languages that the weights were hardly trained on.
    is_abroad: bool,
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
    phrases: Phrases,
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
        let is_stem = |place: usize| source.entries[place].is_stem;
        Self { phrases: Phrases::new(&source.phrases, is_stem), entries: source.entries }
    }

    /// A reader of one text in normal form, to be shown its tokens in order.
    pub(super) fn reader<'a>(&'a self, text: &'a str) -> Reader<'a> {
        Reader { lexicon: self, text, verb_end: None, done_until: 0, vague: 0 }
    }
}

/// What was read of one text so far.
pub(super) struct Reader<'a> {
    lexicon: &'a Lexicon,
    text: &'a str,
    /// Where the last verb without an object ended.
    verb_end: Option<usize>,
    /// Where the last entry found ends; tokens inside it begin no other.
    done_until: usize,
    /// How many vague words there were.
    pub(super) vague: u32,
}

impl Reader<'_> {
    /// Tells the hits that begin at `token`.
    pub(super) fn see(&mut self, token: Token, tell: &mut impl FnMut(Hit)) {
        let (Token::Word(Word { start, .. }) | Token::Sign(start) | Token::Wide(start, _)) = token;
        if start < self.done_until {
            return;
        }
        let lexicon = self.lexicon;
        lexicon.phrases.find(self.text.as_bytes(), token, &mut |start, end, place| {
            let entry = &lexicon.entries[place];
            let is_taken = entry.stands_alone(self.text, start, end);
            if is_taken {
                self.take(entry, start, end, tell);
            }
            is_taken
        });
    }

    fn take(&mut self, entry: &Entry, start: usize, end: usize, tell: &mut impl FnMut(Hit)) {
        let bytes = self.text.as_bytes();
        let is_middle = end > END_BYTES && start + END_BYTES < bytes.len();
        let share = if is_middle { MIDDLE_SHARE } else { 1.0 };
        let share = if entry.is_abroad { share * ABROAD_SHARE } else { share };
        self.vague += u32::from(entry.is_vague);
        for &(task, points) in &entry.points {
            tell(Hit { start, end, task, points: points * share, is_symbol: entry.is_symbol });
        }
        if let (Some(task), Some(verb)) = (entry.object, self.verb_end)
            && start - verb <= OBJECT_REACH
            && !bytes[verb..start].iter().any(|byte| matches!(byte, b'.' | b'?' | b'!' | b'\n'))
        {
            tell(Hit { start, end, task, points: OBJECT_POINTS * share, is_symbol: false });
            self.verb_end = None;
        }
        if entry.is_verb {
            self.verb_end = Some(end);
        }
        // The rest of a word that a stem began belongs to it.
        self.done_until = if entry.is_stem { word_end(bytes, end) } else { end };
    }
}

impl Entry {
    /// Whether no letter or digit touches `start..end`; behind a stem any may follow, and signs and
    /// words of scripts without spaces stand alone wherever they stand.
    fn stands_alone(&self, text: &str, start: usize, end: usize) -> bool {
        self.is_symbol || self.is_unspaced || (!joins(text, start) && (self.is_stem || !joins(text, end)))
    }

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
    Vague,
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
            let abroad = line.strip_prefix("~ ");
            for item in abroad.unwrap_or(line).split(", ") {
                self.add(item, section, abroad.is_some());
            }
        }
    }

    fn add(&mut self, item: &str, section: Section, is_abroad: bool) {
        let phrase = if matches!(section, Section::Symbol(..)) { item } else { item.trim() };
        let stem = phrase.strip_suffix('*').filter(|_| !matches!(section, Section::Symbol(..)));
        let phrase = Normal::of(stem.unwrap_or(phrase), false).text().to_ascii_lowercase();
        if phrase.is_empty() {
            self.refused.push(item.to_owned());
            return;
        }
        let is_new = !self.place_of.contains_key(&phrase);
        let entry = self.entry(&phrase);
        entry.is_stem |= stem.is_some();
        entry.is_abroad = is_abroad && (is_new || entry.is_abroad);
        match section {
            Section::Points(task, points) => entry.set(task, points),
            Section::Symbol(task, points) => {
                // "log_" is found in "log_2" as a stem; a sign of signs needs no ending at all.
                entry.is_stem = phrase.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                entry.is_symbol = true;
                entry.set(task, points);
            }
            Section::Object(task) => entry.object = Some(task),
            Section::Verb => entry.is_verb = true,
            Section::Vague => entry.is_vague = true,
            Section::Nothing => {}
        }
    }

    fn entry(&mut self, phrase: &str) -> &mut Entry {
        let place = *self.place_of.entry(phrase.to_owned()).or_insert_with(|| {
            self.phrases.push(phrase.to_owned());
            let is_unspaced = phrase.chars().any(is_unspaced);
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
            ["vague"] => Some(Self::Vague),
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
    use crate::classify::tokens::walk;
    use crate::task::TaskClass;

    fn hits(text: &str) -> Vec<Hit> {
        let mut hits = Vec::new();
        let lexicon = Lexicon::new(&Keywords::default());
        let mut reader = lexicon.reader(text);
        walk(text, &mut |token| reader.see(token, &mut |hit| hits.push(hit)));
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
