//! Requests under way: health and admission asked together, given back once, and nothing that a call causes lost.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what can't be read must fail the test")]

mod support;

use std::num::NonZeroU64;

use modelway_core::admit::{ModelResources, Why};
use modelway_core::limits::Unit;
use modelway_core::quota::Quota;
use modelway_core::router::{Answer, Refused, Told};
use modelway_core::users::UserLimits;
use modelway_core::vram::Device;
use modelway_core::{Alert, OutcomeKind, RequestOutcome, Router, Rules, Setback, Subject, Terms, Trouble};
use serde_json::json;
use support::{plain, settings};

const TERMS: Terms = Terms { user: 1, tokens: 10, deadline: None, is_retry: false };

fn rules(max_concurrent: u32) -> Rules {
    let slots = ModelResources { max_concurrent: Some(max_concurrent), ..ModelResources::default() };
    let quota = Quota::new(100, NonZeroU64::new(10_000).unwrap(), 0);
    Rules {
        users: UserLimits { token_quota: Some(quota), ..UserLimits::default() },
        models: [("a".to_owned(), slots)].into(),
        ..Rules::default()
    }
}

fn router(max_concurrent: u32) -> Router {
    Router::new(settings(&json!({"models": ["a", "b"]})), rules(max_concurrent)).unwrap()
}

fn ticket(answer: Result<(Answer, Told), Refused>) -> u64 {
    match answer.unwrap().0 {
        Answer::Admitted(ticket) | Answer::Queued(ticket, _) => ticket,
    }
}

fn left(router: &Router, now: u64) -> u64 {
    router.standing(1, now).quota_tokens.unwrap().remaining
}

#[test]
fn a_ticket_is_given_back_once() {
    let router = router(1);
    let first = ticket(router.admit("a", &TERMS, 0));
    let second = ticket(router.admit("a", &TERMS, 0));
    assert_eq!(left(&router, 0), 80, "who waits has been charged");
    router.begin_admitted(second, 0).unwrap();
    let told = router.finish(first, &RequestOutcome::of(OutcomeKind::Success), Some(25), 0, 0.0).unwrap();
    assert_eq!(told.granted.as_slice(), [second]);
    assert_eq!(left(&router, 0), 65);
    for _ in 0..2 {
        assert_eq!(router.finish(first, &RequestOutcome::of(OutcomeKind::Timeout), None, 0, 0.0), None);
        assert_eq!(router.cancel(first, 0), None);
    }
    router.begin_admitted(second, 0).unwrap();
    router.begin_admitted(second, 0).unwrap();
    assert_eq!(router.cancel(second, 0), None);
    assert_eq!(left(&router, 0), 75, "as if it had never been");
    let seen = router.health(router.key("a").unwrap(), 0);
    assert_eq!((seen.successes, seen.failures), (1, 0));
    assert_eq!(router.load(router.key("a").unwrap(), 0).running, 0);
}

#[test]
fn what_a_refused_call_causes_is_told_by_the_next() {
    let router = router(1);
    let first = ticket(router.admit("a", &TERMS, 0));
    let second = ticket(router.admit("a", &TERMS, 0));
    router.replace(settings(&json!({"models": ["a", "b"]})), rules(2), 0).unwrap();
    let greedy = Terms { tokens: 101, ..TERMS };
    let Err(Refused::Limit(refusal)) = router.admit("b", &greedy, 0) else { panic!("the quota is 100") };
    assert_eq!((refusal.why, refusal.when), (Why::UserQuota(Unit::Tokens), None));
    assert_eq!(router.next_wake(), Some(0));
    assert_eq!(router.tick(0).unwrap().granted.as_slice(), [second]);
    assert_eq!(router.next_wake(), None);
    assert_eq!((router.cancel(first, 0), router.cancel(second, 0)), (None, None));
    assert_eq!(left(&router, 0), 100);
}

#[test]
fn who_waited_for_a_model_that_fails_meanwhile_may_not_ask_it() {
    let router = router(1);
    let first = ticket(router.admit("a", &TERMS, 0));
    let second = ticket(router.admit("a", &TERMS, 0));
    for _ in 0..4 {
        router.record("a", None, &RequestOutcome::of(OutcomeKind::Timeout), 0, 0.0).unwrap();
    }
    let told = router.finish(first, &RequestOutcome::of(OutcomeKind::Timeout), None, 0, 1.0).unwrap();
    assert_eq!(told.granted.as_slice(), [second]);
    let opened = Alert { what: Trouble::Circuit, lasted_ms: None };
    assert_eq!(told.alerts.as_slice(), [(Subject::Model("a".to_owned()), opened)]);
    let (model, why) = router.begin_admitted(second, 1).unwrap_err();
    assert_eq!((model.as_str(), why.until, why.why), ("a", 5_000, Setback::Circuit));
    assert_eq!(router.load(router.key("a").unwrap(), 0).running, 1, "it holds what it was granted");
    assert_eq!(router.cancel(second, 1), None);
    assert_eq!(router.load(router.key("a").unwrap(), 0).running, 0);
}

#[test]
fn a_backend_that_is_gone_takes_its_models_with_it_and_one_probe_brings_them_back() {
    let router = router(4);
    for name in ["a", "b", "a", "b", "a"] {
        router.record(name, None, &RequestOutcome::of(OutcomeKind::Connect), 0, 1.0).unwrap();
    }
    for name in ["a", "b"] {
        let Err(Refused::NotNow(why)) = router.admit(name, &TERMS, 4_999) else { panic!("{name} is let in") };
        assert_eq!((why.until, why.why), (5_000, Setback::Backend));
    }
    assert!(!router.health(router.key("b").unwrap(), 0).available);
    let probe = ticket(router.admit("b", &TERMS, 5_000));
    assert!(matches!(router.admit("a", &TERMS, 5_000), Err(Refused::NotNow(_))), "one probe for all");
    let told = router.finish(probe, &RequestOutcome::of(OutcomeKind::ServerError), None, 6_000, 0.0).unwrap();
    let name = support::plain("b").backend_id;
    let closed = Alert { what: Trouble::Circuit, lasted_ms: Some(6_000) };
    assert_eq!(
        told.alerts.as_slice(),
        [(Subject::Backend(name.clone()), closed)],
        "it answers, whatever it says"
    );
    assert_eq!(router.backend_health(&name, 6_000).unwrap().state, "closed");
    assert!(router.admit("a", &TERMS, 6_000).is_ok());
    assert!(router.backend_health("nobody", 0).is_none());
}

#[test]
fn what_was_used_and_what_failed_stays_with_the_names() {
    let router = router(1);
    let running = ticket(router.admit("a", &TERMS, 0));
    router.record("b", None, &RequestOutcome::of(OutcomeKind::Timeout), 0, 0.0).unwrap();
    router.replace(settings(&json!({"models": ["b"]})), Rules::default(), 0).unwrap();
    assert!(router.standing(1, 0).quota_tokens.is_none());
    router.replace(settings(&json!({"models": ["b", "a"]})), rules(1), 0).unwrap();
    assert_eq!(router.load(router.key("a").unwrap(), 0).running, 1);
    assert_eq!(router.health(router.key("b").unwrap(), 0).failures, 1);
    assert!(matches!(router.admit("nobody", &TERMS, 0), Err(Refused::Unknown)));
    assert_eq!(router.finish(running, &RequestOutcome::of(OutcomeKind::Success), None, 0, 0.0), None);
    assert_eq!(router.health(router.key("a").unwrap(), 0).successes, 1);
}

#[test]
fn a_model_larger_than_its_backend_is_a_problem_of_the_configuration() {
    let mut with_memory = settings(&json!({"models": ["a", "b"]}));
    with_memory.models[1].memory_bytes = Some(25);
    let room = Device { capacity: Some(24), ..Device::default() };
    let device = format!("backend {}", plain("b").backend_id);
    let rules = Rules { devices: [(device, room)].into(), ..Rules::default() };
    let problems = Router::new(with_memory, rules).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, "models[1].memory_bytes");
    assert!(problems[0].message.starts_with("25 bytes are more than the 24"), "{}", problems[0].message);
}

#[test]
fn every_limit_in_force_is_listed() {
    let limits: Vec<_> = router(3)
        .limits()
        .into_iter()
        .map(|limit| (limit.what.short(), limit.unit, limit.limit, limit.window_ms, limit.of))
        .collect();
    let backend = format!("backend {}", plain("a").backend_id);
    assert_eq!(
        limits,
        [
            ("quota", "tokens", 100, Some(10_000), "user".to_owned()),
            ("users", "users", 10_000, None, "all".to_owned()),
            ("queue", "requests", 512, None, backend.clone()),
            ("retries", "percent", 20, None, backend),
            ("concurrency", "requests", 3, None, "model a".to_owned()),
        ]
    );
}
