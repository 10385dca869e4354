//! How a text begins: greetings, and questions whose answer is a fact.

/// How a text begins, as far as the shape of a question goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Opening {
    /// It opens like a question whose answer is short when the question is.
    pub(super) asks_for_a_fact: bool,
    /// It opens with a greeting or thanks.
    pub(super) greets: bool,
}

/// No opening word is longer.
const LONGEST: usize = 8;

impl Opening {
    /// Reads the first two words of a text in normal form.
    pub(super) fn of(text: &str) -> Self {
        let mut words = text
            .split_ascii_whitespace()
            .map(|word| word.trim_matches(|c: char| c.is_ascii_punctuation() && c != '\''));
        let mut buffer = [0; LONGEST];
        match lower(words.next(), &mut buffer) {
            b"how" => {
                Self { asks_for_a_fact: is_measure(lower(words.next(), &mut [0; LONGEST])), greets: false }
            }
            b"what" | b"what's" | b"whats" | b"who" | b"who's" | b"whos" | b"when" | b"where"
            | b"where's" | b"which" | b"whose" | b"is" | b"are" | b"was" | b"were" | b"does" | b"do"
            | b"did" | b"has" | b"have" | b"can" | b"will" | b"que" | b"quien" | b"cuando" | b"donde"
            | b"cual" | b"cuanto" | b"qui" | b"quand" | b"quel" | b"quelle" | b"wer" | b"wann" | b"wo"
            | b"welche" | b"quem" | b"quando" | b"onde" | b"qual" | b"chi" | b"dove" => {
                Self { asks_for_a_fact: true, greets: false }
            }
            b"hi" | b"hello" | b"hey" | b"thanks" | b"thx" | b"bye" | b"ok" | b"okay" | b"yo" | b"hola"
            | b"salut" | b"hallo" | b"ciao" | b"ola" => Self { asks_for_a_fact: false, greets: true },
            _ => Self::default(),
        }
    }
}

/// Whether "how" with this word asks for a measure.
const fn is_measure(word: &[u8]) -> bool {
    matches!(
        word,
        b"many" | b"much" | b"old" | b"tall" | b"far" | b"long" | b"big" | b"high" | b"deep" | b"often"
    )
}

/// The word in lower case; empty where there is none or it is longer than any opening word.
fn lower<'a>(word: Option<&str>, buffer: &'a mut [u8; LONGEST]) -> &'a [u8] {
    let word = word.unwrap_or_default().as_bytes();
    let Some(place) = buffer.get_mut(..word.len()) else { return &[] };
    place.copy_from_slice(word);
    place.make_ascii_lowercase();
    place
}

#[cfg(test)]
mod tests {
    use super::Opening;

    #[test]
    fn facts_and_greetings_are_told_from_requests() {
        for (text, asks_for_a_fact, greets) in [
            ("What's the time?", true, false),
            ("\"Who\" is it", true, false),
            ("how MANY moons", true, false),
            ("how do i", false, false),
            ("how", false, false),
            ("Hello there", false, true),
            ("Whatsoever happens", false, false),
            ("", false, false),
        ] {
            assert_eq!(Opening::of(text), Opening { asks_for_a_fact, greets }, "{text:?}");
        }
    }
}
