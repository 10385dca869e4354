//! Text in, reading out: which class a prompt wants, how sure, and why.
//!
//! [`Classify`] is the seam: a classifier gives a [`Reading`] (cheap, for every decision) and the
//! evidence behind it (for whoever asks why). [`TrainedClassifier`] adds trained weights and what is known
//! of words and structure.

mod background;
mod batch;
mod beyond_ascii;
mod boundaries;
pub(crate) mod calibrate;
pub(crate) mod context;
mod counted;
mod entries;
mod features;
mod fold;
mod folded;
mod follow_up;
mod hash_table;
mod lexicon;
mod marks;
mod ngrams;
mod normal;
mod phrases;
mod prior;
pub mod sample;
mod shape;
pub mod stakes;
mod tally;
mod templates;
mod tokens;
mod trained;
pub mod training;
mod weights;
pub(crate) mod weights_file;
mod wrappers;

use crate::task::TaskClass;

pub use background::{FRAME_BYTES, is_background};
pub use batch::{all_cores, share};
pub use lexicon::Keywords;
pub use ngrams::{BUCKETS, OPENING_VALUE};
pub use shape::LEVELS;
pub(crate) use shape::is_code_line;
pub use stakes::{Stake, stakes_of};
pub use trained::TrainedClassifier;
pub use weights::{SHIPPED, Weights};
pub use weights_file::{VERSION, WeightsFile};
pub(crate) use wrappers::OwnWords;
pub use wrappers::own_words;

/// The classes a text can be read as: all but embedding, which the endpoint decides.
pub const READABLE: [TaskClass; 7] = [
    TaskClass::QuickResponse,
    TaskClass::DeepThinking,
    TaskClass::CodeGeneration,
    TaskClass::Mathematical,
    TaskClass::Creative,
    TaskClass::ToolUse,
    TaskClass::General,
];

/// What a reading rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// There was nothing to read.
    Empty,
    /// Nothing, or too little, pointed to one class.
    Unsure,
    /// Words decided.
    Words,
    /// Structure decided: fences, formulas, the shape of a question.
    Structure,
    /// What came before in the conversation decided.
    Context,
}

/// What a classifier read in a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The class to serve it as.
    pub task: TaskClass,
    /// Probability by class; embedding's is 0 and the others add up to 1.
    pub probabilities: [f32; TaskClass::COUNT],
    /// 0: a quick answer will do; 1: deep thinking.
    pub complexity: f32,
    /// What it rests on.
    pub basis: Basis,
}

impl Reading {
    /// The probability of the class it is served as.
    #[must_use]
    pub fn confidence(&self) -> f32 {
        self.probabilities[self.task.index()]
    }

    /// The probability of the likeliest class less that of the second.
    #[must_use]
    pub fn margin(&self) -> f32 {
        let (mut best, mut second) = (0.0_f32, 0.0_f32);
        for probability in self.probabilities {
            if probability > best {
                second = best;
                best = probability;
            } else if probability > second {
                second = probability;
            }
        }
        best - second
    }
}

/// The part of complexity that length alone gives, in [0, 0.6]: 300 words and more are as long as it gets.
pub(crate) fn complexity_of_words(words: f32) -> f32 {
    /// 1 / ln(1 + 300).
    const PER_LOG: f32 = 0.175_22;
    0.6 * ((words + 1.0).ln() * PER_LOG).min(1.0)
}

/// The complexity of a request of which only the length is known; four tokens are about three words.
#[must_use]
pub fn complexity_of_length(tokens: u64) -> f32 {
    complexity_of_words(tokens as f32 * 0.75)
}

/// A piece of text that speaks for (or, with a negative weight, against) a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// First character.
    pub start: usize,
    /// Behind the last character.
    pub end: usize,
    /// The class.
    pub task: TaskClass,
    /// How much, in units of the logit.
    pub weight: f32,
}

/// A classifier of prompts. Any text is welcome; none makes it panic, and the same text always gives
/// the same reading.
pub trait Classify: Send + Sync {
    /// What the text wants.
    fn read(&self, text: &str) -> Reading;

    /// The same reading, with the evidence behind it in the order of the text.
    fn explain(&self, text: &str) -> (Reading, Vec<Evidence>);
}
