//! A bounded look at a text: whole if it is short, else its head and its tail.
//!
//! The task of a long prompt stands at its beginning or at its end; reading more costs time without
//! telling more.

/// The longest text that is read whole, in bytes; a longer one gives half of this from each end.
pub const SAMPLE_BYTES: usize = 2048;

/// The parts of a text that are read.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    parts: [&'a str; 2],
    /// Where the second part begins in the text, in bytes.
    tail_at: usize,
}

impl<'a> Sample<'a> {
    /// The sample of `text`, cut at character boundaries.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        if text.len() <= SAMPLE_BYTES {
            return Self { parts: [text, ""], tail_at: text.len() };
        }
        let head_to = text.floor_char_boundary(SAMPLE_BYTES / 2);
        let tail_at = text.ceil_char_boundary(text.len() - SAMPLE_BYTES / 2);
        Self { parts: [&text[..head_to], &text[tail_at..]], tail_at }
    }

    /// The parts in order; the second is empty where the text is read whole.
    #[must_use]
    pub const fn parts(&self) -> &[&'a str; 2] {
        &self.parts
    }

    /// Where the second part begins in the text, in bytes.
    #[must_use]
    pub const fn tail_at(&self) -> usize {
        self.tail_at
    }

    /// How many bytes are read.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.parts[0].len() + self.parts[1].len()
    }

    /// Whether there is nothing to read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{SAMPLE_BYTES, Sample};

    #[test]
    fn short_texts_are_read_whole() {
        let text = "é".repeat(SAMPLE_BYTES / 2);
        assert_eq!(Sample::of(&text).parts(), &[text.as_str(), ""]);
    }

    #[test]
    fn long_texts_give_head_and_tail_at_character_boundaries() {
        for filler in ["x", "é", "語", "🦀"] {
            let text = format!("head{}tail", filler.repeat(SAMPLE_BYTES));
            let sample = Sample::of(&text);
            assert!(sample.parts()[0].starts_with("head") && sample.parts()[1].ends_with("tail"));
            assert!(sample.len() <= SAMPLE_BYTES && sample.len() > SAMPLE_BYTES - 8);
            assert_eq!(&text[sample.tail_at()..], sample.parts()[1]);
        }
    }
}
