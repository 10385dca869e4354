//! What a decision may look at.

use crate::classify::sample::Sample;
use crate::classify::{FRAME_BYTES, own_words};
use crate::egress::Sending;
use crate::kinds::{DataKind, DataKinds};
use crate::task::TaskClass;

/// A request as the selector sees it. The prompt is borrowed: nothing of it is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The prompt, or the text of the last user message.
    pub prompt: &'a str,
    /// What came before it, where it is part of a conversation.
    pub conversation: Option<&'a Conversation>,
    /// The class the caller named.
    pub task: Option<TaskClass>,
    /// The model the caller named.
    pub model: Option<&'a str>,
    /// Whether tool definitions come with it.
    pub has_tools: bool,
    /// Whether images come with it.
    pub has_images: bool,
    /// Its length in tokens, where known or already estimated from all its messages.
    pub context_tokens: Option<u64>,
    /// What kinds of data its messages hold; `None`: the prompt is all there is.
    pub kinds: Option<DataKinds>,
    /// Whether its caller forbids that it goes to others.
    pub is_kept_here: bool,
    /// Whether a model in memory passes one that would have to be loaded first; `None`: as configured.
    pub prefer_warm: Option<bool>,
}

impl Request<'_> {
    /// Whether a client may have made up the prompt. One line that comes without messages was typed.
    #[must_use]
    pub fn may_be_of_a_client(&self) -> bool {
        let head = &self.prompt.as_bytes()[..self.prompt.len().min(FRAME_BYTES)];
        self.conversation.is_some() || memchr::memchr(b'\n', head).is_some()
    }

    /// What kinds of data it holds, as far as can be told without its class.
    #[must_use]
    pub fn data_kinds(&self) -> DataKinds {
        let kinds = self.kinds.unwrap_or_else(|| DataKinds::of_text(self.prompt));
        kinds.with(DataKind::Text, true).with(DataKind::Images, self.has_images)
    }

    /// What it would send, where it is of this class.
    #[must_use]
    pub fn sending(&self, task: TaskClass) -> Sending {
        let kinds = self.data_kinds().with(DataKind::Code, task == TaskClass::CodeGeneration);
        Sending { kinds, is_kept_here: self.is_kept_here }
    }

    /// The head of the first system message, empty where there is none.
    #[must_use]
    pub fn system(&self) -> &str {
        self.conversation.map_or("", |conversation| &conversation.system)
    }
}

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The system, or the developer of the program.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// Anybody else: tools.
    Other,
}

/// One message of a conversation.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who wrote it.
    pub role: Role,
    /// Its text parts, joined by line ends.
    pub text: String,
    /// How many images it holds.
    pub images: u64,
    /// What else it holds.
    pub more: DataKinds,
}

impl Message {
    fn kinds(&self) -> DataKinds {
        DataKinds::of_text(&self.text)
            .and(self.more)
            .with(DataKind::Images, self.images > 0)
            .with(DataKind::ToolResults, self.role == Role::Other)
    }
}

/// What a decision may look at of the messages before the last user message: a bounded part of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The head of the first system message.
    pub system: String,
    /// The user's own words in the [`EARLIER`] user messages before the last one, the latest first.
    pub earlier: Vec<String>,
    /// Whether the last answer holds fenced code.
    pub answer_has_code: bool,
}

/// What matters of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Text of the last user message.
    pub prompt: String,
    /// What came before it.
    pub conversation: Conversation,
    /// Images in all messages.
    pub images: u64,
    /// Estimated length of all messages in tokens.
    pub context_tokens: u64,
    /// What kinds of data they hold, all texts read to their ends.
    pub kinds: DataKinds,
}

/// How many user messages before the last one are kept: what was being done stands in one of them, or is
/// out of mind.
pub const EARLIER: usize = 4;

/// Tokens that a chat template spends on the frame of one message.
const FRAME_TOKENS: u64 = 8;
/// Tokens that one image takes; vision encoders in use take between 256 and about 1,500.
const IMAGE_TOKENS: u64 = 800;

/// Reads a conversation once and keeps what a decision needs. `prompt` is asked after all messages; without
/// it the last user message is.
#[must_use]
pub fn digest(mut messages: Vec<Message>, prompt: Option<String>) -> Digest {
    let mut seen = Digest::default();
    for message in &messages {
        let tokens =
            estimate_tokens(&message.text) + FRAME_TOKENS + message.images.saturating_mul(IMAGE_TOKENS);
        seen.context_tokens = seen.context_tokens.saturating_add(tokens);
        seen.images = seen.images.saturating_add(message.images);
        seen.kinds = seen.kinds.and(message.kinds());
    }
    if let Some(text) = prompt {
        seen.kinds = seen.kinds.and(DataKinds::of_text(&text));
        seen.context_tokens = seen.context_tokens.saturating_add(estimate_tokens(&text));
        messages.push(Message { role: Role::User, text, images: 0, more: DataKinds::NONE });
    }
    if let Some(system) = messages.iter().find(|message| message.role == Role::System) {
        let head = system.text.floor_char_boundary(FRAME_BYTES);
        system.text[..head].clone_into(&mut seen.conversation.system);
    }
    let Some(last) = messages.iter().rposition(|message| message.role == Role::User) else { return seen };
    let answer = messages[..last].iter().rev().find(|message| message.role == Role::Assistant);
    seen.conversation.answer_has_code =
        answer.is_some_and(|answer| Sample::of(&answer.text).parts().iter().any(|part| part.contains("```")));
    let users = messages[..last].iter().rev().filter(|message| message.role == Role::User);
    seen.conversation.earlier = users.filter_map(|message| own_sample(&message.text)).take(EARLIER).collect();
    seen.prompt = messages.swap_remove(last).text;
    seen
}

/// A bounded sample of the user's own words in a message, if there are any.
fn own_sample(text: &str) -> Option<String> {
    let words = &text[own_words(text)?];
    if words.trim().is_empty() { None } else { Some(Sample::of(words).parts().concat()) }
}

/// An estimate of a text's length in tokens: four ASCII bytes, or one other character, a token.
///
/// Read from the bounded sample and scaled to the whole, so that its cost does not grow with the
/// text. Four characters a token is `OpenAI`'s published rule of thumb for English; other scripts take
/// about one token a character in the vocabularies in use.
#[must_use]
pub fn estimate_tokens(text: &str) -> u64 {
    let sample = Sample::of(text);
    let mut seen = 0_u64;
    for part in sample.parts() {
        if part.is_ascii() {
            seen += part.len() as u64 / 4;
        } else {
            let ascii = part.bytes().filter(u8::is_ascii).count();
            // A character is counted at its first byte: continuation bytes are 0b10xx_xxxx.
            let others = part.bytes().filter(|byte| *byte >= 0xC0).count();
            seen += (ascii / 4 + others) as u64;
        }
    }
    let (whole, part) = (text.len() as u64, sample.len() as u64);
    if whole == part { seen } else { (u128::from(seen) * u128::from(whole) / u128::from(part)) as u64 }
}

#[cfg(test)]
mod tests {
    use super::{Digest, EARLIER, Message, Request, Role, digest, estimate_tokens};
    use crate::kinds::{DataKind, DataKinds};
    use crate::task::TaskClass;

    #[test]
    fn estimates_grow_with_the_text() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("twelve chars"), 3);
        assert_eq!(estimate_tokens("你好世界"), 4);
        assert_eq!(estimate_tokens(&"word ".repeat(100_000)), 125_000);
    }

    fn message(role: Role, text: &str, images: u64) -> Message {
        Message { role, text: text.to_owned(), images, more: DataKinds::NONE }
    }

    #[test]
    fn the_last_user_message_is_the_prompt() {
        let seen = digest(
            vec![
                message(Role::System, "be brief", 0),
                message(Role::User, "look", 2),
                message(Role::Assistant, "I see", 0),
                message(Role::User, "and now?", 0),
                message(Role::Other, "tool says 5", 0),
            ],
            None,
        );
        assert_eq!(seen.prompt, "and now?");
        assert_eq!(seen.images, 2);
        assert_eq!(
            (seen.conversation.system.as_str(), seen.conversation.answer_has_code),
            ("be brief", false)
        );
        assert_eq!(seen.conversation.earlier, ["look"]);
        assert_eq!(digest(vec![], None), Digest::default());
    }

    #[test]
    fn kinds_are_those_of_all_messages_and_of_the_class() {
        let kinds = |messages, prompt: Option<&str>| digest(messages, prompt.map(str::to_owned)).kinds;
        let of = |kinds: &[DataKind]| kinds.iter().copied().collect::<DataKinds>();
        let talk = || message(Role::User, "tell me more", 0);
        assert_eq!(kinds(vec![talk()], Some("why?")), of(&[DataKind::Text]));
        for (role, text, images, kind) in [
            (Role::System, "answer like this:\n```\nx\n```", 0, DataKind::Code),
            (Role::Assistant, "int main() {", 0, DataKind::Code),
            (Role::User, "look", 1, DataKind::Images),
            (Role::Other, "5", 0, DataKind::ToolResults),
        ] {
            let found = kinds(vec![message(role, text, images), talk()], None);
            assert_eq!(found, of(&[DataKind::Text, kind]), "{text}");
        }
        let file = Message { more: of(&[DataKind::Files]), ..talk() };
        assert_eq!(kinds(vec![file], Some("```")), of(&[DataKind::Text, DataKind::Code, DataKind::Files]));

        let request =
            Request { prompt: "hi", has_images: true, kinds: Some(DataKinds::NONE), ..Request::default() };
        assert_eq!(request.sending(TaskClass::General).kinds, of(&[DataKind::Text, DataKind::Images]));
        let code = Request { prompt: "hi", ..Request::default() }.sending(TaskClass::CodeGeneration);
        assert_eq!(code.kinds, of(&[DataKind::Text, DataKind::Code]));
    }

    #[test]
    fn a_prompt_is_asked_after_all_messages() {
        let seen = digest(
            vec![message(Role::User, "write code", 0), message(Role::Assistant, "```\nx\n```", 0)],
            Some("why?".to_owned()),
        );
        assert_eq!((seen.prompt.as_str(), seen.conversation.answer_has_code), ("why?", true));
        assert_eq!(seen.conversation.earlier, ["write code"]);
    }

    #[test]
    fn of_earlier_messages_bounded_samples_of_the_latest_are_kept() {
        let mut messages: Vec<_> =
            (0..20).map(|n| message(Role::User, &format!("語{n} ").repeat(5_000), 0)).collect();
        messages.push(message(Role::User, "<system-reminder>only a program's</system-reminder>", 0));
        messages.push(message(Role::System, &"é".repeat(5_000), 0));
        messages.push(message(Role::User, "last", 0));
        let seen = digest(messages, None).conversation;
        assert_eq!(seen.earlier.len(), EARLIER);
        assert!(seen.earlier.iter().all(|text| text.len() <= 2048));
        assert!(seen.earlier[0].starts_with("語19"), "the latest first, and none that a program wrote");
        assert_eq!(seen.system, "é".repeat(512));
    }
}
