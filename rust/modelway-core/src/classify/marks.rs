//! The marks that programs leave in a prompt: tags of agents, tokens of chat templates, labels of
//! retrieval templates, code fences.
//!
//! A closed table of what real programs write. Marks are looked for in a window at each end of the text
//! only, so that their cost does not grow with it, and only where a program puts them: at the start of a
//! line or directly behind another mark.

use memchr::{memchr2, memchr3};

/// How much of each end of a text is looked at, in bytes.
pub(super) const WINDOW: usize = 4096;
/// A text with more marks than this is no prompt of a program that is known here.
const MOST_MARKS: usize = 128;
/// The longest opening tag, attributes included, in bytes.
const LONGEST_TAG: usize = 256;
/// The longest name of a tag, in bytes.
const LONGEST_NAME: usize = 32;

/// What stands between an opening and a closing tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// What the program adds for the model: reminders, files, listings, output of tools.
    Material,
    /// The user's own words.
    Words,
}

/// A tag of a known program, in lower case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    name: &'static str,
    pub(super) holds: Holds,
    /// Whether people write it too: such a tag counts only at the beginning and directly behind another
    /// mark, where no words of the user lead to it.
    pub(super) is_common: bool,
}

const fn material(name: &'static str) -> Tag {
    Tag { name, holds: Holds::Material, is_common: false }
}

const fn words(name: &'static str) -> Tag {
    Tag { name, holds: Holds::Words, is_common: false }
}

const fn common(tag: Tag) -> Tag {
    Tag { is_common: true, ..tag }
}

/// The tags, sorted by name.
static TAGS: [Tag; 73] = [
    material("additional_data"),
    material("additional_metadata"),
    common(words("answer")),
    material("attached_files"),
    common(material("attachment")),
    common(material("attachments")),
    material("bash-input"),
    material("bash-stderr"),
    material("bash-stdout"),
    words("command-args"),
    material("command-message"),
    material("command-name"),
    common(material("context")),
    material("current_file"),
    material("currentdocument"),
    common(material("document")),
    common(material("documents")),
    material("editorcontext"),
    material("environment_context"),
    material("environment_details"),
    material("environment_info"),
    material("explicit_instructions"),
    common(words("feedback")),
    common(material("file")),
    material("file_content"),
    material("file_contents"),
    common(material("files")),
    material("folder_content"),
    material("git_commit"),
    material("git_status"),
    material("git_working_state"),
    material("ide_diagnostics"),
    material("ide_opened_file"),
    material("ide_selection"),
    material("info-msg"),
    common(material("instructions")),
    material("linter_errors"),
    material("local-command-caveat"),
    material("local-command-stderr"),
    material("local-command-stdout"),
    material("memory_and_skills_reminder"),
    material("new-diagnostics"),
    material("open_and_recently_viewed_files"),
    material("project_context"),
    material("project_layout"),
    common(words("prompt")),
    common(words("question")),
    common(material("reminder")),
    material("reminderinstructions"),
    material("repocontext"),
    material("retrieved_context"),
    common(material("rules")),
    common(material("search_results")),
    material("session_context"),
    material("system-reminder"),
    material("system_notification"),
    material("system_reminder"),
    common(words("task")),
    material("task-notification"),
    material("terminal_output"),
    material("tool_result"),
    material("toolreferences"),
    material("url_content"),
    material("user-prompt-submit-hook"),
    material("user_info"),
    material("user_instructions"),
    words("user_message"),
    words("user_query"),
    words("user_request"),
    material("user_rules"),
    words("userrequest"),
    material("workspace_diagnostics"),
    material("workspace_info"),
];

/// Tokens of chat templates, opening and closing; what they hold is told by their place in this list.
static TOKENS: [(&str, &str, Tag); 5] = [
    ("[INST]", "[/INST]", words("[inst]")),
    ("<<SYS>>", "<</SYS>>", material("<<sys>>")),
    ("<|im_start|>user", "<|im_end|>", words("<|im_start|>")),
    ("<|start_header_id|>user<|end_header_id|>", "<|eot_id|>", words("<|start_header_id|>")),
    ("<start_of_turn>user", "<end_of_turn>", words("<start_of_turn>")),
];
/// Tokens that begin a text or a turn and hold nothing.
const EMPTY_TOKENS: [&str; 4] = ["<s>", "</s>", "<bos>", "<|begin_of_text|>"];

/// A piece of text that a template puts at the start of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// Material follows.
    Material,
    /// The user's question follows, if material went before.
    Question,
    /// The user's request follows.
    Request,
    /// The user's instruction follows, if the place for the answer comes after it.
    Instruction,
    /// The answer is to follow.
    Answer,
    /// The template's own instruction, up to the first block.
    Preamble,
    /// Files follow, each in a fence.
    Listing,
    /// All is setting up, up to `SetupEnd` or the end.
    Setup,
    /// The end of a setup.
    SetupEnd,
    /// The line is the program's.
    Line,
}

/// The labels in lower case; of two that begin alike the longer one stands first.
static LABELS: [(&str, Label); 31] = [
    ("### context:", Label::Material),
    ("context information is below", Label::Material),
    ("context:", Label::Material),
    ("# context from my ide setup:", Label::Material),
    ("### question:", Label::Question),
    ("### query:", Label::Question),
    ("question:", Label::Question),
    ("query:", Label::Question),
    ("user question:", Label::Question),
    ("user query:", Label::Question),
    ("## my request for codex:", Label::Request),
    ("### instruction:", Label::Instruction),
    ("### response:", Label::Answer),
    ("### answer:", Label::Answer),
    ("answer:", Label::Answer),
    ("helpful answer:", Label::Answer),
    ("### task:\nrespond to the user query using the provided context", Label::Preamble),
    ("use the following context", Label::Preamble),
    ("use the following pieces of", Label::Preamble),
    ("answer the question based on the following context", Label::Preamble),
    ("answer the question based only on the following context", Label::Preamble),
    ("given the following context", Label::Preamble),
    ("i have *added these files to the chat*", Label::Listing),
    ("here are some read only files", Label::Listing),
    ("here are summaries of some files present in my git repo", Label::Listing),
    ("this is the gemini cli. we are setting up the context for our chat", Label::Setup),
    ("my setup is complete. i will provide my first command in the next turn.", Label::SetupEnd),
    ("caveat: the messages below were generated by the user while running local commands", Label::Line),
    ("the user provided the following feedback:", Label::Line),
    ("the user denied this operation and provided the following feedback:", Label::Line),
    ("# agents.md instructions for ", Label::Line),
];

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

/// Whether two marks are of one tag.
pub(super) fn is_same(one: &Tag, other: &Tag) -> bool {
    one.name == other.name
}

/// Where the two windows lie: the end of the head and the beginning of the tail; the same place where
/// they meet.
pub(super) fn windows(text: &str) -> (usize, usize) {
    if text.len() <= 2 * WINDOW {
        return (text.len(), text.len());
    }
    (text.floor_char_boundary(WINDOW), text.ceil_char_boundary(text.len() - WINDOW))
}

/// The marks of `text` in order; none where it has none, or too many.
pub(super) fn find(text: &str) -> Vec<Mark> {
    let (head_to, tail_at) = windows(text);
    let mut finder = Finder { text, marks: Vec::new() };
    for (from, to) in [(0, head_to), (tail_at, text.len())] {
        // Programs write several lines, or brackets: of what people type this is all that is looked for.
        if memchr3(b'\n', b'<', b'[', &text.as_bytes()[from..to]).is_some() {
            finder.search(from, to);
        }
    }
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
            let here = at + step;
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
            let found = if rest.starts_with(b"```") { Some((3, Kind::Fence)) } else { label_at(rest) };
            let Some((length, kind)) = found else { break };
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
    matches!(before.last(), None | Some(b'\n'))
        || EMPTY_TOKENS.iter().any(|token| before.ends_with(token.as_bytes()))
}

/// The label at the beginning of `rest`, and its length.
fn label_at(rest: &[u8]) -> Option<(usize, Kind)> {
    let first = rest.first()?.to_ascii_lowercase();
    let is_here = |text: &str| {
        text.as_bytes()[0] == first
            && rest.get(..text.len()).is_some_and(|here| here.eq_ignore_ascii_case(text.as_bytes()))
    };
    LABELS.iter().find(|(text, _)| is_here(text)).map(|(text, label)| (text.len(), Kind::Label(*label)))
}

/// The tag or token at the beginning of `rest`, and its length.
fn tag_at(rest: &[u8]) -> Option<(usize, Kind)> {
    if !rest.get(1)?.is_ascii_alphabetic() && rest[1] != b'/' || rest[0] == b'[' {
        return token_at(rest);
    }
    let is_closing = rest[1] == b'/';
    let name_at = 1 + usize::from(is_closing);
    let length =
        rest[name_at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let name_end = name_at + length.count();
    let Some(tag) = tag_called(&rest[name_at..name_end]) else { return token_at(rest) };
    let line = &rest[name_end..rest.len().min(LONGEST_TAG)];
    let attributes = memchr2(b'>', b'\n', line)?;
    let is_end = line[attributes] == b'>' && (attributes == 0 || (!is_closing && line[0] == b' '));
    let kind = if is_closing { Kind::Close(tag) } else { Kind::Open(tag) };
    // `<file path="a"/>` opens nothing.
    (is_end && !line[..attributes].ends_with(b"/")).then_some((name_end + attributes + 1, kind))
}

fn tag_called(name: &[u8]) -> Option<&'static Tag> {
    let mut lower = [0; LONGEST_NAME];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    TAGS.binary_search_by(|tag| tag.name.as_bytes().cmp(lower)).ok().map(|index| &TAGS[index])
}

fn token_at(rest: &[u8]) -> Option<(usize, Kind)> {
    TOKENS.iter().find_map(|(open, close, tag)| {
        if rest.starts_with(open.as_bytes()) {
            Some((open.len(), Kind::Open(tag)))
        } else if rest.starts_with(close.as_bytes()) {
            Some((close.len(), Kind::Close(tag)))
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Kind, LABELS, LONGEST_NAME, TAGS, find};

    #[test]
    fn the_tables_are_in_the_order_that_the_search_wants() {
        assert!(TAGS.is_sorted_by_key(|tag| tag.name));
        for tag in &TAGS {
            assert!(tag.name.len() <= LONGEST_NAME, "{}", tag.name);
            assert_eq!(tag.name, tag.name.to_ascii_lowercase());
        }
        for (index, (text, _)) in LABELS.iter().enumerate() {
            assert_eq!(*text, text.to_ascii_lowercase());
            let hides = LABELS[..index].iter().find(|(before, _)| text.starts_with(before));
            assert_eq!(hides, None, "{text}");
        }
    }

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
