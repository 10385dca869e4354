//! Kinds of data that a request holds: what a consent names.

use crate::classify::{is_code_line, sample::Sample};
use crate::named::named_enum;

named_enum! {
    /// A kind of data.
    DataKind {
        /// Words; every request has some.
        Text => "text",
        /// Source code.
        Code => "code",
        /// Pictures.
        Images => "images",
        /// Documents, sound, and whatever else is no text and no picture.
        Files => "files",
        /// What tools were asked and what they said.
        ToolResults => "tool_results",
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataKinds(u8);

impl DataKinds {
    /// The empty set.
    pub const NONE: Self = Self(0);

    /// The set, with `kind` in it where that `is_in`.
    #[must_use]
    pub const fn with(self, kind: DataKind, is_in: bool) -> Self {
        Self(self.0 | (is_in as u8) << kind as u8)
    }

    /// What is in one of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in the set.
    #[must_use]
    pub const fn holds(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// Whether `kind` is in the set.
    #[must_use]
    pub const fn contains(self, kind: DataKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The members, in the order of declaration.
    pub fn iter(self) -> impl Iterator<Item = DataKind> {
        DataKind::ALL.iter().copied().filter(move |kind| self.contains(*kind))
    }

    /// What a text is: text always, and code where there is some to be seen.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        Self::NONE.with(DataKind::Text, true).with(DataKind::Code, has_code(text))
    }
}

impl FromIterator<DataKind> for DataKinds {
    fn from_iter<I: IntoIterator<Item = DataKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::NONE, |set, kind| set.with(kind, true))
    }
}

/// Whether a text holds a fence, wherever that stands, or in its sample a line that ends like one of a program. A line
/// of prose that does so costs a question; code taken for prose would leave without one.
fn has_code(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_fence = |at: usize| matches!(bytes.get(at..at + 3), Some(b"```" | b"~~~"));
    let ends_like_code = |part: &&str| {
        let part = part.as_bytes();
        memchr::memchr_iter(b'\n', part).chain([part.len()]).any(|end| is_code_line(&part[..end]))
    };
    memchr::memchr2_iter(b'`', b'~', bytes).any(is_fence)
        || Sample::of(text).parts().iter().any(ends_like_code)
}

#[cfg(test)]
mod tests {
    use super::{DataKind, DataKinds};

    #[test]
    fn code_is_seen_wherever_its_fence_stands() {
        let far = format!("{}\n```\nx\n```\n{}", "word ".repeat(5_000), "word ".repeat(5_000));
        for (text, has_code) in [
            ("", false),
            ("tell me a story", false),
            ("a list:\n- one\n- two", false),
            ("what does this do:\n  return 0; \n", true),
            ("if (a) {", true),
            ("```python\nprint(1)\n```", true),
            ("~~~\nx\n~~~", true),
            (far.as_str(), true),
        ] {
            let kinds = DataKinds::of_text(text);
            assert!(kinds.contains(DataKind::Text));
            assert_eq!(kinds.contains(DataKind::Code), has_code, "{:?}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn a_set_holds_its_members_and_their_sets() {
        let all: DataKinds = DataKind::ALL.iter().copied().collect();
        assert_eq!(all.iter().collect::<Vec<_>>(), DataKind::ALL);
        for kind in DataKind::ALL.iter().copied() {
            let one = DataKinds::NONE.with(kind, true);
            assert_eq!(one.iter().collect::<Vec<_>>(), [kind]);
            assert!(all.holds(one) && one.holds(DataKinds::NONE) && !one.holds(all));
            assert_eq!(DataKinds::NONE.with(kind, false).and(one), one);
        }
    }
}
