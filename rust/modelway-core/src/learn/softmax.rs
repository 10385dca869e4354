//! Softmax regression over sparse rows: the weights of least cross entropy, held small.
//!
//! The rows are read twice a step: by row for the logits, by column for the gradient. Each number is one
//! thread's sum in one order, so the result does not depend on how many threads there are.

use std::num::NonZero;

use super::lbfgs::{dot, minimise};
use super::rows::Rows;
use crate::classify::BUCKETS;
use crate::classify::share;
use crate::classify::training::WIDTH;
use crate::exact::{exp, ln};

/// Rows, or columns, that one thread works on before it asks for more.
const BLOCK: usize = 128;

/// How weights are held small: `l2` on those of scaled columns, `power` of the scaling.
///
/// A column is scaled by ((rows that have it + 5) / 100)^-power: a rare n-gram says more when it comes, and
/// plain L2 would let the common ones take all the weight. Levels of counts are few and dense, and are not
/// scaled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Penalty {
    pub(super) l2: f64,
    pub(super) power: f32,
}

/// What is to be learned from some rows.
#[derive(Debug, Default)]
pub(super) struct Examples<const L: usize> {
    /// Which rows.
    pub(super) rows: Vec<u32>,
    /// Of each the probabilities to be learned.
    pub(super) targets: Vec<[f32; L]>,
    /// Of each how much it counts.
    pub(super) weights: Vec<f32>,
    /// Of each the logits that are there already; weights are learned beside them.
    pub(super) offsets: Vec<[f32; L]>,
}

/// Weights of every column, and biases.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Solution<const L: usize> {
    pub(super) columns: Vec<[f32; L]>,
    pub(super) bias: [f32; L],
}

/// Weights after `steps` steps from zero; stopping early is part of holding them small. `after` sees those of
/// each step.
pub(super) fn fit<const L: usize>(
    rows: &Rows,
    examples: &Examples<L>,
    penalty: Penalty,
    steps: usize,
    threads: NonZero<usize>,
    mut after: impl FnMut(&Solution<L>),
) -> Solution<L> {
    let columns = Columns::of(rows, &examples.rows, penalty.power);
    let total: f64 = examples.weights.iter().map(|weight| f64::from(*weight)).sum();
    let shares: Vec<f32> =
        examples.weights.iter().map(|weight| (f64::from(*weight) / total) as f32).collect();
    let mut current = Solution { columns: vec![[0.0; L]; WIDTH], bias: [0.0; L] };
    let mut slopes = vec![[0.0; L]; shares.len()];
    let mut losses = vec![0.0; shares.len()];
    let objective = |point: &[f32], gradient: &mut [f32]| {
        columns.unscale(point, &mut current);
        let blocks = losses.chunks_mut(BLOCK).zip(slopes.chunks_mut(BLOCK)).enumerate();
        share(threads, blocks, |(block, (losses, slopes))| {
            for (place, (loss, slope)) in (block * BLOCK..).zip(losses.iter_mut().zip(slopes)) {
                let logits = current.logits(rows, examples.rows[place] as usize, &examples.offsets[place]);
                let (of_row, probabilities) = loss_of(&logits, &examples.targets[place]);
                *loss = f64::from(shares[place] * of_row);
                for label in 0..L {
                    slope[label] = shares[place] * (probabilities[label] - examples.targets[place][label]);
                }
            }
        });
        let (of_columns, of_bias) = gradient.split_at_mut(columns.used.len() * L);
        columns.gradient(&slopes, of_columns, threads);
        of_bias.fill(0.0);
        for slope in &slopes {
            of_bias.iter_mut().zip(slope).for_each(|(sum, one)| *sum += one);
        }
        let weights = &point[..of_columns.len()];
        of_columns.iter_mut().zip(weights).for_each(|(slope, weight)| *slope += penalty.l2 as f32 * weight);
        losses.iter().sum::<f64>() + 0.5 * penalty.l2 * dot(weights, weights)
    };
    let mut seen = Solution { columns: vec![[0.0; L]; WIDTH], bias: [0.0; L] };
    let origin = vec![0.0; (columns.used.len() + 1) * L];
    let best = minimise(origin, steps, objective, |point| {
        columns.unscale(point, &mut seen);
        after(&seen);
    });
    columns.unscale(&best, &mut seen);
    seen
}

impl<const L: usize> Solution<L> {
    #[inline]
    fn logits(&self, rows: &Rows, row: usize, offset: &[f32; L]) -> [f32; L] {
        let mut logits = self.bias;
        for (column, value) in rows.row(row) {
            let weights = &self.columns[column];
            for label in 0..L {
                logits[label] += value * weights[label];
            }
        }
        for label in 0..L {
            logits[label] += offset[label];
        }
        logits
    }

    /// The mean cross entropy of examples that it was not fitted to.
    pub(super) fn loss(&self, rows: &Rows, examples: &Examples<L>) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        for (place, row) in examples.rows.iter().enumerate() {
            let logits = self.logits(rows, *row as usize, &examples.offsets[place]);
            let weight = f64::from(examples.weights[place]);
            sum += weight * f64::from(loss_of(&logits, &examples.targets[place]).0);
            total += weight;
        }
        sum / total
    }
}

impl Solution<2> {
    /// One column in place of two: the logit of the first against the second.
    pub(super) fn odds(&self) -> Solution<1> {
        let difference = |[first, second]: &[f32; 2]| [first - second];
        Solution { columns: self.columns.iter().map(difference).collect(), bias: difference(&self.bias) }
    }
}

/// The cross entropy, and the probabilities.
fn loss_of<const L: usize>(logits: &[f32; L], targets: &[f32; L]) -> (f32, [f32; L]) {
    let highest = logits.iter().copied().fold(f32::MIN, f32::max);
    let raised = logits.map(|logit| exp(logit - highest));
    let total: f32 = raised.iter().sum();
    let whole = highest + ln(total);
    let loss = logits.iter().zip(targets).map(|(logit, target)| (whole - logit) * target).sum();
    (loss, raised.map(|one| one / total))
}

/// The examples by column: which of them have it, and the value.
struct Columns {
    /// The columns that any example has. The others keep weight 0, and would only make each step longer.
    used: Vec<u32>,
    /// What the weights of each used column are multiplied with.
    scales: Vec<f32>,
    /// Where each used column ends in `entries`.
    ends: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl Columns {
    fn of(rows: &Rows, chosen: &[u32], power: f32) -> Self {
        let mut counts = vec![0_u32; WIDTH];
        for row in chosen {
            rows.row(*row as usize).for_each(|(column, _)| counts[column] += 1);
        }
        let used: Vec<u32> =
            (0_u32..).zip(&counts).filter(|(_, count)| **count > 0).map(|(column, _)| column).collect();
        let mut places = vec![0_usize; WIDTH];
        let (mut ends, mut scales) = (Vec::with_capacity(used.len()), Vec::with_capacity(used.len()));
        let mut end = 0;
        for column in &used {
            let count = counts[*column as usize];
            places[*column as usize] = end;
            end += count as usize;
            ends.push(end);
            let is_ngram = (*column as usize) < BUCKETS;
            scales.push(if is_ngram { exp(-power * ln((count as f32 + 5.0) / 100.0)) } else { 1.0 });
        }
        let mut entries = vec![(0, 0.0); end];
        for (place, row) in (0_u32..).zip(chosen) {
            for (column, value) in rows.row(*row as usize) {
                entries[places[column]] = (place, value);
                places[column] += 1;
            }
        }
        Self { used, scales, ends, entries }
    }

    /// The weights of every column from those of the used and scaled ones.
    fn unscale<const L: usize>(&self, point: &[f32], into: &mut Solution<L>) {
        let (weights, _) = point.as_chunks::<L>();
        for ((column, scale), weights) in self.used.iter().zip(&self.scales).zip(weights) {
            into.columns[*column as usize] = weights.map(|weight| weight * scale);
        }
        if let Some(bias) = weights.last() {
            into.bias = *bias;
        }
    }

    fn gradient<const L: usize>(&self, slopes: &[[f32; L]], gradient: &mut [f32], threads: NonZero<usize>) {
        let (gradient, _) = gradient.as_chunks_mut::<L>();
        share(threads, gradient.chunks_mut(BLOCK).enumerate(), |(block, gradient)| {
            for (place, of_column) in (block * BLOCK..).zip(gradient) {
                let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
                let mut sum = [0.0; L];
                for (row, value) in &self.entries[start..self.ends[place]] {
                    let slope = &slopes[*row as usize];
                    for label in 0..L {
                        sum[label] += value * slope[label];
                    }
                }
                *of_column = sum.map(|sum| sum * self.scales[place]);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::super::rows::Rows;
    use super::{BUCKETS, Examples, Penalty, Solution, fit, loss_of};

    fn learned<const L: usize>(rows: &Rows, targets: &[[f32; L]], offsets: &[[f32; L]]) -> Solution<L> {
        let examples = Examples {
            rows: (0..targets.len() as u32).collect(),
            targets: targets.to_vec(),
            weights: vec![2.0; targets.len()],
            offsets: offsets.to_vec(),
        };
        let one = NonZero::<usize>::MIN;
        fit(rows, &examples, Penalty { l2: 1e-4, power: 0.25 }, 60, one, |_| {})
    }

    /// Probability of the first label where there is one feature of value 1.
    fn first(solution: &Solution<2>, column: usize) -> f32 {
        let logits = [0, 1].map(|label| solution.columns[column][label] + solution.bias[label]);
        loss_of(&logits, &[1.0, 0.0]).1[0]
    }

    #[test]
    fn shares_are_learned() {
        let rows = Rows::of(&[[(BUCKETS as u32, 1.0)].as_slice(); 4]);
        let solution = learned(&rows, &[[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], &[[0.0; 2]; 4]);
        assert!((first(&solution, BUCKETS) - 0.75).abs() < 1e-3);
    }

    #[test]
    fn what_the_offsets_say_is_not_learned_again() {
        let rows = Rows::of(&[[(7, 1.0)].as_slice(); 4]);
        let there = [3_f32.ln(), 0.0];
        let targets = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        let solution = learned(&rows, &targets, &[there; 4]);
        assert!((first(&solution, 7) - 0.5).abs() < 1e-3);
    }

    #[test]
    fn a_column_that_no_row_has_stays_at_zero() {
        let rows = Rows::of(&[&[(0, 1.0)], &[(2, 1.0)]]);
        let solution = learned(&rows, &[[1.0, 0.0], [0.0, 1.0]], &[[0.0; 2]; 2]);
        assert!(solution.columns[1].iter().all(|weight| *weight == 0.0));
        assert!(solution.columns[0][0] > 0.1 && solution.columns[2][0] < -0.1);
    }

    #[test]
    fn the_slopes_are_those_of_the_loss() {
        let (logits, targets, step) = ([0.3, -1.2, 2.0], [0.85, 0.15, 0.0], 1e-2);
        let (_, probabilities) = loss_of(&logits, &targets);
        for label in 0..3 {
            let moved = |by: f32| {
                let mut logits = logits;
                logits[label] += by;
                loss_of(&logits, &targets).0
            };
            let slope = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((slope - (probabilities[label] - targets[label])).abs() < 1e-3);
        }
    }
}
