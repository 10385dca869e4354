//! What a message means in its conversation: a follow-up that has nothing of its own stays with what was
//! being done, a wish of its own moves on.
//!
//! A pure function over readings. The earlier messages are read only where the last one is short and says
//! little, so that a clear request costs nothing more.

use super::follow_up::{FollowUp, SHORT_BYTES, Says};
use super::wrappers::own_words;
use super::{Basis, Classify, Reading};
use crate::request::Conversation;
use crate::task::TaskClass;

/// The share of what was being done in the scores of a message that stays with it; the rest is its own.
const STAY: f32 = 0.75;

/// A short message below these probabilities of its class says little: of a class that serves any
/// message, the same where it points back, and of a special class.
const WEAK: f32 = 0.7;
const WEAK_POINTING_BACK: f32 = 0.85;
const WEAK_SPECIAL: f32 = 0.6;
/// A clear reading of a longer message, in bytes, is not doubted: it costs no look at its words.
const LOOKS_SHORT: usize = 60;

/// What the last message wants.
pub(crate) fn read(classifier: &dyn Classify, prompt: &str, conversation: &Conversation) -> Reading {
    let own = classifier.read(prompt);
    if conversation.earlier.is_empty() && !conversation.answer_has_code {
        return own;
    }
    let words = own_words(prompt).map_or("", |range| &prompt[range]);
    let message = Message::of(words, &own);
    if message == Message::Thanks && own.task != TaskClass::QuickResponse {
        return blend(&own, &certain(TaskClass::QuickResponse, own.complexity), Basis::Words);
    }
    if message != Message::Leans {
        return own;
    }
    match before(classifier, conversation) {
        Some(before) => blend(&own, &before, Basis::Context),
        None => own,
    }
}

/// What a message is in its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    /// It has a wish of its own.
    Asks,
    /// It turns to something else.
    Switches,
    /// It ends the matter.
    Thanks,
    /// It leans on what came before.
    Leans,
}

impl Message {
    fn of(words: &str, reading: &Reading) -> Self {
        if words.len() > LOOKS_SHORT && !is_weak(reading, true) {
            return Self::Asks;
        }
        let follow_up = FollowUp::of(words);
        match follow_up.says {
            Says::Thanks => Self::Thanks,
            Says::Turns => Self::Switches,
            Says::Own => Self::Asks,
            Says::Something if words.len() > 2 * SHORT_BYTES || !is_weak(reading, follow_up.points_back) => {
                Self::Asks
            }
            Says::Nothing | Says::Something => Self::Leans,
        }
    }
}

fn is_weak(reading: &Reading, points_back: bool) -> bool {
    let highest = reading.probabilities.iter().copied().fold(0.0, f32::max);
    let limit = match reading.task {
        TaskClass::General | TaskClass::QuickResponse if points_back => WEAK_POINTING_BACK,
        TaskClass::General | TaskClass::QuickResponse => WEAK,
        _ => WEAK_SPECIAL,
    };
    reading.basis == Basis::Unsure || highest < limit
}

/// What was being done: the latest earlier message with a wish of its own, and code where the last answer
/// holds some and no message says more.
fn before(classifier: &dyn Classify, conversation: &Conversation) -> Option<Reading> {
    let mut found = None;
    for text in &conversation.earlier {
        let reading = classifier.read(text);
        match Message::of(text, &reading) {
            Message::Leans | Message::Thanks => {}
            Message::Switches if reading.basis == Basis::Unsure => break,
            Message::Switches | Message::Asks => {
                found = Some(reading);
                break;
            }
        }
    }
    match found {
        Some(reading) if !matches!(reading.task, TaskClass::General | TaskClass::QuickResponse) => {
            Some(reading)
        }
        other if conversation.answer_has_code => {
            Some(certain(TaskClass::CodeGeneration, other.map_or(0.5, |reading| reading.complexity)))
        }
        other => other,
    }
}

/// A reading that is sure of one class.
fn certain(task: TaskClass, complexity: f32) -> Reading {
    let mut probabilities = [0.0; TaskClass::COUNT];
    probabilities[task.index()] = 1.0;
    Reading { task, probabilities, complexity, basis: Basis::Structure }
}

/// The class of `before`, with scores and complexity of both in the shares of [`STAY`].
fn blend(own: &Reading, before: &Reading, basis: Basis) -> Reading {
    let mix = |own: f32, before: f32| (1.0 - STAY) * own + STAY * before;
    Reading {
        task: before.task,
        probabilities: std::array::from_fn(|task| mix(own.probabilities[task], before.probabilities[task])),
        complexity: mix(own.complexity, before.complexity),
        basis,
    }
}
