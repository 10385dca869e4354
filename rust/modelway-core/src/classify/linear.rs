//! The trained weights: a file with a checked header, and scores by adding rows of it.
//!
//! A bucket's eight weights (seven classes and the complexity head, a byte each) lie beside each other,
//! so that one load serves all. They are kept with 128 added, which makes them unsigned: even and odd
//! bytes are summed in 16-bit lanes of two machine words, at most 257 rows before the lanes are emptied.

use super::ngrams::{BUCKETS, Ngrams, Sink, bucket};
use super::sample::SAMPLE_BYTES;
use super::shape::{COUNTS, LEVELS};

/// Columns of a row: the classes of `READABLE`, then complexity.
pub(super) const COLUMNS: usize = 8;
/// The weights that ship with modelway.
pub const SHIPPED: &[u8] = include_bytes!("weights.bin");

const MAGIC: &[u8; 4] = b"MWLC";
/// The version of the file, and of what is counted of a text.
pub const VERSION: u32 = 1;
/// No sound weight is larger; below it no sum overflows, and a number that is none fails the comparison.
const LARGEST: f32 = 1e6;
const LANES: u64 = 0x00FF_00FF_00FF_00FF;
const SIGNS: u64 = 0x8080_8080_8080_8080;
/// Rows that 16-bit lanes hold of bytes: 257 x 255 = 65,535.
const FULL: u64 = 257;

/// Constants that turn scores into a reading, fitted on texts that the weights had not seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calibration {
    /// Scores are divided by it before they are probabilities.
    pub(super) temperature: f32,
    /// Median and standard deviation of the complexity head.
    pub(super) middle: f32,
    pub(super) spread: f32,
    /// A general text that is more complex than this wants deep thinking.
    pub(super) deep: f32,
    /// The probability below which no class is followed.
    pub(super) threshold: f32,
}

/// Trained weights, ready to score.
#[derive(Debug)]
pub struct Weights {
    rows: Box<[u64; BUCKETS]>,
    unit: f32,
    head_unit: f32,
    opening: f32,
    pub(super) calibration: Calibration,
    bias: [f32; COLUMNS],
    /// For each count and each of its levels, the sum of that level and all below.
    levels: [Vec<[f32; COLUMNS]>; COUNTS],
}

impl Weights {
    /// The weights in the bytes of a file.
    ///
    /// # Errors
    /// What is wrong with the file, and the remedy.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut file = File { bytes };
        if file.take::<4>()? != *MAGIC {
            return Err("this is no file of weights; `modelway train` writes one".to_owned());
        }
        let space = [VERSION, BUCKETS as u32, SAMPLE_BYTES as u32, COUNTS as u32, count_levels()];
        for wanted in space {
            file.expect(wanted)?;
        }
        let [unit, head_unit, opening, temperature, middle, spread, deep, threshold] = file.floats()?;
        let is_sound = unit > 0.0 && head_unit > 0.0 && temperature > 0.0 && spread > 0.0;
        if !is_sound {
            return Err(DAMAGED.to_owned());
        }
        for levels in LEVELS {
            if file.take::<1>()? != [levels.len() as u8] {
                return Err(OTHER_SPACE.to_owned());
            }
        }
        file.take::<{ COUNTS.next_multiple_of(4) - COUNTS }>()?;
        for level in LEVELS.iter().copied().flatten() {
            file.expect(*level)?;
        }
        let bias = file.floats()?;
        let mut levels = [const { Vec::new() }; COUNTS];
        for (rows, thresholds) in levels.iter_mut().zip(LEVELS) {
            for _ in thresholds {
                rows.push(file.floats()?);
            }
        }
        let (rows, rest) = file.bytes.as_chunks::<COLUMNS>();
        let rows: Box<[u64]> = rows.iter().map(|row| u64::from_le_bytes(*row) ^ SIGNS).collect();
        let rows = rows.try_into().ok().filter(|_| rest.is_empty()).ok_or_else(|| DAMAGED.to_owned())?;
        Ok(Self {
            rows,
            unit,
            head_unit,
            opening,
            calibration: Calibration { temperature, middle, spread, deep, threshold },
            bias,
            levels,
        })
    }

    /// The scores of what was told and counted: seven logits, and complexity as its head has it.
    pub(super) fn scores(&self, tally: &Tally<'_>, ngrams: &Ngrams) -> [f32; COLUMNS] {
        let ((ngrams_told, text), (_, opening)) = (tally.text.finish(), tally.opening.finish());
        let share = 1.0 / (ngrams_told.max(1) as f32).sqrt();
        let mut scores = self.bias;
        for column in 0..COLUMNS {
            let sum = text[column] as f32 * share + opening[column] as f32 * self.opening;
            scores[column] += sum * self.unit_of(column);
        }
        for ((count, thresholds), rows) in ngrams.shape.counts().iter().zip(LEVELS).zip(&self.levels) {
            let reached = thresholds.iter().take_while(|level| *level <= count).count();
            if let Some(row) = reached.checked_sub(1).and_then(|level| rows.get(level)) {
                scores.iter_mut().zip(row).for_each(|(score, weight)| *score += weight);
            }
        }
        scores
    }

    /// The calibrated logit that sums of n-grams and openings bring to the class of a column.
    pub(super) fn logit(&self, column: usize, ngrams: f32, openings: f32) -> f32 {
        (ngrams + openings * self.opening) * self.unit_of(column) / self.calibration.temperature
    }

    /// What a unit of a column's bytes is in its score.
    const fn unit_of(&self, column: usize) -> f32 {
        if column + 1 < COLUMNS { self.unit } else { self.head_unit }
    }

    /// The weights of an n-gram.
    pub(super) fn row(&self, id: u32) -> [i8; COLUMNS] {
        (self.rows[bucket(id)] ^ SIGNS).to_le_bytes().map(u8::cast_signed)
    }
}

/// All levels of all counts.
pub(super) fn count_levels() -> u32 {
    LEVELS.iter().map(|levels| levels.len() as u32).sum()
}

const DAMAGED: &str =
    "the file of weights is damaged; train it again, or remove the line for the shipped ones";
const OTHER_SPACE: &str =
    "the weights were trained for another version of modelway; train them again with this one";

/// What is left of a file.
struct File<'a> {
    bytes: &'a [u8],
}

impl File<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or_else(|| DAMAGED.to_owned())?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn expect(&mut self, wanted: u32) -> Result<(), String> {
        if self.take()? == wanted.to_le_bytes() { Ok(()) } else { Err(OTHER_SPACE.to_owned()) }
    }

    fn floats(&mut self) -> Result<[f32; COLUMNS], String> {
        let mut floats = [0.0; COLUMNS];
        for float in &mut floats {
            *float = f32::from_le_bytes(self.take()?);
        }
        if floats.iter().all(|float| float.abs() <= LARGEST) { Ok(floats) } else { Err(DAMAGED.to_owned()) }
    }
}

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
}

impl Sink for Tally<'_> {
    type Under = Lanes;

    #[inline]
    fn ngram(&mut self, under: Lanes, id: u32) -> Lanes {
        let row = self.weights.rows[bucket(id)];
        if under.rows < FULL {
            return under.with(row);
        }
        self.text.add(under);
        Lanes::default().with(row)
    }

    fn opening(&mut self, id: u32) {
        self.opening.add(Lanes::default().with(self.weights.rows[bucket(id)]));
    }

    #[inline]
    fn token(&mut self, under: Lanes, _start: usize, _end: usize) {
        self.text.add(under);
    }
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, FULL, Lanes, SHIPPED, Sum, Weights};

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

    #[test]
    fn a_file_is_read_whole_or_refused() {
        assert!(Weights::parse(SHIPPED).is_ok());
        let with = |at: usize, bytes: &[u8]| {
            let mut file = SHIPPED.to_vec();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            Weights::parse(&file).map(|_| ()).unwrap_err()
        };
        for (problem, says) in [
            (Weights::parse(b"GGUF and more").map(|_| ()).unwrap_err(), "no file of weights"),
            (with(4, &2_u32.to_le_bytes()), "another version"),
            (with(8, &512_u32.to_le_bytes()), "another version"),
            (with(56, &[7]), "another version"),
            (with(24, &f32::NAN.to_le_bytes()), "damaged"),
            (with(36, &0_f32.to_le_bytes()), "damaged"),
            (Weights::parse(&[SHIPPED, &[0]].concat()).map(|_| ()).unwrap_err(), "damaged"),
            (Weights::parse(&SHIPPED[..SHIPPED.len() - 8]).map(|_| ()).unwrap_err(), "damaged"),
            (Weights::parse(&SHIPPED[..40]).map(|_| ()).unwrap_err(), "damaged"),
        ] {
            assert!(problem.contains(says), "{problem}");
        }
    }
}
