//! The words, one file a language, and one of names that all languages share.
//!
//! A file is made of sections; their lines are words and phrases, parted by `, `. Case and accents are
//! folded; a `*` at the end welcomes any ending of a word of four letters or more. To add a language, write
//! its file and add it to [`FILES`].
//!
//! - `[common]`: the language's commonest words, by which it is told from the others
//! - `[tax 3]`, `[medical 2]`, `[legal 1]`: points for a stake, 3 where the word alone is enough
//! - `[ask]`: how people ask for themselves
//! - `[away 4]`: signs of another kind of request, and the points they take away
//! - `[none]`: what only looks like a stake

use std::collections::HashMap;

use smallvec::SmallVec;

use super::super::normal::Normal;
use super::super::phrases::Phrases;
use super::Stake;

/// Names that all languages share.
const NAMES: &str = include_str!("names.txt");
/// One file a language.
const FILES: [&str; 5] = [
    include_str!("en.txt"),
    include_str!("es.txt"),
    include_str!("fr.txt"),
    include_str!("de.txt"),
    include_str!("zh.txt"),
];
/// How many languages are known.
pub(super) const LANGUAGES: usize = FILES.len();

/// What an entry says in one language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    Stake(Stake, u16),
    Away(u16),
    Asked,
    /// That this is the language, and no more.
    Nothing,
}

/// What entries say, and in which language: the place of its file, `None` in all.
type Said = SmallVec<[(Option<usize>, Says); 1]>;

/// The entries, ready to be found.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) phrases: Phrases,
    said: Vec<Said>,
    stems: Vec<bool>,
}

impl Words {
    /// The words that modelway brings.
    pub(super) fn shipped() -> Self {
        let mut source = Source::default();
        source.read(None, NAMES);
        FILES.into_iter().enumerate().for_each(|(language, text)| source.read(Some(language), text));
        source.finish()
    }

    pub(super) const fn len(&self) -> usize {
        self.said.len()
    }

    pub(super) fn said(&self, place: usize) -> &[(Option<usize>, Says)] {
        &self.said[place]
    }

    pub(super) fn is_stem(&self, place: usize) -> bool {
        self.stems[place]
    }
}

/// The entries while they are collected. What one file writes without `*` and another with it is a stem.
#[derive(Default)]
pub(super) struct Source {
    places: HashMap<String, usize>,
    phrases: Vec<String>,
    said: Vec<Said>,
    stems: Vec<bool>,
    /// What could not be read; a test holds that there is nothing.
    pub(super) refused: Vec<String>,
}

impl Source {
    fn read(&mut self, language: Option<usize>, text: &str) {
        let mut says = None;
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
            if let Some(head) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                says = section(head);
                if says.is_none() {
                    self.refused.push(line.to_owned());
                }
            } else if let Some(says) = says {
                line.split(", ").for_each(|item| self.add(language, item, says));
            }
        }
    }

    fn add(&mut self, language: Option<usize>, item: &str, says: Says) {
        let stem = item.strip_suffix('*');
        let phrase = Normal::of(stem.unwrap_or(item), false).text().to_ascii_lowercase();
        let first_word = phrase.split(' ').next().unwrap_or_default();
        // The finder knows stems of one word by their first four letters.
        if first_word.is_empty() || (stem.is_some() && first_word == phrase && phrase.len() < 4) {
            self.refused.push(item.to_owned());
            return;
        }
        let place = *self.places.entry(phrase).or_insert_with_key(|phrase| {
            self.phrases.push(phrase.clone());
            self.said.push(Said::new());
            self.stems.push(false);
            self.phrases.len() - 1
        });
        self.stems[place] |= stem.is_some();
        self.said[place].push((language, says));
    }

    fn finish(self) -> Words {
        let Self { phrases, said, stems, .. } = self;
        Words { phrases: Phrases::new(&phrases, |place| stems[place]), said, stems }
    }
}

/// What a section's head says of its entries.
fn section(head: &str) -> Option<Says> {
    match head {
        "common" | "none" => return Some(Says::Nothing),
        "ask" => return Some(Says::Asked),
        _ => {}
    }
    let (name, points) = head.split_once(' ')?;
    let points = points.parse().ok()?;
    if name == "away" {
        return Some(Says::Away(points));
    }
    Stake::ALL.into_iter().find(|stake| stake.name() == name).map(|stake| Says::Stake(stake, points))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{FILES, NAMES, Says, Source};

    #[test]
    fn every_line_is_understood_and_no_entry_stands_twice_with_one_meaning() {
        let mut source = Source::default();
        source.read(None, NAMES);
        FILES.into_iter().enumerate().for_each(|(language, text)| source.read(Some(language), text));
        assert_eq!(source.refused, Vec::<String>::new());
        // What kind of thing is said, its points aside.
        let kind = |says: Says| match says {
            Says::Stake(stake, _) => Some(stake.name()),
            Says::Away(_) => Some("away"),
            Says::Asked => Some("ask"),
            Says::Nothing => None,
        };
        for (phrase, place) in &source.places {
            let said = &source.said[*place];
            let kinds: HashSet<_> = said.iter().map(|(language, says)| (language, kind(*says))).collect();
            assert_eq!(kinds.len(), said.len(), "{phrase:?} says {said:?}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_told() {
        let mut source = Source::default();
        source.read(None, "[tax three]\n[tax 3]\nincome tax, ta*\n");
        assert_eq!(source.refused, ["[tax three]", "ta*"]);
    }
}
