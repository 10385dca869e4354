//! The structure of a text that settles a class whatever its words say: code, arithmetic, formulas.

use super::tokens::Token;

/// What one pass over the bytes of a text counts. Texts of several parts add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    /// Words of letters; "don't" has two.
    words: u32,
    /// Characters of scripts that set no spaces.
    half_words: u32,
    /// Lines that end in `;`, `{` or `}`.
    pub(super) code_lines: u32,
    /// Names such as `user_id` or `getUserName`.
    pub(super) identifiers: u32,
    /// Arithmetic between numbers: `1547 * 892`.
    pub(super) sums: u32,
    /// Powers and equations with letters: `x^2`, `3x + 7 = 22`.
    pub(super) formulas: u32,
    /// Mathematical signs: ∑ ∫ √ ≤ π².
    pub(super) signs: u32,
}

impl Features {
    /// Counts one token of a text in normal form.
    pub(super) fn see(&mut self, bytes: &[u8], token: Token) {
        match token {
            Token::Word(word) => {
                self.words += 1;
                if word.has_inner_capital() {
                    self.identifiers += u32::from(is_identifier(&bytes[word.start..word.end]));
                }
            }
            Token::Sign(at) => match bytes[at] {
                b'\n' => self.end_line(bytes, at),
                b'+' | b'*' | b'/' | b'^' | b'=' | b'-' => self.count_operator(bytes, at),
                _ => {}
            },
            Token::Wide(at, c) => self.count_wide(bytes, at, c),
        }
    }

    /// The text, or a part of it, is over.
    pub(super) fn end(&mut self, bytes: &[u8]) {
        self.end_line(bytes, bytes.len());
    }

    /// Words, counting two characters of a script without spaces as one.
    pub(super) fn all_words(&self) -> u32 {
        self.words + self.half_words / 2
    }

    fn count_wide(&mut self, bytes: &[u8], at: usize, c: char) {
        match c {
            '∀'..='⋿' | '²' | '³' | '¹' | '×' | '÷' | '±' | 'π' | 'θ' | '⁰'..='₎' | '→' | '⇒' =>
            {
                self.signs += 1;
            }
            // Kana, Han, Hangul and Thai: scripts whose words are not set apart by spaces.
            '\u{0E00}'..='\u{0E7F}'
            | '\u{3040}'..='\u{30FF}'
            | '\u{3400}'..='\u{9FFF}'
            | '\u{AC00}'..='\u{D7AF}'
            | '\u{20000}'..='\u{3FFFF}' => self.half_words += 1,
            // Other scripts set spaces: a letter behind anything but a letter begins a word.
            _ if c.is_alphabetic() && (at == 0 || bytes[at - 1] < b'0') => self.words += 1,
            _ => {}
        }
    }

    fn end_line(&mut self, bytes: &[u8], end: usize) {
        let last = bytes[..end].iter().rev().take(4).find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
        if matches!(last, Some(b';' | b'{' | b'}')) {
            self.code_lines += 1;
        }
    }

    fn count_operator(&mut self, bytes: &[u8], at: usize) {
        let (Some(before), before_gap) = neighbour(bytes[..at].iter().rev()) else { return };
        let (Some(after), after_gap) = neighbour(bytes[at + 1..].iter()) else { return };
        let is_spaced = before_gap > 0 && after_gap > 0;
        match bytes[at] {
            b'^' if before.is_ascii_alphanumeric() || before == b')' => self.formulas += 1,
            // Dates, ranges and paths are no arithmetic: "/" and "-" need room on both sides.
            b'/' | b'-' if is_spaced && before.is_ascii_digit() && after.is_ascii_digit() => self.sums += 1,
            b'+' | b'*' if before.is_ascii_digit() && after.is_ascii_digit() => self.sums += 1,
            b'=' if is_term(before) && is_term(after) && is_formula(bytes, at) => self.formulas += 1,
            _ => {}
        }
    }
}

/// Whether a word with an inner capital or `_` is a name as programs have them: `user_id`, or
/// `getUserName`, whose first capital follows three small letters or more; "iPhone" has fewer.
fn is_identifier(word: &[u8]) -> bool {
    let joins =
        |three: &[u8]| three[1] == b'_' && three[0].is_ascii_alphabetic() && three[2].is_ascii_alphabetic();
    let small = word.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
    let is_humped = small >= 3
        && word.get(small).is_some_and(u8::is_ascii_uppercase)
        && word.get(small + 1).is_some_and(u8::is_ascii_lowercase);
    is_humped || word.windows(3).any(joins)
}

/// The nearest byte that is no blank, at most two blanks away, and how many blanks lie between.
fn neighbour<'a>(bytes: impl Iterator<Item = &'a u8>) -> (Option<u8>, usize) {
    for (gap, byte) in bytes.take(3).enumerate() {
        if *byte != b' ' {
            return (Some(*byte), gap);
        }
    }
    (None, 0)
}

const fn is_term(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b')' | b'(' | b'-')
}

/// Whether an `=` stands in a formula and not in an assignment: another operator or a power stands in
/// the same few bytes before it, as in "x^2 + 5x + 6 = 0" or "3x + 7 = 22".
fn is_formula(bytes: &[u8], at: usize) -> bool {
    let before = &bytes[at.saturating_sub(16)..at];
    let line = before.iter().rposition(|byte| *byte == b'\n').map_or(before, |end| &before[end..]);
    let has_operator = line.iter().any(|byte| matches!(byte, b'+' | b'^' | b'*'))
        || line.windows(3).any(|window| window == b" - ");
    let has_digit = line.iter().any(u8::is_ascii_digit);
    has_operator && (has_digit || bytes[at..].iter().take(6).any(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::Features;
    use crate::classify::tokens::walk;

    fn count(text: &str) -> Features {
        let mut features = Features::default();
        walk(text, &mut |token| features.see(text.as_bytes(), token));
        features.end(text.as_bytes());
        features
    }

    #[test]
    fn arithmetic_is_told_from_dates_ranges_and_assignments() {
        for (text, sums, formulas) in [
            ("what is 1547 * 892?", 1, 0),
            ("12+30", 1, 0),
            ("10 / 4 - 3", 2, 0),
            ("on 12/05/2023 between 1990-2000 call 555-0199", 0, 0),
            ("x^2 + 5x + 6 = 0", 1, 2),
            ("solve for x: 3x + 7 = 22", 0, 1),
            ("let total = 5", 0, 0),
            ("a=b", 0, 0),
            ("+", 0, 0),
        ] {
            let seen = count(text);
            assert_eq!((seen.sums, seen.formulas), (sums, formulas), "{text:?}");
        }
    }

    #[test]
    fn names_of_programs_are_told_from_names_of_things() {
        for (text, identifiers) in [
            ("rename user_id and getUserName", 2),
            ("my iPhone, YouTube and JavaScript at McDonald", 0),
            ("_private_ - __init__", 0),
        ] {
            assert_eq!(count(text).identifiers, identifiers, "{text:?}");
        }
    }

    #[test]
    fn lines_of_programs_words_and_signs_are_counted() {
        let seen = count("Pick:\n1. one\n- three\nint main() {\n  return 0; \n}");
        assert_eq!(seen.code_lines, 3);
        assert_eq!(count("∑ of n² ≤ ∞ ?").signs, 4);
        assert_eq!((count("写一个函数？").all_words(), count("").all_words()), (5 / 2, 0));
    }
}
