//! From logits to a reading: calibrated probabilities, complexity, and whether they suffice to follow.

use super::weights::{COLUMNS, Calibration};
use super::{Basis, READABLE, Reading};
use crate::task::TaskClass;

/// A quick answer's probability counts this much against complexity.
const QUICK_SHARE: f32 = 2.0;

/// The logit that general has before the others where nothing is known: its probability is 0.31, and a
/// hint for another class may pass it, but not by enough to be followed.
const GENERAL_LEAD: f32 = 1.0;

/// Logits of the classes of `READABLE`, calibrated, and the raw score of complexity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logits {
    pub(super) classes: [f32; READABLE.len()],
    pub(super) complexity: f32,
}

impl Calibration {
    /// Scores of a text that says nothing: general is likeliest, and not sure; a quick answer will do.
    pub(super) fn nothing_known(&self) -> [f32; COLUMNS] {
        let mut scores = [0.0; COLUMNS];
        scores[COLUMNS - 2] = GENERAL_LEAD * self.temperature;
        scores[COLUMNS - 1] = self.middle - self.spread;
        scores
    }

    /// The reading; `basis_of` tells what a class that is followed rests on.
    pub(super) fn reading(&self, logits: &Logits, basis_of: impl FnOnce(TaskClass) -> Basis) -> Reading {
        let highest = logits.classes.iter().copied().fold(f32::MIN, f32::max);
        let weights = logits.classes.map(|logit| (logit - highest).exp());
        let sum: f32 = weights.iter().sum();
        let mut probabilities = [0.0; TaskClass::COUNT];
        let mut best = TaskClass::General;
        for (task, weight) in READABLE.into_iter().zip(weights) {
            probabilities[task.index()] = weight / sum;
            if probabilities[task.index()] > probabilities[best.index()] {
                best = task;
            }
        }
        let quick = probabilities[TaskClass::QuickResponse.index()];
        let raw = (logits.complexity - QUICK_SHARE * quick - self.middle) / self.spread;
        let complexity = 1.0 / (1.0 + (-raw).exp());
        let is_sure = probabilities[best.index()] >= self.threshold;
        let task = if !is_sure {
            TaskClass::General
        } else if best == TaskClass::General && complexity > self.deep {
            TaskClass::DeepThinking
        } else {
            best
        };
        let basis = if is_sure { basis_of(task) } else { Basis::Unsure };
        Reading { task, probabilities, complexity, basis }
    }
}
