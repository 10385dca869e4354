//! Models that are equal otherwise: those go first that have not failed lately, then those whose first token is
//! expected in time for the task, then those that begin sooner.

#![allow(clippy::unwrap_used, reason = "what can't be read must fail the test")]

mod support;

use modelway_core::admit::ModelResources;
use modelway_core::router::Answer;
use modelway_core::{
    Decision, OutcomeKind, Request, RequestOutcome, Router, Rules, SelectionReason, TaskClass, Terms,
    TieBreak,
};
use serde_json::{Value, json};
use support::{ids, settings};

const TERMS: Terms = Terms { user: 1, tokens: 1, deadline: None, is_retry: false };

fn router(row: &Value) -> Router {
    let one = ModelResources { max_concurrent: Some(1), ..ModelResources::default() };
    let names = row["models"].as_array().unwrap().iter();
    let models = names.map(|name| (name["id"].as_str().unwrap().to_owned(), one)).collect();
    Router::new(settings(row), Rules { models, ..Rules::default() }).unwrap()
}

fn fail(router: &Router, name: &str, kind: OutcomeKind, now: u64) {
    let outcome = RequestOutcome::of(kind);
    router.record(name, None, &outcome, now, 0.0).unwrap();
}

fn code(router: &Router, now: u64) -> Decision {
    router
        .select(&Request { task: Some(TaskClass::CodeGeneration), ..Request::default() }, || now, || 0)
        .unwrap()
}

fn seen(decision: &Decision) -> (String, Vec<String>, Option<TieBreak>) {
    let chain = ids(decision.table(), decision.chain());
    (decision.model().model_id.clone(), chain, decision.tie_break())
}

fn expected(model: &str, chain: &[&str], why: Option<TieBreak>) -> (String, Vec<String>, Option<TieBreak>) {
    (model.to_owned(), chain.iter().map(|name| (*name).to_owned()).collect(), why)
}

fn three_coders() -> Value {
    let coder = |id: &str| json!({"id": id, "strengths": ["code"]});
    json!({"models": [coder("a"), coder("b"), coder("c"), {"id": "d"}]})
}

#[test]
fn who_failed_lately_goes_behind_equals_until_that_is_old() {
    let router = router(&three_coders());
    fail(&router, "a", OutcomeKind::Timeout, 0);
    let decision = code(&router, 29_999);
    assert_eq!(seen(&decision), expected("b", &["c", "a", "d"], Some(TieBreak::Health)));
    assert_eq!(decision.reason(), SelectionReason::ExplicitTask);
    assert_eq!(decision.rejected(), []);
    assert_eq!(seen(&code(&router, 30_000)), expected("a", &["b", "c", "d"], None));
    router
        .select(
            &Request { task: Some(TaskClass::CodeGeneration), ..Request::default() },
            || panic!("all are well again"),
            || 0,
        )
        .unwrap();
}

#[test]
fn what_says_nothing_of_the_model_moves_nobody() {
    let router = router(&three_coders());
    for kind in [OutcomeKind::Cancelled, OutcomeKind::Rejected] {
        fail(&router, "a", kind, 0);
    }
    assert_eq!(seen(&code(&router, 0)), expected("a", &["b", "c", "d"], None));
}

#[test]
fn requests_go_where_they_begin_soonest() {
    let router = router(&three_coders());
    let admit = |name: &str, now| router.admit(name, &TERMS, now).unwrap().0;
    let Answer::Admitted(first) = admit("a", 0) else { panic!("nobody waits") };
    assert_eq!(seen(&code(&router, 0)), expected("b", &["c", "a", "d"], Some(TieBreak::Wait)));
    admit("b", 0);
    admit("c", 0);
    assert_eq!(seen(&code(&router, 0)), expected("a", &["b", "c", "d"], None), "all are as busy");
    fail(&router, "a", OutcomeKind::Timeout, 0);
    assert_eq!(seen(&code(&router, 0)), expected("b", &["c", "a", "d"], Some(TieBreak::Health)));
    let _ = router.cancel(first, 0);
    assert_eq!(seen(&code(&router, 30_000)), expected("a", &["b", "c", "d"], None));
}

fn answer(router: &Router, name: &str, ttft_ms: f64, now: u64) {
    let outcome = RequestOutcome { ttft_ms: Some(ttft_ms), ..RequestOutcome::of(OutcomeKind::Success) };
    router.record(name, None, &outcome, now, 0.0).unwrap();
}

#[test]
fn what_was_seen_to_come_too_late_for_the_task_goes_behind_equals() {
    let router = router(&three_coders());
    answer(&router, "a", 2_000.0, 0);
    assert_eq!(seen(&code(&router, 0)), expected("a", &["b", "c", "d"], None), "just in time");
    answer(&router, "a", 2_100.0, 0);
    assert_eq!(seen(&code(&router, 0)), expected("b", &["c", "a", "d"], Some(TieBreak::Budget)));
    fail(&router, "b", OutcomeKind::Timeout, 0);
    assert_eq!(seen(&code(&router, 1)), expected("c", &["a", "b", "d"], Some(TieBreak::Budget)));
    answer(&router, "a", 10.0, 2);
    assert_eq!(seen(&code(&router, 30_000)), expected("a", &["b", "c", "d"], None), "it became faster");
}

#[test]
fn each_task_has_its_budget() {
    let both = |id: &str| json!({"id": id, "strengths": ["quick", "code", "deep"]});
    let router = router(&json!({"models": [both("a"), both("b")]}));
    answer(&router, "a", 150.0, 0);
    let chosen = |task| {
        let request = Request { task: Some(task), ..Request::default() };
        let decision = router.select(&request, || unreachable!("all are well and free"), || 0).unwrap();
        (decision.model().model_id.clone(), decision.budget_ms())
    };
    assert_eq!(chosen(TaskClass::QuickResponse), ("b".to_owned(), 100));
    assert_eq!(chosen(TaskClass::CodeGeneration), ("a".to_owned(), 2_000));
    assert_eq!(chosen(TaskClass::DeepThinking), ("a".to_owned(), 30_000));
}

#[test]
fn waiting_counts_for_the_budget() {
    let router = router(&three_coders());
    for name in ["a", "b", "c"] {
        let _ = router.admit(name, &TERMS, 0).unwrap();
    }
    // Where nobody knows how long a newcomer waits, it is taken for a second.
    answer(&router, "a", 1_001.0, 0);
    assert_eq!(seen(&code(&router, 0)), expected("b", &["c", "a", "d"], Some(TieBreak::Budget)));
    answer(&router, "b", 1_000.0, 0);
    assert_eq!(seen(&code(&router, 0)), expected("b", &["c", "a", "d"], Some(TieBreak::Budget)));
}

#[test]
fn what_was_seen_counts_before_the_profile_until_it_is_forgotten() {
    let slow_by_profile = json!({"id": "a", "strengths": ["code"], "ttft_ms": 5_000});
    let row =
        json!({"models": [slow_by_profile, {"id": "b", "strengths": ["code"], "license": "restricted"}]});
    let router = router(&row);
    assert_eq!(seen(&code(&router, 0)), expected("b", &["a"], None), "the better licence comes first");
    let row = json!({"models": [slow_by_profile, {"id": "b", "strengths": ["code"]}], "defaults": {"general": "a"}});
    router.replace(settings(&row), Rules::default(), 0).unwrap();
    assert_eq!(seen(&code(&router, 0)), expected("b", &["a"], Some(TieBreak::Budget)));
    answer(&router, "a", 20.0, 0);
    answer(&router, "b", 5_000.0, 0);
    assert_eq!(seen(&code(&router, 0)), expected("a", &["b"], None));
    // The next outcome after two hours and 18 minutes tells that both are forgotten, whosever it is.
    answer(&router, "a", 5_000.0, 8_289_307);
    assert_eq!(seen(&code(&router, 8_289_307)), expected("b", &["a"], Some(TieBreak::Budget)));
    let row = json!({"models": row["models"], "timeouts": {"standard_ms": 6_000}});
    router.replace(settings(&row), Rules::default(), 8_289_307).unwrap();
    assert_eq!(seen(&code(&router, 8_289_307)), expected("a", &["b"], None), "other budgets");
}

#[test]
fn what_was_written_is_no_tie() {
    let coder = |id: &str| json!({"id": id, "strengths": ["code"]});
    let models = json!([coder("a"), coder("b")]);
    for row in [
        json!({"models": models, "defaults": {"code": "a"}}),
        json!({"models": models, "defaults": {"general": "b"}, "fallbacks": {"code": ["b"]}}),
    ] {
        let router = router(&row);
        fail(&router, "a", OutcomeKind::Timeout, 0);
        assert_eq!(seen(&code(&router, 0)), expected("a", &["b"], None), "{row}");
    }
    let router = router(&json!({"models": models}));
    fail(&router, "a", OutcomeKind::Timeout, 0);
    let by_name = Request { model: Some("a"), task: Some(TaskClass::CodeGeneration), ..Request::default() };
    assert_eq!(seen(&router.select(&by_name, || 0, || 0).unwrap()), expected("a", &["b"], None));
}

#[test]
fn a_filter_counts_before_burdens() {
    let coder = |id: &str, context: u32| json!({"id": id, "strengths": ["code"], "context": context});
    let router = router(&json!({"models": [coder("a", 1_000), coder("b", 10), coder("c", 1_000)]}));
    fail(&router, "a", OutcomeKind::Timeout, 0);
    let long =
        Request { task: Some(TaskClass::CodeGeneration), context_tokens: Some(100), ..Request::default() };
    let decision = router.select(&long, || 0, || 0).unwrap();
    assert_eq!(seen(&decision), expected("c", &["a"], Some(TieBreak::Health)));
    assert_eq!(
        decision.reason(),
        SelectionReason::ExplicitTask,
        "the first choice was passed over for its health"
    );
}
