//! Folding texts with characters beyond ASCII, character by character.

use unicode_normalization::char::is_combining_mark;

use super::folded::{BLOCK, Block, Folded, PAD};
use super::normal::{is_common_letter, is_common_sign};

/// A text with characters beyond ASCII, or one that its normal form made long, while it is folded.
#[derive(Debug)]
pub(super) struct Wide<'a> {
    text: &'a str,
    symbols: Vec<u8>,
    blocks: Vec<Block>,
    places: Vec<u32>,
    has_digit: bool,
    has_underscore: bool,
    has_newline: bool,
}

impl<'a> Wide<'a> {
    /// Folds a text in normal form.
    pub(super) fn of(text: &'a str) -> Self {
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

    /// Hands it to `act`.
    pub(super) fn lend(&self, act: impl FnOnce(&Folded<'_>)) {
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
pub(super) enum Kind {
    /// Part of a word.
    Word,
    /// White space, line ends aside.
    Blank,
    /// A token of its own.
    Other,
}

impl Kind {
    pub(super) fn of(c: char) -> Self {
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
