//! What the trainer reads: the very numbers that weighing adds weights for.
//!
//! The lexicon was written looking at the rows, of which it knows more than of any text to come. So that the
//! weights do not trust it too much, entries that one hand's rows alone have do not count in them.

use std::collections::HashMap;

use super::super::training::Found as Ngrams;
use super::model::{BUCKETS, COLUMNS, columns};
use super::reader::{Found, parts, read};

/// All columns of a row: the buckets of n-grams, then what words and tasks say.
pub const WIDTH: usize = BUCKETS + COLUMNS;

/// A row of the training matrix for each of `texts`, of a long one for its head: (column, value), by column. Beside
/// each text who wrote it; 0 where the lexicon was not written looking at it.
#[must_use]
pub fn rows(texts: &[(&str, u32)]) -> Vec<Vec<(u32, f32)>> {
    let read: Vec<_> = texts.iter().map(|(text, hand)| (read_one(text), *hand)).collect();
    // The only hand whose rows have an entry; 0 where there are several.
    let mut only: HashMap<usize, u32> = HashMap::new();
    for ((_, found, _), hand) in read.iter().filter(|(_, hand)| *hand != 0) {
        for entry in found.entries() {
            only.entry(entry).and_modify(|one| *one = if *one == *hand { *hand } else { 0 }).or_insert(*hand);
        }
    }
    let row = |((part, found, ngrams), hand): ((&str, Found, Ngrams), u32)| {
        let counts = |entry: usize| hand == 0 || only.get(&entry) != Some(&hand);
        let mut row = ngrams.row(BUCKETS);
        if let Some(points) = found.points(counts) {
            let said = columns(&points, part).into_iter().enumerate().filter(|(_, value)| *value != 0.0);
            row.extend(said.map(|(column, value)| ((BUCKETS + column) as u32, value)));
        }
        row
    };
    read.into_iter().map(row).collect()
}

fn read_one(text: &str) -> (&str, Found, Ngrams) {
    let part = parts(text).next().unwrap_or_default();
    let mut ngrams = Ngrams::default();
    let found = read(part, &mut ngrams);
    (part, found, ngrams)
}
