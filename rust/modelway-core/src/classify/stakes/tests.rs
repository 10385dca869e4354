use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::model::{MODEL, Sums};
use super::reader::{WORDS, read};
use super::{Stake, stakes_of};

fn names(text: &str) -> Vec<&'static str> {
    stakes_of(text).iter().map(|stake| stake.name()).collect()
}

#[test]
fn what_is_at_stake() {
    let nothing: &[&str] = &[];
    for (text, wanted) in [
        ("", nothing),
        ("How many mg of ibuprofen can I take?", &["medical"]),
        ("Do I have to pay income tax on lottery winnings?", &["tax"]),
        ("My landlord wants to evict me. What are my rights?", &["legal"]),
        ("Does inheritance tax fall due, and can I contest the will?", &["tax", "legal"]),
        ("Write a poem about a doctor and her lawyer", nothing),
        ("the law of cosines", nothing),
        ("What happens when a judge sues for peace", nothing),
        ("Who won the final last night?", nothing),
    ] {
        assert_eq!(names(text), wanted, "{text:?}");
    }
}

#[test]
fn case_accents_width_and_apostrophes_are_folded() {
    for text in [
        "Est-ce que je dois déclarer mes impôts ?",
        "EST-CE QUE JE DOIS DECLARER MES IMPOTS ?",
        "est-ce que je dois de\u{301}clarer mes impo\u{302}ts ?",
        "ｅｓｔ-ce que je dois déclarer mes ｉｍｐôｔｓ ?",
    ] {
        assert_eq!(names(text), ["tax"], "{text:?}");
    }
    assert_eq!(names("I don’t want to live"), names("I don't want to live"));
    assert_eq!(names("I don’t want to live"), ["medical"]);
}

#[test]
fn a_word_counts_in_its_own_language() {
    assert_eq!(names("What is a good gift for my sister and her kids?"), Vec::<&str>::new());
    assert_eq!(names("Der Hund hat Rattengift gefressen und das Kind auch, Vergiftung?"), ["medical"]);
    // A language that nobody wrote a file for.
    let polish =
        "Napisz prosze dlugi tekst o tym jak wyglada zycie w malej wsi na wschodzie gdzie vat nie jest";
    assert_eq!(names(polish), Vec::<&str>::new());
}

#[test]
fn only_the_users_own_words_are_read() {
    let framed = "<system-reminder>the patient takes ibuprofen 400 mg</system-reminder>\nrename this file";
    assert_eq!(names(framed), Vec::<&str>::new());
}

#[test]
fn a_stem_ends_with_its_word() {
    assert_eq!(names("ibuprofen能不能和酒一起吃，有副作用吗"), ["medical"]);
    assert_eq!(names("taxonomies of ants"), Vec::<&str>::new());
}

#[test]
fn a_long_text_is_read_at_both_ends() {
    let filler = "the weather is fine and we walk along the river. ".repeat(20_000);
    let question = "I sold shares, let my flat and never told HMRC of the rent. Do I have to pay capital gains tax, or \
        income tax, and is it too late to file a tax return for last year? What will the penalty be? My \
        accountant says that the rent is taxable, the mortgage interest hardly deductible any more, and that \
        HMRC adds interest for each year. Should I disclose it before they ask, and can I spread what I owe?";
    assert_eq!(names(&format!("{filler}{question}")), ["tax"]);
    assert_eq!(names(&format!("{question}{filler}")), ["tax"]);
    assert_eq!(names(&format!("{filler}income tax. {filler}")), Vec::<&str>::new());
}

/// As slow as it is plain: every place of a text, every phrase.
fn found_slowly<'a>(phrases: &[&'a str], text: &str) -> Vec<&'a str> {
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let stands = |phrase: &str, at: usize| {
        text[at..].starts_with(phrase)
            && !is_word(text[..at].chars().next_back())
            && !is_word(text[at + phrase.len()..].chars().next())
    };
    phrases.iter().copied().filter(|phrase| text.char_indices().any(|(at, _)| stands(phrase, at))).collect()
}

const ALONE: [&str; 4] = ["tylenol", "stamp duty", "small claims", "child support"];

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_is_read(text in "\\PC{0,400}") {
        let stakes = stakes_of(&text);
        prop_assert!(stakes.windows(2).all(|two| two[0] < two[1]));
        prop_assert_eq!(stakes_of(&text), stakes);
    }

    #[test]
    fn strong_words_are_found_wherever_they_stand_alone(
        pieces in proptest::collection::vec(
            prop_oneof![
                proptest::sample::select(ALONE.to_vec()).prop_map(str::to_owned),
                "[bcdfg]{1,4}",
                proptest::sample::select(vec![" ", ", ", "-", "", "\n"]).prop_map(str::to_owned),
            ],
            0..6,
        ),
    ) {
        let text = pieces.concat();
        let found = found_slowly(&ALONE, &text);
        let points = read(&text, &mut Sums::new(&MODEL)).points(|_| true).unwrap();
        for (stake, words) in [
            (Stake::Medical, &ALONE[..1]),
            (Stake::Tax, &ALONE[1..2]),
        ] {
            let is_only = found.iter().all(|phrase| words.contains(phrase));
            if is_only {
                prop_assert_eq!(points.of[stake as usize] > 0, !found.is_empty(), "{:?}", text);
            }
        }
    }
}

#[test]
fn the_lexicon_is_as_large_as_it_looks() {
    assert!(WORDS.len() > 5_000);
}
