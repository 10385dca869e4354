//! How fast a queue is served: the mean time between two that go on while others wait.

use crate::ewma::Millis;

/// The pace of a queue, which forgets old turns with the time that was spent serving since.
///
/// Turns and serving time are each summed with exponentially fading weight, and the pace is their ratio: four
/// that go on together every ten seconds make 2.5 s, where an average of the single gaps would depend on how
/// a burst's zeros are weighed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    turns: f64,
    busy_ms: f64,
    /// Since when somebody waits of whom no turn has told yet.
    since: Option<Millis>,
}

impl Pace {
    /// Serving time after which a turn counts by 1/e.
    const TAU_MS: f64 = 60_000.0;

    /// Somebody waits from now on.
    pub(crate) fn begin(&mut self, now: Millis) {
        self.since.get_or_insert(now);
    }

    /// One goes on; others may wait still.
    pub(crate) fn turn(&mut self, is_over: bool, now: Millis) {
        let waited_ms = self.since.map_or(0.0, |since| now.saturating_sub(since) as f64);
        let kept = (-waited_ms / Self::TAU_MS).exp();
        self.turns = self.turns.mul_add(kept, 1.0);
        self.busy_ms = self.busy_ms.mul_add(kept, waited_ms);
        self.since = (!is_over).then_some(now);
    }

    /// Until now nobody could be served.
    pub(crate) const fn resume(&mut self, now: Millis) {
        if self.since.is_some() {
            self.since = Some(now);
        }
    }

    /// Nobody waits any more, though nobody went on.
    pub(crate) fn stop(&mut self) {
        self.since = None;
    }

    /// The mean time between two turns, in milliseconds; `None` before anybody has waited for one.
    pub(crate) fn interval_ms(&self) -> Option<f64> {
        (self.busy_ms > 0.0).then(|| self.busy_ms / self.turns)
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    fn near(pace: &Pace, expected_ms: f64) -> bool {
        pace.interval_ms().is_some_and(|ms| (ms - expected_ms).abs() < 0.05 * expected_ms)
    }

    #[test]
    fn turns_taken_together_are_counted_one_by_one() {
        let mut pace = Pace::default();
        assert_eq!(pace.interval_ms(), None);
        pace.begin(0);
        for second in (1..1_000).map(|n| n * 10_000) {
            (0..4).for_each(|_| pace.turn(false, second));
        }
        assert!(near(&pace, 2_500.0), "{pace:?}");
    }

    #[test]
    fn time_in_which_nobody_waits_says_nothing() {
        let mut pace = Pace::default();
        for day in (1..100).map(|n| n * 86_400_000) {
            pace.begin(day);
            pace.turn(true, day + 700);
            pace.begin(day + 5_000);
            pace.stop();
        }
        assert!(near(&pace, 700.0), "{pace:?}");
    }

    #[test]
    fn a_new_pace_replaces_the_old_one() {
        let mut pace = Pace::default();
        pace.begin(0);
        (1..100).for_each(|n| pace.turn(false, n * 10_000));
        (1..3_000).for_each(|n| pace.turn(false, 1_000_000 + n * 100));
        assert!(near(&pace, 100.0), "{pace:?}");
    }
}
