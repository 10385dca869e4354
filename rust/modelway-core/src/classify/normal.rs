//! The form in which words are compared: lower case, compatibility forms unified (NFKC), accents of
//! Latin letters folded away, control and format characters left out.
//!
//! People type "funcion" for "función" and paste full-width digits; a bidirectional mark or a zero
//! byte inside a word changes nothing of its meaning. Marks of other scripts are kept: there they make
//! other letters.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// A text in normal form, with the way back to the characters it came from.
#[derive(Debug)]
pub(super) struct Normal<'a> {
    text: Cow<'a, str>,
    /// For each byte of `text` the original characters it came from; `None` where bytes are characters.
    origin: Option<Vec<Origin>>,
}

/// The characters that one byte came from: several where they compose to one.
#[derive(Clone, Copy, Debug)]
struct Origin {
    first: u32,
    last: u32,
}

impl<'a> Normal<'a> {
    /// The normal form of `text`; `with_origin` keeps the way back, which only explanations need.
    #[must_use]
    pub(super) fn of(text: &'a str, with_origin: bool) -> Self {
        if text.bytes().all(is_plain) {
            // Plain ASCII is compared without regard to case where it stands.
            return Self { text: Cow::Borrowed(text), origin: None };
        }
        let mut out = Folded {
            text: String::with_capacity(text.len() + 8),
            origin: with_origin.then(|| Vec::with_capacity(text.len() + 8)),
        };
        let mut segment = String::new();
        let mut from = Origin { first: 0, last: 0 };
        for (index, c) in (0_u32..).zip(text.chars()) {
            if is_invisible(c) {
                continue;
            }
            if !segment.is_empty() && !joins_left(c) {
                out.push_segment(&segment, from);
                segment.clear();
            }
            if segment.is_empty() {
                from.first = index;
            }
            from.last = index;
            segment.push(c);
        }
        out.push_segment(&segment, from);
        Self { text: Cow::Owned(out.text), origin: out.origin }
    }

    /// The text to compare. ASCII letters may still be upper case where the whole text is plain.
    #[must_use]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The original characters that the bytes `start..end`, which must not be empty, came from: the first
    /// one's index, and the one behind the last.
    #[must_use]
    pub(super) fn characters(&self, start: usize, end: usize) -> (usize, usize) {
        match &self.origin {
            None => (start, end),
            Some(origin) => (origin[start].first as usize, origin[end - 1].last as usize + 1),
        }
    }
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..0x7F | b'\t'..=b'\r')
}

/// Control characters other than white space, zero-width and bidirectional marks, tags, soft hyphens.
fn is_invisible(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t'..='\r'))
        || matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2069}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{E0000}'..='\u{E007F}')
}

/// Whether `c` composes with what stands before it: combining marks, and the later parts of a Hangul
/// syllable (in all their compatibility forms), which are starters and compose all the same.
fn joins_left(c: char) -> bool {
    !c.is_ascii()
        && (canonical_combining_class(c) != 0
            || is_combining_mark(c)
            || matches!(c, '\u{1160}'..='\u{11FF}' | '\u{3131}'..='\u{318E}' | '\u{FF9E}'..='\u{FFDC}'))
}

struct Folded {
    text: String,
    origin: Option<Vec<Origin>>,
}

impl Folded {
    fn push_segment(&mut self, segment: &str, from: Origin) {
        let before = self.text.len();
        for composed in segment.nfkc() {
            for lower in composed.to_lowercase() {
                self.push_folded(lower);
            }
        }
        if let Some(origin) = &mut self.origin {
            origin.extend(std::iter::repeat_n(from, self.text.len() - before));
        }
    }

    fn push_folded(&mut self, c: char) {
        if c.is_ascii() {
            self.text.push(c);
        } else if matches!(c, '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}') {
            let mut parts = std::iter::once(c).nfd();
            match parts.next() {
                Some(base) if base.is_ascii() => self.text.push(base),
                _ => self.text.push(c),
            }
        } else if !matches!(c, '\u{300}'..='\u{36F}') {
            self.text.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::Normal;

    #[test]
    fn writes_what_means_the_same_in_the_same_way() {
        for (text, normal) in [
            ("función", "funcion"),
            ("funcio\u{301}n", "funcion"),
            ("FUNCIÓN é", "funcion e"),
            ("ｆｕｌｌ　width", "full width"),
            ("wri\u{0}te\u{200B} co\u{202E}de\u{7}\u{AD}", "write code"),
            ("İstanbul straße", "istanbul straße"),
            ("が か\u{3099}", "が が"),
            ("\u{1112}\u{1161}\u{11AB}", "한"),
            ("🦀 Привет", "🦀 привет"),
        ] {
            assert_eq!(Normal::of(text, false).text(), normal, "{text:?}");
            assert_eq!(Normal::of(normal, false).text(), normal, "again: {normal:?}");
        }
    }

    #[test]
    fn every_byte_knows_the_character_it_came_from() {
        let text = "\u{0}ñandú ﬁx e\u{301}x";
        let normal = Normal::of(text, true);
        assert_eq!(normal.text(), "nandu fix ex");
        let first: Vec<usize> = (0..normal.text().len()).map(|at| normal.characters(at, at + 1).0).collect();
        assert_eq!(first, [1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 12]);
        assert_eq!(normal.characters(10, 11), (10, 12), "the accent belongs to its letter");
        assert_eq!(Normal::of("plain", true).characters(3, 5), (3, 5));
    }

    /// Texts of ASCII and one part of Unicode where characters combine, decompose, fold or vanish. (An
    /// accent of Latin inside a Hangul syllable is dropped after the syllable was to be composed.)
    fn tricky() -> impl Strategy<Value = String> {
        let parts = vec![
            ('\u{C0}', '\u{37F}'),
            ('\u{400}', '\u{1100}'),
            ('\u{1100}', '\u{1200}'),
            ('\u{1E00}', '\u{2100}'),
            ('\u{2100}', '\u{3130}'),
            ('\u{3130}', '\u{3190}'),
            ('\u{F900}', '\u{FDFF}'),
            ('\u{FE00}', '\u{FFEF}'),
            ('\u{10000}', '\u{1FFFF}'),
        ];
        proptest::sample::select(parts).prop_flat_map(|(from, to)| {
            let character =
                prop_oneof![proptest::char::range(from, to), proptest::char::range('\0', '\u{7F}')];
            proptest::collection::vec(character, 0..24).prop_map(String::from_iter)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn normal_form_is_idempotent(text in tricky()) {
            let once = Normal::of(&text, false).text().to_owned();
            let twice = Normal::of(&once, false).text().to_owned();
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn the_characters_named_hold_what_was_found(text in tricky()) {
            let normal = Normal::of(&text, true);
            let all: Vec<char> = text.chars().collect();
            for (at, c) in normal.text().char_indices() {
                let (start, end) = normal.characters(at, at + c.len_utf8());
                let original: String = all[start..end].iter().collect();
                let again = Normal::of(&original, false).text().to_ascii_lowercase();
                prop_assert!(again.contains(c.to_ascii_lowercase()), "{:?} for {:?}", original, c);
            }
        }
    }
}
