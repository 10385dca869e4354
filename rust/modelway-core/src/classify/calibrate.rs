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
        let weights = logits.classes.map(|logit| exp(logit - highest));
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
        let complexity = sigmoid(raw);
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

/// e^x for x up to 0, within 1e-5 of it (1e-6 down to -8); a few additions and products, so that several are made at once
/// and come out the same on every machine.
fn exp(x: f32) -> f32 {
    use std::f32::consts::{LN_2, LOG2_E};

    /// Added to a small number, it leaves no bits for what is behind the point.
    const ROUND: f32 = 12_582_912.0;
    /// e^-80 is as good as 0, and its exponent still a sound one.
    const LEAST: f32 = -80.0;
    /// 1 as an exponent.
    const ONE: u32 = 127;
    let twos = x.max(LEAST) * LOG2_E;
    let rounded = twos + ROUND;
    let power = (twos - (rounded - ROUND)) * LN_2;
    // Taylor's series around 0; the rest is below 2^-23 where |power| is at most ln 2 / 2.
    let rest = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0]
        .into_iter()
        .fold(0.0, |sum, factor| sum * power + factor);
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(ONE);
    rest * f32::from_bits(exponent << 23)
}

/// The logistic function.
fn sigmoid(x: f32) -> f32 {
    let small = exp(-x.abs());
    if x < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) }
}

#[cfg(test)]
mod tests {
    use super::{exp, sigmoid};

    #[test]
    fn powers_are_those_of_the_library() {
        for step in 0..=65_000_u16 {
            let x = -f32::from(step) / 1000.0;
            let (seen, known) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((seen / known - 1.0).abs() < 1e-5, "{x}: {seen} {known}");
            for x in [x, -x] {
                let known = 1.0 / (1.0 + (-f64::from(x)).exp());
                assert!((f64::from(sigmoid(x)) / known - 1.0).abs() < 1e-5, "{x}");
            }
        }
        assert!(exp(f32::MIN) < 1e-34);
    }
}
