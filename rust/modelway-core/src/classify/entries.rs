//! What the lexicon's text says, entry by entry.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::boundaries::{is_unspaced, joins};
use super::fold::fold;
use super::normal::Normal;
use super::tokens::{Visitor, Word, walk};
use crate::task::TaskClass;

/// What one entry says.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing of the entry; no two exclude each other"
)]
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) points: SmallVec<[(TaskClass, f32); 2]>,
    pub(super) object: Option<TaskClass>,
    pub(super) is_verb: bool,
    pub(super) is_symbol: bool,
    /// Only in languages that the weights were hardly trained on.
    pub(super) is_abroad: bool,
    /// Any ending may follow.
    pub(super) is_stem: bool,
    /// Stands alone wherever it is found: one or two words, which are compared with whole words of the
    /// text, a sign, or of a script without spaces.
    pub(super) is_alone: bool,
}

impl Entry {
    /// Whether no letter or digit touches `start..end`; behind a stem any may follow.
    pub(super) fn stands_alone(&self, text: &str, start: usize, end: usize) -> bool {
        self.is_alone || (!joins(text, start) && (self.is_stem || !joins(text, end)))
    }

    pub(super) fn set(&mut self, task: TaskClass, points: f32) {
        match self.points.iter_mut().find(|(held, _)| *held == task) {
            Some((_, held)) => *held = held.max(points),
            None => self.points.push((task, points)),
        }
    }
}

/// The entries while they are collected.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) phrases: Vec<String>,
    pub(super) vague: Vec<u64>,
    pub(super) entries: Vec<Entry>,
    place_of: HashMap<String, usize>,
    /// Lines that could not be read; a test holds that there are none.
    pub(super) refused: Vec<String>,
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
    pub(super) fn read(&mut self, text: &str) {
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
        if matches!(section, Section::Vague) {
            self.vague.push(key_of_word(&phrase));
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
                (entry.is_symbol, entry.is_alone) = (true, true);
                entry.set(task, points);
            }
            Section::Object(task) => entry.object = Some(task),
            Section::Verb => entry.is_verb = true,
            Section::Vague | Section::Nothing => {}
        }
    }

    pub(super) fn entry(&mut self, phrase: &str) -> &mut Entry {
        let place = *self.place_of.entry(phrase.to_owned()).or_insert_with(|| {
            self.phrases.push(phrase.to_owned());
            let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let is_found_whole = phrase.split(' ').count() <= 2 && phrase.split(' ').all(is_word);
            let is_alone = is_found_whole || phrase.chars().any(is_unspaced);
            self.entries.push(Entry { is_alone, ..Entry::default() });
            self.entries.len() - 1
        });
        &mut self.entries[place]
    }
}

/// The key of a text that is one word.
fn key_of_word(text: &str) -> u64 {
    struct Key(u64);
    impl Visitor for Key {
        fn word(&mut self, word: Word) {
            self.0 = word.key;
        }
        fn other(&mut self, _at: usize, _c: char) {}
    }
    let mut key = Key(0);
    fold(text, |folded| walk(folded, &mut key));
    key.0
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
