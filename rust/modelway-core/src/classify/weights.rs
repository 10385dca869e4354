//! The trained weights, ready to score what was tallied by them.
//!
//! A bucket's eight weights (seven classes and the complexity head, a byte each) lie beside each other,
//! so that one load serves all.

use super::calibrate::{COLUMNS, Calibration};
use super::ngrams::BUCKETS;
use super::shape::{COUNTS, LEVELS, Shape};
use super::tally::{Row, Tally};
use super::weights_file::{DAMAGED, WeightsFile};
use crate::task::TaskClass;

/// The weights that ship with modelway.
pub const SHIPPED: &[u8] = include_bytes!("weights.bin");

/// Trained weights, ready to score.
#[derive(Debug)]
pub struct Weights {
    rows: Box<[Row; BUCKETS]>,
    /// What a unit of a column's bytes is in its score.
    units: [f32; COLUMNS],
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
        let wide = |row: &[i8; COLUMNS]| Row(row.map(i16::from));
        let rows: Box<[Row]> = file.buckets.iter().map(wide).collect();
        let mut units = [file.unit; COLUMNS];
        units[COLUMNS - 1] = file.head_unit;
        let mut of_file = file.levels.iter().copied();
        Ok(Self {
            rows: rows.try_into().map_err(|_| DAMAGED.to_owned())?,
            units,
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
