//! The lexicon: words, phrases, verbs with their objects, and signs, found in one walk over a text.
//!
//! An entry is looked for where a word begins, where a sign stands, and at each character of a script
//! without spaces; the longest that ends at a word's end counts, so that a phrase shields the words
//! inside it ("code of conduct" is not about code). What a verb asks for is its first object: "write a
//! poem about a function" asks for a poem.

use super::boundaries::word_end;
use super::entries::{Entry, Source};
use super::folded::Folded;
use super::ngrams::Hashes;
use super::normal::Normal;
use super::phrases::{Phrases, Start};
use super::tokens::Word;
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
    /// Keys of words that say nothing of a request's class.
    vague: Vec<u64>,
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
        Self { phrases: Phrases::new(&source.phrases, is_stem), entries: source.entries, vague: source.vague }
    }

    /// Whether a word with this key says nothing of a request's class.
    pub(super) fn is_vague(&self, key: u64) -> bool {
        self.vague.contains(&key)
    }
}

/// What was read of one part of a text so far. Phrases that begin with a word are looked for when the
/// next token is known.
pub(super) struct Reader<'a> {
    lexicon: &'a Lexicon,
    text: &'a str,
    /// The word that was shown last, unless something else came behind it, and where it ends.
    last: Start,
    last_end: usize,
    is_worth_a_look: bool,
    /// Where the last verb without an object in the same sentence ended.
    verb_end: Option<usize>,
    /// Where the last entry found ends; tokens inside it begin no other.
    done_until: usize,
}

/// Behind no word: one more than this is no place in a text.
const NOWHERE: usize = usize::MAX / 2;

impl<'a> Reader<'a> {
    /// A reader of a part in normal form, to be shown its tokens in order.
    pub(super) fn new(lexicon: &'a Lexicon, text: &'a str) -> Self {
        Self {
            lexicon,
            text,
            last: Start::default(),
            last_end: NOWHERE,
            is_worth_a_look: false,
            verb_end: None,
            done_until: 0,
        }
    }

    /// Shows a word, and tells the hits that begin at the one before it.
    #[inline]
    pub(super) fn word(
        &mut self,
        folded: &Folded<'_>,
        word: &Word,
        hashes: Hashes,
        tell: &mut impl FnMut(Hit),
    ) {
        let phrases = &self.lexicon.phrases;
        let bytes = folded.bytes(word.symbols());
        let is_beside = (self.last_end + 1 == bytes.start) & phrases.may_begin_pair(hashes.pair);
        if is_beside | self.is_worth_a_look {
            self.look(is_beside.then_some(hashes.pair), tell);
        }
        if word.is_foreign {
            for (at, c) in self.text[bytes.clone()].char_indices().filter(|(_, c)| !c.is_ascii()) {
                self.look_at_char(bytes.start + at, c, tell);
            }
        }
        self.last = Start::of(word, bytes.start, hashes.word);
        self.last_end = bytes.end;
        self.is_worth_a_look = phrases.may_begin(&self.last);
    }

    /// Shows a character that is a token of its own, and tells the hits that begin there and before it.
    pub(super) fn other(&mut self, at: usize, c: char, tell: &mut impl FnMut(Hit)) {
        self.end(tell);
        if matches!(c, '.' | '?' | '!' | '\n') {
            self.verb_end = None;
        }
        self.look_at_char(at, c, tell);
    }

    /// The part is over: tells the hits that begin at its last word.
    pub(super) fn end(&mut self, tell: &mut impl FnMut(Hit)) {
        if self.is_worth_a_look {
            self.look(None, tell);
        }
        self.is_worth_a_look = false;
        self.last_end = NOWHERE;
    }

    fn look(&mut self, pair: Option<u64>, tell: &mut impl FnMut(Hit)) {
        if self.last.byte < self.done_until {
            return;
        }
        let (phrases, start) = (&self.lexicon.phrases, self.last);
        phrases.find(self.text.as_bytes(), &start, pair, &mut |start, end, place| {
            self.take(start, end, place, tell)
        });
    }

    fn look_at_char(&mut self, at: usize, c: char, tell: &mut impl FnMut(Hit)) {
        if at < self.done_until {
            return;
        }
        let phrases = &self.lexicon.phrases;
        phrases.find_at_char(self.text.as_bytes(), at, c, &mut |start, end, place| {
            self.take(start, end, place, tell)
        });
    }

    /// Takes what stands at `start..end`, unless it is part of a longer word there.
    fn take(&mut self, start: usize, end: usize, place: usize, tell: &mut impl FnMut(Hit)) -> bool {
        let entry = &self.lexicon.entries[place];
        if !entry.stands_alone(self.text, start, end) {
            return false;
        }
        let bytes = self.text.as_bytes();
        let is_middle = end > END_BYTES && start + END_BYTES < bytes.len();
        let share = if is_middle { MIDDLE_SHARE } else { 1.0 };
        let share = if entry.is_abroad { share * ABROAD_SHARE } else { share };
        for &(task, points) in &entry.points {
            tell(Hit { start, end, task, points: points * share, is_symbol: entry.is_symbol });
        }
        if let (Some(task), Some(verb)) = (entry.object, self.verb_end)
            && start - verb <= OBJECT_REACH
        {
            tell(Hit { start, end, task, points: OBJECT_POINTS * share, is_symbol: false });
            self.verb_end = None;
        }
        if entry.is_verb {
            self.verb_end = Some(end);
        }
        // The rest of a word that a stem began belongs to it.
        self.done_until = if entry.is_stem { word_end(bytes, end) } else { end };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Hit, Keywords, Lexicon, Source};
    use crate::classify::fold::fold;
    use crate::classify::folded::Folded;
    use crate::classify::ngrams::Ngrams;
    use crate::classify::tokens::{Visitor, Word, walk};
    use crate::task::TaskClass;

    struct Hits<'a>(super::Reader<'a>, Folded<'a>, Ngrams, Vec<Hit>);

    impl Visitor for Hits<'_> {
        fn word(&mut self, word: Word) {
            let hashes = self.2.hashes(&word);
            self.0.word(&self.1, &word, hashes, &mut |hit| self.3.push(hit));
        }

        fn other(&mut self, at: usize, c: char) {
            self.0.other(self.1.byte(at), c, &mut |hit| self.3.push(hit));
        }
    }

    fn hits(text: &str) -> Vec<Hit> {
        let lexicon = Lexicon::new(&Keywords::default());
        let mut found = Vec::new();
        fold(text, |folded| {
            let mut hits = Hits(super::Reader::new(&lexicon, text), *folded, Ngrams::new(), Vec::new());
            walk(folded, &mut hits);
            hits.0.end(&mut |hit| hits.3.push(hit));
            found = hits.3;
        });
        found
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
        assert_eq!(hits("the moral code"), []);
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
