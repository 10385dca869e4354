//! The place for one probe, in every order in which three threads can ask for it and answer. All interleavings
//! are tried, without a bound on preemptions.

#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "a poisoned lock is a failed test")]

use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use modelway_core::{BreakerPolicy, ModelHealth, OutcomeKind, RequestOutcome};

const DUE: u64 = 5_000;

struct Shared {
    health: Mutex<ModelHealth>,
    last_attempt: AtomicU64,
    probing: AtomicUsize,
    passed: AtomicUsize,
}

impl Shared {
    /// A model whose circuit has just been open long enough.
    fn new() -> Arc<Self> {
        let mut health = ModelHealth::default();
        for _ in 0..5 {
            health.record(None, &RequestOutcome::of(OutcomeKind::Timeout), &BreakerPolicy::default(), 0, 1.0);
        }
        Arc::new(Self {
            health: Mutex::new(health),
            last_attempt: AtomicU64::new(0),
            probing: AtomicUsize::new(0),
            passed: AtomicUsize::new(0),
        })
    }

    fn probe(&self, kind: OutcomeKind) {
        let (attempt, was_closed) = {
            let mut health = self.health.lock().unwrap();
            let attempt = self.last_attempt.fetch_add(1, Ordering::Relaxed) + 1;
            let was_closed = health.snapshot(DUE).state == "closed";
            if health.begin(attempt, DUE).is_err() {
                return;
            }
            self.passed.fetch_add(1, Ordering::Relaxed);
            (attempt, was_closed)
        };
        if !was_closed {
            assert_eq!(self.probing.fetch_add(1, Ordering::SeqCst), 0, "one probe at a time");
            self.probing.fetch_sub(1, Ordering::SeqCst);
        }
        let mut health = self.health.lock().unwrap();
        health.record(Some(attempt), &RequestOutcome::of(kind), &BreakerPolicy::default(), DUE, 1.0);
    }
}

fn in_every_order(kinds: [OutcomeKind; 3], check: fn(&ModelHealth, usize)) {
    loom::model(move || {
        let shared = Shared::new();
        let [main, others @ ..] = kinds;
        let others = others.map(|kind| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.probe(kind))
        });
        shared.probe(main);
        for other in others {
            other.join().unwrap();
        }
        check(&shared.health.lock().unwrap(), shared.passed.load(Ordering::Relaxed));
    });
}

#[test]
fn a_failed_probe_keeps_the_others_away() {
    in_every_order([OutcomeKind::Timeout; 3], |health, passed| {
        assert_eq!((passed, health.snapshot(DUE).state), (1, "open"));
    });
}

#[test]
fn a_cancelled_probe_frees_the_place() {
    in_every_order([OutcomeKind::Cancelled; 3], |health, passed| {
        assert!((1..=3).contains(&passed));
        assert_eq!((health.snapshot(DUE).state, health.check(DUE)), ("half_open", Ok(())));
    });
}

#[test]
fn a_success_closes_whatever_the_others_do() {
    in_every_order([OutcomeKind::Success, OutcomeKind::Cancelled, OutcomeKind::Success], |health, passed| {
        // Of two that passed one succeeded; one alone may have been the cancelled probe.
        let state = health.snapshot(DUE).state;
        assert!(state == "closed" || (passed == 1 && state == "half_open"), "{state} after {passed}");
    });
}
