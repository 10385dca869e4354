//! The shape of a text in 31 counts: marks, numbers, lines, lists, formulas, length.
//!
//! A linear model reads a count as the levels it has reached, so that each level has a weight of its own.

use super::folded::Folded;

/// How many counts there are.
pub(super) const COUNTS: usize = 31;
/// Counts of marks, which stand first.
const MARKS: usize = 18;

const STEPS: &[u32] = &[1, 2, 3, 5, 9, 17];
const IS: &[u32] = &[1];
/// Half octaves.
const WORDS: &[u32] = &[2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724];
const BYTES: &[u32] =
    &[12, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512, 724, 1024, 1448, 2048, 4096, 8192];

/// For each count the values that begin a level.
pub const LEVELS: [&[u32]; COUNTS] = {
    let mut levels = [STEPS; COUNTS];
    levels[27] = IS;
    levels[28] = IS;
    levels[29] = WORDS;
    levels[30] = BYTES;
    levels
};

/// All levels of all counts.
pub(crate) const fn count_levels() -> usize {
    let mut all = 0;
    let mut count = 0;
    while count < COUNTS {
        all += LEVELS[count].len();
        count += 1;
    }
    all
}

/// Places of marks without which, or digits, there are no sums and formulas.
const EQUALS: usize = 10;
const OPERATORS: usize = 11;
/// The place of `_`, which is no sign: words have it.
const UNDERSCORES: usize = 13;

/// The place of a mark among the counts.
const fn counted(c: char) -> Option<usize> {
    Some(match c {
        '?' | '؟' => 0,
        '!' => 1,
        '.' | '。' => 2,
        ',' | '、' => 3,
        ':' => 4,
        ';' => 5,
        '"' | '“' | '”' => 6,
        '(' => 7,
        '[' => 8,
        '{' | '}' => 9,
        '=' => EQUALS,
        '+' | '*' | '^' | '/' => OPERATORS,
        '<' | '>' => 12,
        '`' => 14,
        '$' => 15,
        '\\' => 16,
        '|' | '&' | '%' | '#' | '@' | '~' => 17,
        _ => return None,
    })
}

/// The places of ASCII's marks; `MARKS` for what is none.
const PLACES: [u8; 128] = {
    let mut places = [MARKS as u8; 128];
    let mut byte = 0;
    while byte < 128 {
        if let Some(place) = counted(byte as u8 as char) {
            places[byte] = place as u8;
        }
        byte += 1;
    }
    places
};

/// What is counted of a text; its parts add up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// Marks, by their place.
    marks: [u32; MARKS],
    /// A bit for each of them that is not 0.
    marked: u32,
    /// Words of scripts that set spaces.
    pub(super) words: u32,
    /// Those of them that are not all ASCII.
    pub(super) foreign: u32,
    /// Characters of scripts without spaces.
    pub(super) wide: u32,
    numbers: u32,
    lines: u32,
    items: u32,
    pub(super) code_lines: u32,
    sums: u32,
    formulas: u32,
    pub(super) signs: u32,
    last: Option<char>,
    bytes: u32,
}

impl Shape {
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes: u32::try_from(bytes).unwrap_or(u32::MAX), ..Self::default() }
    }

    /// Counts a sign.
    #[inline]
    pub(super) fn count_sign(&mut self, c: char) {
        let place = match PLACES.get(c as usize) {
            Some(&place) => usize::from(place),
            None => counted(c).unwrap_or(MARKS),
        };
        if place < MARKS { self.mark(place, 1) } else { self.count_letter(c) }
    }

    /// Counts a character that is no mark: mathematical signs, and the letters among them.
    pub(super) fn count_letter(&mut self, c: char) {
        let is_sign = matches!(c, '∀'..='⋿' | '×' | '÷' | '±' | 'π' | 'θ' | '⁰'..='₎' | '→' | '⇒');
        self.signs += u32::from(is_sign);
    }

    /// Counts what needs a second look at a whole part.
    pub(super) fn end_part(&mut self, folded: &Folded<'_>) {
        let text = folded.text;
        let bytes = text.as_bytes();
        self.last = text.trim_end().chars().next_back().or(self.last);
        if folded.has_underscore {
            self.mark(UNDERSCORES, text.matches('_').count() as u32);
        }
        if folded.has_newline {
            let trimmed = text.trim();
            // Without a short cut, so that the compiler looks at many bytes at once.
            self.lines += trimmed.bytes().filter(|byte| *byte == b'\n').count() as u32;
            bytes.split(|byte| *byte == b'\n').for_each(|line| self.count_line(line));
        } else {
            self.count_line(bytes);
        }
        if folded.has_digit || self.marks[EQUALS] + self.marks[OPERATORS] > 0 {
            self.count_terms(text);
        }
    }

    fn count_line(&mut self, line: &[u8]) {
        self.items += u32::from(is_item(line));
        self.code_lines += u32::from(is_code_line(line));
    }

    /// Counts numbers, sums and formulas.
    fn count_terms(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut formula_end = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            let before = |back: usize| at.checked_sub(back).map_or(0, |at| bytes[at]);
            match byte {
                b'0'..=b'9' => self.numbers += u32::from(!continues_number(before(1), before(2))),
                b'+' | b'*' | b'-' | b'/' => self.sums += u32::from(is_sum(bytes, at)),
                _ => {}
            }
            if at >= formula_end
                && let Some(length) = formula(text, at)
            {
                self.formulas += 1;
                formula_end = at + length;
            }
        }
    }

    /// Tells each count that is not 0, with its place among all.
    #[inline]
    pub(super) fn each(&self, mut tell: impl FnMut(usize, u32)) {
        let mut marked = self.marked;
        while marked != 0 {
            let place = marked.trailing_zeros() as usize;
            marked &= marked - 1;
            tell(place, self.marks[place]);
        }
        let others: [u32; COUNTS - MARKS] = [
            self.numbers,
            self.lines,
            self.items,
            self.code_lines,
            self.sums,
            self.formulas,
            self.signs,
            self.wide,
            self.foreign,
            u32::from(matches!(self.last, Some('?' | '؟'))),
            u32::from(self.last == Some(':')),
            self.words + self.wide / 2,
            self.bytes,
        ];
        for (place, count) in (MARKS..).zip(others) {
            if count > 0 {
                tell(place, count);
            }
        }
    }

    fn mark(&mut self, place: usize, times: u32) {
        self.marks[place] += times;
        self.marked |= 1 << place;
    }
}

/// Whether a digit behind these two bytes goes on a number, as in "10" and "1.5".
const fn continues_number(before: u8, second: u8) -> bool {
    before.is_ascii_digit() || (matches!(before, b'.' | b',') && second.is_ascii_digit())
}

/// Whether a line begins like an item of a list: "- ", "* ", "1. ", "23) ".
fn is_item(line: &[u8]) -> bool {
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let line = &line[blanks..];
    let digits = line.iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    match line.get(digits) {
        Some(b'-' | b'*') if digits == 0 => line.get(1) == Some(&b' '),
        Some(b'.' | b')') if (1..=3).contains(&digits) => line.get(digits + 1) == Some(&b' '),
        _ => false,
    }
}

/// Whether a line ends like one of a program.
pub(crate) fn is_code_line(line: &[u8]) -> bool {
    let last = line.iter().rev().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r'));
    matches!(last, Some(b';' | b'{' | b'}'))
}

/// Whether the operator at `at` stands between digits; "-" and "/" need a blank on both sides, since
/// dates, ranges and paths are no sums.
fn is_sum(bytes: &[u8], at: usize) -> bool {
    let (left, right) = (&bytes[..at], &bytes[at + 1..]);
    let (left, left_blank) = left.strip_suffix(b" ").map_or((left, false), |rest| (rest, true));
    let (right, right_blank) = right.strip_prefix(b" ").map_or((right, false), |rest| (rest, true));
    left.last().is_some_and(u8::is_ascii_digit)
        && right.first().is_some_and(u8::is_ascii_digit)
        && (matches!(bytes[at], b'+' | b'*') || (left_blank && right_blank))
}

/// How long the formula at `at` is: a power ("x^"), a term ("3x"), or a letter with what it equals or
/// adds to ("x = 4").
fn formula(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let byte = bytes[at];
    let next = bytes.get(at + 1).map(u8::to_ascii_lowercase);
    if next == Some(b'^') && (byte.is_ascii_alphanumeric() || byte == b')') {
        return Some(2);
    }
    if byte.is_ascii_digit() {
        let is_term = matches!(next, Some(b'x' | b'y' | b'z'))
            && !text[at + 2..].chars().next().is_some_and(is_of_name);
        return is_term.then_some(2);
    }
    if !matches!(byte.to_ascii_lowercase(), b'x' | b'y' | b'z' | b'n')
        || text[..at].chars().next_back().is_some_and(is_of_name)
    {
        return None;
    }
    let blank_at = |place: usize| usize::from(bytes.get(place) == Some(&b' '));
    let operator = at + 1 + blank_at(at + 1);
    if !matches!(bytes.get(operator), Some(b'=' | b'+' | b'*')) {
        return None;
    }
    let operand = operator + 1 + blank_at(operator + 1);
    let goes_on =
        matches!(bytes.get(operand), Some(c) if c.is_ascii_alphanumeric() || matches!(c, b'-' | b'('));
    goes_on.then_some(operand + 1 - at)
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::Shape;
    use crate::classify::fold::fold;

    fn shape(text: &str) -> Shape {
        let mut shape = Shape::new(text.len());
        fold(text, |folded| shape.end_part(folded));
        shape
    }

    #[test]
    fn arithmetic_is_told_from_dates_and_names() {
        for (text, numbers, sums, formulas) in [
            ("what is 1547 * 892?", 2, 1, 0),
            ("3.14, 1,000 and 5", 3, 0, 0),
            ("10 / 4 - 3 on 12/05-2023", 6, 2, 0),
            ("x^2 + 3x = 0", 3, 1, 2),
            ("2X Y=4 max = 3 nxy", 3, 0, 2),
            ("é x = 4, éx = 4", 2, 0, 1),
            ("+", 0, 0, 0),
        ] {
            let seen = shape(text);
            assert_eq!((seen.numbers, seen.sums, seen.formulas), (numbers, sums, formulas), "{text:?}");
        }
    }

    #[test]
    fn lists_and_lines_of_programs_are_counted() {
        let seen =
            shape("Pick:\n1. one\n23) two\n- three\n * four\n1234. no\nint main() {\n  return 0; \n}\n");
        assert_eq!((seen.items, seen.lines, seen.code_lines, seen.last), (4, 8, 3, Some('}')));
    }
}
