//! The classifier in force: trained weights, with the lexicon and the structure of the text as a prior.

use super::lexicon::{Hit, Keywords, Lexicon};
use super::ngrams::{Ngrams, Sink};
use super::normal::Normal;
use super::prior::Prior;
use super::sample::{SAMPLE_BYTES, Sample};
use super::tally::Tally;
use super::weights::{COLUMNS, Weights};
use super::{Basis, Classify, Evidence, READABLE, Reading};
use crate::task::TaskClass;

/// Evidence of trained weights that is smaller than this, in units of the logit, is left out.
const WORTH_TELLING: f32 = 0.2;

/// Reads n-grams and shape by trained weights, words and structure by what is known of them.
#[derive(Debug)]
pub struct TrainedClassifier {
    weights: Weights,
    lexicon: Lexicon,
}

impl TrainedClassifier {
    /// The classifier of these weights, the built-in lexicon and the configured keywords.
    #[must_use]
    pub fn new(weights: Weights, keywords: &Keywords) -> Self {
        Self { weights, lexicon: Lexicon::new(keywords) }
    }

    fn reading(&self, seen: Seen, tally: &Tally<'_>) -> Reading {
        let Seen { mut prior, ngrams, is_empty } = seen;
        prior.end();
        let calibration = &self.weights.calibration;
        let scores =
            if prior.is_vague() { calibration.nothing_known() } else { self.weights.scores(tally, &ngrams) };
        let logits = calibration.logits(&scores, |place| prior.logit(READABLE[place]));
        let reading = calibration.reading(&logits, |task| prior.basis(task));
        if is_empty { Reading { task: TaskClass::General, basis: Basis::Empty, ..reading } } else { reading }
    }
}

impl Classify for TrainedClassifier {
    fn read(&self, text: &str) -> Reading {
        let mut seen = Seen::new(text);
        let mut tally = Tally::new(&self.weights);
        for raw in Sample::of(text).parts() {
            seen.read(&self.lexicon, Normal::of(raw, false).text(), &mut tally, &mut |_| {});
        }
        self.reading(seen, &tally)
    }

    fn explain(&self, text: &str) -> (Reading, Vec<Evidence>) {
        let sample = Sample::of(text);
        let tail_at = text[..sample.tail_at()].chars().count();
        let mut seen = Seen::new(text);
        let mut heard = Heard::new(&self.weights);
        let mut evidence: Vec<Evidence> = Vec::new();
        for (raw, offset) in sample.parts().iter().zip([0, tail_at]) {
            let normal = Normal::of(raw, true);
            let place = |start, end| {
                let (start, end) = normal.characters(start, end);
                (start + offset, end + offset)
            };
            seen.read(&self.lexicon, normal.text(), &mut heard, &mut |hit: Hit| {
                let (start, end) = place(hit.start, hit.end);
                evidence.push(Evidence { start, end, task: hit.task, weight: hit.points });
            });
            heard.place(place);
        }
        heard.tell(&mut evidence);
        evidence.sort_by_key(|found| (found.start, found.end));
        (self.reading(seen, &heard.tally), evidence)
    }
}

/// What was seen of a text so far, its n-grams aside.
struct Seen {
    prior: Prior,
    ngrams: Ngrams,
    is_empty: bool,
}

impl Seen {
    fn new(text: &str) -> Self {
        Self { prior: Prior::new(text.len() > SAMPLE_BYTES), ngrams: Ngrams::new(text.len()), is_empty: true }
    }

    fn read(&mut self, lexicon: &Lexicon, text: &str, sink: &mut impl Sink, tell: &mut impl FnMut(Hit)) {
        if text.chars().all(char::is_whitespace) {
            return;
        }
        self.is_empty = false;
        self.prior.read(lexicon, text, tell);
        self.ngrams.read(text, sink);
    }
}

/// A tally that remembers what each token brought.
struct Heard<'a> {
    weights: &'a Weights,
    tally: Tally<'a>,
    tokens: Vec<Token>,
    /// Tokens before this one have their place in characters of the whole text.
    placed: usize,
    under_way: Token,
    ngrams: u32,
}

#[derive(Clone, Copy, Default)]
struct Token {
    start: usize,
    end: usize,
    ngrams: [f32; COLUMNS],
    openings: [f32; COLUMNS],
}

impl<'a> Heard<'a> {
    fn new(weights: &'a Weights) -> Self {
        Self {
            weights,
            tally: Tally::new(weights),
            tokens: Vec::new(),
            placed: 0,
            under_way: Token::default(),
            ngrams: 0,
        }
    }

    /// Gives the tokens of the part that was read their places.
    fn place(&mut self, place: impl Fn(usize, usize) -> (usize, usize)) {
        for token in &mut self.tokens[self.placed..] {
            (token.start, token.end) = place(token.start, token.end);
        }
        self.placed = self.tokens.len();
    }

    /// Tells each token's evidence: for a class, what it brings more than to the mean of the classes.
    fn tell(&self, evidence: &mut Vec<Evidence>) {
        let share = 1.0 / (self.ngrams.max(1) as f32).sqrt();
        for token in &self.tokens {
            let mut logits = [0.0; READABLE.len()];
            for (column, logit) in logits.iter_mut().enumerate() {
                *logit = self.weights.logit(column, token.ngrams[column] * share, token.openings[column]);
            }
            let mean = logits.iter().sum::<f32>() / READABLE.len() as f32;
            for (task, logit) in READABLE.into_iter().zip(logits) {
                if logit - mean >= WORTH_TELLING {
                    evidence.push(Evidence {
                        start: token.start,
                        end: token.end,
                        task,
                        weight: logit - mean,
                    });
                }
            }
        }
    }
}

impl<'a> Sink for Heard<'a> {
    type Under = <Tally<'a> as Sink>::Under;

    fn ngram(&mut self, under: Self::Under, id: u32) -> Self::Under {
        self.ngrams += 1;
        add(&mut self.under_way.ngrams, self.weights.row(id));
        self.tally.ngram(under, id)
    }

    fn opening(&mut self, id: u32) {
        self.tally.opening(id);
        add(&mut self.under_way.openings, self.weights.row(id));
    }

    fn token(&mut self, under: Self::Under, start: usize, end: usize) {
        self.tally.token(under, start, end);
        self.tokens.push(Token { start, end, ..self.under_way });
        self.under_way = Token::default();
    }
}

fn add(sum: &mut [f32; COLUMNS], row: [i8; COLUMNS]) {
    sum.iter_mut().zip(row).for_each(|(sum, weight)| *sum += f32::from(weight));
}
