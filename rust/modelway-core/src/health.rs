//! The health of one model: a circuit breaker (Nygard's: a *closed* circuit lets requests pass), the
//! averages of what it did, and the times at which it must be left alone.
//!
//! Everything is a function of `now` and of a chance passed in. Who wants to ask the model calls
//! [`ModelHealth::begin`] and gets an attempt number; [`ModelHealth::record`] takes it back with the
//! outcome. The number keeps a late answer of an older attempt from undoing a newer state.

use crate::backoff::Backoff;
use crate::ewma::{Ewma, Millis};
use crate::outcome::{OutcomeKind, RequestOutcome};

/// When circuits open, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct HealthPolicy {
    /// Hard failures in a row that open the circuit.
    pub failures_to_open: u32,
    /// How long an open circuit stays open.
    pub backoff: Backoff,
}

impl HealthPolicy {
    /// A probe that has not been answered after this is taken for lost, and another may go.
    pub const PROBE_LEASE_MS: Millis = 180_000;
    /// How long a model is set aside when the server does not say.
    const HOLD_MS: Millis = 1_000;
    /// A missing model or a refused key changes by somebody's hand, not by waiting a second.
    const LONG_HOLD_MS: Millis = 60_000;
    /// The longest hold a server may ask for.
    const MAX_HOLD_MS: Millis = 300_000;
    /// Time constant of the averages.
    const TAU_MS: f64 = 60_000.0;

    fn hold_ms(kind: OutcomeKind, retry_after_s: Option<f64>) -> Millis {
        let by_default = match kind {
            OutcomeKind::Missing | OutcomeKind::Unauthorized => Self::LONG_HOLD_MS,
            _ => Self::HOLD_MS,
        };
        match retry_after_s {
            Some(seconds) if seconds >= 0.0 => ((seconds * 1000.0) as Millis).min(Self::MAX_HOLD_MS),
            _ => by_default,
        }
    }
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self { failures_to_open: 5, backoff: Backoff::new(5_000, 300_000) }
    }
}

/// The number of an attempt; later attempts have larger ones.
pub type Attempt = u64;

/// The breaker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Requests pass.
    Closed,
    /// No request passes before `until`; `openings` counts how often it opened in a row.
    Open {
        /// When a probe may go.
        until: Millis,
        /// How often in a row.
        openings: u32,
    },
    /// One probe may pass; `probe` is the one under way and when its lease ends.
    HalfOpen {
        /// The probe under way, if any.
        probe: Option<(Attempt, Millis)>,
        /// How often in a row it had opened.
        openings: u32,
    },
}

/// Why a model must be left alone, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNow {
    /// When to come back.
    pub until: Millis,
    /// What set it aside; `None`: its circuit is open or its probe under way.
    pub held: Option<OutcomeKind>,
}

/// The health of one model.
#[derive(Clone, Debug)]
pub struct ModelHealth {
    circuit: Circuit,
    /// Attempts begun before this one are too old to change the circuit.
    epoch: Attempt,
    hold: Option<(OutcomeKind, Millis)>,
    successes: u64,
    failures: u64,
    consecutive_failures: u32,
    last_success: Option<Millis>,
    ttft_ms: Ewma,
    tokens_per_sec: Ewma,
}

impl Default for ModelHealth {
    fn default() -> Self {
        Self {
            circuit: Circuit::Closed,
            epoch: 0,
            hold: None,
            successes: 0,
            failures: 0,
            consecutive_failures: 0,
            last_success: None,
            ttft_ms: Ewma::new(HealthPolicy::TAU_MS),
            tokens_per_sec: Ewma::new(HealthPolicy::TAU_MS),
        }
    }
}

impl ModelHealth {
    /// Whether nothing at all stands against the model, whatever the time: the common case.
    #[must_use]
    pub fn is_untroubled(&self) -> bool {
        self.circuit == Circuit::Closed && self.hold.is_none()
    }

    /// Whether the model may be asked at `now`, and otherwise when. Changes nothing.
    ///
    /// # Errors
    /// [`NotNow`] while it is held, its circuit is open, or its probe is under way.
    pub fn check(&self, now: Millis) -> Result<(), NotNow> {
        if let Some((kind, until)) = self.hold
            && now < until
        {
            return Err(NotNow { until, held: Some(kind) });
        }
        match self.circuit {
            Circuit::Open { until, .. } | Circuit::HalfOpen { probe: Some((_, until)), .. }
                if now < until =>
            {
                Err(NotNow { until, held: None })
            }
            _ => Ok(()),
        }
    }

    /// Takes the right to ask the model at `now`. `attempt` is a number larger than any before.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn begin(&mut self, attempt: Attempt, now: Millis) -> Result<Attempt, NotNow> {
        self.check(now)?;
        self.hold = None;
        match self.circuit {
            Circuit::Closed => {}
            Circuit::Open { openings, .. } | Circuit::HalfOpen { openings, .. } => {
                let lease_ends = now.saturating_add(HealthPolicy::PROBE_LEASE_MS);
                self.circuit = Circuit::HalfOpen { probe: Some((attempt, lease_ends)), openings };
            }
        }
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
        policy: &HealthPolicy,
        now: Millis,
        chance: f64,
    ) {
        self.count(outcome, now);
        let is_late = attempt.is_some_and(|number| number < self.epoch);
        if outcome.kind.holds() && !is_late {
            let until = now.saturating_add(HealthPolicy::hold_ms(outcome.kind, outcome.retry_after_s));
            // Answers of requests sent together come in any order: the longest wait asked for is kept.
            if self.hold.is_none_or(|(_, held_until)| held_until <= until) {
                self.hold = Some((outcome.kind, until));
            }
        }
        self.turn(attempt, is_late, outcome.kind, policy, now, chance);
    }

    fn count(&mut self, outcome: &RequestOutcome, now: Millis) {
        if outcome.kind == OutcomeKind::Success {
            self.successes += 1;
            self.last_success = Some(now);
            if let Some(ttft_ms) = outcome.ttft_ms {
                self.ttft_ms.add(ttft_ms, now);
            }
            // Speed is that of generation alone: without the first token and the wait for it.
            if let (Some(tokens), Some(duration_ms)) = (outcome.tokens, outcome.duration_ms) {
                let generating_ms = duration_ms - outcome.ttft_ms.unwrap_or(0.0);
                if tokens > 1 && generating_ms > 0.0 {
                    self.tokens_per_sec.add((tokens - 1) as f64 * 1000.0 / generating_ms, now);
                }
            }
        } else if outcome.kind.is_hard() || outcome.kind.holds() {
            self.failures += 1;
        }
    }

    fn turn(
        &mut self,
        attempt: Option<Attempt>,
        is_late: bool,
        kind: OutcomeKind,
        policy: &HealthPolicy,
        now: Millis,
        chance: f64,
    ) {
        match self.circuit {
            Circuit::Closed if is_late => {}
            Circuit::Closed if kind == OutcomeKind::Success => self.consecutive_failures = 0,
            Circuit::Closed if kind.is_hard() => {
                self.consecutive_failures = self.consecutive_failures.saturating_add(1);
                if self.consecutive_failures >= policy.failures_to_open {
                    self.open(attempt, 0, policy, now, chance);
                }
            }
            Circuit::Closed => {}
            Circuit::Open { until, openings } => {
                // Only who came without `begin` can answer for an open circuit, and only when it is due.
                if attempt.is_none() && now >= until {
                    self.settle(None, openings, kind, policy, now, chance);
                }
            }
            Circuit::HalfOpen { probe, openings } => {
                // Without a probe under way every attempt known by number began before the circuit opened.
                let is_probes_own =
                    attempt.is_none_or(|ours| probe.is_some_and(|(number, _)| number == ours));
                if is_probes_own {
                    self.settle(attempt, openings, kind, policy, now, chance);
                }
            }
        }
    }

    /// The probe is answered: close, open for longer, or free the place for another probe.
    fn settle(
        &mut self,
        attempt: Option<Attempt>,
        openings: u32,
        kind: OutcomeKind,
        policy: &HealthPolicy,
        now: Millis,
        chance: f64,
    ) {
        if kind == OutcomeKind::Success {
            self.circuit = Circuit::Closed;
            self.consecutive_failures = 0;
            self.epoch = attempt.map_or(self.epoch, |number| self.epoch.max(number));
        } else if kind.is_hard() {
            self.consecutive_failures = self.consecutive_failures.saturating_add(1);
            self.open(attempt, openings.saturating_add(1), policy, now, chance);
        } else {
            self.circuit = Circuit::HalfOpen { probe: None, openings };
        }
    }

    fn open(
        &mut self,
        attempt: Option<Attempt>,
        openings: u32,
        policy: &HealthPolicy,
        now: Millis,
        chance: f64,
    ) {
        let until = now.saturating_add(policy.backoff.delay_ms(openings, chance));
        self.circuit = Circuit::Open { until, openings };
        self.epoch = attempt.map_or(self.epoch, |number| self.epoch.max(number.saturating_add(1)));
    }

    /// What an observer may know at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Millis) -> HealthSnapshot {
        let not_now = self.check(now).err();
        HealthSnapshot {
            // An open circuit whose time is over is half-open for whoever looks.
            state: match self.circuit {
                Circuit::Closed => "closed",
                Circuit::Open { until, .. } if now < until => "open",
                Circuit::Open { .. } | Circuit::HalfOpen { .. } => "half_open",
            },
            held: not_now.and_then(|reason| reason.held),
            available: not_now.is_none(),
            successes: self.successes,
            failures: self.failures,
            consecutive_failures: self.consecutive_failures,
            ttft_ms: self.ttft_ms.value(),
            tokens_per_sec: self.tokens_per_sec.value(),
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
    /// When it may be asked again.
    pub retry_in_ms: Option<Millis>,
    /// How long ago it last answered well.
    pub since_last_success_ms: Option<Millis>,
}

#[cfg(test)]
mod tests {
    use super::{HealthPolicy, ModelHealth, OutcomeKind, RequestOutcome};

    fn ended(kind: OutcomeKind) -> RequestOutcome {
        RequestOutcome { kind, ttft_ms: None, duration_ms: None, tokens: None, retry_after_s: None }
    }

    fn broken(policy: &HealthPolicy) -> ModelHealth {
        let mut health = ModelHealth::default();
        for attempt in 1..=5 {
            health.begin(attempt, 0).unwrap();
            health.record(Some(attempt), &ended(OutcomeKind::Connect), policy, 0, 1.0);
        }
        health
    }

    #[test]
    fn five_hard_failures_in_a_row_open_and_a_success_between_them_starts_anew() {
        let policy = HealthPolicy::default();
        let mut health = ModelHealth::default();
        for kind in [OutcomeKind::Connect, OutcomeKind::Timeout, OutcomeKind::Empty, OutcomeKind::Reset] {
            health.record(None, &ended(kind), &policy, 0, 0.0);
        }
        health.record(None, &ended(OutcomeKind::Success), &policy, 0, 0.0);
        for _ in 0..4 {
            health.record(None, &ended(OutcomeKind::ServerError), &policy, 0, 0.0);
        }
        assert_eq!(health.snapshot(0).state, "closed");
        health.record(None, &ended(OutcomeKind::Malformed), &policy, 0, 0.0);
        assert_eq!(health.snapshot(0).state, "open");
        assert_eq!(health.snapshot(0).retry_in_ms, Some(2_500), "the certain half of 5 s");
    }

    #[test]
    fn what_the_caller_did_never_counts() {
        let policy = HealthPolicy::default();
        let mut health = ModelHealth::default();
        for _ in 0..100 {
            health.record(None, &ended(OutcomeKind::Cancelled), &policy, 0, 0.0);
            health.record(None, &ended(OutcomeKind::Rejected), &policy, 0, 0.0);
        }
        assert!(health.is_untroubled());
        assert_eq!(health.snapshot(0).failures, 0);
    }

    #[test]
    fn exactly_one_probe_passes_and_decides() {
        let policy = HealthPolicy::default();
        let mut health = broken(&policy);
        assert!(health.begin(6, 4_999).is_err());
        assert_eq!(health.begin(7, 5_000), Ok(7));
        assert!(health.begin(8, 5_001).is_err(), "the probe is under way");
        health.record(Some(5), &ended(OutcomeKind::Success), &policy, 5_002, 0.0);
        assert_eq!(
            health.snapshot(5_002).state,
            "half_open",
            "a late answer of an older attempt decides nothing"
        );
        health.record(Some(7), &ended(OutcomeKind::Timeout), &policy, 5_003, 1.0);
        assert_eq!(
            health.snapshot(5_003).retry_in_ms,
            Some(10_000),
            "the second opening lasts twice as long"
        );
        assert_eq!(health.begin(9, 15_003), Ok(9));
        health.record(Some(9), &ended(OutcomeKind::Success), &policy, 15_004, 0.0);
        assert!(health.is_untroubled());
    }

    #[test]
    fn a_cancelled_probe_frees_its_place_and_a_lost_one_expires() {
        let policy = HealthPolicy::default();
        let mut health = broken(&policy);
        health.begin(6, 5_000).unwrap();
        health.record(Some(6), &ended(OutcomeKind::Cancelled), &policy, 5_001, 0.0);
        assert_eq!(health.begin(7, 5_001), Ok(7));
        assert!(health.begin(8, 5_001 + HealthPolicy::PROBE_LEASE_MS - 1).is_err());
        assert_eq!(health.begin(9, 5_001 + HealthPolicy::PROBE_LEASE_MS), Ok(9));
        health.record(Some(7), &ended(OutcomeKind::Success), &policy, 200_000, 0.0);
        assert_eq!(health.snapshot(200_000).state, "half_open", "the lost probe's answer comes too late");
        health.record(Some(9), &ended(OutcomeKind::Cancelled), &policy, 200_001, 0.0);
        health.record(Some(7), &ended(OutcomeKind::Success), &policy, 200_002, 0.0);
        assert_eq!(
            health.snapshot(200_002).state,
            "half_open",
            "nor does it decide once the place is free again"
        );
    }

    #[test]
    fn a_server_that_asks_for_time_gets_it() {
        let policy = HealthPolicy::default();
        for (retry_after_s, wait_ms) in [
            (None, 1_000),
            (Some(7.0), 7_000),
            (Some(1e9), 300_000),
            (Some(-3.0), 1_000),
            (Some(f64::NAN), 1_000),
        ] {
            let mut health = ModelHealth::default();
            let outcome = RequestOutcome { retry_after_s, ..ended(OutcomeKind::RateLimited) };
            health.record(None, &outcome, &policy, 0, 0.0);
            assert_eq!(health.snapshot(0).retry_in_ms, Some(wait_ms), "{retry_after_s:?}");
            assert_eq!(health.check(wait_ms), Ok(()));
        }
    }

    #[test]
    fn speed_leaves_the_first_token_out() {
        let mut health = ModelHealth::default();
        let outcome = RequestOutcome {
            kind: OutcomeKind::Success,
            ttft_ms: Some(500.0),
            duration_ms: Some(1_500.0),
            tokens: Some(101),
            retry_after_s: None,
        };
        health.record(None, &outcome, &HealthPolicy::default(), 10, 0.0);
        let seen = health.snapshot(40);
        assert_eq!((seen.ttft_ms, seen.tokens_per_sec), (Some(500.0), Some(100.0)));
        assert_eq!((seen.successes, seen.since_last_success_ms), (1, Some(30)));
    }
}
