//! What known programs write round a user's words: tags of agents, tokens of chat templates, labels of
//! retrieval templates. A closed table: a mark that is not in it is the user's.

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

/// Whether two marks are of one tag.
pub(super) fn is_same(one: &Tag, other: &Tag) -> bool {
    one.name == other.name
}

/// For each letter of the alphabet a bit for each length that a tag's name which begins with it has, so that
/// a text of other tags costs no search.
const LENGTHS: [u64; 26] = {
    let mut lengths = [0; 26];
    let mut at = 0;
    while at < TAGS.len() {
        let name = TAGS[at].name.as_bytes();
        lengths[(name[0] - b'a') as usize] |= 1 << name.len();
        at += 1;
    }
    lengths
};

/// The tag of this name, in whatever case.
pub(super) fn tag_called(name: &[u8]) -> Option<&'static Tag> {
    let first = name.first()?.to_ascii_lowercase().wrapping_sub(b'a');
    if name.len() > LONGEST_NAME || LENGTHS.get(usize::from(first))? >> name.len() & 1 == 0 {
        return None;
    }
    let mut lower = [0; LONGEST_NAME];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    TAGS.binary_search_by(|tag| tag.name.as_bytes().cmp(lower)).ok().map(|index| &TAGS[index])
}

/// The token at the beginning of `rest`, its length, and whether it opens.
pub(super) fn token_at(rest: &[u8]) -> Option<(usize, &'static Tag, bool)> {
    // Two bytes tell most others apart.
    if !matches!(rest, [_, b'I' | b'|' | b's' | b'e', ..] | [_, b'/', b'I', ..] | [_, b'<', b'S' | b'/', ..])
    {
        return None;
    }
    TOKENS.iter().find_map(|(open, close, tag)| {
        if rest.starts_with(open.as_bytes()) {
            Some((open.len(), tag, true))
        } else if rest.starts_with(close.as_bytes()) {
            Some((close.len(), tag, false))
        } else {
            None
        }
    })
}

/// Whether a text or a turn begins behind `before` by a token that holds nothing.
pub(super) fn ends_in_empty_token(before: &[u8]) -> bool {
    EMPTY_TOKENS.iter().any(|token| before.ends_with(token.as_bytes()))
}

/// The bytes that labels begin with.
const BEGINNINGS: [bool; 256] = {
    let mut beginnings = [false; 256];
    let mut at = 0;
    while at < LABELS.len() {
        beginnings[LABELS[at].0.as_bytes()[0] as usize] = true;
        at += 1;
    }
    beginnings
};

/// The label at the beginning of `rest`, and its length.
pub(super) fn label_at(rest: &[u8]) -> Option<(usize, Label)> {
    let first = rest.first()?.to_ascii_lowercase();
    if !BEGINNINGS[usize::from(first)] {
        return None;
    }
    let is_here = |text: &str| {
        text.as_bytes()[0] == first
            && rest.get(..text.len()).is_some_and(|here| here.eq_ignore_ascii_case(text.as_bytes()))
    };
    LABELS.iter().find(|(text, _)| is_here(text)).map(|(text, label)| (text.len(), *label))
}

#[cfg(test)]
mod tests {
    use super::{LABELS, LONGEST_NAME, TAGS};

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
}
