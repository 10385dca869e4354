//! From raw scores to probabilities, to complexity, and to the general texts that are deep or quick.
//!
//! Fitted on scores of texts that the weights were not trained on, together with what words and structure add
//! to them: two sources that agree would else be surer than they are right.

use crate::classify::calibrate::COLUMNS;
use crate::classify::calibrate::{Calibration, logistic, softmax};
use crate::classify::{Basis, READABLE};
use crate::exact::{exp, ln};
use crate::task::TaskClass;

/// The probability below which no class is followed.
const THRESHOLD: f32 = 0.35;
/// The share of texts from whose complexity on a general one is deep: so few are deep that a lower bar would be
/// wrong more often than right.
const DEEPEST: f64 = 0.02;
/// The logarithms of the temperatures between which the best is looked for: 0.2 and 5.
const TEMPERATURES: [f32; 2] = [-1.609_438, 1.609_438];
/// (sqrt 5 - 1) / 2
const GOLDEN: f32 = 0.618_034;
const SEARCHES: u32 = 40;

const CLASSES: usize = READABLE.len();

/// A text that the weights did not see.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unseen {
    pub(super) scores: [f32; COLUMNS],
    /// What words and structure add to the logits.
    pub(super) prior: [f32; CLASSES],
    /// Its class, as a place in `READABLE`.
    pub(super) label: u8,
}

/// The calibration that fits these texts, at least one.
pub(super) fn calibrated(texts: &[Unseen]) -> Calibration {
    let mut calibration = Calibration {
        threshold: THRESHOLD,
        shares: shares(texts),
        temperature: temperature(texts),
        ..Calibration::NONE
    };
    // With `middle` 0 and `spread` 1 the standing is the raw complexity.
    let mut raw: Vec<f32> = texts
        .iter()
        .map(|text| {
            let logits = logits(&calibration, text);
            calibration
                .standing(logits.complexity, softmax(&logits.classes)[place_of(TaskClass::QuickResponse)])
        })
        .collect();
    raw.sort_unstable_by(f32::total_cmp);
    calibration.middle = quantile(&raw, 0.5);
    calibration.spread = deviation(&raw).max(1e-6);
    // Where no text is deep, what the head ranks highest is not deep either.
    if texts.iter().any(|text| usize::from(text.label) == place_of(TaskClass::DeepThinking)) {
        let highest = (quantile(&raw, 1.0 - DEEPEST) - calibration.middle) / calibration.spread;
        calibration.deep = logistic(highest);
    }
    calibration.quick = quick(&calibration, texts);
    calibration
}

fn place_of(task: TaskClass) -> usize {
    READABLE.iter().position(|known| *known == task).unwrap_or_default()
}

fn logits(calibration: &Calibration, text: &Unseen) -> crate::classify::calibrate::Logits {
    calibration.logits(&text.scores, |place| text.prior[place])
}

/// How often each class comes; one text more of each, so that none is impossible.
fn shares(texts: &[Unseen]) -> [f32; CLASSES] {
    let mut counts = [1_u32; CLASSES];
    for text in texts {
        counts[usize::from(text.label)] += 1;
    }
    let all = texts.len() + CLASSES;
    counts.map(|count| (f64::from(count) / all as f64) as f32)
}

/// The divisor of the scores that makes the labels likeliest, by golden section.
fn temperature(texts: &[Unseen]) -> f32 {
    let loss = |log: f32| {
        let calibration = Calibration { temperature: exp(log), ..Calibration::NONE };
        let losses = texts.iter().map(|text| {
            let of_label = softmax(&logits(&calibration, text).classes)[usize::from(text.label)];
            -f64::from(ln(of_label + 1e-9))
        });
        losses.sum::<f64>()
    };
    let [mut low, mut high] = TEMPERATURES;
    for _ in 0..SEARCHES {
        let (left, right) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
        if loss(left) < loss(right) { high = right } else { low = left }
    }
    exp(f32::midpoint(low, high))
}

/// The complexity below which calling general texts quick makes the most labels right; 0 where none does.
fn quick(calibration: &Calibration, texts: &[Unseen]) -> f32 {
    let mut generals: Vec<(f32, i32)> = Vec::new();
    for text in texts {
        let reading = calibration.reading(&logits(calibration, text), |_| Basis::Words);
        if reading.task == TaskClass::General && reading.basis != Basis::Unsure {
            let label = READABLE[usize::from(text.label)];
            let gain = i32::from(label == TaskClass::QuickResponse) - i32::from(label == TaskClass::General);
            generals.push((reading.complexity, gain));
        }
    }
    generals.sort_unstable_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    let (mut sum, mut best, mut below) = (0, 0, 0.0);
    for (place, (complexity, gain)) in generals.iter().enumerate() {
        sum += gain;
        // Texts of one complexity are on one side together.
        let next = generals.get(place + 1).map_or(1.0, |next| next.0);
        if sum > best && next > *complexity {
            (best, below) = (sum, next);
        }
    }
    below
}

/// Of sorted numbers, between neighbours in proportion.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    let place = share * (sorted.len() - 1) as f64;
    let (before, rest) = (place as usize, (place - place.floor()) as f32);
    let after = (before + 1).min(sorted.len() - 1);
    sorted[before] + rest * (sorted[after] - sorted[before])
}

fn deviation(numbers: &[f32]) -> f32 {
    let count = numbers.len() as f64;
    let mean = numbers.iter().copied().map(f64::from).sum::<f64>() / count;
    let squares = numbers.iter().map(|number| (f64::from(*number) - mean) * (f64::from(*number) - mean));
    (squares.sum::<f64>() / count).sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::{Unseen, calibrated, quantile};
    use crate::classify::calibrate::softmax;

    /// Numbers in [0, 1) that look random, always the same (Knuth's MMIX generator).
    fn chance(state: &mut u64) -> f32 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f32 / (1 << 24) as f32
    }

    /// Texts whose labels are as likely as their scores over `temperature`, with the prior, say.
    fn drawn(temperature: f32) -> Vec<Unseen> {
        let mut state = 1;
        let mut draw = || {
            let mut number = || 6.0 * (chance(&mut state) + chance(&mut state) + chance(&mut state) - 1.5);
            let scores: [f32; 8] = std::array::from_fn(|_| number());
            let prior: [f32; 7] = std::array::from_fn(|_| number() / 3.0);
            let highest = scores[..7].iter().copied().fold(f32::MIN, f32::max);
            let logits = std::array::from_fn(|place| {
                prior[place] - ((highest - scores[place]) / temperature).min(6.0)
            });
            let mut left = chance(&mut state);
            let label = softmax::<7>(&logits).iter().position(|share| {
                left -= share;
                left < 0.0
            });
            Unseen { scores, prior, label: label.unwrap_or(6) as u8 }
        };
        (0..6_000).map(|_| draw()).collect()
    }

    #[test]
    fn the_temperature_is_found() {
        for temperature in [0.5, 1.0, 2.0] {
            let found = calibrated(&drawn(temperature));
            assert!((found.temperature / temperature - 1.0).abs() < 0.1, "{found:?}");
            assert!(0.5 < found.deep && found.deep < 1.0);
            assert!(found.is_sound() && (found.shares.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn without_deep_texts_nothing_becomes_deep() {
        let mut texts = drawn(1.0);
        for text in &mut texts {
            text.label = 6;
        }
        let found = calibrated(&texts);
        assert_eq!((found.deep, found.quick), (1.0, 0.0));
    }

    #[test]
    fn general_texts_become_quick_below_where_most_are() {
        // Surely general by their scores; those of low complexity are labelled quick, but for one in ten.
        let texts: Vec<Unseen> = (0..1_000_u16)
            .map(|number| {
                let mut scores = [0.0; 8];
                (scores[6], scores[7]) = (2.0, f32::from(number) / 1_000.0);
                let is_quick = number < 300 && number % 10 != 0;
                Unseen { scores, prior: [0.0; 7], label: if is_quick { 0 } else { 6 } }
            })
            .collect();
        let found = calibrated(&texts);
        let becomes_quick = |text: &&Unseen| {
            let logits = found.logits(&text.scores, |place| text.prior[place]);
            found.reading(&logits, |_| crate::Basis::Words).task == crate::TaskClass::QuickResponse
        };
        assert_eq!(texts.iter().filter(becomes_quick).count(), 300);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        let sorted = [1.0, 2.0, 4.0];
        let quarters = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| (2.0 * quantile(&sorted, share)) as i32);
        assert_eq!(quarters, [2, 3, 4, 6, 8]);
    }
}
