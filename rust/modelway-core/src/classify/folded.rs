//! A text as symbols of a byte each, and as bits: where words are, and where other tokens stand.
//!
//! Small letters stand for themselves and capitals, `0` for every digit, 0x7F for `_`, and a byte from 0x80
//! for a letter beyond ASCII; all else is a blank. So any four characters of a word are one 32-bit load, a word
//! of eight is one 64-bit load, and words are found by counting bits instead of branching at each byte.

use std::ops::Range;

/// Symbols of a block, one for each bit of a mask.
pub(super) const BLOCK: usize = 64;
/// Blanks before the first symbol and behind the last block, so that no load leaves the buffer.
pub(super) const PAD: usize = BLOCK;
/// What 64 symbols are, a bit each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    /// Parts of words: letters, digits, `_`, marks.
    pub(super) words: u64,
    /// Tokens of their own: signs, line ends, characters of scripts without spaces.
    pub(super) others: u64,
}

/// A text in normal form, folded.
#[expect(clippy::struct_excessive_bools, reason = "each says of one thing whether the text has it")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Folded<'a> {
    /// The normal form.
    pub(super) text: &'a str,
    pub(super) symbols: &'a [u8],
    pub(super) blocks: &'a [Block],
    /// Where each symbol's character begins in the text, and the text's end; `None`: where the symbol stands.
    pub(super) places: Option<&'a [u32]>,
    /// Whether there is a digit, a `_`, a line end, a capital behind a small letter.
    pub(super) has_digit: bool,
    pub(super) has_underscore: bool,
    pub(super) has_newline: bool,
    pub(super) has_hump: bool,
}

impl Folded<'_> {
    /// The symbols of a block, one before them, and some behind.
    #[inline]
    pub(super) fn window(&self, index: usize) -> &Window {
        let symbols = self.symbols.get(PAD - 1 + index * BLOCK..).and_then(<[u8]>::first_chunk);
        symbols.unwrap_or(&[b' '; WINDOW])
    }

    /// Eight symbols from `at`, the first in the lowest byte.
    pub(super) fn eight(&self, at: usize) -> u64 {
        eight_at(self.window(at / BLOCK), at % BLOCK)
    }

    /// The character whose symbol stands at `at`.
    #[inline]
    pub(super) fn char_at(&self, at: usize) -> Option<char> {
        match self.places {
            None => self.text.as_bytes().get(at).map(|byte| char::from(*byte)),
            Some(places) => self.text.get(places[at] as usize..).and_then(|rest| rest.chars().next()),
        }
    }

    /// Where the character whose symbol stands at `at` begins in the text.
    #[inline]
    pub(super) fn byte(&self, at: usize) -> usize {
        self.places.map_or(at, |places| places[at] as usize)
    }

    /// The bytes of the text that the symbols came from.
    #[inline]
    pub(super) fn bytes(&self, symbols: Range<usize>) -> Range<usize> {
        self.byte(symbols.start)..self.byte(symbols.end)
    }
}

/// One symbol, those of a block, and seven more that eight from its last one on take.
const WINDOW: usize = 1 + BLOCK + 7;
pub(super) type Window = [u8; WINDOW];

/// Eight symbols from that of a bit of the block, the first in the lowest byte.
#[inline]
pub(super) fn eight_at(window: &Window, bit: usize) -> u64 {
    let at = bit % BLOCK + 1;
    u64::from_le_bytes(std::array::from_fn(|place| window[at + place]))
}

/// The four symbols of which that of a bit of the block is the second.
#[inline]
pub(super) fn four_round(window: &Window, bit: usize) -> u32 {
    let at = bit % BLOCK;
    u32::from_le_bytes(std::array::from_fn(|place| window[at + place]))
}
