//! Texts as a sparse matrix in compressed rows.

use std::num::NonZero;

use crate::classify::share;
use crate::classify::training::features;

/// Texts that one thread reads before it asks for more.
const BLOCK: usize = 64;

/// The features of texts: of each row the columns, rising, and their values.
#[derive(Debug, Default)]
pub struct Rows {
    /// Where each row ends.
    ends: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Rows {
    /// The features of `texts`, as scoring counts them.
    pub fn extract<S: AsRef<str> + Sync>(texts: &[S], threads: NonZero<usize>) -> Self {
        let mut blocks: Vec<Self> = Vec::new();
        blocks.resize_with(texts.len().div_ceil(BLOCK), Self::default);
        share(threads, blocks.iter_mut().zip(texts.chunks(BLOCK)), |(block, texts)| {
            for text in texts {
                block.push(&features(text.as_ref()));
            }
        });
        let entries = blocks.iter().map(|block| block.columns.len()).sum();
        let mut all = Self {
            ends: Vec::with_capacity(texts.len()),
            columns: Vec::with_capacity(entries),
            values: Vec::with_capacity(entries),
        };
        for block in blocks {
            let start = all.columns.len();
            all.ends.extend(block.ends.iter().map(|end| start + end));
            all.columns.extend(block.columns);
            all.values.extend(block.values);
        }
        all
    }

    fn push(&mut self, row: &[(u32, f32)]) {
        self.columns.extend(row.iter().map(|(column, _)| *column));
        self.values.extend(row.iter().map(|(_, value)| *value));
        self.ends.push(self.columns.len());
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The columns of a row, each with its value.
    #[inline]
    pub fn row(&self, row: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        let entries = start..self.ends[row];
        self.columns[entries.clone()]
            .iter()
            .map(|column| *column as usize)
            .zip(self.values[entries].iter().copied())
    }

    #[cfg(test)]
    pub(super) fn of(rows: &[&[(u32, f32)]]) -> Self {
        let mut all = Self::default();
        for row in rows {
            all.push(row);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZero;

    use super::Rows;
    use crate::classify::training::features;

    #[test]
    fn each_row_is_that_of_its_text_whatever_the_threads() {
        let texts: Vec<String> =
            (0..300).map(|number| "word ".repeat(number % 7) + &number.to_string()).collect();
        for threads in 1..4 {
            let rows = Rows::extract(&texts, NonZero::new(threads).unwrap());
            assert_eq!(rows.len(), texts.len());
            for (row, text) in texts.iter().enumerate() {
                let wanted: Vec<(usize, f32)> =
                    features(text).into_iter().map(|(column, value)| (column as usize, value)).collect();
                assert_eq!(rows.row(row).collect::<Vec<_>>(), wanted);
            }
        }
    }
}
