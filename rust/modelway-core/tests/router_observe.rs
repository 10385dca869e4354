//! What an active check of a backend changes: probes go sooner, models are set aside and taken back, and nothing else.

#![allow(clippy::unwrap_used, reason = "what can't be read must fail the test")]

mod support;

use modelway_core::{Alert, OutcomeKind, Request, RequestOutcome, Router, Rules, Sighting, Subject, Trouble};
use serde_json::json;
use support::{plain, settings};

/// Models a and b on one backend, c on another.
fn router() -> Router {
    let mut two_backends = settings(&json!({"models": ["a", "b", "c"]}));
    "there".clone_into(&mut two_backends.models[2].backend_id);
    Router::new(two_backends, Rules::default()).unwrap()
}

fn fail(router: &Router, name: &str, kind: OutcomeKind, now: u64) {
    for _ in 0..5 {
        router.record(name, None, &RequestOutcome::of(kind), now, 1.0).unwrap();
    }
}

/// A check of the first backend.
fn see(router: &Router, seen: &Sighting, now: u64) -> Vec<(Subject, Alert)> {
    let told = router.observe(&plain("a").backend_id, seen, now);
    told.map_or_else(Vec::new, |changes| changes.alerts.into_vec())
}

fn reachable(is_reachable: bool) -> Sighting {
    Sighting { is_reachable, ..Sighting::default() }
}

fn with(present: &[&str], missing: &[&str]) -> Sighting {
    let names = |some: &[&str]| some.iter().map(|name| (*name).to_owned()).collect();
    Sighting { is_reachable: true, present: names(present), missing: names(missing) }
}

fn state(router: &Router, name: &str, now: u64) -> &'static str {
    router.health(router.key(name).unwrap(), now).state
}

fn may_ask(router: &Router, name: &str, now: u64) -> bool {
    router.check(router.key(name).unwrap(), now).is_ok()
}

#[test]
fn a_backend_that_is_back_is_probed_at_once_and_closed_by_a_request_alone() {
    let router = router();
    fail(&router, "a", OutcomeKind::Connect, 0);
    assert_eq!(see(&router, &reachable(false), 1_000), []);
    assert!(!may_ask(&router, "a", 1_001) && !may_ask(&router, "b", 1_001));
    assert_eq!(see(&router, &reachable(true), 2_000), []);
    assert!(may_ask(&router, "a", 2_000) && may_ask(&router, "b", 2_000));
    assert_eq!(router.backend_health("here", 2_000).unwrap().state, "half_open");
    let probe = router.begin(router.key("b").unwrap(), 2_001).unwrap();
    assert_eq!(see(&router, &reachable(true), 2_002), []);
    assert!(!may_ask(&router, "a", 2_003), "still one probe only");
    router.record("b", Some(probe), &RequestOutcome::of(OutcomeKind::Success), 2_100, 0.0).unwrap();
    assert_eq!(router.backend_health("here", 2_100).unwrap().state, "closed");
    assert_eq!(state(&router, "a", 2_100), "half_open", "its own probe is due");
}

#[test]
fn what_absence_explains_is_brought_forward_and_what_the_model_did_is_not() {
    for kind in OutcomeKind::ALL.iter().filter(|kind| kind.is_hard()) {
        let router = router();
        fail(&router, "a", *kind, 0);
        see(&router, &reachable(false), 1_000);
        see(&router, &reachable(true), 2_000);
        assert_eq!(may_ask(&router, "a", 2_000), kind.may_be_absence(), "{kind:?}");
    }
}

#[test]
fn a_fault_of_one_model_follows_its_backoff_while_the_server_never_was_away() {
    let router = router();
    fail(&router, "a", OutcomeKind::Timeout, 0);
    for now in [1_000, 2_000, 3_000] {
        assert_eq!(see(&router, &reachable(true), now), []);
        assert_eq!(state(&router, "a", now), "open");
    }
    assert_eq!(state(&router, "a", 5_000), "half_open");
}

#[test]
fn a_check_speaks_of_its_own_backend() {
    let router = router();
    fail(&router, "c", OutcomeKind::Connect, 0);
    see(&router, &reachable(false), 1);
    see(&router, &with(&["c", "nobody"], &["c", "nobody"]), 2);
    assert!(!may_ask(&router, "c", 3));
    assert!(router.observe("nobody", &with(&["a"], &["b"]), 4).is_none());
    assert!(may_ask(&router, "a", 5) && may_ask(&router, "b", 5));
}

#[test]
fn a_missing_model_is_passed_over_until_it_is_seen_again() {
    let router = router();
    let of_a = |lasted_ms| (Subject::Model("a".to_owned()), Alert { what: Trouble::Missing, lasted_ms });
    assert_eq!(see(&router, &with(&["b"], &["a"]), 0), [of_a(None)]);
    assert_eq!(see(&router, &with(&["b"], &["a"]), 30_000), []);
    let health = router.health(router.key("a").unwrap(), 89_999);
    assert_eq!((health.held, health.available), (Some(OutcomeKind::Missing), false));
    let chosen = |now| router.select(&Request::default(), || now, || 0).unwrap().model().model_id.clone();
    assert_eq!(chosen(89_999), "b");
    assert_eq!(see(&router, &reachable(false), 60_000), []);
    assert_eq!(see(&router, &with(&["a", "b"], &[]), 70_000), [of_a(Some(70_000))]);
    assert_eq!(chosen(70_000), "a");
    router.select(&Request::default(), || unreachable!("all are well again"), || 0).unwrap();
}

#[test]
fn a_model_that_is_missing_by_its_own_word_is_over_when_it_is_seen() {
    let router = router();
    router.record("a", None, &RequestOutcome::of(OutcomeKind::Missing), 0, 0.0).unwrap();
    let over = Alert { what: Trouble::Missing, lasted_ms: Some(500) };
    assert_eq!(see(&router, &with(&["a"], &[]), 500), [(Subject::Model("a".to_owned()), over)]);
    assert!(may_ask(&router, "a", 500));
    router.record("a", None, &RequestOutcome::of(OutcomeKind::Unauthorized), 600, 0.0).unwrap();
    assert_eq!(see(&router, &with(&["a"], &[]), 700), [], "a list says nothing of keys");
    assert!(!may_ask(&router, "a", 700));
}
