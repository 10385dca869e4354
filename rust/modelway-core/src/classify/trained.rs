//! The classifier in force: trained weights, with the lexicon and the structure of the text as a prior.

use std::ops::Range;

use super::calibrate::COLUMNS;
use super::counted::Counted;
use super::fold::fold;
use super::folded::Folded;
use super::lexicon::{Hit, Keywords, Lexicon, Reader};
use super::ngrams::{BUCKETS, Sink, bucket};
use super::normal::Normal;
use super::prior::Prior;
use super::sample::{SAMPLE_BYTES, Sample};
use super::tally::Tally;
use super::tokens::{Visitor, Word, walk};
use super::weights::Weights;
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

    fn reading(&self, seen: &mut Seen, tally: &Tally<'_>) -> Reading {
        seen.prior.end(&seen.counted.shape);
        let calibration = &self.weights.calibration;
        let scores = if seen.is_vague(&self.lexicon) {
            calibration.nothing_known()
        } else {
            self.weights.scores(tally, &seen.counted.shape)
        };
        let logits = calibration.logits(&scores, |place| seen.prior.logit(READABLE[place]));
        let reading = calibration.reading(&logits, |task| seen.prior.basis(task));
        if seen.is_empty {
            return Reading { task: TaskClass::General, basis: Basis::Empty, ..reading };
        }
        reading
    }
}

impl Classify for TrainedClassifier {
    fn read(&self, text: &str) -> Reading {
        let mut seen = Seen::new(text);
        let mut tally = Tally::new(self.weights.rows());
        for part in Sample::of(text).parts() {
            seen.read(&self.lexicon, part, &mut tally, &mut |_| {});
        }
        self.reading(&mut seen, &tally)
    }

    fn explain(&self, text: &str) -> (Reading, Vec<Evidence>) {
        let sample = Sample::of(text);
        let tail_at = text[..sample.tail_at()].chars().count();
        let mut seen = Seen::new(text);
        let mut heard = Heard::new(&self.weights);
        let mut evidence: Vec<Evidence> = Vec::new();
        for (part, offset) in sample.parts().iter().zip([0, tail_at]) {
            let normal = Normal::of(part, true);
            let place = |bytes: Range<usize>| {
                let (start, end) = normal.characters(bytes.start, bytes.end);
                (start + offset, end + offset)
            };
            seen.read(&self.lexicon, normal.text(), &mut heard, &mut |hit: Hit| {
                let (start, end) = place(hit.start..hit.end);
                evidence.push(Evidence { start, end, task: hit.task, weight: hit.points });
            });
            heard.end_part(normal.text(), place);
        }
        heard.tell(&mut evidence);
        evidence.sort_by_key(|found| (found.start, found.end));
        (self.reading(&mut seen, &heard.tally), evidence)
    }
}

/// Texts of more words than this are never vague, whatever their words.
const MOST_VAGUE_WORDS: usize = 12;

/// What was seen of a text so far, the rows of its n-grams aside.
struct Seen {
    prior: Prior,
    counted: Counted,
    first_words: [u64; MOST_VAGUE_WORDS],
    is_empty: bool,
}

impl Seen {
    fn new(text: &str) -> Self {
        Self {
            prior: Prior::new(text.len() > SAMPLE_BYTES),
            counted: Counted::new(text.len()),
            first_words: [0; MOST_VAGUE_WORDS],
            is_empty: true,
        }
    }

    /// Reads a part of the text.
    fn read<S: Sink>(&mut self, lexicon: &Lexicon, part: &str, sink: &mut S, tell: &mut impl FnMut(Hit)) {
        if part.is_empty() {
            return;
        }
        fold(part, |folded| {
            self.counted.begin_part(folded, sink);
            let reader = Reader::new(lexicon, folded.text);
            let mut walker = Walker { folded, seen: self, reader, sink, under: S::Under::default(), tell };
            walk(folded, &mut walker);
            walker.end();
        });
    }

    /// Whether the text has no word but vague ones, so that nothing but the prior is to be trusted: the
    /// weights were trained on requests that want something.
    fn is_vague(&self, lexicon: &Lexicon) -> bool {
        let words = self.counted.shape.words as usize;
        self.counted.shape.wide == 0
            && self.first_words.get(..words).is_some_and(|keys| keys.iter().all(|key| lexicon.is_vague(*key)))
    }
}

/// Shows each token of a part to all that read it.
struct Walker<'a, S: Sink, T> {
    folded: &'a Folded<'a>,
    seen: &'a mut Seen,
    reader: Reader<'a>,
    sink: &'a mut S,
    under: S::Under,
    tell: &'a mut T,
}

impl<S: Sink, T: FnMut(Hit)> Visitor for Walker<'_, S, T> {
    #[inline]
    fn word(&mut self, word: Word) {
        let Seen { counted, prior, first_words, .. } = &mut *self.seen;
        if let Some(first) = first_words.get_mut(counted.shape.words as usize) {
            *first = word.key;
        }
        let (hashes, under) = counted.word(self.folded, &word, self.under, self.sink);
        self.under = under;
        self.reader.word(self.folded, &word, hashes, &mut |hit| (self.tell)(prior.take(hit)));
    }

    #[inline]
    fn other(&mut self, at: usize, c: char) {
        let Seen { counted, prior, is_empty, .. } = &mut *self.seen;
        let byte = self.folded.byte(at);
        self.reader.other(byte, c, &mut |hit| (self.tell)(prior.take(hit)));
        prior.features.see(self.folded.text.as_bytes(), byte);
        *is_empty &= c == '\n';
        self.under = counted.other(at, c, self.under, self.sink);
    }

    #[inline]
    fn end_block(&mut self) {
        self.sink.settle(std::mem::take(&mut self.under));
    }
}

impl<S: Sink, T: FnMut(Hit)> Walker<'_, S, T> {
    /// The part is over.
    fn end(mut self) {
        let Seen { counted, prior, is_empty, .. } = self.seen;
        self.reader.end(&mut |hit| (self.tell)(prior.take(hit)));
        *is_empty &= counted.shape.words == 0;
        prior.features.count_names(self.folded);
        counted.end_part(self.folded);
    }
}

/// A tally that remembers what each token brought.
struct Heard<'a> {
    weights: &'a Weights,
    tally: Tally<'a>,
    /// What was told of the part under way: which, a symbol of its token, and whether it is an opening.
    told: Vec<(u32, usize, bool)>,
    tokens: Vec<Token>,
    ngrams: u32,
}

/// A token at these characters of the text, and the sums of its rows.
struct Token {
    characters: (usize, usize),
    ngrams: [f32; COLUMNS],
    openings: [f32; COLUMNS],
}

impl<'a> Heard<'a> {
    fn new(weights: &'a Weights) -> Self {
        Self { weights, tally: Tally::new(weights.rows()), told: Vec::new(), tokens: Vec::new(), ngrams: 0 }
    }

    /// Gives what was told of a part to its tokens, which `place` finds in the whole text.
    fn end_part(&mut self, text: &str, place: impl Fn(Range<usize>) -> (usize, usize)) {
        let mut spans = Spans::default();
        fold(text, |folded| walk(folded, &mut SpansOf { folded, spans: &mut spans }));
        let Spans(spans) = spans;
        let first = self.tokens.len();
        self.tokens.extend(spans.iter().map(|(_, bytes)| Token {
            characters: place(bytes.clone()),
            ngrams: [0.0; COLUMNS],
            openings: [0.0; COLUMNS],
        }));
        for (id, at, is_opening) in self.told.drain(..) {
            let span = spans.partition_point(|(symbol, _)| *symbol <= at);
            let Some(token) = self.tokens[first..].get_mut(span.wrapping_sub(1)) else { continue };
            let sum = if is_opening { &mut token.openings } else { &mut token.ngrams };
            let row = self.weights.rows()[bucket(id, BUCKETS)].0;
            sum.iter_mut().zip(row).for_each(|(sum, weight)| *sum += f32::from(weight));
        }
    }

    /// Tells each token's evidence: for a class, what it brings more than to the mean of the classes.
    fn tell(&self, evidence: &mut Vec<Evidence>) {
        let share = 1.0 / (self.ngrams.max(1) as f32).sqrt();
        for token in &self.tokens {
            let (start, end) = token.characters;
            let mut logits = [0.0; READABLE.len()];
            for (column, logit) in logits.iter_mut().enumerate() {
                *logit = self.weights.logit(column, token.ngrams[column] * share, token.openings[column]);
            }
            let mean = logits.iter().sum::<f32>() / READABLE.len() as f32;
            for (task, logit) in READABLE.into_iter().zip(logits) {
                if logit - mean >= WORTH_TELLING {
                    evidence.push(Evidence { start, end, task, weight: logit - mean });
                }
            }
        }
    }
}

impl<'a> Sink for Heard<'a> {
    type Under = <Tally<'a> as Sink>::Under;

    fn ngram(&mut self, under: Self::Under, id: u32, at: usize) -> Self::Under {
        self.ngrams += 1;
        self.told.push((id, at, false));
        self.tally.ngram(under, id, at)
    }

    fn settle(&mut self, under: Self::Under) {
        self.tally.settle(under);
    }

    fn opening(&mut self, id: u32, at: usize) {
        self.told.push((id, at, true));
        self.tally.opening(id, at);
    }
}

/// The first symbol of each token of a part, and the token's bytes.
#[derive(Default)]
struct Spans(Vec<(usize, Range<usize>)>);

struct SpansOf<'a> {
    folded: &'a Folded<'a>,
    spans: &'a mut Spans,
}

impl Visitor for SpansOf<'_> {
    fn word(&mut self, word: Word) {
        self.spans.0.push((word.at, self.folded.bytes(word.symbols())));
    }

    fn other(&mut self, at: usize, _c: char) {
        self.spans.0.push((at, self.folded.bytes(at..at + 1)));
    }
}
