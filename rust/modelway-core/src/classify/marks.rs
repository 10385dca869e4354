//! Where a prompt has the marks of [`templates`](super::templates), and where it has code fences.
//!
//! They are looked for in a window at each end of the text only, so that their cost does not grow with it,
//! and labels only where a program puts them: at the start of a line or directly behind another mark.

use memchr::{memchr2, memchr3};

use super::templates::{Label, Tag, ends_in_empty_token, label_at, tag_called, token_at};

/// How much of each end of a text is looked at, in bytes.
pub(super) const WINDOW: usize = 4096;
/// A text with more marks than this is no prompt of a program that is known here.
const MOST_MARKS: usize = 128;
/// The longest opening tag, attributes included, in bytes.
const LONGEST_TAG: usize = 256;

/// What a mark is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// An opening tag.
    Open(&'static Tag),
    /// A closing tag.
    Close(&'static Tag),
    /// The beginning or the end of fenced code.
    Fence,
    /// A label.
    Label(Label),
}

/// A mark and where it stands, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
    /// Whether nothing but blanks stands before it on its line.
    pub(super) begins_line: bool,
}

/// Where the two windows lie: the end of the head and the beginning of the tail; the same place where
/// they meet.
pub(super) fn windows(text: &str) -> (usize, usize) {
    if text.len() <= 2 * WINDOW {
        return (text.len(), text.len());
    }
    (text.floor_char_boundary(WINDOW), text.ceil_char_boundary(text.len() - WINDOW))
}

/// Whether `text` may have marks: programs write several lines, or brackets. Of most that people type
/// this is all that is looked for.
pub(super) fn may_have_marks(text: &str) -> bool {
    let (head_to, tail_at) = windows(text);
    let has_any = |part: &[u8]| memchr3(b'\n', b'<', b'[', part).is_some();
    has_any(&text.as_bytes()[..head_to]) || has_any(&text.as_bytes()[tail_at..])
}

/// The marks of `text` in order; none where there are too many.
#[cold]
pub(super) fn find(text: &str) -> Vec<Mark> {
    let (head_to, tail_at) = windows(text);
    let mut finder = Finder { text, marks: Vec::new() };
    finder.search(0, head_to);
    finder.search(tail_at, text.len());
    if finder.marks.len() > MOST_MARKS { Vec::new() } else { finder.marks }
}

struct Finder<'a> {
    text: &'a str,
    marks: Vec<Mark>,
}

impl Finder<'_> {
    fn search(&mut self, from: usize, to: usize) {
        let bytes = &self.text.as_bytes()[..to];
        // A tail window begins in the midst of a line.
        let mut at = if from == 0 { self.begin_line(0, to, true) } else { from };
        while self.marks.len() <= MOST_MARKS
            && let Some(step) = memchr3(b'\n', b'<', b'[', &bytes[at..])
        {
            let mut here = at + step;
            // Of empty lines, and of a run of brackets, the last ones tell as much as all.
            while matches!(&bytes[here..], [b'\n', b'\n', ..] | [b'<', b'<', b'<', ..]) {
                here += 1;
            }
            at = if bytes[here] == b'\n' {
                self.begin_line(here + 1, to, true)
            } else if let Some((length, kind)) = tag_at(&bytes[here..]) {
                let begins_line = begins_line(&bytes[..here]);
                self.marks.push(Mark { start: here, end: here + length, kind, begins_line });
                self.begin_line(here + length, to, false)
            } else {
                here + 1
            };
        }
    }

    /// Takes the fences and labels that stand at `at`, which begins a line or follows a mark; where to go on.
    fn begin_line(&mut self, mut at: usize, to: usize, mut begins_line: bool) -> usize {
        while self.marks.len() <= MOST_MARKS {
            let rest = &self.text.as_bytes()[at..to];
            let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
            let rest = &rest[blanks..];
            let (length, kind) = if rest.starts_with(b"```") {
                (3, Kind::Fence)
            } else if let Some((length, label)) = label_at(rest) {
                (length, Kind::Label(label))
            } else {
                break;
            };
            let start = at + blanks;
            self.marks.push(Mark { start, end: start + length, kind, begins_line });
            at = start + length;
            begins_line = false;
        }
        at
    }
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// Whether a line begins behind `before`, blanks and empty tokens left out.
fn begins_line(before: &[u8]) -> bool {
    let blanks = before.iter().rev().take_while(|byte| is_blank(**byte)).count();
    let before = &before[..before.len() - blanks];
    matches!(before.last(), None | Some(b'\n')) || ends_in_empty_token(before)
}

/// The tag or token at the beginning of `rest`, and its length.
fn tag_at(rest: &[u8]) -> Option<(usize, Kind)> {
    let (length, tag, opens) = named_tag_at(rest).or_else(|| token_at(rest))?;
    Some((length, if opens { Kind::Open(tag) } else { Kind::Close(tag) }))
}

/// The tag `<name ...>` or `</name>` at the beginning of `rest`, its length, and whether it opens.
fn named_tag_at(rest: &[u8]) -> Option<(usize, &'static Tag, bool)> {
    let inner = rest.strip_prefix(b"<")?;
    let (opens, inner) = inner.strip_prefix(b"/").map_or((true, inner), |inner| (false, inner));
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let name = inner.iter().take_while(is_name).count();
    if !matches!(inner.get(name), Some(b'>' | b' ')) {
        return None;
    }
    let tag = tag_called(&inner[..name])?;
    let line = &inner[name..inner.len().min(LONGEST_TAG)];
    let end = memchr2(b'>', b'\n', line)?;
    // `<file path="a"/>` opens nothing, and a closing tag has no attributes.
    let is_whole = line[end] == b'>' && !line[..end].ends_with(b"/") && (opens || end == 0);
    is_whole.then(|| (rest.len() - inner.len() + name + end + 1, tag, opens))
}

#[cfg(test)]
mod tests {
    use super::{Kind, find};

    #[test]
    fn marks_are_found_where_programs_put_them() {
        for (text, marks) in [
            ("plain words", vec![]),
            (
                "<system-reminder>x</system-reminder>",
                vec![("<system-reminder>", true), ("</system-reminder>", false)],
            ),
            ("see <System-Reminder> x", vec![("<System-Reminder>", false)]),
            ("<file path=\"a\">x</file>", vec![("<file path=\"a\">", true), ("</file>", false)]),
            ("<file/> <files-of> <file\n> </file x>", vec![]),
            ("<s>[INST] a [/INST]", vec![("[INST]", true), ("[/INST]", false)]),
            ("Context: a\n  QUESTION: b\nmy question: c", vec![("Context:", true), ("QUESTION:", true)]),
            ("```\nx\n```", vec![("```", true), ("```", true)]),
        ] {
            let found = find(text);
            let seen: Vec<_> =
                found.iter().map(|mark| (&text[mark.start..mark.end], mark.begins_line)).collect();
            assert_eq!(seen, marks, "{text:?}");
            assert!(
                found
                    .iter()
                    .all(|mark| matches!(mark.kind, Kind::Fence) == text[mark.start..].starts_with("```"))
            );
        }
        assert_eq!(find(&"<file>".repeat(200)).len(), 0, "too many");
    }
}
