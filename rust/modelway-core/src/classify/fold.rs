//! A text as symbols of a byte each, and as bits: where words are, and where other tokens stand.
//!
//! Small letters stand for themselves and capitals, `0` for every digit, 0x7F for `_`, and a byte from 0x80
//! for a letter beyond ASCII; all else is a blank. So any four characters of a word are one 32-bit load, a word
//! of eight is one 64-bit load, and words are found by counting bits instead of branching at each byte.

use std::ops::Range;

use unicode_normalization::char::is_combining_mark;
use wide::u8x16;

use super::normal::{Normal, is_common_letter, is_common_sign};

/// Symbols of a block, one for each bit of a mask.
pub(super) const BLOCK: usize = 64;
/// Blanks before the first symbol and behind the last block, so that no load leaves the buffer.
const PAD: usize = BLOCK;
/// Blocks that hold short texts, pads aside: most prompts; larger buffers cost time to clear.
const FEW: usize = 3;
/// Blocks that hold any sample in ASCII, pads aside.
const MANY: usize = super::sample::SAMPLE_BYTES / BLOCK;

/// The bit in which letters differ in case.
const CASE: u8 = 0x20;

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
    symbols: &'a [u8],
    pub(super) blocks: &'a [Block],
    /// Where each symbol's character begins in the text, and the text's end; `None`: where the symbol stands.
    places: Option<&'a [u32]>,
    /// Whether there is a digit, a `_`, a line end, a capital behind a small letter.
    pub(super) has_digit: bool,
    pub(super) has_underscore: bool,
    pub(super) has_newline: bool,
    pub(super) has_hump: bool,
}

impl Folded<'_> {
    /// Brings a text into normal form, folds it and hands it to `act`.
    pub(super) fn of(text: &str, act: impl FnOnce(&Folded<'_>)) {
        // Buffers of fixed size on the stack, so that nothing is allocated for plain texts.
        let blocks = text.len().div_ceil(BLOCK);
        let act = if blocks <= FEW {
            lend_plain::<{ FEW + 2 }, FEW, _>(text, act)
        } else if blocks <= MANY {
            lend_plain::<{ MANY + 2 }, MANY, _>(text, act)
        } else {
            Some(act)
        };
        if let Some(act) = act {
            Wide::of(Normal::of(text, false).text()).lend(act);
        }
    }

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

/// Folds plain ASCII of at most `BLOCKS` blocks, which is its own normal form; gives `act` back where the
/// text is anything else. `PADDED` is two more than `BLOCKS`.
#[inline]
fn lend_plain<const PADDED: usize, const BLOCKS: usize, F: FnOnce(&Folded<'_>)>(
    text: &str,
    act: F,
) -> Option<F> {
    let mut symbols = [[b' '; BLOCK]; PADDED];
    let mut blocks = [Block::default(); BLOCKS];
    let symbols = symbols.as_flattened_mut();
    symbols[PAD..PAD + text.len()].copy_from_slice(text.as_bytes());
    // Bytes behind the text would say nothing.
    let read = &mut symbols[PAD..PAD + text.len().next_multiple_of(STEP)];
    let used = text.len().div_ceil(BLOCK);
    let (mut plain, mut digits, mut underscores, mut newlines) =
        (!u8x16::ZERO, u8x16::ZERO, u8x16::ZERO, u8x16::ZERO);
    let (mut humps, mut before) = (0, 0);
    for (block, symbols) in blocks[..used].iter_mut().zip(read.chunks_mut(BLOCK)) {
        let (mut capitals, mut small) = (0, 0);
        for (place, bytes) in (0..).step_by(STEP).zip(symbols.as_chunks_mut().0) {
            let seen = Sixteen::of(u8x16::new(*bytes));
            *bytes = seen.symbols.to_array();
            let bits = |mask: u8x16| u64::from(mask.to_bitmask()) << place;
            block.words |= bits(seen.words);
            block.others |= bits(seen.others);
            capitals |= bits(seen.capitals);
            small |= bits(seen.letters);
            plain &= seen.plain;
            digits |= seen.digits;
            underscores |= seen.underscores;
            newlines |= seen.newlines;
        }
        small &= !capitals;
        humps |= capitals & (small << 1 | before);
        before = small >> (BLOCK - 1);
    }
    if !plain.all() {
        return Some(act);
    }
    act(&Folded {
        text,
        symbols,
        blocks: &blocks[..used],
        places: None,
        has_digit: digits.any(),
        has_underscore: underscores.any(),
        has_newline: newlines.any(),
        has_hump: humps != 0,
    });
    None
}

/// Bytes that are read at once.
const STEP: usize = 16;

/// Sixteen bytes of plain ASCII at once; masks have all bits of each byte they mean.
struct Sixteen {
    symbols: u8x16,
    words: u8x16,
    others: u8x16,
    letters: u8x16,
    capitals: u8x16,
    digits: u8x16,
    underscores: u8x16,
    newlines: u8x16,
    /// Where it is not set, all else is void.
    plain: u8x16,
}

impl Sixteen {
    #[inline]
    fn of(bytes: u8x16) -> Self {
        let all = u8x16::splat;
        // What is below `first` wraps to what is above any `last`.
        let between = |bytes: u8x16, first: u8, last: u8| (bytes - all(first)).simd_le(all(last - first));
        let cased = bytes | all(CASE);
        let letters = between(cased, b'a', b'z');
        let digits = between(bytes, b'0', b'9');
        let underscores = bytes.simd_eq(all(b'_'));
        let newlines = bytes.simd_eq(all(b'\n'));
        let words = letters | digits | underscores;
        let visible = between(bytes, b'!', b'~');
        // Case is one bit, which digits have set; their low half makes them differ.
        let symbols = cased & !(digits & all(0x0F));
        Self {
            symbols: words.bitselect(symbols, all(b' ')),
            words,
            others: (visible & !words) | newlines,
            letters,
            capitals: letters & !bytes.simd_eq(cased),
            digits,
            underscores,
            newlines,
            plain: visible | bytes.simd_eq(all(b' ')) | between(bytes, b'\t', b'\r'),
        }
    }
}

/// A text with characters beyond ASCII, or one that its normal form made long, while it is folded.
#[derive(Debug)]
struct Wide<'a> {
    text: &'a str,
    symbols: Vec<u8>,
    blocks: Vec<Block>,
    places: Vec<u32>,
    has_digit: bool,
    has_underscore: bool,
    has_newline: bool,
}

impl<'a> Wide<'a> {
    fn of(text: &'a str) -> Self {
        let mut wide = Self {
            text,
            symbols: vec![b' '; PAD],
            blocks: Vec::new(),
            places: Vec::new(),
            has_digit: false,
            has_underscore: false,
            has_newline: false,
        };
        for (place, c) in text.char_indices() {
            wide.push(place, c);
        }
        wide.places.push(text.len() as u32);
        wide.symbols.extend([b' '; 2 * PAD]);
        wide
    }

    fn lend(&self, act: impl FnOnce(&Folded<'_>)) {
        act(&Folded {
            text: self.text,
            symbols: &self.symbols,
            blocks: &self.blocks,
            places: Some(&self.places),
            has_digit: self.has_digit,
            has_underscore: self.has_underscore,
            has_newline: self.has_newline,
            // There are no capitals in the normal form of other texts.
            has_hump: false,
        });
    }

    fn push(&mut self, place: usize, c: char) {
        let at = self.places.len();
        match Kind::of(c) {
            Kind::Blank => self.push_symbol(place, b' '),
            Kind::Other => {
                self.has_newline |= c == '\n';
                self.push_symbol(place, b' ');
                self.blocks[at / BLOCK].others |= 1 << (at % BLOCK);
            }
            Kind::Word => {
                self.has_digit |= c.is_ascii_digit();
                self.has_underscore |= c == '_';
                let symbols = symbols_of(c);
                for (at, symbol) in (at..).zip(symbols.into_iter().flatten()) {
                    self.push_symbol(place, symbol);
                    self.blocks[at / BLOCK].words |= 1 << (at % BLOCK);
                }
            }
        }
    }

    fn push_symbol(&mut self, place: usize, symbol: u8) {
        if self.places.len().is_multiple_of(BLOCK) {
            self.blocks.push(Block::default());
        }
        self.symbols.push(symbol);
        self.places.push(place as u32);
    }
}

/// What a character is to the reader of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Part of a word.
    Word,
    /// White space, line ends aside.
    Blank,
    /// A token of its own.
    Other,
}

impl Kind {
    fn of(c: char) -> Self {
        match c {
            '\n' => Self::Other,
            '_' => Self::Word,
            _ if c.is_ascii() => match c as u8 {
                byte if byte.is_ascii_alphanumeric() => Self::Word,
                byte if byte <= b' ' || byte == 0x7F => Self::Blank,
                _ => Self::Other,
            },
            _ if is_wide(c) || is_common_sign(c) => Self::Other,
            _ if is_of_word(c) => Self::Word,
            _ if c.is_whitespace() => Self::Blank,
            _ => Self::Other,
        }
    }
}

/// Whether a character is a token of its own: scripts that set no spaces between words.
pub(super) const fn is_wide(c: char) -> bool {
    matches!(c, '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}'
        | '\u{20000}'..='\u{3FFFF}')
}

/// Whether a character beyond ASCII is part of a word: letters, numbers, marks. Letters in circles and
/// squares, which Unicode calls alphabetic symbols, are signs.
fn is_of_word(c: char) -> bool {
    is_common_letter(c)
        || (c.is_alphanumeric() && !matches!(c, '\u{1F130}'..='\u{1F189}'))
        || (is_combining_mark(c) && c < '\u{30000}')
}

/// The symbols of a character of a word. Alphabets fit into seven bits each, and hardly meet in one word;
/// syllables of larger sets take two.
fn symbols_of(c: char) -> [Option<u8>; 2] {
    let seven = |bits: u32| Some(0x80 | (bits & 0x7F) as u8);
    match c as u32 {
        0x30..0x3A => [Some(b'0'), None],
        code @ 0..0x80 => [Some(code as u8 | 0x20), None],
        code @ 0x80..0x1000 => [seven(code), None],
        code => [seven(code >> 7), seven(code)],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BLOCK, Folded, Kind, Normal, Wide};

    /// Symbols, and one letter for each: what the masks say it is.
    fn seen(folded: &Folded<'_>) -> (Vec<u8>, String) {
        let count = folded.places.map_or(folded.text.len(), |places| places.len() - 1);
        let symbols = (0..count).map(|at| folded.eight(at) as u8).collect();
        let kinds = (0..count).map(|at| {
            let (block, bit) = (folded.blocks[at / BLOCK], 1_u64 << (at % BLOCK));
            match (block.words & bit != 0, block.others & bit != 0) {
                (true, false) => 'w',
                (false, true) => 'o',
                (false, false) => ' ',
                (true, true) => '!',
            }
        });
        (symbols, kinds.collect())
    }

    #[test]
    fn each_character_has_its_symbol_and_kind() {
        for (text, symbols, kinds) in [
            ("a_B9 -\n\t", &b"a\x7fb0    "[..], "wwww oo "),
            ("ø ж", b"\xf8 \xb6", "w w"),
            ("字 한", b"  \xaa\xdc", "o ww"),
        ] {
            let (mut got, mut marked) = (Vec::new(), String::new());
            Folded::of(text, |folded| (got, marked) = seen(folded));
            assert_eq!((got.as_slice(), marked.as_str()), (symbols, kinds), "{text:?}");
        }
    }

    #[test]
    fn every_byte_is_told_in_every_place_of_sixteen() {
        for byte in (b' '..0x7F).chain(b'\t'..=b'\r') {
            for place in 0..16 {
                for other in *b" aZ_0~\n" {
                    let mut bytes = [other; 16];
                    bytes[place] = byte;
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    let kind = match Kind::of(char::from(byte)) {
                        Kind::Word => 'w',
                        Kind::Blank => ' ',
                        Kind::Other => 'o',
                    };
                    Folded::of(&text, |folded| {
                        assert_eq!(seen(folded).1.chars().nth(place), Some(kind), "{text:?}");
                    });
                }
            }
        }
    }

    #[test]
    fn a_capital_behind_a_small_letter_is_a_hump() {
        for (text, has_hump) in [
            ("userName", true),
            ("AbC", true),
            ("User NAME 2X _Y", false),
            ("xxxxxxxX", true),
            ("xxxxxxx X", false),
        ] {
            for at in 0..BLOCK + 9 {
                let text = format!("{}{text}", " ".repeat(at));
                Folded::of(&text, |folded| assert_eq!(folded.has_hump, has_hump, "{text:?}"));
            }
        }
    }

    proptest! {
        #[test]
        fn plain_texts_are_folded_alike_at_once_and_one_by_one(text in "[ -~\t-\r]{0,400}") {
            let mut at_once = (Vec::new(), String::new(), false, false);
            Folded::of(&text, |folded| {
                let (symbols, kinds) = seen(folded);
                at_once = (symbols, kinds, folded.has_digit, folded.has_underscore);
            });
            Wide::of(Normal::of(&text, false).text()).lend(|folded| {
                let (symbols, kinds) = seen(folded);
                assert_eq!(at_once, (symbols, kinds, folded.has_digit, folded.has_underscore));
            });
        }
    }
}
