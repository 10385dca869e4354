//! From points for each class to probabilities.

use super::{Basis, READABLE, Reading};
use crate::task::TaskClass;

/// What general has without any evidence; the other classes have none. With it a text that says
/// nothing reads as general with a confidence of 0.31: most likely, and not sure.
const GENERAL_PRIOR: f32 = 1.0;
/// Below this probability of the likeliest class the answer is general, unsure.
const SURE_ENOUGH: f32 = 0.5;
/// Points of one class beyond which more of the same adds little: ten times "function" says hardly
/// more than twice.
const ENOUGH: f32 = 6.0;
const BEYOND_ENOUGH: f32 = 0.15;
const MOST: f32 = 9.0;

/// Points for each class, those of words and those of structure apart.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scores {
    words: [f32; TaskClass::COUNT],
    structure: [f32; TaskClass::COUNT],
}

impl Scores {
    /// Adds points that a word or phrase gives.
    pub(super) fn add_word(&mut self, task: TaskClass, points: f32) {
        self.words[task.index()] += points;
    }

    /// Adds points that the form of the text gives.
    pub(super) fn add_structure(&mut self, task: TaskClass, points: f32) {
        self.structure[task.index()] += points;
    }

    /// All points of a class, with what is beyond enough cut down.
    #[inline]
    pub(super) fn points(&self, task: TaskClass) -> f32 {
        let sum = self.words[task.index()] + self.structure[task.index()];
        if sum > ENOUGH { (ENOUGH + (sum - ENOUGH) * BEYOND_ENOUGH).min(MOST) } else { sum }
    }

    /// The reading these points amount to.
    pub(super) fn reading(&self, complexity: f32) -> Reading {
        let mut probabilities = [0.0; TaskClass::COUNT];
        let mut sum = 0.0;
        let (mut best, mut best_points) = (TaskClass::General, f32::MIN);
        for task in READABLE {
            let prior = if task == TaskClass::General { GENERAL_PRIOR } else { 0.0 };
            let points = self.points(task) + prior;
            // Ties go to general, which stands last.
            if points >= best_points {
                (best, best_points) = (task, points);
            }
            // Most classes have no points in most texts.
            let weight = if points == 0.0 { 1.0 } else { points.exp() };
            probabilities[task.index()] = weight;
            sum += weight;
        }
        for probability in &mut probabilities {
            *probability /= sum;
        }
        let is_sure = probabilities[best.index()] >= SURE_ENOUGH;
        let task = if is_sure { best } else { TaskClass::General };
        let basis = if !is_sure {
            Basis::Unsure
        } else if self.structure[task.index()] > self.words[task.index()] {
            Basis::Structure
        } else {
            Basis::Words
        };
        Reading { task, probabilities, complexity, basis }
    }
}

/// The reading of a text without content.
pub(super) fn nothing_to_read() -> Reading {
    Reading { basis: Basis::Empty, ..Scores::default().reading(0.0) }
}

#[cfg(test)]
mod tests {
    use super::{Scores, nothing_to_read};
    use crate::classify::Basis;
    use crate::task::TaskClass;

    #[test]
    fn no_evidence_is_general_and_not_sure() {
        let reading = Scores::default().reading(0.2);
        assert_eq!((reading.task, reading.basis), (TaskClass::General, Basis::Unsure));
        assert!(reading.confidence() < 0.5);
        assert!((reading.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(nothing_to_read().basis, Basis::Empty);
    }

    #[test]
    fn a_weak_lead_is_shown_but_not_followed() {
        let mut scores = Scores::default();
        scores.add_word(TaskClass::Mathematical, 1.8);
        let reading = scores.reading(0.0);
        assert_eq!(reading.task, TaskClass::General);
        assert!(reading.probabilities[TaskClass::Mathematical.index()] > reading.confidence());
    }

    #[test]
    fn more_of_the_same_never_drowns_the_rest() {
        let mut scores = Scores::default();
        scores.add_word(TaskClass::Creative, 1e6);
        assert!(scores.points(TaskClass::Creative) <= super::MOST);
        let reading = scores.reading(0.0);
        assert!(reading.probabilities.iter().all(|probability| probability.is_finite()));
    }
}
