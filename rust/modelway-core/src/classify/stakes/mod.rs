//! Whether somebody could be harmed by relying on a wrong answer: questions of tax, medicine and law.
//!
//! The words of five languages are looked for in a bounded look at the user's own words. What they say, with the
//! n-grams of the text and the task it is read as, is weighed by small weights trained on labelled requests, which
//! have learnt what no list of words tells: a story about a doctor asks for no doctor.

mod model;
mod reader;
pub mod training;
mod words;

use smallvec::SmallVec;

use model::{MODEL, Sums, columns};
use reader::{parts, read};

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

/// The stakes of a request, in the order of [`Stake::ALL`]. Of a long text the head and the tail are read, each for
/// itself, so that a question behind a letter is not lost in it.
#[must_use]
pub fn stakes_of(text: &str) -> SmallVec<[Stake; 3]> {
    let mut is_at_stake = [false; Stake::ALL.len()];
    for part in parts(text) {
        let mut sums = Sums::new(&MODEL);
        if let Some(points) = read(part, &mut sums).points(|_| true) {
            sums.stakes(columns(&points, part)).for_each(|stake| is_at_stake[stake as usize] = true);
        }
    }
    Stake::ALL.into_iter().filter(|stake| is_at_stake[*stake as usize]).collect()
}

#[cfg(test)]
mod tests;
