//! The recipe: labelled rows in, a file of weights out.
//!
//! Classes are not balanced: how often each comes in the rows is what the classifier expects to meet.

use std::num::NonZero;

use super::calibration::{Unseen, calibrated};
use super::linear::Linear;
use super::rows::Rows;
use super::softmax::{Examples, Penalty, fit};
use crate::classify::calibrate::COLUMNS;
use crate::classify::{READABLE, WeightsFile, share};
use crate::exact::ln;
use crate::task::TaskClass;

const CLASSES: usize = READABLE.len();
/// The place of deep thinking in `READABLE`.
const DEEP: usize = 1;
const _: () = assert!(matches!(READABLE[DEEP], TaskClass::DeepThinking));

/// The share of a target that goes to the other labels that would be accepted.
const ALSO: f32 = 0.15;
const PENALTY: Penalty = Penalty { l2: 1e-5, power: 0.25 };
const HEAD_PENALTY: Penalty = Penalty { l2: 1e-4, power: 0.35 };
/// How much a deep row counts in the head of complexity: they are few.
const HEAD_DEEP: f32 = 10.0;
/// What the head is to say of a general row that might be called deep.
const HEAD_ALSO: f32 = 0.5;
/// The highest grade of complexity.
const HARDEST: u8 = 5;
/// How much a graded row counts in the head of complexity.
const HEAD_GRADED: f32 = 4.0;
/// Rows that one thread scores before it asks for more.
const BLOCK: usize = 256;

/// What is known of each row, in the order of the texts.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// Its class, as a place in `READABLE`.
    pub first: Vec<u8>,
    /// The classes that are right, a bit for each place in `READABLE`.
    pub accepted: Vec<u8>,
    /// How much it counts; 0: it is only measured.
    pub weight: Vec<f32>,
    /// Rows of one bag train one model together with those in no bag (-1); the models are averaged.
    pub bag: Vec<i8>,
    /// Whether it is like what will be asked: such rows alone calibrate, and they teach complexity.
    pub typical: Vec<bool>,
    /// How much thought it takes, from 1 to `HARDEST`; 0: not known. Such rows teach complexity too.
    pub grade: Vec<u8>,
}

/// Rows to train on.
#[derive(Debug)]
pub struct TrainingSet {
    rows: Rows,
    labels: Labels,
}

/// What one training is to use.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    /// The rows to learn from.
    pub rows: &'a [u32],
    /// The weights to start from, which the rows are to improve; `None`: from nothing.
    pub base: Option<&'a WeightsFile>,
    /// Steps of the minimiser.
    pub steps: usize,
    /// Threads to work on; the result does not depend on it.
    pub threads: NonZero<usize>,
}

impl TrainingSet {
    /// Rows and what is known of them.
    ///
    /// # Errors
    /// A list of another length than the rows, or a number that is no class.
    pub fn new(rows: Rows, labels: Labels) -> Result<Self, &'static str> {
        let Labels { first, accepted, weight, bag, typical, grade } = &labels;
        let lengths = [first.len(), accepted.len(), weight.len(), bag.len(), typical.len(), grade.len()];
        if lengths != [rows.len(); 6] {
            return Err(
                "each text has one label, one set of accepted labels, one weight, one bag, one grade",
            );
        }
        if first.iter().zip(accepted).any(|(label, accepted)| {
            usize::from(*label) >= CLASSES || accepted >> label & 1 == 0 || *accepted >> CLASSES != 0
        }) {
            return Err("a label is a place among the classes, and accepted");
        }
        if grade.iter().any(|grade| *grade > HARDEST) {
            return Err("a grade is a number from 1 to 5, or 0 where it is not known");
        }
        Ok(Self { rows, labels })
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Weights from the chosen rows, at least one of weight above 0 a bag; not calibrated.
    #[must_use]
    pub fn train(&self, chosen: Chosen<'_>) -> WeightsFile {
        let base = chosen.base.map(Linear::of);
        let bags = self.labels.bag.iter().max().map_or(1, |last| i32::from(*last) + 1).max(1);
        let mut weights = base.clone().unwrap_or_else(Linear::silent);
        for bag in 0..bags {
            let examples = self.examples(chosen.rows, bag, base.as_ref());
            let solution = fit(&self.rows, &examples, PENALTY, chosen.steps, chosen.threads, |_| {});
            weights.add(0, 1.0 / bags as f32, &solution);
        }
        let head = self.head_examples(chosen.rows, base.as_ref());
        if !head.rows.is_empty() {
            let solution = fit(&self.rows, &head, HEAD_PENALTY, chosen.steps, chosen.threads, |_| {});
            weights.add(COLUMNS - 1, 1.0, &solution.odds());
        }
        weights.quantised()
    }

    /// The mean loss on the rows `held` after each step of a training with the chosen rows, of the first bag.
    #[must_use]
    pub fn held_losses(&self, chosen: Chosen<'_>, held: &[u32]) -> Vec<f64> {
        let base = chosen.base.map(Linear::of);
        let examples = self.examples(chosen.rows, 0, base.as_ref());
        let unseen = self.examples(held, 0, base.as_ref());
        let mut losses = Vec::with_capacity(chosen.steps);
        let last = fit(&self.rows, &examples, PENALTY, chosen.steps, chosen.threads, |solution| {
            losses.push(solution.loss(&self.rows, &unseen));
        });
        // A training that has arrived early stays where it is.
        losses.resize(chosen.steps, last.loss(&self.rows, &unseen));
        losses
    }

    /// The raw scores of rows, as the core gives them for their texts.
    #[must_use]
    pub fn scores(
        &self,
        weights: &WeightsFile,
        rows: &[u32],
        threads: NonZero<usize>,
    ) -> Vec<[f32; COLUMNS]> {
        let linear = Linear::of(weights);
        let mut scores = vec![[0.0; COLUMNS]; rows.len()];
        share(threads, scores.chunks_mut(BLOCK).zip(rows.chunks(BLOCK)), |(scores, rows)| {
            for (scores, row) in scores.iter_mut().zip(rows) {
                *scores = linear.scores(&self.rows, *row as usize);
            }
        });
        scores
    }

    /// `weights` with the calibration that fits the typical ones among `rows`: `scores` are those of weights that
    /// had not seen the row, and `priors` the probabilities that words and structure alone give its classes. As
    /// they are where no row is typical.
    #[must_use]
    pub fn calibrated(
        &self,
        mut weights: WeightsFile,
        rows: &[u32],
        scores: &[[f32; COLUMNS]],
        priors: &[[f32; CLASSES]],
    ) -> WeightsFile {
        let typical =
            rows.iter().zip(scores).zip(priors).filter(|((row, _), _)| self.labels.typical[**row as usize]);
        let texts: Vec<Unseen> = typical
            .map(|((row, scores), prior)| Unseen {
                scores: *scores,
                prior: prior.map(|probability| ln(probability.max(f32::MIN_POSITIVE))),
                label: self.labels.first[*row as usize],
            })
            .collect();
        if !texts.is_empty() {
            weights.calibration = calibrated(&texts);
        }
        weights
    }

    fn examples(&self, chosen: &[u32], bag: i32, base: Option<&Linear>) -> Examples<CLASSES> {
        let mut examples = Examples::default();
        for row in chosen {
            let place = *row as usize;
            let of_row = i32::from(self.labels.bag[place]);
            if (of_row >= 0 && of_row != bag) || self.labels.weight[place] <= 0.0 {
                continue;
            }
            examples.rows.push(*row);
            examples.targets.push(self.targets(place));
            examples.weights.push(self.labels.weight[place]);
            let mut offset = [0.0; CLASSES];
            if let Some(base) = base {
                offset.copy_from_slice(&base.scores(&self.rows, place)[..CLASSES]);
            }
            examples.offsets.push(offset);
        }
        examples
    }

    /// Probabilities to be learned: the label, with a share for the others that would be accepted.
    fn targets(&self, row: usize) -> [f32; CLASSES] {
        let (first, accepted) = (usize::from(self.labels.first[row]), self.labels.accepted[row]);
        let others = accepted.count_ones() - 1;
        if others == 0 {
            return std::array::from_fn(|label| f32::from(label == first));
        }
        std::array::from_fn(|label| match accepted >> label & 1 {
            _ if label == first => 1.0 - ALSO,
            1 => ALSO / others as f32,
            _ => 0.0,
        })
    }

    /// Deep prompts against quick and general ones, and graded prompts of every class by their grade. A head of its own because deep is no topic: as a seventh
    /// class it ranks difficulty worse.
    fn head_examples(&self, chosen: &[u32], base: Option<&Linear>) -> Examples<2> {
        let mut examples = Examples::default();
        for row in chosen {
            let place = *row as usize;
            let grade = self.labels.grade[place];
            if (grade == 0 && !self.labels.typical[place]) || self.labels.weight[place] <= 0.0 {
                continue;
            }
            let task = READABLE[usize::from(self.labels.first[place])];
            let maybe = self.labels.accepted[place] >> DEEP & 1 == 1;
            let (deep, weight) = match task {
                _ if grade > 0 => (thought(grade, task), HEAD_GRADED),
                TaskClass::DeepThinking => (1.0, HEAD_DEEP),
                TaskClass::General if maybe => (HEAD_ALSO, 1.0),
                TaskClass::General | TaskClass::QuickResponse => (0.0, 1.0),
                _ => continue,
            };
            examples.rows.push(*row);
            examples.targets.push([deep, 1.0 - deep]);
            examples.weights.push(weight * self.labels.weight[place]);
            examples
                .offsets
                .push([base.map_or(0.0, |base| base.scores(&self.rows, place)[COLUMNS - 1]), 0.0]);
        }
        examples
    }
}

/// What the head is to say of a graded row: the middle between its grade and its label, as a prompt that is to go
/// to deep thinking is to rank above others of its grade.
fn thought(grade: u8, task: TaskClass) -> f32 {
    let by_grade = f32::from(grade - 1) / f32::from(HARDEST - 1);
    f32::midpoint(by_grade, f32::from(u8::from(matches!(task, TaskClass::DeepThinking))))
}
