//! Where words begin and end, in scripts with and without spaces.

/// Vowel signs of Indic scripts and the like, which are no letters of their own.
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{591}'..='\u{5C7}' | '\u{610}'..='\u{65F}' | '\u{900}'..='\u{DFF}')
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether `c` is of a script that sets no spaces between words: kana, Han, Hangul.
pub(super) const fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{20000}'..='\u{3FFFF}')
}

/// Whether a word goes on across `at`: letters or digits on both sides. Where a script without spaces
/// meets another, a word ends.
pub(super) fn joins(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    let (Some(left), Some(right)) = (at.checked_sub(1).map(|before| bytes[before]), bytes.get(at)) else {
        return false;
    };
    if left.is_ascii() && right.is_ascii() {
        return is_word(left) && is_word(*right);
    }
    let is_word = |c: char| (c.is_alphanumeric() || is_mark(c) || c == '_') && !is_unspaced(c);
    let (before, after) = text.split_at(at);
    before.chars().next_back().is_some_and(is_word) && after.chars().next().is_some_and(is_word)
}

/// Where the word that goes on at `at` ends.
pub(super) fn word_end(bytes: &[u8], at: usize) -> usize {
    let is_part = |byte: &u8| is_word(*byte) || !byte.is_ascii();
    bytes[at..].iter().position(|byte| !is_part(byte)).map_or(bytes.len(), |length| at + length)
}
