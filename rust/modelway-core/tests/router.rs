//! The router: what outlives a table, and what a decision keeps.

#![allow(clippy::unwrap_used, reason = "what can't be read must fail the test")]

mod support;

use modelway_core::{OutcomeKind, Request, RequestOutcome, Router, Rules, SelectionReason, TaskClass};
use serde_json::json;
use support::{ids, settings};

fn router(row: &serde_json::Value) -> Router {
    Router::new(settings(row), Rules::default()).unwrap()
}

fn break_down(router: &Router, name: &str) {
    let kind = OutcomeKind::Timeout;
    let outcome = RequestOutcome::of(kind);
    for _ in 0..5 {
        router.record(name, None, &outcome, 0, 0.0).unwrap();
    }
}

#[test]
fn a_decision_keeps_the_table_it_was_made_from() {
    let router = router(&json!({"models": ["a", "b"], "defaults": {"general": "a"}}));
    let decision = router.select(&Request::default(), || 0, || 0).unwrap();
    router.replace(settings(&json!({"models": ["z"]})), Rules::default(), 0).unwrap();
    assert_eq!(decision.model().model_id, "a");
    assert_eq!(ids(decision.table(), decision.chain()), ["b"]);
    assert_eq!(decision.reason(), SelectionReason::Default);
}

#[test]
fn health_stays_with_the_id_and_is_found_by_every_name_in_force() {
    let router = router(&json!({"models": [{"id": "a", "aliases": ["first"]}, "b"]}));
    break_down(&router, "first");
    let state = |name: &str| router.health(router.key(name).unwrap(), 0).state;
    assert_eq!((state("a"), state("first"), state("b")), ("open", "open", "closed"));
    let renamed = settings(&json!({"models": [{"id": "new", "aliases": ["a"]}]}));
    router.replace(renamed, Rules::default(), 0).unwrap();
    assert_eq!((state("a"), state("new"), state("b")), ("closed", "closed", "closed"));
    assert!(router.key("first").is_none());
    router.replace(settings(&json!({"models": ["a"]})), Rules::default(), 0).unwrap();
    assert_eq!(state("a"), "open");
}

#[test]
fn the_clock_is_read_only_where_a_model_is_troubled() {
    let router = router(&json!({"models": ["a", "b"]}));
    router.select(&Request::default(), || panic!("all are well"), || 0).unwrap();
    break_down(&router, "a");
    let decision = router.select(&Request::default(), || 0, || 0).unwrap();
    assert_eq!((decision.model().model_id.as_str(), decision.reason()), ("b", SelectionReason::Fallback));
    let later = router.select(&Request::default(), || 2_500, || 0).unwrap();
    assert_eq!(later.model().model_id, "a");
}

#[test]
fn evidence_behind_a_long_middle_stands_where_it_says() {
    let router = router(&json!({"models": ["a"]}));
    let text = format!("write a poem {} debug", "語".repeat(10_000));
    let (_, evidence) = router.classify(&text);
    let places: Vec<_> = evidence.iter().map(|found| (found.start, found.end, found.task)).collect();
    assert!(places.contains(&(8, 12, TaskClass::Creative)), "{places:?}");
    assert!(places.contains(&(10_014, 10_019, TaskClass::CodeGeneration)), "{places:?}");
}
