//! What a short message has of its own, and what points back to the messages before it.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::normal::Normal;

/// The longest message that can be a mere follow-up, in bytes of its normal form: about twenty words.
pub(super) const SHORT_BYTES: usize = 120;

/// The words, read once.
static WORDS: LazyLock<Words> = LazyLock::new(|| Words::parse(include_str!("follow_up.txt")));

/// What a section of the list says of its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stay,
    Nod,
    Thanks,
    Back,
    Switch,
    Own,
}

impl Kind {
    fn parse(line: &str) -> Option<Self> {
        match line {
            "[stay]" => Some(Self::Stay),
            "[nod]" => Some(Self::Nod),
            "[thanks]" => Some(Self::Thanks),
            "[back]" => Some(Self::Back),
            "[switch]" => Some(Self::Switch),
            "[own]" => Some(Self::Own),
            _ => None,
        }
    }
}

/// What the words of a message say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// Every word is in the list: what it wants can't be told without the messages before.
    Nothing,
    /// Thanks or a farewell, and nothing else.
    Thanks,
    /// At its beginning it turns to something else.
    Turns,
    /// A question of its own that is made of such words.
    Own,
    /// More than the list knows.
    Something,
}

/// What a message has of its own, and whether it points back: "it", "the second one", "what about".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FollowUp {
    pub(super) says: Says,
    pub(super) points_back: bool,
}

impl FollowUp {
    /// Of a message in few words; a long one says something and is not looked into.
    pub(super) fn of(message: &str) -> Self {
        let long = Self { says: Says::Something, points_back: false };
        if message.len() > 2 * SHORT_BYTES {
            return long;
        }
        let text = clean(message);
        if text.len() > SHORT_BYTES {
            return long;
        }
        let mut says = if text.contains(SIGN) { Says::Something } else { Says::Nothing };
        let (mut asks, mut thanks, mut points_back, mut begins) = (false, false, false, true);
        let mut at = 0;
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let (kind, length) = WORDS
                .longest(rest)
                .map_or_else(|| (None, first_word(rest)), |(kind, length)| (Some(kind), length));
            match kind {
                Some(Kind::Stay) => asks = true,
                Some(Kind::Thanks) => thanks = true,
                Some(Kind::Back) => (asks, points_back) = (true, true),
                Some(Kind::Switch) if begins => says = Says::Turns,
                Some(Kind::Own) if begins && at + length >= text.len() => says = Says::Own,
                None | Some(Kind::Switch | Kind::Own) if says == Says::Nothing => says = Says::Something,
                None | Some(Kind::Nod | Kind::Switch | Kind::Own) => {}
            }
            begins &= kind == Some(Kind::Nod);
            at += length;
        }
        if says == Says::Nothing && thanks && !asks {
            says = Says::Thanks;
        }
        Self { says, points_back }
    }
}

/// Stands for a sign that says something of its own, as in a formula or a path.
const SIGN: char = '=';

/// The words of a message in normal form, one blank between them.
fn clean(message: &str) -> String {
    let normal = Normal::of(message, false);
    let mut clean = String::with_capacity(message.len());
    for c in normal.text().chars().flat_map(char::to_lowercase) {
        let c = if c == '’' { '\'' } else { c };
        if is_word(c) || matches!(c, '\'' | '-') {
            clean.push(c);
        } else if c.is_ascii_punctuation()
            && !matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | '"' | '(' | ')' | '&')
        {
            clean.push(SIGN);
        } else if !clean.is_empty() && !clean.ends_with(' ') {
            clean.push(' ');
        }
    }
    clean.truncate(clean.trim_end().len());
    clean
}

/// Letters and digits, and the signs that are part of letters in scripts of India and Arabia.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\u{610}'..='\u{61A}' | '\u{64B}'..='\u{65F}' | '\u{900}'..='\u{DFF}')
}

/// Whether `c` is of a script that sets no spaces between words, or whose words take endings: kana, Han,
/// Hangul.
const fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}')
}

/// Whether a word ends in `text` at `at`.
fn is_end(text: &str, at: usize) -> bool {
    let (before, after) = text.split_at(at);
    match (before.chars().next_back(), after.chars().next()) {
        (Some(last), Some(next)) => next == ' ' || is_unspaced(next) || is_unspaced(last),
        _ => true,
    }
}

/// The length of the first word, with the blank behind it.
fn first_word(text: &str) -> usize {
    let mut ends = text.char_indices().skip(1).map(|(at, _)| at);
    let end = ends.find(|at| is_end(text, *at)).unwrap_or(text.len());
    end + usize::from(text[end..].starts_with(' '))
}

/// The list, by first character; of one the longest words first.
struct Words(HashMap<char, Vec<(String, Kind)>>);

impl Words {
    fn parse(text: &str) -> Self {
        let mut words: HashMap<char, Vec<(String, Kind)>> = HashMap::new();
        let mut kind = Kind::Nod;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some(section) = Kind::parse(line) {
                kind = section;
                continue;
            }
            for word in line.split(',').map(clean) {
                if let Some(first) = word.chars().next() {
                    words.entry(first).or_default().push((word, kind));
                }
            }
        }
        for group in words.values_mut() {
            // Sorting is stable: a word of two sections is of the first.
            group.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        }
        Self(words)
    }

    /// The longest word of the list at the beginning of `text`, with the blank behind it.
    fn longest(&self, text: &str) -> Option<(Kind, usize)> {
        let group = self.0.get(&text.chars().next()?)?;
        let is_here = |word: &str| text.starts_with(word) && is_end(text, word.len());
        let (word, kind) = group.iter().find(|(word, _)| is_here(word))?;
        Some((*kind, word.len() + usize::from(text[word.len()..].starts_with(' '))))
    }
}

#[cfg(test)]
mod tests {
    use super::{FollowUp, Kind, Says, WORDS, clean};

    #[test]
    fn every_section_is_read_and_known_by_name() {
        let text = include_str!("follow_up.txt");
        for line in text.lines().filter(|line| line.starts_with('[')) {
            assert!(Kind::parse(line).is_some(), "{line}");
        }
        for (word, kind) in
            [("why", Kind::Stay), ("danke schön", Kind::Thanks), ("何", Kind::Nod), ("वे", Kind::Back)]
        {
            let found = WORDS.longest(&clean(word)).map(|(kind, _)| kind);
            assert_eq!(found.unwrap_or(Kind::Nod), kind, "{word}");
        }
    }

    #[test]
    fn words_count_whole_and_signs_say_something() {
        for (text, says, points_back) in [
            ("Why?", Says::Nothing, false),
            ("can you improve it?", Says::Nothing, true),
            ("Whyever", Says::Something, false),
            ("THANKS!!", Says::Thanks, false),
            ("thanks, continue", Says::Nothing, false),
            ("what is 12*37?", Says::Something, false),
            ("is it a/b", Says::Something, true),
            ("ok, new topic: gardening", Says::Turns, false),
            ("write about a new topic", Says::Something, false),
            ("ok, how are you?", Says::Own, false),
            ("", Says::Nothing, false),
            ("👍", Says::Nothing, false),
            (&"it ".repeat(90), Says::Something, false),
        ] {
            assert_eq!(FollowUp::of(text), FollowUp { says, points_back }, "{text:?}");
        }
    }
}
