//! Adding rows of weights: what a text's n-grams say, summed.
//!
//! Rows are added in eight lanes of 16 bits, which one instruction does; a block of a text has too few
//! n-grams to fill a lane, and the lanes are emptied behind each.

use super::calibrate::COLUMNS;
use super::folded::BLOCK;
use super::ngrams::{BUCKETS, Sink, bucket};

/// The weights of an n-gram, a column each: bytes in the file, wider here so that they are added as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(16))]
pub(super) struct Row(pub(super) [i16; COLUMNS]);

/// Rows summed in 16-bit lanes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lanes {
    sums: Row,
    rows: u32,
}

// A token of a block brings two n-grams at most, and each weight is a byte.
const _: () = assert!(2 * BLOCK * 128 < i16::MAX as usize);

impl Lanes {
    // Nothing wraps, as said above; checked, the lanes would be added one by one.
    #[inline]
    fn with(mut self, row: &Row) -> Self {
        for (sum, weight) in self.sums.0.iter_mut().zip(row.0) {
            *sum = sum.wrapping_add(weight);
        }
        self.rows = self.rows.wrapping_add(1);
        self
    }
}

/// A sum of any number of rows.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    rows: u32,
    total: [i32; COLUMNS],
}

impl Sum {
    // Each total is at most 128 times the rows, which a bounded sample keeps far below what would wrap.
    #[inline]
    fn add(&mut self, lanes: Lanes) {
        self.rows += lanes.rows;
        for (total, sum) in self.total.iter_mut().zip(lanes.sums.0) {
            *total = total.wrapping_add(i32::from(sum));
        }
    }
}

/// Sums the rows of what it is told.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    rows: &'a [Row; BUCKETS],
    text: Sum,
    opening: Sum,
}

impl<'a> Tally<'a> {
    /// Sums rows of these, by bucket.
    pub(super) fn new(rows: &'a [Row; BUCKETS]) -> Self {
        Self { rows, text: Sum::default(), opening: Sum::default() }
    }

    /// How many n-grams were told, their sum, and that of the openings.
    pub(super) const fn sums(&self) -> (u32, [i32; COLUMNS], [i32; COLUMNS]) {
        (self.text.rows, self.text.total, self.opening.total)
    }
}

impl Sink for Tally<'_> {
    type Under = Lanes;

    #[inline]
    fn ngram(&mut self, under: Lanes, id: u32, _at: usize) -> Lanes {
        under.with(&self.rows[bucket(id, BUCKETS)])
    }

    #[inline]
    fn settle(&mut self, under: Lanes) {
        self.text.add(under);
    }

    fn opening(&mut self, id: u32, _at: usize) {
        self.opening.add(Lanes::default().with(&self.rows[bucket(id, BUCKETS)]));
    }
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, Lanes, Row, Sum};

    #[test]
    fn rows_add_up_whatever_their_number() {
        for (weight, blocks, count) in
            [(0, 1, 1), (-128, 300, 128), (127, 2, 128), (-1, 5, 1), (2, 1_000, 70)]
        {
            let mut sum = Sum::default();
            for _ in 0..blocks {
                let lanes = (0..count).fold(Lanes::default(), |lanes, _| lanes.with(&Row([weight; COLUMNS])));
                sum.add(lanes);
            }
            let total = i32::from(weight) * blocks * count;
            assert_eq!((sum.rows.cast_signed(), sum.total), (blocks * count, [total; COLUMNS]));
        }
    }
}
