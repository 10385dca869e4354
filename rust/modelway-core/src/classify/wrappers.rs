//! What programs wrap round the user's words is set aside before a prompt is read: reminders, attached
//! files, listings, retrieved context. Nothing is taken from what is sent.
//!
//! One contiguous range is read, the user's own last words: what a tag for the user's words holds, else
//! the last stretch between blocks of material. A text that is not framed in a known way is read whole.

use std::ops::Range;

use super::marks::{Kind, Mark, WINDOW, find, may_have_marks, windows};
use super::templates::{Holds, Label, Tag, is_same};
use super::{Classify, Evidence, Reading};

/// A classifier that reads the user's own words only.
#[derive(Debug)]
pub(crate) struct OwnWords<C>(pub(crate) C);

impl<C: Classify> Classify for OwnWords<C> {
    fn read(&self, text: &str) -> Reading {
        self.0.read(&text[to_read(text)])
    }

    fn explain(&self, text: &str) -> (Reading, Vec<Evidence>) {
        let range = to_read(text);
        let before = text[..range.start].chars().count();
        let (reading, mut evidence) = self.0.explain(&text[range]);
        for found in &mut evidence {
            found.start += before;
            found.end += before;
        }
        (reading, evidence)
    }
}

/// The user's own words, or all of a text that has none of them.
fn to_read(text: &str) -> Range<usize> {
    own_words(text).unwrap_or(0..text.len())
}

/// The range of the user's own last words in bytes; `None` where a program wrote all of it.
#[must_use]
pub fn own_words(text: &str) -> Option<Range<usize>> {
    if !may_have_marks(text) {
        return Some(0..text.len());
    }
    let marks = find(text);
    let (head_to, tail_at) = windows(text);
    let frames = Frames { text, marks, head_to, tail_at };
    let mut range = 0..text.len();
    loop {
        let seen = frames.walk(range.clone());
        match (seen.held, seen.is_framed) {
            (Some(held), _) => range = held,
            (None, true) => return seen.last,
            (None, false) => return Some(range),
        }
    }
}

/// A text and its marks.
struct Frames<'a> {
    text: &'a str,
    marks: Vec<Mark>,
    head_to: usize,
    tail_at: usize,
}

/// What a walk over a range found.
#[derive(Default)]
struct Seen {
    /// The last words in a tag, or behind a label, for the user's words.
    held: Option<Range<usize>>,
    /// The last words outside of all.
    last: Option<Range<usize>>,
    /// Whether anything was set aside.
    is_framed: bool,
}

/// The state of a walk.
struct Walk<'a> {
    frames: &'a Frames<'a>,
    range: Range<usize>,
    /// Where the present stretch began.
    from: usize,
    /// The mark to look at.
    next: usize,
    is_fenced: bool,
    /// Whether the template's own instruction stands between `from` and here.
    has_preamble: bool,
    has_material: bool,
    seen: Seen,
}

impl Frames<'_> {
    fn walk(&self, range: Range<usize>) -> Seen {
        let from = range.start;
        let mut walk = Walk {
            frames: self,
            next: self.marks.partition_point(|mark| mark.start < from),
            from,
            range,
            is_fenced: false,
            has_preamble: false,
            has_material: false,
            seen: Seen::default(),
        };
        while let Some(mark) = walk.mark() {
            walk.next += 1;
            match mark.kind {
                Kind::Fence => walk.is_fenced = !walk.is_fenced,
                _ if walk.is_fenced => {}
                Kind::Open(tag) if (mark.begins_line && !tag.is_common) || walk.is_at_frame(mark) => {
                    walk.open(mark, tag);
                }
                Kind::Close(tag) if !tag.is_common || walk.seen.is_framed => walk.close(mark, tag),
                Kind::Label(label) => walk.label(mark, label),
                Kind::Open(_) | Kind::Close(_) => {}
            }
        }
        // A template's instruction that no block followed is no template's.
        walk.has_preamble = false;
        walk.outside(walk.range.end);
        walk.seen
    }

    /// Whether the middle of the text, which is not looked at, lies in `range`.
    fn is_cut(&self, range: &Range<usize>) -> bool {
        range.start < self.head_to && self.head_to < self.tail_at && self.tail_at < range.end
    }
}

impl Walk<'_> {
    fn mark(&self) -> Option<Mark> {
        self.frames.marks.get(self.next).copied().filter(|mark| mark.end <= self.range.end)
    }

    /// Whether nothing of the user stands between the last frame, or the beginning, and `mark`.
    fn is_at_frame(&self, mark: Mark) -> bool {
        let between = self.from..mark.start;
        self.has_preamble || (between.len() <= WINDOW && trimmed(self.frames.text, between).is_none())
    }

    /// A tag opens: what it holds goes to its end; where that lies in the middle, to the end of the head.
    fn open(&mut self, mark: Mark, tag: &Tag) {
        let is_end = |other: &Mark| {
            matches!(other.kind, Kind::Close(end) if is_same(end, tag)) && other.end <= self.range.end
        };
        let rest = &self.frames.marks[self.next..];
        if let Some(step) = rest.iter().position(is_end) {
            let end = rest[step];
            self.outside(mark.start);
            if tag.holds == Holds::Words {
                self.held(mark.end..end.start);
            }
            self.next += step + 1;
            self.go_on(end.end);
        } else if self.frames.is_cut(&self.range) && mark.end <= self.frames.head_to {
            self.outside(mark.start);
            if tag.holds == Holds::Words {
                self.held(mark.end..self.frames.head_to);
            }
            self.next = self.frames.marks.partition_point(|mark| mark.start < self.frames.tail_at);
            self.go_on(self.frames.tail_at);
        }
    }

    /// A tag closes that opened in the middle of the text.
    fn close(&mut self, mark: Mark, tag: &Tag) {
        if !self.frames.is_cut(&self.range) || mark.start < self.frames.tail_at {
            return;
        }
        let tail_at = self.frames.tail_at;
        if self.from < tail_at {
            self.outside(tail_at);
        }
        if tag.holds == Holds::Words {
            self.held(self.from.max(tail_at)..mark.start);
        }
        self.go_on(mark.end);
    }

    fn label(&mut self, mark: Mark, label: Label) {
        let text = self.frames.text;
        match label {
            Label::Material => self.has_material = true,
            Label::Question if self.has_material => self.asked(mark),
            Label::Request => self.asked(mark),
            Label::Instruction if self.find(Label::Answer).is_some() => self.asked(mark),
            Label::Preamble if self.is_at_frame(mark) => {
                self.has_preamble = true;
                self.has_material = true;
            }
            Label::Listing if self.is_at_frame(mark) => {
                let rest = &self.frames.marks[self.next..];
                let is_fence = |mark: &Mark| matches!(mark.kind, Kind::Fence) && mark.end <= self.range.end;
                if let Some(step) = rest.iter().rposition(is_fence) {
                    let end = rest[step].end;
                    self.next += step + 1;
                    self.go_on(end);
                }
            }
            Label::Setup if self.is_at_frame(mark) => {
                let end = self.find(Label::SetupEnd).map_or(self.range.end, |mark| mark.end);
                self.next = self.frames.marks.partition_point(|mark| mark.start < end);
                self.go_on(end);
            }
            Label::Line if self.is_at_frame(mark) => {
                let seen_to =
                    if mark.end <= self.frames.head_to { self.frames.head_to } else { self.range.end };
                let seen_to = seen_to.min(self.range.end);
                let line = text[mark.end..seen_to].find('\n');
                let end = line.map_or(seen_to, |length| mark.end + length);
                self.next = self.frames.marks.partition_point(|mark| mark.start < end);
                self.go_on(end);
            }
            _ => {}
        }
    }

    /// What is asked for goes from a label to the place for the answer, or to the end.
    fn asked(&mut self, mark: Mark) {
        let end = self.find(Label::Answer).map_or(self.range.end, |answer| answer.start);
        self.held(mark.end..end);
    }

    /// The next mark of this label.
    fn find(&self, wanted: Label) -> Option<Mark> {
        let rest = self.frames.marks[self.next..].iter();
        let mut ours = rest.take_while(|mark| mark.end <= self.range.end);
        ours.find(|mark| matches!(mark.kind, Kind::Label(label) if label == wanted)).copied()
    }

    fn held(&mut self, range: Range<usize>) {
        if let Some(words) = trimmed(self.frames.text, range) {
            self.seen.held = Some(words);
        }
    }

    /// The present stretch ends at `end`.
    fn outside(&mut self, end: usize) {
        if !self.has_preamble
            && let Some(words) = trimmed(self.frames.text, self.from..end)
        {
            self.seen.last = Some(words);
        }
    }

    /// A frame ended at `end`: here the next stretch begins.
    fn go_on(&mut self, end: usize) {
        self.seen.is_framed = true;
        self.has_preamble = false;
        self.from = end;
    }
}

/// `range` without white space at its ends, if anything is left. A window full of it is looked at, so that
/// the cost does not grow with the text.
fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let words = &text[range.clone()];
    let head = &words[..words.floor_char_boundary(WINDOW)];
    let start = range.start + (head.len() - head.trim_start().len());
    let words = &text[start..range.end];
    let tail = &words[words.ceil_char_boundary(words.len().saturating_sub(WINDOW))..];
    let end = range.end - (tail.len() - tail.trim_end().len());
    if start < end { Some(start..end) } else { None }
}
