//! The trained weights, ready to score what was tallied by them.
//!
//! A bucket's eight weights (seven classes and the complexity head, a byte each) lie beside each other,
//! so that one load serves all.

use super::calibrate::Calibration;
use super::ngrams::{BUCKETS, Ngrams, bucket};
use super::shape::{COUNTS, LEVELS};
use super::tally::Tally;
pub(super) use super::weights_file::COLUMNS;
use super::weights_file::{DAMAGED, WeightsFile};
use crate::task::TaskClass;

/// The weights that ship with modelway.
pub const SHIPPED: &[u8] = include_bytes!("weights.bin");

const SIGNS: u64 = 0x8080_8080_8080_8080;

/// Trained weights, ready to score.
#[derive(Debug)]
pub struct Weights {
    rows: Box<[u64; BUCKETS]>,
    unit: f32,
    head_unit: f32,
    opening: f32,
    pub(crate) calibration: Calibration,
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
        let file = WeightsFile::parse(bytes)?;
        let packed = |row: &[i8; COLUMNS]| u64::from_le_bytes(row.map(i8::cast_unsigned)) ^ SIGNS;
        let rows: Box<[u64]> = file.buckets.iter().map(packed).collect();
        let mut of_file = file.levels.iter().copied();
        Ok(Self {
            rows: rows.try_into().map_err(|_| DAMAGED.to_owned())?,
            unit: file.unit,
            head_unit: file.head_unit,
            opening: file.opening,
            calibration: file.calibration,
            bias: file.bias,
            levels: LEVELS.map(|levels| of_file.by_ref().take(levels.len()).collect()),
        })
    }

    /// The same weights with another threshold (`None`: their own) and with classes expected in other shares.
    ///
    /// # Errors
    /// Shares that can't be.
    pub fn tuned(mut self, threshold: Option<f32>, priors: &[(TaskClass, f32)]) -> Result<Self, String> {
        self.calibration.threshold = threshold.unwrap_or(self.calibration.threshold);
        self.calibration.expect(priors)?;
        Ok(self)
    }

    /// The scores of what was told and counted: seven logits, and complexity as its head has it.
    pub(super) fn scores(&self, tally: &Tally<'_>, ngrams: &Ngrams) -> [f32; COLUMNS] {
        let ((ngrams_told, text), (_, opening)) = tally.sums();
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

    /// The weights of an n-gram as the file has them, with 128 added to each byte.
    #[inline]
    pub(super) fn packed(&self, id: u32) -> u64 {
        self.rows[bucket(id)]
    }

    /// The weights of an n-gram.
    pub(super) fn row(&self, id: u32) -> [i8; COLUMNS] {
        (self.packed(id) ^ SIGNS).to_le_bytes().map(u8::cast_signed)
    }
}
