//! The file of trained weights, read and written: numbers little-endian, nothing compressed.
//!
//! "MWLC"; five u32 (version, buckets, bytes of a sample, counts, levels of all counts); three f32 (what a step
//! of the classes' int8 weights is worth, and of the complexity head's, and the value of an opening); thirteen
//! f32 of calibration; how many levels each count has, a byte each, padded to four; the levels, u32 each; then
//! rows of eight columns, the seven classes of `READABLE` and the complexity head: the biases, a row for each
//! level, both f32, and a row of int8 for each bucket.

use super::calibrate::{COLUMNS, Calibration};
use super::ngrams::{BUCKETS, OPENING_VALUE};
use super::sample::SAMPLE_BYTES;
use super::shape::{COUNTS, LEVELS, count_levels};

/// The version of the file, and of what is counted of a text.
pub const VERSION: u32 = 2;

const MAGIC: &[u8; 4] = b"MWLC";
/// No sound weight is larger; below it no sum overflows, and a number that is none fails the comparison.
const LARGEST: f32 = 1e6;

/// What stands in a file of weights.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightsFile {
    /// What a step of a class's int8 weights is worth, and of the complexity head's.
    pub(crate) unit: f32,
    pub(crate) head_unit: f32,
    /// The value of an opening in its bucket.
    pub(crate) opening: f32,
    pub(crate) calibration: Calibration,
    pub(crate) bias: [f32; COLUMNS],
    /// For each level of each count, the sum of the weights of that level and of all below.
    pub(crate) levels: Vec<[f32; COLUMNS]>,
    pub(crate) buckets: Vec<[i8; COLUMNS]>,
}

impl WeightsFile {
    /// What the bytes of a file say.
    ///
    /// # Errors
    /// What is wrong with the file, and the remedy.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut file = Unread { bytes };
        if file.take::<4>()? != *MAGIC {
            return Err("this is no file of weights; `modelway train` writes one".to_owned());
        }
        for wanted in space() {
            file.expect(wanted)?;
        }
        let [unit, head_unit, opening] = file.floats()?;
        let calibration = Calibration::from_floats(file.floats()?);
        for levels in LEVELS {
            if file.take::<1>()? != [levels.len() as u8] {
                return Err(OTHER_SPACE.to_owned());
            }
        }
        file.take::<PADDING>()?;
        for level in LEVELS.iter().copied().flatten() {
            file.expect(*level)?;
        }
        let bias = file.floats()?;
        let levels = (0..count_levels()).map(|_| file.floats()).collect::<Result<_, _>>()?;
        let (buckets, rest) = file.bytes.as_chunks::<COLUMNS>();
        let is_whole = buckets.len() == BUCKETS && rest.is_empty();
        if !is_whole || unit <= 0.0 || head_unit <= 0.0 || !calibration.is_sound() {
            return Err(DAMAGED.to_owned());
        }
        let buckets = buckets.iter().map(|row| row.map(u8::cast_signed)).collect();
        Ok(Self { unit, head_unit, opening, calibration, bias, levels, buckets })
    }

    /// Weights that say nothing of any text.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            unit: 1.0,
            head_unit: 1.0,
            opening: OPENING_VALUE,
            calibration: Calibration::NONE,
            bias: [0.0; COLUMNS],
            levels: vec![[0.0; COLUMNS]; count_levels()],
            buckets: vec![[0; COLUMNS]; BUCKETS],
        }
    }

    /// The file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend(space().into_iter().flat_map(u32::to_le_bytes));
        file.extend([self.unit, self.head_unit, self.opening].into_iter().flat_map(f32::to_le_bytes));
        file.extend(self.calibration.to_floats().into_iter().flat_map(f32::to_le_bytes));
        file.extend(LEVELS.iter().map(|levels| levels.len() as u8));
        file.extend([0; PADDING]);
        file.extend(LEVELS.iter().copied().flatten().copied().flat_map(u32::to_le_bytes));
        file.extend(
            self.bias.into_iter().chain(self.levels.iter().copied().flatten()).flat_map(f32::to_le_bytes),
        );
        file.extend(self.buckets.iter().copied().flatten().map(i8::cast_unsigned));
        file
    }
}

/// Bytes behind the numbers of levels, so that what follows stands at a multiple of four.
const PADDING: usize = COUNTS.next_multiple_of(4) - COUNTS;

/// What must be alike for weights to mean the same.
fn space() -> [u32; 5] {
    [VERSION, BUCKETS as u32, SAMPLE_BYTES as u32, COUNTS as u32, count_levels() as u32]
}

pub(super) const DAMAGED: &str = "the file of weights is damaged; train it again, or go back to the shipped ones: \
    `modelway train --reset`";
const OTHER_SPACE: &str = "the weights were trained for another version of modelway; train them again with \
    this one, or go back to the shipped ones: `modelway train --reset`";

/// What is left of a file.
struct Unread<'a> {
    bytes: &'a [u8],
}

impl Unread<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or_else(|| DAMAGED.to_owned())?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn expect(&mut self, wanted: u32) -> Result<(), String> {
        if self.take()? == wanted.to_le_bytes() { Ok(()) } else { Err(OTHER_SPACE.to_owned()) }
    }

    fn floats<const N: usize>(&mut self) -> Result<[f32; N], String> {
        let mut floats = [0.0; N];
        for float in &mut floats {
            *float = f32::from_le_bytes(self.take()?);
        }
        if floats.iter().all(|float| float.abs() <= LARGEST) { Ok(floats) } else { Err(DAMAGED.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SHIPPED;
    use super::WeightsFile;

    #[test]
    fn what_was_read_is_written_as_it_was() {
        let file = WeightsFile::parse(SHIPPED).unwrap();
        assert!(file.to_bytes() == SHIPPED);
    }

    #[test]
    fn a_file_is_read_whole_or_refused() {
        let with = |at: usize, bytes: &[u8]| {
            let mut file = SHIPPED.to_vec();
            file[at..at + bytes.len()].copy_from_slice(bytes);
            WeightsFile::parse(&file).map(|_| ()).unwrap_err()
        };
        let refused = |bytes: &[u8]| WeightsFile::parse(bytes).map(|_| ()).unwrap_err();
        for (problem, says) in [
            (refused(b"GGUF and more"), "no file of weights"),
            (with(4, &1_u32.to_le_bytes()), "another version"),
            (with(8, &512_u32.to_le_bytes()), "another version"),
            (with(88, &[7]), "another version"),
            (with(24, &f32::NAN.to_le_bytes()), "damaged"),
            (with(24, &0_f32.to_le_bytes()), "damaged"),
            (with(36, &0_f32.to_le_bytes()), "damaged"),
            (with(60, &0_f32.to_le_bytes()), "damaged"),
            (refused(&[SHIPPED, &[0]].concat()), "damaged"),
            (refused(&SHIPPED[..SHIPPED.len() - 8]), "damaged"),
            (refused(&SHIPPED[..40]), "damaged"),
        ] {
            assert!(problem.contains(says), "{problem}");
        }
    }
}
