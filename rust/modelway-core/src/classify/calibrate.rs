//! From scores to a reading: calibrated probabilities, complexity, and whether they suffice to follow.

use super::{Basis, READABLE, Reading};
use crate::exact::{exp, ln};
use crate::task::TaskClass;

/// Classes that a text can be read as.
const CLASSES: usize = READABLE.len();
/// Scores of a text: those of the classes of `READABLE`, then complexity.
pub(crate) const COLUMNS: usize = CLASSES + 1;
/// Numbers of a calibration in a file.
const FLOATS: usize = 6 + CLASSES;

/// A quick answer's probability counts this much against complexity.
const QUICK_SHARE: f32 = 2.0;

/// A class is never further behind the likeliest than this, in units of the logit, so that a text which
/// repeats itself, or is like nothing that was trained on, can still be told by its words.
const FAR_BEHIND: f32 = 6.0;

/// The logit that general has before the others where nothing is known: its probability is 0.31, and a
/// hint for another class may pass it, but not by enough to be followed.
const GENERAL_LEAD: f32 = 1.0;

/// Constants that turn scores into a reading, fitted on texts that the weights had not seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Calibration {
    /// Scores are divided by it before they are probabilities.
    pub(crate) temperature: f32,
    /// Median and standard deviation of the complexity head.
    pub(crate) middle: f32,
    pub(crate) spread: f32,
    /// A general text that is more complex than this wants deep thinking.
    pub(crate) deep: f32,
    /// The probability below which no class is followed.
    pub(crate) threshold: f32,
    /// A general text that is less complex than this wants a quick answer; 0: none does.
    pub(crate) quick: f32,
    /// How often each class of `READABLE` came in the texts that the weights were made for.
    pub(crate) shares: [f32; CLASSES],
    /// What is added to each logit because classes are expected in other shares.
    pub(crate) shift: [f32; CLASSES],
}

/// Calibrated logits of the classes of `READABLE`, and the raw score of complexity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logits {
    pub(crate) classes: [f32; CLASSES],
    pub(crate) complexity: f32,
}

impl Calibration {
    /// Scores taken as they are, and the likeliest class followed, however likely: where nothing was set aside
    /// to calibrate on.
    pub(crate) const NONE: Self = Self {
        temperature: 1.0,
        middle: 0.0,
        spread: 1.0,
        deep: 1.0,
        threshold: 0.0,
        quick: 0.0,
        shares: [1.0 / CLASSES as f32; CLASSES],
        shift: [0.0; CLASSES],
    };

    pub(super) fn from_floats(floats: [f32; FLOATS]) -> Self {
        let [temperature, middle, spread, deep, threshold, quick, shares @ ..] = floats;
        Self { temperature, middle, spread, deep, threshold, quick, shares, shift: [0.0; CLASSES] }
    }

    pub(super) fn to_floats(self) -> [f32; FLOATS] {
        let mut floats = [0.0; FLOATS];
        let head = [self.temperature, self.middle, self.spread, self.deep, self.threshold, self.quick];
        floats[..head.len()].copy_from_slice(&head);
        floats[head.len()..].copy_from_slice(&self.shares);
        floats
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.temperature > 0.0 && self.spread > 0.0 && self.shares.iter().all(|share| *share > 0.0)
    }

    /// Expects classes in the shares of `wanted`; those that it does not name have what it leaves over, in the
    /// proportions of the weights' own shares. By Bayes' rule the logit of a class moves by
    /// ln(wanted share / share in training).
    ///
    /// # Errors
    /// Shares of more than 1 together, or that leave nothing for the classes not named.
    pub(crate) fn expect(&mut self, wanted: &[(TaskClass, f32)]) -> Result<(), String> {
        if wanted.is_empty() {
            return Ok(());
        }
        let named: f32 = wanted.iter().map(|(_, share)| share).sum();
        let share_of = |task| wanted.iter().find(|(named, _)| *named == task).map(|(_, share)| *share);
        let others = READABLE.iter().zip(self.shares).filter(|(task, _)| share_of(**task).is_none());
        let rest: f32 = others.map(|(_, share)| share).sum();
        // f32 holds a sum of seven shares to seven digits.
        if named > 1.0 + 1e-5 || (rest > 0.0 && named > 1.0 - 1e-5) {
            return Err(format!(
                "the shares add up to {named}; they may add up to 1, and to less where a task is not named"
            ));
        }
        for (place, task) in READABLE.into_iter().enumerate() {
            let share = share_of(task).unwrap_or_else(|| (1.0 - named) * self.shares[place] / rest);
            self.shift[place] = ln(share) - ln(self.shares[place]);
        }
        Ok(())
    }

    /// Scores of a text that says nothing: general is likeliest, and not sure; a quick answer will do.
    pub(super) fn nothing_known(&self) -> [f32; COLUMNS] {
        let mut scores = [0.0; COLUMNS];
        scores[COLUMNS - 2] = GENERAL_LEAD * self.temperature;
        scores[COLUMNS - 1] = self.middle - self.spread;
        scores
    }

    /// The scores of weights, with what is known of each class beside them.
    pub(crate) fn logits(&self, scores: &[f32; COLUMNS], prior: impl Fn(usize) -> f32) -> Logits {
        let highest = scores[..CLASSES].iter().copied().fold(f32::MIN, f32::max);
        let mut classes = self.shift;
        for (place, logit) in classes.iter_mut().enumerate() {
            let behind = (highest - scores[place]) / self.temperature;
            *logit += prior(place) - behind.min(FAR_BEHIND);
        }
        Logits { classes, complexity: scores[COLUMNS - 1] }
    }

    /// Complexity in units of its spread, from its raw score and the probability of a quick answer.
    pub(crate) fn standing(&self, complexity: f32, quick: f32) -> f32 {
        (complexity - QUICK_SHARE * quick - self.middle) / self.spread
    }

    /// The reading; `basis_of` tells what a class that is followed rests on.
    pub(crate) fn reading(&self, logits: &Logits, basis_of: impl FnOnce(TaskClass) -> Basis) -> Reading {
        let mut probabilities = [0.0; TaskClass::COUNT];
        let mut best = TaskClass::General;
        for (task, probability) in READABLE.into_iter().zip(softmax(&logits.classes)) {
            probabilities[task.index()] = probability;
            if probability > probabilities[best.index()] {
                best = task;
            }
        }
        let quick = probabilities[TaskClass::QuickResponse.index()];
        let complexity = logistic(self.standing(logits.complexity, quick));
        let is_sure = probabilities[best.index()] >= self.threshold;
        let task = if !is_sure {
            TaskClass::General
        } else if best == TaskClass::General && complexity > self.deep {
            TaskClass::DeepThinking
        } else if best == TaskClass::General && complexity < self.quick {
            TaskClass::QuickResponse
        } else {
            best
        };
        let basis = if is_sure { basis_of(task) } else { Basis::Unsure };
        Reading { task, probabilities, complexity, basis }
    }
}

/// Probabilities in the proportions of e to the power of the logits.
pub(crate) fn softmax<const N: usize>(logits: &[f32; N]) -> [f32; N] {
    let highest = logits.iter().copied().fold(f32::MIN, f32::max);
    let raised = logits.map(|logit| exp(logit - highest));
    let sum: f32 = raised.iter().sum();
    raised.map(|one| one / sum)
}

/// 1 / (1 + e^-x).
pub(crate) fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}
