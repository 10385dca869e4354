//! Calls that a client sends behind its user's back: titles, tags, summaries of the conversation,
//! suggestions, queries. A small model does them well, and nobody waits for a better one.
//!
//! They are known by their frame, never by their subject: a system message that makes the model a
//! generator, a template of a known client, or an order about *this* conversation together with its
//! transcript or with the terms of a program ("only the title"). What a user asks for in the same words
//! ("a title for my blog post about chats") has no such frame.

use std::sync::LazyLock;

use memchr::memmem::{self, Finder};

/// How much of the system message, and of each end of the prompt, is looked at, in bytes.
pub const FRAME_BYTES: usize = 1024;
/// How much of each end of the prompt may hold the order, and of the system message its subject, in bytes.
const ORDER_BYTES: usize = 480;
/// How far apart the parts of an order may stand, in bytes.
const NEAR: usize = 88;
/// Where the order of a system message begins that has no other, in bytes.
const FIRST_BYTES: usize = 48;
/// The shortest prompt that is an order by itself, in bytes: its frame takes as much.
const SHORTEST: usize = 96;

const MAKE: &[&str] = &[
    "generate",
    "generating",
    "generates",
    "write",
    "create",
    "creating",
    "craft",
    "crafting",
    "provide",
    "produce",
    "suggest",
    "summarize",
    "summarise",
    "extract",
    "output",
    "return",
    "come up with",
    "formulate",
];
const TITLE: &[&str] = &["title", "titles", "heading"];
const THING: &[&str] = &[
    "title",
    "titles",
    "tag",
    "tags",
    "name",
    "topic",
    "heading",
    "follow-up questions",
    "follow-up prompts",
    "follow-ups",
    "search query",
    "search queries",
    "queries",
    "emoji",
];
const TALK: &[&str] = &[
    "this conversation",
    "the conversation",
    "a conversation",
    "conversations",
    "following conversation",
    "user's conversation",
    "chat conversation",
    "chat history",
    "this chat",
    "the chat",
    "a chat",
    "this thread",
    "the thread",
    "chat thread",
    "this session",
    "the session",
    "coding session",
    "this dialogue",
    "the dialogue",
    "this discussion",
    "user's message",
    "user message",
    "first message",
    "this message",
    "the message",
    "user's query",
    "user query",
];
const SUM_UP: &[&str] = &[
    "summarize",
    "summarise",
    "summarizing",
    "summarising",
    "summary of",
    "condense",
    "compact",
    "rephrase",
];
const SO_FAR: &[&str] = &["so far", "above", "up to this point", "up to now", "until now"];
const BETWEEN: &[&str] = &["between"];

/// Terms of a program that takes the answer as it is.
const TERMS: [&str; 21] = [
    "only the title",
    "title only",
    "just the title",
    "only return",
    "return only",
    "output only",
    "reply with only",
    "respond with only",
    "respond only",
    "nothing else",
    "no quotes",
    "without quotes",
    "quotation",
    "punctuation",
    "preamble",
    "no other text",
    "no additional text",
    "no explanation",
    "标点",
    "直接回复",
    "直接返回",
];
/// How a system message begins that makes the model a generator of one thing.
const GENERATORS: [&str; 8] = [
    "you are a title generator",
    "you are a conversation title generator",
    "you are a tag generator",
    "you are a helpful ai assistant tasked with summarizing conversations",
    "analyze if this message indicates a new conversation topic",
    "extract any file paths that this command reads",
    "your task is to process bash commands",
    "you are a summarization assistant",
];
/// How templates of known clients begin, which bring their frame with them.
const TEMPLATES: [&str; 9] = [
    "[suggestion mode:",
    "please write a 5-10 word title for the following conversation",
    "your task is to create a detailed summary of the conversation so far",
    "the current conversation is rapidly running out of context",
    "<explicit_instructions type=\"condense\">",
    "your task is to reflect the speaker's likely facial expression through a fitting emoji",
    "given the following conversation and a follow up question, rephrase",
    "### task:\nyou are an autocompletion system",
    "analyze this conversation and provide:\n1. the detected language",
];
/// One of these stands in every order.
const SUBJECTS: [&str; 15] = [
    "conversation",
    "chat",
    "thread",
    "session",
    "dialogue",
    "discussion",
    "message",
    "query",
    "SUGGESTION",
    "autocompletion",
    "会话",
    "对话",
    "聊天",
    "会話",
    "대화",
];
/// A look for the subjects tells most prompts apart at little cost.
static FINDERS: LazyLock<[Finder<'static>; SUBJECTS.len()]> = LazyLock::new(|| SUBJECTS.map(Finder::new));
/// Tags that hold a transcript.
const TRANSCRIPTS: [&str; 8] = [
    "<chat_history>",
    "<conversation>",
    "<conversation_history>",
    "<transcript>",
    "<messages>",
    "<history>",
    "<chat>",
    "### chat history",
];
const USERS: [&str; 5] = ["user", "human", "用户", "ユーザー", "사용자"];
const ASSISTANTS: [&str; 8] = ["assistant", "ai", "claude", "chatgpt", "bot", "助手", "助理", "アシスタント"];
/// A title and this conversation in languages without spaces, where the parts of an order stand in any order.
const WIDE_TITLES: [&str; 4] = ["标题", "標題", "タイトル", "제목"];
const WIDE_TALKS: [&str; 15] = [
    "的会话",
    "上述对话",
    "以上对话",
    "以下对话",
    "这段对话",
    "该对话",
    "对话内容",
    "聊天记录",
    "的對話",
    "この会話",
    "以下の会話",
    "上記の会話",
    "이 대화",
    "다음 대화",
    "위 대화",
];

/// Whether a request is a background call. `system` is the first system message, or its head.
#[must_use]
pub fn is_background(system: &str, prompt: &str) -> bool {
    (!system.is_empty() && is_generator(&head(system, ORDER_BYTES).to_ascii_lowercase())) || is_order(prompt)
}

/// Whether the system message makes the model a generator of something about a conversation.
fn is_generator(system: &str) -> bool {
    has_any(system, &GENERATORS)
        || in_turn(system, &[MAKE, TITLE, TALK])
        // Assistants are told to suggest follow-up questions too: here it must be the first thing said.
        || stands(system, system.len().min(FIRST_BYTES), &[MAKE, THING, TALK])
        || (has_any(system, &WIDE_TITLES) && has_any(system, &WIDE_TALKS))
}

/// Whether the prompt is an order that a client made up.
fn is_order(prompt: &str) -> bool {
    if prompt.len() < SHORTEST {
        return false;
    }
    let (head_part, tail_part) = (head(prompt, FRAME_BYTES), tail(prompt, FRAME_BYTES));
    let parts = if prompt.len() <= FRAME_BYTES { &[prompt][..] } else { &[head_part, tail_part] };
    if !parts.iter().any(|part| FINDERS.iter().any(|subject| subject.find(part.as_bytes()).is_some())) {
        return false;
    }
    let (head_part, tail_part) = (head_part.to_ascii_lowercase(), tail_part.to_ascii_lowercase());
    let begin = head_part.trim_start();
    if TEMPLATES.iter().any(|template| begin.starts_with(template)) {
        return true;
    }
    let has_transcript = has_transcript(&head_part, &tail_part);
    if begin.starts_with("### task:") {
        return has_transcript && !has(begin, "respond to the user query");
    }
    let orders = [head(&head_part, ORDER_BYTES), tail(&tail_part, ORDER_BYTES)];
    orders.into_iter().any(|order| {
        let has_frame = has_transcript || TERMS.iter().any(|term| has(order, term));
        let is_title = in_turn(order, &[MAKE, THING, TALK]) && !in_turn(order, &[TALK, BETWEEN]);
        let is_wide_title = has_any(order, &WIDE_TITLES) && has_any(order, &WIDE_TALKS);
        let is_summary =
            in_turn(order, &[SUM_UP, TALK]) && (has_transcript || in_turn(order, &[TALK, SO_FAR]));
        has_frame && (is_title || is_wide_title || is_summary)
    })
}

/// Whether a transcript is attached: in a tag, or as lines of a user and of an assistant.
fn has_transcript(head: &str, tail: &str) -> bool {
    let speaks = |names: &[&str]| {
        let mut speakers = head.lines().chain(tail.lines()).filter_map(|line| {
            let line = line.trim_start_matches(['*', '[', '-', '#', ' ', '"']);
            names.iter().find_map(|name| line.strip_prefix(name))
        });
        speakers.any(|rest| rest.trim_start_matches(['*', ']', '"', ' ']).starts_with([':', '：']))
    };
    [head, tail].into_iter().any(|part| has_any(part, &TRANSCRIPTS))
        || (speaks(&USERS) && speaks(&ASSISTANTS))
}

fn head(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn tail(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}

fn has(text: &str, part: &str) -> bool {
    memmem::find(text.as_bytes(), part.as_bytes()).is_some()
}

fn has_any(text: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| has(text, part))
}

/// Whether one of each of `groups` stands in `text`, as whole words, in this order, each near the one before
/// and in its sentence.
fn in_turn(text: &str, groups: &[&[&str]]) -> bool {
    // What comes last is looked for first: it stands in the fewest texts.
    groups.last().is_none_or(|last| has_any(text, last)) && stands(text, text.len(), groups)
}

/// The same of the first `reach` bytes of `text` for the first group.
fn stands(text: &str, reach: usize, groups: &[&[&str]]) -> bool {
    let Some((first, rest)) = groups.split_first() else { return true };
    first.iter().any(|part| {
        memmem::find_iter(&text.as_bytes()[..reach], part.as_bytes()).any(|at| {
            let behind = at + part.len();
            let following = &text[behind..];
            is_whole(text.as_bytes(), at, behind) && stands(following, sentence(following).len(), rest)
        })
    })
}

/// What is left of the sentence at the beginning of `text`, as far as is near.
fn sentence(text: &str) -> &str {
    let near = head(text, NEAR);
    let end = [". ", "\n", "! ", "? "].iter().filter_map(|stop| near.find(stop)).min();
    end.map_or(near, |end| &near[..end])
}

/// Whether no word goes on across either end.
fn is_whole(text: &[u8], start: usize, end: usize) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    !is_word(start.checked_sub(1).and_then(|before| text.get(before))) && !is_word(text.get(end))
}
