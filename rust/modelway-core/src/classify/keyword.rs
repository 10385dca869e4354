//! The keyword classifier: what the lexicon's words say, and the form of the text.

use super::features::Features;
use super::lexicon::{Hit, Keywords, Lexicon};
use super::normal::Normal;
use super::opening::Opening;
use super::sample::Sample;
use super::scores::{Scores, nothing_to_read};
use super::tokens::walk;
use super::{Classify, Evidence, Reading, complexity_of_words};
use crate::task::TaskClass;

/// Reads words and structure.
#[derive(Debug)]
pub struct KeywordClassifier {
    lexicon: Lexicon,
}

impl KeywordClassifier {
    /// The classifier of the built-in lexicon and the configured keywords.
    #[must_use]
    pub fn new(keywords: &Keywords) -> Self {
        Self { lexicon: Lexicon::new(keywords) }
    }

    fn read_with(&self, text: &str, with_origin: bool, witness: &mut impl FnMut(Found<'_>)) -> Reading {
        let sample = Sample::of(text);
        let mut scores = Scores::default();
        let mut features = Features::default();
        let mut opening = Opening::default();
        let mut is_empty = true;
        for (part, raw) in sample.parts().iter().enumerate() {
            let normal = Normal::of(raw, with_origin);
            let text = normal.text();
            if text.chars().all(char::is_whitespace) {
                continue;
            }
            let mut reader = self.lexicon.reader(text);
            walk(text, &mut |token| {
                features.see(text.as_bytes(), token);
                reader.see(token, &mut |hit| {
                    if hit.is_symbol {
                        scores.add_structure(hit.task, hit.points);
                    } else {
                        scores.add_word(hit.task, hit.points);
                    }
                    witness(Found { part, normal: &normal, hit });
                });
            });
            features.end(text.as_bytes());
            // The shape of a question matters only where nothing else decides.
            if is_empty && !is_contested(&scores) {
                opening = Opening::of(text);
            }
            is_empty = false;
        }
        if is_empty {
            return nothing_to_read();
        }
        weigh(&features, opening, text.len(), &mut scores);
        scores.reading(complexity(&features, text.len(), sample.len(), &scores))
    }
}

impl Classify for KeywordClassifier {
    fn read(&self, text: &str) -> Reading {
        self.read_with(text, false, &mut |_| {})
    }

    fn explain(&self, text: &str) -> (Reading, Vec<Evidence>) {
        let sample = Sample::of(text);
        let tail_characters =
            if sample.parts()[1].is_empty() { 0 } else { text[..sample.tail_at()].chars().count() };
        let mut evidence: Vec<Evidence> = Vec::new();
        let reading = self.read_with(text, true, &mut |found| {
            let offset = if found.part == 0 { 0 } else { tail_characters };
            let (start, end) = found.normal.characters(found.hit.start, found.hit.end);
            evidence.push(Evidence {
                start: start + offset,
                end: end + offset,
                task: found.hit.task,
                weight: found.hit.points,
            });
        });
        (reading, evidence)
    }
}

/// One hit in one part of a text.
struct Found<'a> {
    part: usize,
    normal: &'a Normal<'a>,
    hit: Hit,
}

/// Adds what the form of the text says.
fn weigh(features: &Features, opening: Opening, bytes: usize, scores: &mut Scores) {
    let some = |count: u32, each: f32, most: f32| (count as f32 * each).min(most);
    scores.add_structure(TaskClass::CodeGeneration, some(features.code_lines, 1.2, 4.0));
    scores.add_structure(TaskClass::CodeGeneration, some(features.identifiers, 1.2, 3.0));
    let code = scores.points(TaskClass::CodeGeneration);
    // Operators inside code are code's.
    let math_share = if code >= 3.0 { 0.3 } else { 1.0 };
    scores.add_structure(TaskClass::Mathematical, math_share * some(features.sums, 3.2, 4.0));
    scores.add_structure(TaskClass::Mathematical, math_share * some(features.formulas, 2.4, 4.8));
    scores.add_structure(TaskClass::Mathematical, math_share * some(features.signs, 1.2, 4.0));
    if features.numbers >= 3 && features.questions > 0 && features.all_words() >= 15 && code < 1.5 {
        // A story with numbers and a question is a word problem more often than not.
        scores.add_structure(TaskClass::Mathematical, 1.6);
    }
    if !is_contested(scores) && features.lines == 0 {
        if opening.greets && features.all_words() <= 4 {
            scores.add_structure(TaskClass::QuickResponse, 3.0);
        } else if opening.asks_for_a_fact && features.all_words() <= 10 {
            scores.add_structure(TaskClass::QuickResponse, 2.3);
        }
    }
    if bytes > 1200 && code < 3.0 {
        // A long text of prose is to be worked on: summarised, answered, thought through.
        scores.add_word(TaskClass::General, 0.8);
    }
}

/// Whether a special class has more than a hint for it.
fn is_contested(scores: &Scores) -> bool {
    [
        TaskClass::CodeGeneration,
        TaskClass::Mathematical,
        TaskClass::Creative,
        TaskClass::ToolUse,
        TaskClass::DeepThinking,
    ]
    .iter()
    .any(|task| scores.points(*task) >= 1.0)
}

/// How much thought a good answer takes, from the length and the shape of the request opening.
///
/// Length alone ranks difficulty as well as published neural routers do on public outcome data, and
/// unlike vocabulary it carries over from one kind of prompt to another.
fn complexity(features: &Features, bytes: usize, sampled: usize, scores: &Scores) -> f32 {
    let whole_words = features.all_words() as f32 * bytes as f32 / sampled.max(1) as f32;
    let parts = ((features.items + features.questions.saturating_sub(1)) as f32 * 0.05).min(0.15);
    let deep = scores.points(TaskClass::DeepThinking) * 0.05;
    let quick = scores.points(TaskClass::QuickResponse) * 0.04;
    (complexity_of_words(whole_words) + parts + deep - quick).clamp(0.0, 1.0)
}
