//! A circuit breaker (Nygard, "Release It!"): a *closed* circuit lets requests pass, an *open* one none until
//! its time is over, a *half-open* one a single probe, whose outcome closes or opens it.
//!
//! Attempts are numbered. The number keeps a late answer of an older attempt from undoing a newer state, and
//! a probe has a lease, so that one that is never answered can't keep the place for ever.

use crate::backoff::Backoff;
use crate::ewma::Millis;
use crate::outcome::Verdict;
use crate::window::Window;

/// The number of an attempt; later attempts have larger ones.
pub type Attempt = u64;

/// When circuits open, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BreakerPolicy {
    /// Hard failures in a row that open the circuit.
    pub failures_to_open: u32,
    /// The stretch of time whose rate of success is judged; a tenth of it is its grain.
    pub window_ms: Millis,
    /// Of a hundred outcomes of that time so many must be good.
    pub least_success_percent: u32,
    /// So many outcomes there must be before their rate opens the circuit.
    pub samples_to_judge: u32,
    /// How long an open circuit stays open.
    pub backoff: Backoff,
}

impl BreakerPolicy {
    /// A probe that has not been answered after this is taken for lost, and another may go.
    pub const PROBE_LEASE_MS: Millis = 180_000;
    const WINDOW_MS: Millis = 30_000;
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures_to_open: 5,
            window_ms: Self::WINDOW_MS,
            least_success_percent: 80,
            samples_to_judge: 20,
            backoff: Backoff::new(5_000, 300_000),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Circuit {
    Closed,
    /// No request passes before `until`; `openings` counts how often it opened in a row before.
    Open {
        until: Millis,
        openings: u32,
    },
    /// The probe under way, if any, and when its lease ends.
    HalfOpen {
        probe: Option<(Attempt, Millis)>,
        openings: u32,
    },
}

/// What an observer sees of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Requests pass.
    Closed,
    /// No request passes.
    Open,
    /// One request may pass, as a probe.
    HalfOpen,
}

impl CircuitState {
    /// Its name in answers and logs.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// A change of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It opened, or a failed probe opened it again.
    Opened,
    /// A probe succeeded.
    Closed,
}

/// The circuit of one model or of one backend.
#[derive(Clone, Debug)]
pub struct Breaker {
    circuit: Circuit,
    /// Attempts begun before this one are too old to change the circuit.
    epoch: Attempt,
    failures_in_row: u32,
    /// Good outcomes and others, while closed.
    recent: Window,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            circuit: Circuit::Closed,
            epoch: 0,
            failures_in_row: 0,
            recent: Window::new(BreakerPolicy::WINDOW_MS),
        }
    }
}

impl Breaker {
    /// Judges by another policy from now on.
    pub const fn set_policy(&mut self, policy: &BreakerPolicy) {
        self.recent.set_span(policy.window_ms);
    }

    /// Whether requests pass whatever the time.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.circuit == Circuit::Closed
    }

    /// Whether a request may pass at `now`. Changes nothing.
    ///
    /// # Errors
    /// When to come back.
    pub fn check(&self, now: Millis) -> Result<(), Millis> {
        match self.circuit {
            Circuit::Open { until, .. } | Circuit::HalfOpen { probe: Some((_, until)), .. }
                if now < until =>
            {
                Err(until)
            }
            _ => Ok(()),
        }
    }

    /// Lets a request pass; unless the circuit is closed it is the probe. `attempt` is larger than any before.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn begin(&mut self, attempt: Attempt, now: Millis) -> Result<(), Millis> {
        self.check(now)?;
        if let Circuit::Open { openings, .. } | Circuit::HalfOpen { openings, .. } = self.circuit {
            let lease_ends = now.saturating_add(BreakerPolicy::PROBE_LEASE_MS);
            self.circuit = Circuit::HalfOpen { probe: Some((attempt, lease_ends)), openings };
        }
        Ok(())
    }

    /// Whether an attempt began too early to say anything of the present state.
    #[must_use]
    pub fn is_late(&self, attempt: Option<Attempt>) -> bool {
        attempt.is_some_and(|number| number < self.epoch)
    }

    /// Takes note of what an attempt says, and returns what that changed. `chance` in [0, 1) jitters the
    /// backoff. Without a number it is taken for the newest attempt.
    pub fn record(
        &mut self,
        attempt: Option<Attempt>,
        verdict: Verdict,
        policy: &BreakerPolicy,
        now: Millis,
        chance: f64,
    ) -> Option<Turn> {
        match self.circuit {
            Circuit::Closed if self.is_late(attempt) => None,
            Circuit::Closed => {
                self.count(verdict, now);
                let is_failing = verdict != Verdict::Good && self.is_failing(verdict, policy, now);
                is_failing.then(|| self.open(attempt, 0, policy, now, chance))
            }
            // Only who came without a number can answer for an open circuit, and only when it is due.
            Circuit::Open { until, openings } if attempt.is_none() && now >= until => {
                self.settle(None, openings, verdict, policy, now, chance)
            }
            Circuit::Open { .. } => None,
            Circuit::HalfOpen { probe, openings } => {
                // Without a probe under way every attempt known by number began before the circuit opened.
                let is_probes_own =
                    attempt.is_none_or(|ours| probe.is_some_and(|(number, _)| number == ours));
                if is_probes_own {
                    self.settle(attempt, openings, verdict, policy, now, chance)
                } else {
                    None
                }
            }
        }
    }

    fn count(&mut self, verdict: Verdict, now: Millis) {
        match verdict {
            Verdict::Good => {
                self.failures_in_row = 0;
                self.recent.add(1, 0, now);
            }
            Verdict::Hard => {
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                self.recent.add(0, 1, now);
            }
            Verdict::Busy => self.recent.add(0, 1, now),
            Verdict::Nothing => {}
        }
    }

    fn is_failing(&self, verdict: Verdict, policy: &BreakerPolicy, now: Millis) -> bool {
        let (good, bad) = self.recent.totals(now);
        let is_rate_low = good + bad >= u64::from(policy.samples_to_judge)
            && good * 100 < (good + bad) * u64::from(policy.least_success_percent);
        (verdict == Verdict::Hard && self.failures_in_row >= policy.failures_to_open)
            || (verdict != Verdict::Nothing && is_rate_low)
    }

    /// The probe is answered: close, open for longer, or free the place for another probe.
    fn settle(
        &mut self,
        attempt: Option<Attempt>,
        openings: u32,
        verdict: Verdict,
        policy: &BreakerPolicy,
        now: Millis,
        chance: f64,
    ) -> Option<Turn> {
        match verdict {
            Verdict::Good => {
                self.circuit = Circuit::Closed;
                self.failures_in_row = 0;
                // What failed before would open it again at once.
                self.recent.clear();
                self.epoch = attempt.map_or(self.epoch, |number| self.epoch.max(number));
                Some(Turn::Closed)
            }
            Verdict::Hard => {
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                Some(self.open(attempt, openings.saturating_add(1), policy, now, chance))
            }
            Verdict::Busy | Verdict::Nothing => {
                self.circuit = Circuit::HalfOpen { probe: None, openings };
                None
            }
        }
    }

    fn open(
        &mut self,
        attempt: Option<Attempt>,
        openings: u32,
        policy: &BreakerPolicy,
        now: Millis,
        chance: f64,
    ) -> Turn {
        let until = now.saturating_add(policy.backoff.delay_ms(openings, chance));
        self.circuit = Circuit::Open { until, openings };
        self.epoch = attempt.map_or(self.epoch, |number| self.epoch.max(number.saturating_add(1)));
        Turn::Opened
    }

    /// What an observer sees at `now`: an open circuit whose time is over is half-open for whoever looks.
    #[must_use]
    pub fn state(&self, now: Millis) -> CircuitState {
        match self.circuit {
            Circuit::Closed => CircuitState::Closed,
            Circuit::Open { until, .. } if now < until => CircuitState::Open,
            Circuit::Open { .. } | Circuit::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// Whether requests pass though more than one in ten failed lately. Where the next would be the probe it is
    /// not: somebody has to be it.
    #[must_use]
    pub fn is_ailing(&self, now: Millis) -> bool {
        let (good, bad) = self.recent.totals(now);
        self.is_closed() && bad * 10 > good + bad
    }

    /// Hard failures since the last good outcome.
    #[must_use]
    pub const fn failures_in_row(&self) -> u32 {
        self.failures_in_row
    }

    /// Lets a probe go at `now` instead of when the backoff ends: an active check saw the server answer. It
    /// closes nothing, as only a request proves that requests are answered.
    pub fn bring_forward(&mut self, now: Millis) {
        if let Circuit::Open { until, .. } = &mut self.circuit {
            *until = (*until).min(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, BreakerPolicy, CircuitState, Turn};
    use crate::outcome::Verdict::{self, Busy, Good, Hard, Nothing};

    fn record(breaker: &mut Breaker, verdicts: &[(Verdict, u32)], now: u64) -> Vec<Turn> {
        let each = verdicts.iter().flat_map(|(verdict, times)| (0..*times).map(|_| *verdict));
        each.filter_map(|verdict| breaker.record(None, verdict, &BreakerPolicy::default(), now, 1.0))
            .collect()
    }

    #[test]
    fn a_low_rate_of_success_opens_without_failures_in_a_row() {
        let opened = vec![Turn::Opened];
        for (verdicts, turns) in [
            (vec![(Good, 15), (Busy, 4)], vec![]),
            (vec![(Good, 15), (Busy, 5)], opened.clone()),
            (vec![(Good, 16), (Busy, 4)], vec![]),
            (vec![(Good, 80), (Busy, 20)], vec![]),
            (vec![(Good, 80), (Busy, 21)], opened.clone()),
            (vec![(Busy, 4), (Good, 12), (Hard, 3), (Nothing, 9)], vec![]),
            (vec![(Busy, 4), (Good, 12), (Hard, 4)], opened.clone()),
            (vec![(Busy, 19)], vec![]),
            (vec![(Hard, 5)], opened),
            (vec![(Nothing, 1_000)], vec![]),
        ] {
            assert_eq!(record(&mut Breaker::default(), &verdicts, 0), turns, "{verdicts:?}");
        }
    }

    #[test]
    fn ailing_ends_when_failures_are_few_or_old() {
        let mut breaker = Breaker::default();
        assert!(!breaker.is_ailing(0));
        record(&mut breaker, &[(Hard, 1)], 0);
        assert!(breaker.is_ailing(0) && breaker.is_ailing(29_999) && !breaker.is_ailing(30_000));
        record(&mut breaker, &[(Good, 9)], 1);
        assert!(!breaker.is_ailing(1));
        record(&mut breaker, &[(Hard, 5)], 2);
        assert!(!breaker.is_ailing(10_000), "the next request is the probe");
    }

    #[test]
    fn what_is_thirty_seconds_old_is_not_judged() {
        let mut breaker = Breaker::default();
        assert_eq!(record(&mut breaker, &[(Good, 10), (Busy, 9)], 2_999), []);
        assert_eq!(record(&mut breaker, &[(Good, 3), (Busy, 4)], 30_000), []);
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_closed_circuit_starts_with_a_clean_record() {
        let mut breaker = Breaker::default();
        assert_eq!(record(&mut breaker, &[(Busy, 20)], 0).len(), 1);
        breaker.begin(1, 5_000).unwrap();
        let closed = breaker.record(Some(1), Good, &BreakerPolicy::default(), 5_001, 0.0);
        assert_eq!(closed, Some(Turn::Closed));
        assert_eq!(record(&mut breaker, &[(Busy, 1)], 5_002), []);
    }

    #[test]
    fn an_active_check_brings_the_probe_forward_and_closes_nothing() {
        let mut breaker = Breaker::default();
        record(&mut breaker, &[(Hard, 5)], 0);
        breaker.bring_forward(700);
        assert_eq!(breaker.state(700), CircuitState::HalfOpen);
        assert_eq!(breaker.begin(6, 700), Ok(()));
        assert!(breaker.begin(7, 700).is_err(), "still one probe only");
        breaker.bring_forward(800);
        assert!(breaker.begin(8, 800).is_err());
    }
}
