//! A budget for retries: of the requests to a backend so many may be second attempts, and no more.
//!
//! Three attempts at each request are three times the load for whoever fails because of its load; an outage
//! then lasts as long as its clients are patient. With a budget that first attempts fill, retries help
//! against single failures and stay a fixed part of the load in an outage. Source: the retry budgets of
//! Finagle and of tower.

use crate::ewma::Millis;
use crate::window::Window;

/// What retries are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Of a hundred first attempts so many may be tried again.
    pub percent: u32,
    /// So many a second are always allowed: a single user has too few requests for a percentage.
    pub reserve_per_s: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { percent: 20, reserve_per_s: 10 }
    }
}

/// The first attempts at a backend and the retries of the last 10 s.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    policy: RetryPolicy,
    /// First attempts and retries.
    attempts: Window,
}

impl RetryBudget {
    const SPAN_S: u64 = 10;

    /// A budget of which nothing is used.
    #[must_use]
    pub const fn new(policy: RetryPolicy) -> Self {
        Self { policy, attempts: Window::new(Self::SPAN_S * 1_000) }
    }

    /// Another policy; what was tried counts under it.
    pub const fn set_policy(&mut self, policy: RetryPolicy) {
        self.policy = policy;
    }

    /// Counts a first attempt.
    pub fn deposit(&mut self, now: Millis) {
        self.attempts.add(1, 0, now);
    }

    /// Whether there is a retry left. Changes nothing.
    #[must_use]
    pub fn has_retry(&self, now: Millis) -> bool {
        let (first, retries) = self.attempts.totals(now);
        let allowed = first * u64::from(self.policy.percent)
            + Self::SPAN_S * u64::from(self.policy.reserve_per_s) * 100;
        (retries + 1) * 100 <= allowed
    }

    /// Takes a retry, if there is one left.
    #[must_use = "without a retry left there must be none"]
    pub fn withdraw(&mut self, now: Millis) -> bool {
        let has_retry = self.has_retry(now);
        if has_retry {
            self.attempts.add(0, 1, now);
        }
        has_retry
    }
}

#[cfg(test)]
mod tests {
    use super::{RetryBudget, RetryPolicy};

    fn retries(budget: &mut RetryBudget, now: u64) -> u32 {
        (0..10_000).map(|_| u32::from(budget.withdraw(now))).sum()
    }

    #[test]
    fn retries_are_a_part_of_the_load() {
        // percent, reserve, first attempts, retries
        for (percent, reserve_per_s, first, expected) in [
            (20, 10, 0, 100),
            (20, 0, 0, 0),
            (20, 0, 4, 0),
            (20, 0, 5, 1),
            (20, 10, 1_000, 300),
            (0, 0, 1_000, 0),
        ] {
            let mut budget = RetryBudget::new(RetryPolicy { percent, reserve_per_s });
            for _ in 0..first {
                budget.deposit(500);
            }
            assert_eq!(retries(&mut budget, 900), expected, "{percent} % + {reserve_per_s}/s of {first}");
            assert!(!budget.has_retry(900));
        }
    }

    #[test]
    fn what_is_ten_seconds_old_counts_no_more() {
        let mut budget = RetryBudget::new(RetryPolicy { percent: 20, reserve_per_s: 1 });
        assert_eq!(retries(&mut budget, 0), 10);
        assert!(!budget.has_retry(9_999));
        assert_eq!(retries(&mut budget, 10_000), 10);
    }

    #[test]
    fn an_outage_is_not_multiplied() {
        let mut budget = RetryBudget::new(RetryPolicy::default());
        let mut sent = 0;
        // A hundred requests a second for a minute, each of which would like to be tried twice again.
        for now in (0..60_000).step_by(10) {
            budget.deposit(now);
            sent += 1 + u32::from(budget.withdraw(now)) + u32::from(budget.withdraw(now));
        }
        assert!(sent <= 6_000 + 1_200 + 700, "{sent}");
    }
}
