//! Quotas: so much in each window of time, visible before it bites.
//!
//! Windows are fixed and follow each other from a given origin (midnight, the first of the month's first
//! hour), so what is left and when it begins anew are two plain numbers that anybody can check. A sliding
//! window would need a record of every request, or would only be nearly right. What fixed windows allow, twice
//! the quota around a boundary, a rate limit beside the quota prevents.

use std::num::NonZeroU64;

use crate::ewma::Millis;
use crate::rate::Excess;

/// How much may be used in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    limit: u64,
    period_ms: NonZeroU64,
    /// A beginning of a window, less than a period from zero.
    phase: Millis,
}

/// What was used in the latest window in which anything was; the default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    window: Millis,
    amount: u64,
}

impl Quota {
    /// At most `limit` in each `period_ms`. A window begins at `origin`, before or after now.
    #[must_use]
    pub const fn new(limit: u64, period_ms: NonZeroU64, origin: Millis) -> Self {
        Self { limit, period_ms, phase: origin % period_ms.get() }
    }

    /// What is used after `cost` more.
    ///
    /// # Errors
    /// When the next window begins, or that no window is enough.
    pub fn charge(&self, used: Used, cost: u64, now: Millis) -> Result<Used, Excess> {
        if cost > self.limit {
            return Err(Excess::Never);
        }
        let used = self.present(used, now);
        match used.amount.checked_add(cost) {
            Some(amount) if amount <= self.limit => Ok(Used { amount, ..used }),
            _ => Err(Excess::Until(self.end(used.window))),
        }
    }

    /// What is used when something charged as `charged` at `charged_at` turns out to be `real`. It belongs to
    /// the window in which it was charged: once that is over, nothing changes.
    #[must_use]
    pub fn correct(&self, used: Used, charged: u64, real: u64, charged_at: Millis) -> Used {
        if self.begin(charged_at) != used.window {
            return used;
        }
        Used { amount: used.amount.saturating_sub(charged).saturating_add(real), ..used }
    }

    /// What was used of another quota's present window, counted to this one's.
    #[must_use]
    pub fn adopt(&self, used: Used, from: &Self, now: Millis) -> Used {
        Used { window: self.begin(now), amount: from.present(used, now).amount }
    }

    /// What is left of the window at `now`.
    #[must_use]
    pub fn remaining(&self, used: Used, now: Millis) -> u64 {
        self.limit.saturating_sub(self.present(used, now).amount)
    }

    /// When the window at `now` is over.
    #[must_use]
    pub fn reset_at(&self, used: Used, now: Millis) -> Millis {
        self.end(self.present(used, now).window)
    }

    /// When nothing that was used counts any more; zero if nothing does.
    #[must_use]
    pub fn clear_at(&self, used: Used) -> Millis {
        if used.amount == 0 { 0 } else { self.end(used.window) }
    }

    /// How long a window lasts.
    #[must_use]
    pub const fn period_ms(&self) -> Millis {
        self.period_ms.get()
    }

    /// What a window allows.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// A clock that steps back stays in the window it had reached.
    fn present(&self, used: Used, now: Millis) -> Used {
        let window = self.begin(now);
        if window > used.window { Used { window, amount: 0 } } else { used }
    }

    /// Before the phase lies the window that began before zero; it is named by zero.
    fn begin(&self, now: Millis) -> Millis {
        now.checked_sub(self.phase).map_or(0, |since| now - since % self.period_ms)
    }

    fn end(&self, window: Millis) -> Millis {
        if window < self.phase { self.phase } else { window.saturating_add(self.period_ms.get()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Quota, Used};
    use crate::rate::Excess;
    use std::num::NonZeroU64;

    fn quota(limit: u64, period_ms: u64, origin: u64) -> Quota {
        Quota::new(limit, NonZeroU64::new(period_ms).unwrap(), origin)
    }

    #[test]
    fn windows_follow_the_origin() {
        // period, origin, now, reset
        for (period_ms, origin, now, reset) in [
            (1_000, 0, 0, 1_000),
            (1_000, 0, 999, 1_000),
            (1_000, 0, 1_000, 2_000),
            (1_000, 300, 0, 300),
            (1_000, 300, 299, 300),
            (1_000, 300, 300, 1_300),
            (1_000, 7_300, 0, 300),
            (1_000, 7_300, 1_299, 1_300),
            (u64::MAX, 5, 6, u64::MAX),
        ] {
            let at = quota(1, period_ms, origin).reset_at(Used::default(), now);
            assert_eq!(at, reset, "{period_ms} from {origin} at {now}");
        }
    }

    #[test]
    fn what_is_left_is_seen_before_it_bites() {
        let daily = quota(10, 1_000, 300);
        let used = daily.charge(Used::default(), 7, 400).unwrap();
        assert_eq!((daily.remaining(used, 400), daily.reset_at(used, 400)), (3, 1_300));
        assert_eq!(daily.charge(used, 4, 1_299), Err(Excess::Until(1_300)));
        assert_eq!(daily.charge(used, 11, 1_299), Err(Excess::Never));
        assert_eq!(daily.remaining(daily.charge(used, 4, 1_300).unwrap(), 1_300), 6);
        assert_eq!(daily.remaining(used, 5_000), 10, "looking ahead changes nothing");
        assert_eq!((daily.clear_at(used), daily.clear_at(Used::default())), (1_300, 0));
    }

    #[test]
    fn the_true_cost_belongs_to_the_window_it_was_charged_in() {
        let daily = quota(10, 1_000, 0);
        let used = daily.charge(Used::default(), 7, 400).unwrap();
        assert_eq!(daily.remaining(daily.correct(used, 7, 2, 400), 500), 8);
        assert_eq!(daily.remaining(daily.correct(used, 7, 30, 400), 500), 0);
        let next = daily.charge(used, 1, 1_500).unwrap();
        assert_eq!(daily.correct(next, 7, 2, 400), next);
    }

    #[test]
    fn another_quota_takes_over_what_was_used() {
        let (old, new) = (quota(10, 1_000, 0), quota(50, 700, 0));
        let used = old.charge(Used::default(), 7, 1_500).unwrap();
        let adopted = new.adopt(used, &old, 1_600);
        assert_eq!((new.remaining(adopted, 1_600), new.reset_at(adopted, 1_600)), (43, 2_100));
        assert_eq!(new.remaining(new.adopt(used, &old, 2_000), 2_000), 50);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away() {
        let daily = quota(1, 1_000, 0);
        let used = daily.charge(Used::default(), 1, 5_000).unwrap();
        assert_eq!(daily.charge(used, 1, 4_999), Err(Excess::Until(6_000)));
    }
}
