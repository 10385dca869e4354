//! Adding rows of weights: what a text's n-grams say, summed.
//!
//! The bytes of a row have 128 added, which makes them unsigned: even and odd bytes are summed in 16-bit
//! lanes of two machine words, at most 257 rows before the lanes are emptied.

use super::ngrams::Sink;
use super::weights::{COLUMNS, Weights};

const LANES: u64 = 0x00FF_00FF_00FF_00FF;
/// Rows that 16-bit lanes hold of bytes: 257 x 255 = 65,535.
const FULL: u64 = 257;

/// Rows summed in 16-bit lanes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lanes {
    even: u64,
    odd: u64,
    rows: u64,
}

impl Lanes {
    // Lanes can't carry into each other before they are full, so nothing wraps.
    #[inline]
    const fn with(self, row: u64) -> Self {
        Self {
            even: self.even.wrapping_add(row & LANES),
            odd: self.odd.wrapping_add((row >> 8) & LANES),
            rows: self.rows.wrapping_add(1),
        }
    }
}

/// A sum of any number of rows.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    lanes: Lanes,
    rows: u32,
    total: [u32; COLUMNS],
}

impl Sum {
    fn add(&mut self, lanes: Lanes) {
        if self.lanes.rows + lanes.rows > FULL {
            self.empty();
        }
        self.lanes.even = self.lanes.even.wrapping_add(lanes.even);
        self.lanes.odd = self.lanes.odd.wrapping_add(lanes.odd);
        self.lanes.rows += lanes.rows;
    }

    fn empty(&mut self) {
        for lane in 0..COLUMNS / 2 {
            self.total[2 * lane] += (self.lanes.even >> (16 * lane)) as u32 & 0xFFFF;
            self.total[2 * lane + 1] += (self.lanes.odd >> (16 * lane)) as u32 & 0xFFFF;
        }
        self.rows += self.lanes.rows as u32;
        self.lanes = Lanes::default();
    }

    /// How many rows, and their sum.
    fn finish(mut self) -> (u32, [i32; COLUMNS]) {
        self.empty();
        (self.rows, self.total.map(|total| total.cast_signed() - 128 * self.rows.cast_signed()))
    }
}

/// Sums the rows of what it is told.
#[derive(Debug)]
pub(super) struct Tally<'a> {
    weights: &'a Weights,
    text: Sum,
    opening: Sum,
}

impl<'a> Tally<'a> {
    pub(super) fn new(weights: &'a Weights) -> Self {
        Self { weights, text: Sum::default(), opening: Sum::default() }
    }

    /// How many n-grams were told and their sum; the same of the openings.
    pub(super) fn sums(&self) -> ((u32, [i32; COLUMNS]), (u32, [i32; COLUMNS])) {
        (self.text.finish(), self.opening.finish())
    }
}

impl Sink for Tally<'_> {
    type Under = Lanes;

    #[inline]
    fn ngram(&mut self, under: Lanes, id: u32) -> Lanes {
        let row = self.weights.packed(id);
        if under.rows < FULL {
            return under.with(row);
        }
        self.text.add(under);
        Lanes::default().with(row)
    }

    fn opening(&mut self, id: u32) {
        self.opening.add(Lanes::default().with(self.weights.packed(id)));
    }

    #[inline]
    fn token(&mut self, under: Lanes, _start: usize, _end: usize) {
        self.text.add(under);
    }
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, FULL, Lanes, Sum};

    #[test]
    fn rows_add_up_whatever_their_number() {
        for (byte, count) in [(0_u8, 1_u32), (255, 257), (255, 258), (1, 5_000), (130, 70_000)] {
            let (mut sum, mut lanes) = (Sum::default(), Lanes::default());
            for _ in 0..count {
                if lanes.rows == FULL {
                    sum.add(lanes);
                    lanes = Lanes::default();
                }
                lanes = lanes.with(u64::from_le_bytes([byte; COLUMNS]));
            }
            sum.add(lanes);
            let total = (i32::from(byte) - 128) * count.cast_signed();
            assert_eq!(sum.finish(), (count, [total; COLUMNS]), "{count} of {byte}");
        }
    }
}
