//! All that trained weights speak of: the n-grams and the shape of a text, the same in training and in serving.

use super::beyond_ascii::is_wide;
use super::folded::Folded;
use super::ngrams::{Hashes, Ngrams, Sink};
use super::shape::Shape;
use super::tokens::Word;

/// What was counted of a text so far, the n-grams that were told to a sink aside.
#[derive(Debug)]
pub(super) struct Counted {
    ngrams: Ngrams,
    pub(super) shape: Shape,
}

impl Counted {
    /// For a text of so many bytes, all of them counted.
    pub(super) fn new(bytes: usize) -> Self {
        Self { ngrams: Ngrams::new(), shape: Shape::new(bytes) }
    }

    /// A part of the text begins: tells the n-grams of its characters.
    pub(super) fn begin_part(&mut self, folded: &Folded<'_>, sink: &mut impl Sink) {
        self.ngrams.begin_part();
        Ngrams::fours(folded, sink);
    }

    /// Tells and counts a word of the part.
    #[inline]
    pub(super) fn word<S: Sink>(
        &mut self,
        folded: &Folded<'_>,
        word: &Word,
        under: S::Under,
        sink: &mut S,
    ) -> (Hashes, S::Under) {
        self.shape.words += 1;
        if word.is_foreign {
            self.shape.foreign += 1;
            folded.text[folded.bytes(word.symbols())].chars().for_each(|c| self.shape.count_letter(c));
        }
        self.ngrams.word(word, under, sink)
    }

    /// Tells and counts a character of the part that is a token of its own.
    #[inline]
    pub(super) fn other<S: Sink>(&mut self, at: usize, c: char, under: S::Under, sink: &mut S) -> S::Under {
        if c == '\n' {
            under
        } else if is_wide(c) {
            self.shape.wide += 1;
            self.ngrams.wide(c, at, under, sink)
        } else {
            self.shape.count_sign(c);
            Ngrams::sign(c, at, under, sink)
        }
    }

    /// The part is over.
    pub(super) fn end_part(&mut self, folded: &Folded<'_>) {
        self.shape.end_part(folded);
    }
}
