//! The structure of a text that settles a class whatever its words say: names of programs, arithmetic, formulas.

use super::folded::Folded;

/// What is counted of a text; its parts add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    /// Names such as `user_id` or `getUserName`.
    pub(super) identifiers: u32,
    /// Arithmetic between numbers: `1547 * 892`.
    pub(super) sums: u32,
    /// Powers and equations with letters: `x^2`, `3x + 7 = 22`.
    pub(super) formulas: u32,
}

impl Features {
    /// Counts the names in a part.
    #[inline]
    pub(super) fn count_names(&mut self, folded: &Folded<'_>) {
        if folded.has_hump || folded.has_underscore {
            let words = folded.text.as_bytes().split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
            self.identifiers += words.filter(|word| is_identifier(word)).count() as u32;
        }
    }

    /// Counts what the operator at `at`, if it is one, makes of its neighbours.
    #[inline]
    pub(super) fn see(&mut self, bytes: &[u8], at: usize) {
        if matches!(bytes[at], b'+' | b'*' | b'/' | b'^' | b'=' | b'-') {
            self.count_operator(bytes, at);
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

/// Whether a word is a name as programs have them: `user_id`, or
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
    use crate::classify::fold::fold;

    fn count(text: &str) -> Features {
        let mut features = Features::default();
        (0..text.len()).for_each(|at| features.see(text.as_bytes(), at));
        fold(text, |folded| features.count_names(folded));
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
}
