//! What a decision may look at.

use crate::classify::sample::Sample;
use crate::task::TaskClass;

/// A request as the selector sees it. The prompt is borrowed: nothing of it is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The user's own words: the prompt, or the text of the last user message.
    pub prompt: &'a str,
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
}

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The user.
    User,
    /// Anybody else: system, assistant, tool.
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
}

/// What matters of a conversation: the last user message, all images, the estimated length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Text of the last user message.
    pub prompt: String,
    /// Images in all messages.
    pub images: u64,
    /// Estimated length of all messages in tokens.
    pub context_tokens: u64,
}

/// Tokens that a chat template spends on the frame of one message.
const FRAME_TOKENS: u64 = 8;
/// Tokens that one image takes; vision encoders in use take between 256 and about 1,500.
const IMAGE_TOKENS: u64 = 800;

/// Reads a conversation once and keeps what a decision needs.
#[must_use]
pub fn digest(messages: Vec<Message>) -> Digest {
    let mut seen = Digest::default();
    for message in messages {
        let tokens =
            estimate_tokens(&message.text) + FRAME_TOKENS + message.images.saturating_mul(IMAGE_TOKENS);
        seen.context_tokens = seen.context_tokens.saturating_add(tokens);
        seen.images = seen.images.saturating_add(message.images);
        if message.role == Role::User {
            seen.prompt = message.text;
        }
    }
    seen
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
    use super::{Digest, Message, Role, digest, estimate_tokens};

    #[test]
    fn estimates_grow_with_the_text() {
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("twelve chars"), 3);
        assert_eq!(estimate_tokens("你好世界"), 4);
        assert_eq!(estimate_tokens(&"word ".repeat(100_000)), 125_000);
    }

    #[test]
    fn the_last_user_message_is_the_prompt() {
        let message = |role, text: &str, images| Message { role, text: text.to_owned(), images };
        let seen = digest(vec![
            message(Role::Other, "be brief", 0),
            message(Role::User, "look", 2),
            message(Role::Other, "I see", 0),
            message(Role::User, "and now?", 0),
            message(Role::Other, "tool says 5", 0),
        ]);
        assert_eq!(seen.prompt, "and now?");
        assert_eq!(seen.images, 2);
        assert_eq!(digest(vec![]), Digest::default());
    }
}
