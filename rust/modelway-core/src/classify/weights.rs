//! The trained weights: a file with a checked header, and the scores of what was tallied by it.
//!
//! A bucket's eight weights (seven classes and the complexity head, a byte each) lie beside each other,
//! so that one load serves all.

use super::ngrams::BUCKETS;
use super::sample::SAMPLE_BYTES;
use super::shape::{COUNTS, LEVELS, Shape};
use super::tally::Tally;

/// Columns of a row: the classes of `READABLE`, then complexity.
pub(super) const COLUMNS: usize = 8;
/// The weights that ship with modelway.
pub const SHIPPED: &[u8] = include_bytes!("weights.bin");

const MAGIC: &[u8; 4] = b"MWLC";
/// The version of the file, and of what is counted of a text.
pub const VERSION: u32 = 1;
/// No sound weight is larger; below it no sum overflows, and a number that is none fails the comparison.
const LARGEST: f32 = 1e6;

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

/// The weights of an n-gram, a column each: bytes in the file, wider here so that they are added as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(16))]
pub(super) struct Row(pub(super) [i16; COLUMNS]);

/// Trained weights, ready to score.
#[derive(Debug)]
pub struct Weights {
    rows: Box<[Row; BUCKETS]>,
    /// What a unit of a column's bytes is in its score.
    units: [f32; COLUMNS],
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
        let rows: Box<[Row]> =
            rows.iter().map(|row| Row(row.map(|byte| i16::from(byte.cast_signed())))).collect();
        let rows = rows.try_into().ok().filter(|_| rest.is_empty()).ok_or_else(|| DAMAGED.to_owned())?;
        let mut units = [unit; COLUMNS];
        units[COLUMNS - 1] = head_unit;
        Ok(Self {
            rows,
            units,
            opening,
            calibration: Calibration { temperature, middle, spread, deep, threshold },
            bias,
            levels,
        })
    }

    /// The scores of what was told and counted: seven logits, and complexity as its head has it.
    pub(super) fn scores(&self, tally: &Tally<'_>, shape: &Shape) -> [f32; COLUMNS] {
        let (ngrams_told, text, opening) = tally.sums();
        let scale = 1.0 / (ngrams_told.max(1) as f32).sqrt();
        let mut scores = self.bias;
        for (column, score) in scores.iter_mut().enumerate() {
            let sum = text[column] as f32 * scale + opening[column] as f32 * self.opening;
            *score += sum * self.units[column];
        }
        shape.each(|place, count| {
            let reached = LEVELS[place].partition_point(|level| *level <= count);
            if let Some(row) = reached.checked_sub(1).and_then(|level| self.levels[place].get(level)) {
                scores.iter_mut().zip(row).for_each(|(score, weight)| *score += weight);
            }
        });
        scores
    }

    /// The calibrated logit that sums of n-grams and openings bring to the class of a column.
    pub(super) fn logit(&self, column: usize, ngrams: f32, openings: f32) -> f32 {
        (ngrams + openings * self.opening) * self.units[column] / self.calibration.temperature
    }

    /// The weights of all n-grams, by bucket.
    pub(super) const fn rows(&self) -> &[Row; BUCKETS] {
        &self.rows
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

#[cfg(test)]
mod tests {
    use super::{SHIPPED, Weights};

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
