//! The weights: what n-grams, the points of words and the kind of request say of each stake, summed.
//!
//! `weights.bin` holds, as little-endian numbers of 32 bits, for each stake the unit of its bytes and its bias,
//! then for each column of words and of tasks a weight for each stake; then for each bucket of n-grams a byte for each stake.
//! `tools/train_stakes.py` makes it.

use std::sync::LazyLock;

use super::super::lexicon::Keywords;
use super::super::ngrams::{OPENING_VALUE, Sink, bucket};
use super::super::trained::TrainedClassifier;
use super::super::weights::{SHIPPED, Weights};
use super::super::{Classify, READABLE};
use super::Stake;
use super::reader::Points;
use crate::exact::ln;

const STAKES: usize = Stake::ALL.len();
/// How many buckets the n-grams share.
pub(super) const BUCKETS: usize = 30_720;
/// Columns that the points of words fill.
const WORD_COLUMNS: usize = 4 * STAKES + 2;
/// The same, and how likely each task is.
pub(super) const COLUMNS: usize = WORD_COLUMNS + READABLE.len();
/// Rows of numbers before the bytes.
const NUMBERS: usize = 2 + COLUMNS;
const FILE: &[u8; 4 * STAKES * NUMBERS + STAKES * BUCKETS] = include_bytes!("weights.bin");

pub(super) static MODEL: LazyLock<Model> = LazyLock::new(Model::shipped);

/// Reads the kind of request: as it ships, so that no setting of the tasks moves the stakes.
#[expect(clippy::expect_used, reason = "the tests read the shipped weights")]
static TASKS: LazyLock<TrainedClassifier> = LazyLock::new(|| {
    TrainedClassifier::new(
        Weights::parse(SHIPPED).expect("weights that ship are whole"),
        &Keywords::default(),
    )
});

/// The unit of a task's logarithm, and the probability from which on less is the same.
const TASK_VALUE: f32 = 0.3;
const LEAST_PROBABILITY: f32 = 1e-3;

/// Points that say all that points can say.
const MOST: f32 = 6.0;
/// Points of one word that hardly says anything else: the unit of what points say.
const ENOUGH: u16 = 3;
/// In a text of so many bytes points say as much by length as they do alone.
const USUAL: f32 = 64.0;
/// Texts shorter than this are alike, and so are longer ones than `LONG`.
const SHORT: f32 = 40.0;
const LONG: f32 = 512.0;

/// The trained weights.
#[derive(Debug)]
pub(super) struct Model {
    units: [f32; STAKES],
    bias: [f32; STAKES],
    columns: [[f32; STAKES]; COLUMNS],
    buckets: &'static [[u8; STAKES]],
}

impl Model {
    fn shipped() -> Self {
        let (numbers, buckets) = FILE.split_at(4 * STAKES * NUMBERS);
        let mut numbers = numbers.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        let mut row = || std::array::from_fn(|_| numbers.next().unwrap_or(0.0));
        Self {
            units: row(),
            bias: row(),
            columns: std::array::from_fn(|_| row()),
            buckets: buckets.as_chunks().0,
        }
    }
}

/// What points say, a number a column: for each stake its points, whether they are enough for all that points
/// away, whether no other stake has more than twice as many, and its points by length; then what points away, and
/// whether somebody asks.
fn word_columns(points: &Points) -> [f32; WORD_COLUMNS] {
    let most = points.most();
    let shorter = (USUAL / (points.bytes as f32).clamp(SHORT, LONG)).sqrt();
    let value = |points: f32| points.min(MOST) / f32::from(ENOUGH);
    let mut columns = [0.0; WORD_COLUMNS];
    let (of_stakes, rest) = columns.split_at_mut(4 * STAKES);
    for (columns, of) in of_stakes.as_chunks_mut().0.iter_mut().zip(points.of) {
        let is_near = of > 0 && 2 * of >= most;
        *columns = [
            value(of.into()),
            f32::from(u8::from(of >= ENOUGH + points.away)),
            f32::from(u8::from(is_near)),
            value(f32::from(of) * shorter),
        ];
    }
    rest.copy_from_slice(&[value(points.away.into()), f32::from(u8::from(points.is_asked))]);
    columns
}

/// The columns of words, then the logarithm of each task's probability by the shipped weights: who wants a poem or a
/// program asks for no lawyer, whatever it is about.
pub(super) fn columns(points: &Points, part: &str) -> [f32; COLUMNS] {
    let mut columns = [0.0; COLUMNS];
    let (of_words, of_tasks) = columns.split_at_mut(WORD_COLUMNS);
    of_words.copy_from_slice(&word_columns(points));
    let reading = TASKS.read(part);
    for (column, task) in of_tasks.iter_mut().zip(READABLE) {
        *column = TASK_VALUE * ln(reading.probabilities[task.index()].max(LEAST_PROBABILITY));
    }
    columns
}

/// The rows of a text's n-grams, summed.
pub(super) struct Sums {
    model: &'static Model,
    ngrams: u32,
    text: [i32; STAKES],
    openings: [i32; STAKES],
}

impl Sums {
    pub(super) const fn new(model: &'static Model) -> Self {
        Self { model, ngrams: 0, text: [0; STAKES], openings: [0; STAKES] }
    }

    /// The stakes that are likelier than not.
    pub(super) fn stakes(&self, columns: [f32; COLUMNS]) -> impl Iterator<Item = Stake> {
        let share = 1.0 / (self.ngrams.max(1) as f32).sqrt();
        let is_likely = move |stake: &Stake| {
            let at = *stake as usize;
            let ngrams = self.text[at] as f32 * share + self.openings[at] as f32 * OPENING_VALUE;
            let rest: f32 = columns.iter().zip(&self.model.columns).map(|(value, row)| value * row[at]).sum();
            self.model.bias[at] + self.model.units[at] * ngrams + rest > 0.0
        };
        Stake::ALL.into_iter().filter(is_likely)
    }
}

fn add(sums: &mut [i32; STAKES], row: [u8; STAKES]) {
    sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += i32::from(weight.cast_signed()));
}

impl Sink for Sums {
    type Under = ();

    fn ngram(&mut self, (): (), id: u32, _at: usize) {
        self.ngrams += 1;
        add(&mut self.text, self.model.buckets[bucket(id, BUCKETS)]);
    }

    fn settle(&mut self, (): ()) {}

    fn opening(&mut self, id: u32, _at: usize) {
        add(&mut self.openings, self.model.buckets[bucket(id, BUCKETS)]);
    }
}
