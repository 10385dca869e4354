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
        let visible = (0_u32..).zip(text.chars()).filter(|(_, c)| !is_invisible(*c));
        let mut chars = visible.peekable();
        let mut segment = String::new();
        while let Some((first, c)) = chars.next()
            && out.text.len() < longest(text.len())
        {
            let mut from = Origin { first, last: first };
            let is_alone = chars.peek().is_none_or(|(_, next)| !joins_left(*next));
            if is_alone && is_settled(c) {
                out.push(c, from);
                continue;
            }
            segment.clear();
            segment.push(c);
            while let Some((last, next)) = chars.next_if(|(_, next)| joins_left(*next)) {
                segment.push(next);
                from.last = last;
            }
            out.push_segment(&segment, from);
        }
        out.end(longest(text.len()));
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

/// Letters of the scripts that most people write, each its own compatibility form: what is known of them
/// without a look into Unicode's tables.
pub(super) const fn is_common_letter(c: char) -> bool {
    matches!(c, '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{FF}'
        | '\u{391}'..='\u{3A1}' | '\u{3A3}'..='\u{3C9}' | '\u{400}'..='\u{481}' | '\u{48A}'..='\u{52F}'
        | '\u{5D0}'..='\u{5EA}' | '\u{620}'..='\u{64A}' | '\u{904}'..='\u{928}' | '\u{92A}'..='\u{930}'
        | '\u{935}'..='\u{939}' | '\u{E01}'..='\u{E30}' | '\u{3041}'..='\u{3096}' | '\u{30A1}'..='\u{30FA}'
        | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}')
}

/// Mathematical operators that are their own compatibility forms; some integrals are not.
pub(super) const fn is_common_sign(c: char) -> bool {
    matches!(c, '\u{2200}'..='\u{222B}' | '\u{2231}'..='\u{22FF}')
}

/// Whether a character is its own compatibility form where nothing joins it.
const fn is_settled(c: char) -> bool {
    c.is_ascii() || is_common_letter(c) || is_common_sign(c)
}

/// The longest normal form of a part of so many bytes: a single character may stand for eighteen.
const fn longest(bytes: usize) -> usize {
    bytes / 4 * 5 + 64
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
    !is_settled(c)
        && (canonical_combining_class(c) != 0
            || is_combining_mark(c)
            || matches!(c, '\u{1160}'..='\u{11FF}' | '\u{3131}'..='\u{318E}' | '\u{FF9E}'..='\u{FFDC}'))
}

struct Folded {
    text: String,
    origin: Option<Vec<Origin>>,
}

impl Folded {
    /// Takes a settled character that nothing joins.
    #[inline]
    fn push(&mut self, c: char, from: Origin) {
        let before = self.text.len();
        match c {
            _ if c.is_ascii() => self.text.push(c.to_ascii_lowercase()),
            // Small letters; and none of the common scripts above Cyrillic has capitals.
            '\u{430}'..='\u{45F}' | '\u{530}'.. => self.text.push(c),
            _ => c.to_lowercase().for_each(|lower| self.push_folded(lower)),
        }
        self.keep_origin(before, from);
    }

    fn push_segment(&mut self, segment: &str, from: Origin) {
        let before = self.text.len();
        for composed in segment.nfkc() {
            for lower in composed.to_lowercase() {
                self.push_folded(lower);
            }
        }
        self.keep_origin(before, from);
    }

    /// Cuts what is too long.
    fn end(&mut self, longest: usize) {
        self.text.truncate(self.text.floor_char_boundary(longest));
        if let Some(origin) = &mut self.origin {
            origin.truncate(self.text.len());
        }
    }

    fn keep_origin(&mut self, before: usize, from: Origin) {
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

    use super::{
        Folded, Normal, Origin, UnicodeNormalization, canonical_combining_class, is_combining_mark,
        is_common_letter, is_settled, longest,
    };

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

    #[test]
    fn what_is_known_of_common_letters_is_what_the_tables_say() {
        for c in ('\u{80}'..=char::MAX).filter(|c| is_settled(*c)) {
            assert_eq!(c.is_alphabetic(), is_common_letter(c), "{c:?}");
            assert!(canonical_combining_class(c) == 0 && !is_combining_mark(c), "{c:?}");
            assert!(std::iter::once(c).nfkc().eq([c]), "{c:?}");
            let (mut short, mut long) = (folded(), folded());
            let from = Origin { first: 0, last: 0 };
            short.push(c, from);
            long.push_segment(c.encode_utf8(&mut [0; 4]), from);
            assert_eq!(short.text, long.text);
        }
    }

    fn folded() -> Folded {
        Folded { text: String::new(), origin: None }
    }

    #[test]
    fn a_normal_form_has_an_end() {
        let long = "\u{fdfa}".repeat(600);
        let normal = Normal::of(&long, true);
        assert!(normal.text().len() <= longest(long.len()) && normal.text().len() > long.len());
        assert_eq!(Normal::of("\u{fdfa}", true).text().chars().count(), 18);
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
