//! What is known without training: words of the lexicon and of the configuration, in many languages, and
//! structure that settles a class whatever the words say.

use super::Basis;
use super::features::Features;
use super::lexicon::Hit;
use super::shape::Shape;
use crate::task::TaskClass;

/// A logit's worth of one point of a word, and of structure.
const WORD_SHARE: f32 = 0.6;
const STRUCTURE_SHARE: f32 = 1.4;
/// The same of a word in a text that is read only at its ends: what is wanted stands there in few words
/// among many that are material.
const CUT_SHARE: f32 = 1.2;
/// Points of one class beyond which more of the same adds little: ten times "function" says hardly
/// more than twice.
const ENOUGH: f32 = 8.0;
const BEYOND_ENOUGH: f32 = 0.15;
const MOST: f32 = 11.0;
/// Points of structure that settle a class.
const SETTLES: f32 = 2.0;

/// Points for each class, those of words and those of structure apart, while a text is read.
#[derive(Debug)]
pub(super) struct Prior {
    words: [f32; TaskClass::COUNT],
    structure: [f32; TaskClass::COUNT],
    pub(super) features: Features,
    /// A logit's worth of one point of a word.
    word_share: f32,
}

impl Prior {
    /// For a text that `is_cut` to its ends or is read whole.
    pub(super) fn new(is_cut: bool) -> Self {
        Self {
            words: [0.0; TaskClass::COUNT],
            structure: [0.0; TaskClass::COUNT],
            features: Features::default(),
            word_share: if is_cut { CUT_SHARE } else { WORD_SHARE },
        }
    }

    /// Takes what was found; gives it back in units of the logit.
    #[inline]
    pub(super) fn take(&mut self, hit: Hit) -> Hit {
        let (points, share) = if hit.is_symbol {
            (&mut self.structure, STRUCTURE_SHARE)
        } else {
            (&mut self.words, self.word_share)
        };
        points[hit.task.index()] += hit.points;
        Hit { points: hit.points * share, ..hit }
    }

    /// Adds what the form of the whole text says.
    pub(super) fn end(&mut self, shape: &Shape) {
        let features = self.features;
        let some = |count: u32, each: f32, most: f32| (count as f32 * each).min(most);
        let code = &mut self.structure[TaskClass::CodeGeneration.index()];
        *code += some(shape.code_lines, 1.2, 4.0) + some(features.identifiers, 1.2, 3.0);
        let code = self.points(TaskClass::CodeGeneration);
        // Operators inside code are code's.
        let left = if code >= 3.0 { 0.0 } else { 1.0 };
        let math = &mut self.structure[TaskClass::Mathematical.index()];
        *math += left
            * (some(features.sums, 3.2, 4.0)
                + some(features.formulas, 2.4, 4.8)
                + some(shape.signs, 1.2, 4.0));
    }

    fn points(&self, task: TaskClass) -> f32 {
        self.words[task.index()] + self.structure[task.index()]
    }

    /// What to add to the logit of a class.
    pub(super) fn logit(&self, task: TaskClass) -> f32 {
        self.word_share * enough(self.words[task.index()])
            + STRUCTURE_SHARE * enough(self.structure[task.index()])
    }

    /// What a class rests on.
    pub(super) fn basis(&self, task: TaskClass) -> Basis {
        let structure = enough(self.structure[task.index()]);
        let is_structure = structure >= SETTLES && structure > self.words[task.index()];
        if is_structure { Basis::Structure } else { Basis::Words }
    }
}

fn enough(points: f32) -> f32 {
    if points > ENOUGH { (ENOUGH + (points - ENOUGH) * BEYOND_ENOUGH).min(MOST) } else { points }
}
