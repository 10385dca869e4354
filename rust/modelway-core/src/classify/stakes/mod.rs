//! Whether somebody could be harmed by relying on a wrong answer: questions of tax, medicine and law.
//!
//! The words of five languages are looked for in a bounded look at the user's own words. What they say, with the
//! n-grams of the text, is weighed by small weights trained on labelled requests, which have learnt what no list
//! of words tells: a story about a doctor asks for no doctor.

mod model;
mod reader;
pub mod training;
mod words;

use smallvec::SmallVec;

use model::{MODEL, Sums};
use reader::read;

/// What a wrong answer could do harm in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stake {
    /// What is owed to the state, and how it is told.
    Tax,
    /// Body and mind: symptoms, medicines, crises.
    Medical,
    /// Rights and duties: contracts, work, housing, family, police, papers.
    Legal,
}

impl Stake {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Tax, Self::Medical, Self::Legal];

    /// Its name in warnings and in the lexicon.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tax => "tax",
            Self::Medical => "medical",
            Self::Legal => "legal",
        }
    }
}

/// The stakes of a request, in the order of [`Stake::ALL`]; of a long text its head and its tail are read.
#[must_use]
pub fn stakes_of(text: &str) -> SmallVec<[Stake; 3]> {
    let mut sums = Sums::new(&MODEL);
    let points = read(text, &mut sums).and_then(|found| found.points(|_| true));
    points.map_or_else(SmallVec::new, |points| sums.stakes(&points))
}

#[cfg(test)]
mod tests;
