//! Weights as real numbers, a row for each column of the features, and the way to the file of weights and back.

use super::rows::Rows;
use super::softmax::Solution;
use crate::classify::OPENING_VALUE;
use crate::classify::calibrate::COLUMNS;
use crate::classify::calibrate::Calibration;
use crate::classify::training::{LEVEL_VALUE, WIDTH};
use crate::classify::weights_file::WeightsFile;
use crate::classify::{BUCKETS, LEVELS};

/// The share of the largest weights that is cut off: else these few would take the precision of all others.
const CLIPPED: f64 = 0.0005;
/// The largest weight in steps.
const STEPS: f32 = 127.0;
/// A step of weights that are all zero.
const SMALLEST: f32 = 1e-9;

/// A row of weights for each column of the features: the classes, then the complexity head.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Linear {
    pub(super) columns: Vec<[f32; COLUMNS]>,
    pub(super) bias: [f32; COLUMNS],
}

impl Linear {
    /// Weights that say nothing of any text.
    pub(super) fn silent() -> Self {
        Self { columns: vec![[0.0; COLUMNS]; WIDTH], bias: [0.0; COLUMNS] }
    }

    /// The weights of a file.
    pub(super) fn of(file: &WeightsFile) -> Self {
        let unit = |column| if column + 1 < COLUMNS { file.unit } else { file.head_unit };
        let mut columns: Vec<_> = file
            .buckets
            .iter()
            .map(|row| std::array::from_fn(|column| f32::from(row[column]) * unit(column)))
            .collect();
        let mut reached = file.levels.iter();
        for levels in LEVELS {
            let mut below = [0.0; COLUMNS];
            for row in reached.by_ref().take(levels.len()) {
                columns.push(std::array::from_fn(|column| (row[column] - below[column]) / LEVEL_VALUE));
                below = *row;
            }
        }
        Self { columns, bias: file.bias }
    }

    /// Adds to the columns from `first` on `share` of a solution's.
    pub(super) fn add<const L: usize>(&mut self, first: usize, share: f32, solution: &Solution<L>) {
        let rows = self.columns.iter_mut().chain([&mut self.bias]);
        for (row, more) in rows.zip(solution.columns.iter().chain([&solution.bias])) {
            row[first..].iter_mut().zip(more).for_each(|(weight, more)| *weight += share * more);
        }
    }

    /// The raw scores of a row: seven logits and complexity.
    pub(super) fn scores(&self, rows: &Rows, row: usize) -> [f32; COLUMNS] {
        let mut scores = self.bias;
        for (column, value) in rows.row(row) {
            scores.iter_mut().zip(&self.columns[column]).for_each(|(score, weight)| *score += value * weight);
        }
        scores
    }

    /// The file of these weights, n-grams in int8, not calibrated.
    pub(super) fn quantised(&self) -> WeightsFile {
        let (ngrams, of_levels) = self.columns.split_at(BUCKETS);
        let unit = step_of(ngrams.iter().flat_map(|row| row[..COLUMNS - 1].iter().copied()));
        let head_unit = step_of(ngrams.iter().map(|row| row[COLUMNS - 1]));
        let step = |column| if column + 1 < COLUMNS { unit } else { head_unit };
        let buckets = ngrams
            .iter()
            .map(|row| {
                std::array::from_fn(|column| {
                    (row[column] / step(column)).round_ties_even().clamp(-STEPS, STEPS) as i8
                })
            })
            .collect();
        let mut levels = Vec::with_capacity(of_levels.len());
        let mut of_levels = of_levels.iter();
        for thresholds in LEVELS {
            // A text that reaches a level has reached all below it: scoring adds one row for all of them.
            let mut reached = [0.0; COLUMNS];
            for row in of_levels.by_ref().take(thresholds.len()) {
                reached.iter_mut().zip(row).for_each(|(sum, weight)| *sum += weight * LEVEL_VALUE);
                levels.push(reached);
            }
        }
        let calibration = Calibration::NONE;
        WeightsFile { unit, head_unit, opening: OPENING_VALUE, calibration, bias: self.bias, levels, buckets }
    }
}

/// What a step of int8 is worth for these weights.
fn step_of(weights: impl Iterator<Item = f32>) -> f32 {
    let mut sizes: Vec<f32> = weights.map(f32::abs).collect();
    let clipped = (sizes.len() as f64 * CLIPPED) as usize;
    let place = sizes.len().saturating_sub(clipped + 1);
    let (_, largest, _) = sizes.select_nth_unstable_by(place, f32::total_cmp);
    (*largest / STEPS).max(SMALLEST)
}

#[cfg(test)]
mod tests {
    use super::{Linear, Solution, step_of};
    use crate::classify::training::WIDTH;
    use crate::classify::{SHIPPED, WeightsFile};

    #[test]
    fn a_file_becomes_weights_and_the_same_file_again() {
        let file = WeightsFile::parse(SHIPPED).unwrap();
        let again = Linear::of(&file).quantised();
        assert!(again.buckets == file.buckets);
        assert!((again.unit / file.unit - 1.0).abs() < 1e-6);
        assert_eq!(again.bias.map(f32::to_bits), file.bias.map(f32::to_bits));
        for (again, first) in again.levels.iter().flatten().zip(file.levels.iter().flatten()) {
            assert!((again - first).abs() < 1e-5, "{again} for {first}");
        }
    }

    #[test]
    fn rounding_keeps_half_a_step_and_cuts_the_few_largest() {
        let mut linear = Linear::silent();
        for (place, row) in linear.columns.iter_mut().enumerate() {
            *row = [(place % 1_000) as f32 / 1_000.0; 8];
        }
        linear.columns[5] = [-1e5; 8];
        let file = linear.quantised();
        assert_eq!(file.buckets[5], [-127; 8]);
        let rounded = Linear::of(&file);
        for (wanted, found) in linear.columns.iter().zip(&rounded.columns).skip(6) {
            assert!((wanted[3] - found[3]).abs() <= 0.501 * file.unit);
        }
        assert!(Linear::silent().quantised().buckets.iter().flatten().all(|weight| *weight == 0));
    }

    #[test]
    fn one_in_two_thousand_is_larger_than_all_steps() {
        let unit = step_of((1..=10_000_i16).map(f32::from));
        assert!((unit - 9_995.0 / 127.0).abs() < 1e-3);
    }

    #[test]
    fn solutions_add_up() {
        let mut linear = Linear::silent();
        let solution = Solution { columns: vec![[1.0, 2.0]; WIDTH], bias: [3.0, 4.0] };
        linear.add(0, 0.5, &solution);
        linear.add(6, 1.0, &solution);
        let doubled = [&linear.columns[9], &linear.bias].map(|row| row.map(|weight| (2.0 * weight) as i32));
        assert_eq!(doubled, [[1, 2, 0, 0, 0, 0, 2, 4], [3, 4, 0, 0, 0, 0, 6, 8]]);
    }
}
