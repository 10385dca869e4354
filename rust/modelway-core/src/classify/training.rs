//! What the trainer reads: the very numbers that scoring adds weights for.

use super::counted::Counted;
use super::fold::fold;
use super::folded::Folded;
use super::ngrams::{BUCKETS, OPENING_VALUE, Sink, bucket};
use super::sample::Sample;
use super::shape::{LEVELS, count_levels};
use super::tokens::{Visitor, Word, walk};

/// The value of each level that a count reaches.
pub const LEVEL_VALUE: f32 = 0.1;

/// All columns of a row.
pub const WIDTH: usize = BUCKETS + count_levels();

/// A row of the training matrix: (column, value), by column, each column once. Columns are the buckets of
/// n-grams, then each level of each count.
#[must_use]
pub fn features(text: &str) -> Vec<(u32, f32)> {
    let mut found = Found::default();
    let mut counted = Counted::new(text.len());
    for part in Sample::of(text).parts() {
        fold(part, |folded| {
            counted.begin_part(folded, &mut found);
            walk(folded, &mut Walker { folded, counted: &mut counted, found: &mut found });
            counted.end_part(folded);
        });
    }
    let mut row = found.row(BUCKETS);
    let mut counts = [0; LEVELS.len()];
    counted.shape.each(|place, count| counts[place] = count);
    let mut column = BUCKETS as u32;
    for (count, levels) in counts.iter().zip(LEVELS) {
        for level in levels {
            if level <= count {
                row.push((column, LEVEL_VALUE));
            }
            column += 1;
        }
    }
    debug_assert_eq!(column, WIDTH as u32);
    row
}

/// The n-grams and openings that were told.
#[derive(Debug, Default)]
pub(super) struct Found {
    ngrams: Vec<u32>,
    openings: Vec<u32>,
}

impl Found {
    /// Their columns in a row of the training matrix, among so many buckets.
    pub(super) fn row(mut self, buckets: usize) -> Vec<(u32, f32)> {
        let share = 1.0 / (self.ngrams.len().max(1) as f32).sqrt();
        let mut row: Vec<(u32, f32)> = Vec::with_capacity(self.ngrams.len() + 32);
        self.ngrams.iter_mut().chain(&mut self.openings).for_each(|id| *id = bucket(*id, buckets) as u32);
        self.ngrams.sort_unstable();
        for same in self.ngrams.chunk_by(|one, other| one == other) {
            row.push((same[0], same.len() as f32 * share));
        }
        for column in self.openings {
            match row.binary_search_by_key(&column, |(column, _)| *column) {
                Ok(place) => row[place].1 += OPENING_VALUE,
                Err(place) => row.insert(place, (column, OPENING_VALUE)),
            }
        }
        row
    }
}

impl Sink for Found {
    type Under = ();

    fn ngram(&mut self, (): (), id: u32, _at: usize) {
        self.ngrams.push(id);
    }

    fn settle(&mut self, (): ()) {}

    fn opening(&mut self, id: u32, _at: usize) {
        self.openings.push(id);
    }
}

struct Walker<'a> {
    folded: &'a Folded<'a>,
    counted: &'a mut Counted,
    found: &'a mut Found,
}

impl Visitor for Walker<'_> {
    fn word(&mut self, word: Word) {
        self.counted.word(self.folded, &word, (), self.found);
    }

    fn other(&mut self, at: usize, c: char) {
        self.counted.other(at, c, (), self.found);
    }
}
