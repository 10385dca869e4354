//! What share of high-stakes requests is found, on rows that neither words nor weights were made from.

#![allow(clippy::unwrap_used, reason = "what can't be read must fail the test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use modelway_core::classify::{Stake, stakes_of};
use serde_json::Value;
use support::{rows, strings};

/// What precision and recall were reached on the half that is kept aside of rows that no word was written for: of
/// requests that any label is due to, and of labels.
const REACHED: [(&str, f64, f64); 2] = [("requests", 0.90, 0.85), ("labels", 0.87, 0.80)];

/// Right, wrong and missed.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    right: u32,
    wrong: u32,
    missed: u32,
}

impl Counts {
    fn add(&mut self, wanted: bool, found: bool) {
        self.right += u32::from(wanted && found);
        self.wrong += u32::from(!wanted && found);
        self.missed += u32::from(wanted && !found);
    }

    fn precision(self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.wrong).max(1))
    }

    fn recall(self) -> f64 {
        f64::from(self.right) / f64::from((self.right + self.missed).max(1))
    }
}

/// Counts by label, by language, of all labels, and of requests whatever their labels.
fn measure(half: &str) -> BTreeMap<String, Counts> {
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for row in rows("stakes").iter().filter(|row| row["half"] == half) {
        let found: Vec<_> =
            stakes_of(row["text"].as_str().unwrap()).iter().map(|stake| stake.name()).collect();
        let wanted = strings(&row["stakes"]);
        for stake in Stake::ALL.map(Stake::name) {
            let (is_wanted, is_found) = (wanted.iter().any(|name| name == stake), found.contains(&stake));
            for name in ["labels", stake, row["lang"].as_str().unwrap()] {
                counts.entry(name.to_owned()).or_default().add(is_wanted, is_found);
            }
        }
        counts.entry("requests".to_owned()).or_default().add(!wanted.is_empty(), !found.is_empty());
    }
    counts
}

/// `cargo test -p modelway-core --test stakes -- --nocapture` prints the table of docs/privacy.md.
#[test]
fn kept_rows_are_found() {
    let counts = measure("kept");
    for (name, counts) in &counts {
        println!("{name:8} precision {:.3} recall {:.3} {counts:?}", counts.precision(), counts.recall());
    }
    for (name, precision, recall) in REACHED {
        let counts = counts[name];
        assert!(counts.precision() >= precision && counts.recall() >= recall, "{name}: {counts:?}");
    }
}

fn text(row: &Value) -> String {
    row["text"].as_str().unwrap().to_lowercase()
}

/// Runs of five words, or of eight characters where no blanks stand between words.
fn runs(row: &Value) -> BTreeSet<String> {
    let text = text(row);
    if row["lang"] == "zh" {
        let characters: Vec<char> = text.chars().filter(|c| c.is_alphanumeric()).collect();
        return characters.windows(8).map(String::from_iter).collect();
    }
    let words: Vec<_> = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.windows(5).map(|run| run.join(" ")).collect()
}

#[test]
fn the_rows_are_what_is_said_of_them() {
    let rows = rows("stakes");
    let of = |half: &'static str| rows.iter().filter(move |row| row["half"] == half);
    for lang in ["en", "es", "fr", "de", "zh"] {
        let kept: Vec<_> = of("kept").filter(|row| row["lang"] == lang).collect();
        let quiet = kept.iter().filter(|row| strings(&row["stakes"]).is_empty()).count();
        assert!(kept.len() >= 135 && quiet * 100 >= kept.len() * 45, "{lang}: {quiet} of {}", kept.len());
    }
    let tuned: BTreeSet<_> = of("tune").flat_map(runs).collect();
    for row in of("kept") {
        let shared: Vec<_> = runs(row).intersection(&tuned).cloned().collect();
        assert!(shared.is_empty(), "{}: {shared:?} stands in a row of the other half", row["id"]);
    }
    assert_eq!(rows.iter().map(text).collect::<BTreeSet<_>>().len(), rows.len(), "a text stands twice");
}
