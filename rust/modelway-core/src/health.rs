//! The health of one model or backend: its circuit breaker, the averages of what it did, and the times at which it must
//! be left alone.
//!
//! Everything is a function of `now` and of a chance passed in. Who wants to ask the model calls
//! [`ModelHealth::begin`] with an attempt number; [`ModelHealth::record`] takes it back with the outcome and
//! returns what somebody should be told of.

use crate::alert::{Alert, Episode, News, Trouble};
use crate::breaker::{Attempt, Breaker, BreakerPolicy, Turn};
use crate::ewma::{Ewma, Millis};
use crate::hold::Hold;
use crate::outcome::{OutcomeKind, RequestOutcome, Verdict};

/// Why a model must be left alone, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNow {
    /// When to come back.
    pub until: Millis,
    /// What stands against it.
    pub why: Setback,
}

impl NotNow {
    /// For which outcome it is set aside, if that is why.
    #[must_use]
    pub const fn held(&self) -> Option<OutcomeKind> {
        match self.why {
            Setback::Held(kind) => Some(kind),
            Setback::Circuit | Setback::Backend => None,
        }
    }
}

/// What stands against asking a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// Its circuit is open, or its probe under way.
    Circuit,
    /// That of its backend.
    Backend,
    /// It is set aside for the outcome of an earlier request.
    Held(OutcomeKind),
}

/// The health of one model, or of one backend.
#[derive(Clone, Debug, Default)]
pub struct ModelHealth {
    breaker: Breaker,
    /// The time for which its circuit has not been closed.
    failing: Episode,
    /// Whether the server's absence would explain why the circuit opened last.
    may_have_been_absent: bool,
    hold: Hold,
    successes: u64,
    failures: u64,
    last_success: Option<Millis>,
    ttft_ms: Ewma,
    tokens_per_sec: Ewma,
    load_ms: Ewma,
}

impl ModelHealth {
    /// Whether nothing at all stands against the model, whatever the time: the common case.
    #[must_use]
    pub fn is_untroubled(&self) -> bool {
        self.breaker.is_closed() && self.hold.is_none()
    }

    /// Whether its circuit lets requests pass, whatever the time.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.breaker.is_closed()
    }

    /// Whether the model may be asked at `now`, and otherwise when. Changes nothing.
    ///
    /// # Errors
    /// [`NotNow`] while it is held, its circuit is open, or its probe is under way.
    pub fn check(&self, now: Millis) -> Result<(), NotNow> {
        match self.hold.check(now) {
            Some((kind, until)) => Err(NotNow { until, why: Setback::Held(kind) }),
            None => self.breaker.check(now).map_err(|until| NotNow { until, why: Setback::Circuit }),
        }
    }

    /// Whether another model that is as good otherwise should be asked first.
    #[must_use]
    pub fn is_ailing(&self, now: Millis) -> bool {
        self.breaker.is_ailing(now)
    }

    /// Takes the right to ask the model at `now`. `attempt` is a number larger than any before.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn begin(&mut self, attempt: Attempt, now: Millis) -> Result<Attempt, NotNow> {
        self.check(now)?;
        self.hold.begin(attempt);
        self.breaker.begin(attempt, now).map_err(|until| NotNow { until, why: Setback::Circuit })?;
        Ok(attempt)
    }

    /// Takes note of how an attempt ended. `chance` in [0, 1) jitters the backoff.
    ///
    /// Without an attempt number the outcome is taken for that of the newest attempt: programs that
    /// route without asking through us report this way.
    pub fn record(
        &mut self,
        attempt: Option<Attempt>,
        outcome: &RequestOutcome,
        policy: &BreakerPolicy,
        now: Millis,
        chance: f64,
    ) -> News {
        let verdict = outcome.kind.of_model();
        self.count(verdict == Verdict::Good, matches!(verdict, Verdict::Hard | Verdict::Busy), now);
        self.average(outcome, now);
        let mut news = News::new();
        if !self.breaker.is_late(attempt) {
            if outcome.kind == OutcomeKind::Success {
                news = self.hold.answer(attempt, now);
            } else if outcome.kind.holds()
                && let Some(alert) = self.hold.take(outcome, now)
            {
                news.push(alert);
            }
        }
        let turn = self.breaker.record(attempt, verdict, policy, now, chance);
        if let Some(alert) = self.turned(turn, outcome.kind, now) {
            news.push(alert);
        }
        news
    }

    /// The same for the model's backend: that it answers is a success of its own, whatever it answers.
    pub fn record_of_backend(
        &mut self,
        attempt: Option<Attempt>,
        outcome: &RequestOutcome,
        policy: &BreakerPolicy,
        now: Millis,
        chance: f64,
    ) -> Option<Alert> {
        let verdict = outcome.kind.of_backend();
        self.count(verdict == Verdict::Good, verdict == Verdict::Hard, now);
        self.average(outcome, now);
        let turn = self.breaker.record(attempt, verdict, policy, now, chance);
        self.turned(turn, outcome.kind, now)
    }

    fn turned(&mut self, turn: Option<Turn>, kind: OutcomeKind, now: Millis) -> Option<Alert> {
        match turn? {
            Turn::Opened => {
                self.may_have_been_absent = kind.may_be_absence();
                self.failing.show(Trouble::Circuit, now)
            }
            Turn::Closed => self.failing.end(Trouble::Circuit, now),
        }
    }

    /// Judges by another policy from now on.
    pub const fn set_policy(&mut self, policy: &BreakerPolicy) {
        self.breaker.set_policy(policy);
    }

    /// The server is back, as an active check saw: where its absence would explain why the circuit opened, a probe
    /// may go at once. What the model did by itself waits its time.
    pub fn see_server_back(&mut self, now: Millis) {
        if self.may_have_been_absent {
            self.breaker.bring_forward(now);
        }
    }

    /// An active check saw that the server does not have the model: it is set aside, as after a request.
    pub fn see_missing(&mut self, now: Millis) -> Option<Alert> {
        self.hold.see_missing(now)
    }

    /// An active check saw that the server has the model: it is set aside no longer for being missing.
    pub fn see_present(&mut self, now: Millis) -> Option<Alert> {
        self.hold.see_present(now)
    }

    fn count(&mut self, has_succeeded: bool, has_failed: bool, now: Millis) {
        self.successes += u64::from(has_succeeded);
        self.failures += u64::from(has_failed);
        if has_succeeded {
            self.last_success = Some(now);
        }
    }

    /// Loading it took so long.
    pub fn see_load(&mut self, load_ms: f64, now: Millis) {
        self.load_ms.add(load_ms, now);
    }

    /// Only a stream that ended well has times worth keeping; a model once loaded was loaded, whatever came then.
    fn average(&mut self, outcome: &RequestOutcome, now: Millis) {
        if let Some(load_ms) = outcome.load_ms {
            self.see_load(load_ms, now);
        }
        if outcome.kind != OutcomeKind::Success {
            return;
        }
        // Where loading ends and the first token begins is known too roughly to tell of a warm model.
        if let (Some(ttft_ms), None) = (outcome.ttft_ms, outcome.load_ms) {
            self.ttft_ms.add(ttft_ms, now);
        }
        // Speed is that of generation alone: without the first token and the wait for it.
        if let (Some(tokens), Some(duration_ms)) = (outcome.tokens, outcome.duration_ms) {
            let generating_ms = duration_ms - outcome.ttft_ms.unwrap_or(0.0);
            if tokens > 1 && generating_ms > 0.0 {
                self.tokens_per_sec.add((tokens - 1) as f64 * 1000.0 / generating_ms, now);
            }
        }
    }

    /// After how many whole milliseconds the first token may be expected, by what was seen, and when that is
    /// forgotten.
    #[must_use]
    pub fn first_token(&self, now: Millis) -> Option<(Millis, Millis)> {
        let expected_ms = self.ttft_ms.value(now)? as Millis;
        Some((expected_ms, self.ttft_ms.forgotten_at()?))
    }

    /// What an observer may know at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Millis) -> HealthSnapshot {
        let not_now = self.check(now).err();
        HealthSnapshot {
            state: self.breaker.state(now).short(),
            held: not_now.and_then(|reason| reason.held()),
            available: not_now.is_none(),
            successes: self.successes,
            failures: self.failures,
            consecutive_failures: self.breaker.failures_in_row(),
            ttft_ms: self.ttft_ms.value(now),
            tokens_per_sec: self.tokens_per_sec.value(now),
            load_ms: self.load_ms.value(now),
            retry_in_ms: not_now.map(|reason| reason.until.saturating_sub(now)),
            since_last_success_ms: self.last_success.map(|then| now.saturating_sub(then)),
        }
    }
}

/// One model's health as of one instant.
#[derive(Clone, Debug)]
pub struct HealthSnapshot {
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// Why it is set aside although its circuit may be closed.
    pub held: Option<OutcomeKind>,
    /// Whether a request may go now.
    pub available: bool,
    /// Streams that ended well.
    pub successes: u64,
    /// Failures that say something about the model.
    pub failures: u64,
    /// Hard failures since the last success.
    pub consecutive_failures: u32,
    /// Average time to the first token.
    pub ttft_ms: Option<f64>,
    /// Average speed after the first token.
    pub tokens_per_sec: Option<f64>,
    /// Average time that loading took.
    pub load_ms: Option<f64>,
    /// When it may be asked again.
    pub retry_in_ms: Option<Millis>,
    /// How long ago it last answered well.
    pub since_last_success_ms: Option<Millis>,
}

#[cfg(test)]
mod tests {
    use super::{Alert, BreakerPolicy, ModelHealth, OutcomeKind, RequestOutcome, Trouble};

    fn circuit(lasted_ms: Option<u64>) -> Alert {
        Alert { what: Trouble::Circuit, lasted_ms }
    }

    fn broken(policy: &BreakerPolicy) -> ModelHealth {
        let mut health = ModelHealth::default();
        for attempt in 1..=5 {
            health.begin(attempt, 0).unwrap();
            health.record(Some(attempt), &RequestOutcome::of(OutcomeKind::Connect), policy, 0, 1.0);
        }
        health
    }

    #[test]
    fn five_hard_failures_in_a_row_open_and_a_success_between_them_starts_anew() {
        let policy = BreakerPolicy::default();
        let mut health = ModelHealth::default();
        for kind in [OutcomeKind::Connect, OutcomeKind::Timeout, OutcomeKind::Empty, OutcomeKind::Reset] {
            health.record(None, &RequestOutcome::of(kind), &policy, 0, 0.0);
        }
        health.record(None, &RequestOutcome::of(OutcomeKind::Success), &policy, 0, 0.0);
        for _ in 0..4 {
            health.record(None, &RequestOutcome::of(OutcomeKind::ServerError), &policy, 0, 0.0);
        }
        assert_eq!(health.snapshot(0).state, "closed");
        health.record(None, &RequestOutcome::of(OutcomeKind::Malformed), &policy, 0, 0.0);
        assert_eq!(health.snapshot(0).state, "open");
        assert_eq!(health.snapshot(0).retry_in_ms, Some(2_500), "the certain half of 5 s");
    }

    #[test]
    fn what_the_caller_did_never_counts() {
        let policy = BreakerPolicy::default();
        let mut health = ModelHealth::default();
        for _ in 0..100 {
            health.record(None, &RequestOutcome::of(OutcomeKind::Cancelled), &policy, 0, 0.0);
            health.record(None, &RequestOutcome::of(OutcomeKind::Rejected), &policy, 0, 0.0);
        }
        assert!(health.is_untroubled());
        assert_eq!(health.snapshot(0).failures, 0);
    }

    #[test]
    fn exactly_one_probe_passes_and_decides() {
        let policy = BreakerPolicy::default();
        let mut health = broken(&policy);
        assert!(health.begin(6, 4_999).is_err());
        assert_eq!(health.begin(7, 5_000), Ok(7));
        assert!(health.begin(8, 5_001).is_err(), "the probe is under way");
        health.record(Some(5), &RequestOutcome::of(OutcomeKind::Success), &policy, 5_002, 0.0);
        assert_eq!(
            health.snapshot(5_002).state,
            "half_open",
            "a late answer of an older attempt decides nothing"
        );
        health.record(Some(7), &RequestOutcome::of(OutcomeKind::Timeout), &policy, 5_003, 1.0);
        assert_eq!(
            health.snapshot(5_003).retry_in_ms,
            Some(10_000),
            "the second opening lasts twice as long"
        );
        assert_eq!(health.begin(9, 15_003), Ok(9));
        health.record(Some(9), &RequestOutcome::of(OutcomeKind::Success), &policy, 15_004, 0.0);
        assert!(health.is_untroubled());
    }

    #[test]
    fn a_cancelled_probe_frees_its_place_and_a_lost_one_expires() {
        let policy = BreakerPolicy::default();
        let mut health = broken(&policy);
        health.begin(6, 5_000).unwrap();
        health.record(Some(6), &RequestOutcome::of(OutcomeKind::Cancelled), &policy, 5_001, 0.0);
        assert_eq!(health.begin(7, 5_001), Ok(7));
        assert!(health.begin(8, 5_001 + BreakerPolicy::PROBE_LEASE_MS - 1).is_err());
        assert_eq!(health.begin(9, 5_001 + BreakerPolicy::PROBE_LEASE_MS), Ok(9));
        health.record(Some(7), &RequestOutcome::of(OutcomeKind::Success), &policy, 200_000, 0.0);
        assert_eq!(health.snapshot(200_000).state, "half_open", "the lost probe's answer comes too late");
        health.record(Some(9), &RequestOutcome::of(OutcomeKind::Cancelled), &policy, 200_001, 0.0);
        health.record(Some(7), &RequestOutcome::of(OutcomeKind::Success), &policy, 200_002, 0.0);
        assert_eq!(
            health.snapshot(200_002).state,
            "half_open",
            "nor does it decide once the place is free again"
        );
    }

    #[test]
    fn a_server_that_asks_for_time_gets_it() {
        let policy = BreakerPolicy::default();
        for (retry_after_s, wait_ms) in [
            (None, 1_000),
            (Some(7.0), 7_000),
            (Some(1e9), 300_000),
            (Some(-3.0), 1_000),
            (Some(f64::NAN), 1_000),
        ] {
            let mut health = ModelHealth::default();
            let outcome = RequestOutcome { retry_after_s, ..RequestOutcome::of(OutcomeKind::RateLimited) };
            health.record(None, &outcome, &policy, 0, 0.0);
            assert_eq!(health.snapshot(0).retry_in_ms, Some(wait_ms), "{retry_after_s:?}");
            assert_eq!(health.check(wait_ms), Ok(()));
        }
    }

    #[test]
    fn what_changes_is_returned_once() {
        let policy = BreakerPolicy::default();
        let mut health = ModelHealth::default();
        let mut record =
            |kind, now| health.record(None, &RequestOutcome::of(kind), &policy, now, 1.0).into_vec();
        for _ in 0..4 {
            assert_eq!(record(OutcomeKind::Timeout, 0), []);
        }
        assert_eq!(record(OutcomeKind::Timeout, 0), [circuit(None)]);
        assert_eq!(record(OutcomeKind::Timeout, 1), [], "nobody may come yet");
        assert_eq!(record(OutcomeKind::Timeout, 5_000), [], "a failed probe is no news");
        let refused = Alert { what: Trouble::Unauthorized, lasted_ms: None };
        assert_eq!(record(OutcomeKind::Unauthorized, 14_000), [refused]);
        assert_eq!(record(OutcomeKind::Unauthorized, 14_001), []);
        let over = Alert { lasted_ms: Some(1_000), ..refused };
        assert_eq!(record(OutcomeKind::Success, 15_000), [over, circuit(Some(15_000))]);
        assert_eq!(record(OutcomeKind::Busy, 15_001), []);
    }

    #[test]
    fn a_server_that_is_back_brings_forward_what_its_absence_explains() {
        let policy = BreakerPolicy::default();
        for kind in OutcomeKind::ALL.iter().filter(|kind| kind.is_hard()) {
            let mut health = ModelHealth::default();
            for _ in 0..5 {
                health.record(None, &RequestOutcome::of(*kind), &policy, 0, 1.0);
            }
            health.see_server_back(700);
            let state = if kind.may_be_absence() { "half_open" } else { "open" };
            assert_eq!(health.snapshot(700).state, state, "{kind:?}");
        }
        // The latest opening decides: what the server said in the meantime is the model's own.
        let mut health = broken(&policy);
        health.record(None, &RequestOutcome::of(OutcomeKind::ServerError), &policy, 5_000, 1.0);
        health.see_server_back(5_001);
        assert_eq!(health.snapshot(5_001).state, "open");
    }

    #[test]
    fn loading_is_averaged_where_it_was_measured_and_says_nothing_of_the_first_token() {
        let policy = BreakerPolicy::default();
        let mut health = ModelHealth::default();
        let loaded = RequestOutcome {
            ttft_ms: Some(4.0),
            load_ms: Some(9_000.0),
            ..RequestOutcome::of(OutcomeKind::Success)
        };
        health.record(None, &loaded, &policy, 0, 0.0);
        let broke_off =
            RequestOutcome { load_ms: Some(19_000.0), ..RequestOutcome::of(OutcomeKind::Interrupted) };
        health.record(None, &broke_off, &policy, 0, 0.0);
        let seen = health.snapshot(0);
        assert_eq!((seen.load_ms, seen.ttft_ms), (Some(10_000.0), None));
    }

    #[test]
    fn what_was_seen_long_ago_is_told_no_more() {
        let mut health = ModelHealth::default();
        let outcome = RequestOutcome { ttft_ms: Some(4_000.0), ..RequestOutcome::of(OutcomeKind::Success) };
        health.record(None, &outcome, &BreakerPolicy::default(), 0, 0.0);
        assert_eq!(health.snapshot(0).ttft_ms, Some(4_000.0));
        assert_eq!(health.snapshot(3_600_000 * 5).ttft_ms, None);
    }

    #[test]
    fn a_backend_is_judged_by_its_connections_alone() {
        let policy = BreakerPolicy::default();
        let mut backend = ModelHealth::default();
        for kind in [OutcomeKind::ServerError, OutcomeKind::Busy, OutcomeKind::Rejected] {
            (0..9).for_each(|_| {
                backend.record_of_backend(None, &RequestOutcome::of(kind), &policy, 0, 0.0);
            });
        }
        for kind in [OutcomeKind::Reset, OutcomeKind::Timeout, OutcomeKind::Cancelled] {
            (0..99).for_each(|_| {
                backend.record_of_backend(None, &RequestOutcome::of(kind), &policy, 0, 0.0);
            });
        }
        assert!(backend.is_untroubled());
        assert_eq!((backend.snapshot(0).successes, backend.snapshot(0).failures), (27, 0));
        let alerts: Vec<_> = (0..5)
            .filter_map(|_| {
                backend.record_of_backend(None, &RequestOutcome::of(OutcomeKind::Connect), &policy, 7, 1.0)
            })
            .collect();
        assert_eq!(alerts, [circuit(None)]);
        assert_eq!((backend.snapshot(7).state, backend.snapshot(7).retry_in_ms), ("open", Some(5_000)));
    }

    #[test]
    fn speed_leaves_the_first_token_out() {
        let mut health = ModelHealth::default();
        let outcome = RequestOutcome {
            ttft_ms: Some(500.0),
            duration_ms: Some(1_500.0),
            tokens: Some(101),
            ..RequestOutcome::of(OutcomeKind::Success)
        };
        health.record(None, &outcome, &BreakerPolicy::default(), 10, 0.0);
        let seen = health.snapshot(40);
        assert_eq!((seen.ttft_ms, seen.tokens_per_sec), (Some(500.0), Some(100.0)));
        assert_eq!((seen.successes, seen.since_last_success_ms), (1, Some(30)));
    }
}
