//! The health of a model against an obvious twin of it, over random histories.
//!
//! The twin keeps only what the rules are written in: until when nobody may come, who probes, how many
//! hard failures came in a row, which troubles were told. Whether the model may be asked follows from these.

mod support;

use modelway_core::{
    Alert, BreakerPolicy, Millis, ModelHealth, OutcomeKind, RequestOutcome, Trouble, Verdict,
};
use proptest::prelude::*;
use support::cases;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody wants to ask.
    Begin,
    /// The n-th request under way (counted round) ends.
    End(usize, OutcomeKind),
    /// Somebody who asked without beginning reports.
    Report(OutcomeKind),
    /// The server was asked what it has: whether the model is there.
    See(bool),
    /// The server was away and is back.
    ServerBack,
    /// Time passes.
    Wait(Millis),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = || {
        prop_oneof![
            3 => Just(OutcomeKind::Connect),
            3 => Just(OutcomeKind::Success),
            1 => Just(OutcomeKind::Busy),
            2 => proptest::sample::select(OutcomeKind::ALL),
        ]
    };
    prop_oneof![
        4 => Just(Step::Begin),
        5 => (0_usize..8, kind()).prop_map(|(which, kind)| Step::End(which, kind)),
        1 => kind().prop_map(Step::Report),
        1 => any::<bool>().prop_map(Step::See),
        1 => Just(Step::ServerBack),
        3 => proptest::sample::select(vec![0, 1, 999, 1_000, 2_499, 2_500, 5_000, 60_000, 179_999, 180_000])
            .prop_map(Step::Wait),
    ]
}

/// What the rules say, in their own words.
#[derive(Debug, Default)]
struct Rules {
    now: Millis,
    newest: u64,
    /// Requests under way.
    running: Vec<u64>,
    is_broken: bool,
    /// While broken: before this nobody may come.
    not_before: Millis,
    /// While broken: how often it opened in a row.
    openings: u32,
    /// While broken: who probes, and until when it is waited for.
    probe: Option<(u64, Millis)>,
    failures_in_row: u32,
    /// While whole: when each outcome that counts came, and whether it was good.
    recent: Vec<(Millis, bool)>,
    /// What began before this says nothing of the present state.
    oldest_heard: u64,
    /// Until when it must be left alone, for each kind of reason.
    holds: Vec<(OutcomeKind, Millis)>,
    /// While broken: whether the opening would be explained by the server's absence.
    may_have_been_away: bool,
    /// What was told and is not over, since when.
    troubles: Vec<(Trouble, Millis)>,
    /// Attempts up to this one had begun when a model was last seen missing or a key refused.
    begun_before_trouble: u64,
    /// What must be told of the last step.
    told: Vec<Alert>,
}

impl Rules {
    fn may_ask(&self) -> bool {
        let is_probed = self.probe.is_some_and(|(_, lease_ends)| self.now < lease_ends);
        let is_held = self.holds.iter().any(|(_, until)| self.now < *until);
        !is_held && (!self.is_broken || (self.now >= self.not_before && !is_probed))
    }

    fn begin(&mut self) {
        self.newest += 1;
        self.running.push(self.newest);
        self.holds.clear();
        if self.is_broken {
            self.probe = Some((self.newest, self.now + BreakerPolicy::PROBE_LEASE_MS));
        }
    }

    fn end(&mut self, attempt: Option<u64>, kind: OutcomeKind) {
        let is_late = attempt.is_some_and(|number| number < self.oldest_heard);
        if !is_late {
            match kind {
                OutcomeKind::Missing => self.set_aside(kind, Trouble::Missing),
                OutcomeKind::Unauthorized => self.set_aside(kind, Trouble::Unauthorized),
                OutcomeKind::Busy | OutcomeKind::RateLimited => self.holds.push((kind, self.now + 1_000)),
                OutcomeKind::Success if attempt.is_none_or(|number| number > self.begun_before_trouble) => {
                    self.take_back(OutcomeKind::Missing, Trouble::Missing);
                    self.take_back(OutcomeKind::Unauthorized, Trouble::Unauthorized);
                }
                _ => {}
            }
        }
        if self.is_broken {
            let may_judge = match attempt {
                Some(number) => self.probe.is_some_and(|(probe, _)| probe == number),
                None => self.probe.is_some() || self.now >= self.not_before,
            };
            if may_judge {
                self.probe = None;
                if kind == OutcomeKind::Success {
                    (self.is_broken, self.failures_in_row) = (false, 0);
                    self.over(Trouble::Circuit);
                    self.recent.clear();
                    self.oldest_heard = self.oldest_heard.max(attempt.unwrap_or(0));
                } else if kind.is_hard() {
                    self.openings += 1;
                    self.open(attempt, kind);
                }
            }
        } else if !is_late {
            let is_good = kind == OutcomeKind::Success;
            let is_busy = matches!(kind, OutcomeKind::RateLimited | OutcomeKind::Busy);
            if is_good {
                self.failures_in_row = 0;
            } else if kind.is_hard() {
                self.failures_in_row += 1;
            }
            if is_good || is_busy || kind.is_hard() {
                self.recent.push((self.now, is_good));
                if (kind.is_hard() && self.failures_in_row >= 5) || (!is_good && self.is_rate_low()) {
                    (self.is_broken, self.openings) = (true, 0);
                    self.open(attempt, kind);
                }
            }
        }
    }

    /// Of at least twenty outcomes in the present 3 s and the nine before fewer than 80 % were good.
    fn is_rate_low(&self) -> bool {
        let seen: Vec<bool> = self
            .recent
            .iter()
            .filter(|(then, _)| then / 3_000 + 10 > self.now / 3_000)
            .map(|(_, is_good)| *is_good)
            .collect();
        seen.len() >= 20 && seen.iter().filter(|is_good| **is_good).count() * 5 < seen.len() * 4
    }

    fn set_aside(&mut self, kind: OutcomeKind, trouble: Trouble) {
        self.holds.push((kind, self.now + 60_000));
        self.begun_before_trouble = self.newest;
        self.begins(trouble);
    }

    fn take_back(&mut self, kind: OutcomeKind, trouble: Trouble) {
        self.holds.retain(|(held, _)| *held != kind);
        self.over(trouble);
    }

    fn begins(&mut self, what: Trouble) {
        if !self.troubles.iter().any(|(told, _)| *told == what) {
            self.troubles.push((what, self.now));
            self.told.push(Alert { what, lasted_ms: None });
        }
    }

    fn over(&mut self, what: Trouble) {
        if let Some(place) = self.troubles.iter().position(|(told, _)| *told == what) {
            let (_, since) = self.troubles.remove(place);
            self.told.push(Alert { what, lasted_ms: Some(self.now - since) });
        }
    }

    /// With no chance the delay is half of 5 s doubled for each opening, and of at most 300 s.
    fn open(&mut self, attempt: Option<u64>, kind: OutcomeKind) {
        self.may_have_been_away = kind.may_be_absence();
        self.begins(Trouble::Circuit);
        let full = (0..self.openings).fold(5_000, |delay: Millis, _| (delay * 2).min(300_000));
        self.not_before = self.now + full / 2;
        self.oldest_heard = self.oldest_heard.max(attempt.map_or(0, |number| number + 1));
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn health_does_what_the_rules_say(steps in proptest::collection::vec(step(), 1..200)) {
        let policy = BreakerPolicy::default();
        let mut health = ModelHealth::default();
        let mut rules = Rules::default();
        for step in steps {
            rules.told.clear();
            let mut told = Vec::new();
            match step {
                Step::Wait(ms) => rules.now += ms,
                Step::ServerBack => {
                    health.see_server_back(rules.now);
                    if rules.may_have_been_away && rules.probe.is_none() {
                        rules.not_before = rules.not_before.min(rules.now);
                    }
                }
                Step::See(true) => {
                    told.extend(health.see_present(rules.now));
                    rules.take_back(OutcomeKind::Missing, Trouble::Missing);
                }
                Step::See(false) => {
                    told.extend(health.see_missing(rules.now));
                    rules.set_aside(OutcomeKind::Missing, Trouble::Missing);
                }
                Step::Begin => {
                    let may_ask = rules.may_ask();
                    prop_assert_eq!(health.begin(rules.newest + 1, rules.now).is_ok(), may_ask);
                    if may_ask {
                        rules.begin();
                    }
                }
                Step::End(which, kind) => {
                    if !rules.running.is_empty() {
                        let attempt = rules.running.remove(which % rules.running.len());
                        told.extend(health.record(Some(attempt), &RequestOutcome::of(kind), &policy, rules.now, 0.0));
                        rules.end(Some(attempt), kind);
                    }
                }
                Step::Report(kind) => {
                    told.extend(health.record(None, &RequestOutcome::of(kind), &policy, rules.now, 0.0));
                    rules.end(None, kind);
                }
            }
            rules.told.sort_unstable_by_key(|alert| alert.what);
            told.sort_unstable_by_key(|alert| alert.what);
            prop_assert_eq!(&told, &rules.told);
            let seen = health.snapshot(rules.now);
            prop_assert_eq!(seen.available, rules.may_ask(), "{:?}", rules);
            prop_assert_eq!(seen.state == "closed", !rules.is_broken);
            prop_assert_eq!(seen.state == "open", rules.is_broken && rules.now < rules.not_before);
            prop_assert_eq!(seen.retry_in_ms.is_some(), !seen.available);
            if let Some(wait) = seen.retry_in_ms {
                prop_assert!(wait > 0 && wait <= 300_000);
            }
        }
    }

    #[test]
    fn a_healthy_model_counts_every_outcome_that_says_something(
        kinds in proptest::collection::vec(proptest::sample::select(OutcomeKind::ALL), 0..40),
    ) {
        let mut health = ModelHealth::default();
        for kind in &kinds {
            health.record(None, &RequestOutcome::of(*kind), &BreakerPolicy::default(), 0, 0.0);
        }
        let count = |wanted: &dyn Fn(&OutcomeKind) -> bool| kinds.iter().filter(|kind| wanted(kind)).count() as u64;
        let seen = health.snapshot(0);
        prop_assert_eq!(seen.successes, count(&|kind| *kind == OutcomeKind::Success));
        prop_assert_eq!(seen.failures, count(&|kind| matches!(kind.of_model(), Verdict::Hard | Verdict::Busy)));
    }
}
