//! An average that forgets: exponentially weighted by the time between samples, not by their number.

/// Milliseconds of a monotonic clock whose origin does not matter.
pub type Millis = u64;

/// An exponentially weighted moving average. Reading it does not change it.
///
/// A sample that comes `dt` after the last takes the weight `1 - exp(-dt / TAU)`, but never less than
/// `FLOOR`, so that a burst at one instant still counts. Source: the time-based form of the EWMA used
/// for load balancing (Finagle's peak EWMA, linkerd). Without samples, too, it forgets: what it says is worth
/// `exp(-dt / LINGER)` of its first worth.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ewma {
    state: Option<(f64, Millis)>,
}

impl Ewma {
    /// The least weight of a new sample.
    const FLOOR: f64 = 0.1;
    /// How fast old samples fade beside new ones.
    const TAU_MS: f64 = 60_000.0;
    /// How fast the average itself is forgotten: slowly, as a slow model stays slow while nobody asks.
    const LINGER_MS: f64 = 1_800_000.0;
    /// Below this worth there is no average any more: after two hours and a quarter.
    const FORGOTTEN: f64 = 0.01;

    /// Adds a sample seen at `now`. Values that are not finite are no measurement and are left out.
    pub fn add(&mut self, sample: f64, now: Millis) {
        if !sample.is_finite() {
            return;
        }
        self.state = Some(match self.state {
            None => (sample, now),
            Some((value, then)) => {
                let weight =
                    (1.0 - (-(now.saturating_sub(then) as f64) / Self::TAU_MS).exp()).max(Self::FLOOR);
                (weight.mul_add(sample - value, value), now.max(then))
            }
        });
    }

    /// The average, or `None` before the first sample and when it is forgotten.
    #[must_use]
    pub fn value(&self, now: Millis) -> Option<f64> {
        self.state.filter(|(_, then)| Self::worth(*then, now) >= Self::FORGOTTEN).map(|(value, _)| value)
    }

    fn worth(then: Millis, now: Millis) -> f64 {
        (-(now.saturating_sub(then) as f64) / Self::LINGER_MS).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::Ewma;

    fn near(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|value| (value - expected).abs() < 1e-3)
    }

    #[test]
    fn the_first_sample_is_the_average_and_old_ones_fade() {
        let mut average = Ewma::default();
        assert_eq!(average.value(0), None);
        average.add(100.0, 0);
        assert_eq!(average.value(0), Some(100.0));
        average.add(200.0, 0);
        assert!(near(average.value(0), 110.0), "a burst counts by the floor");
        average.add(500.0, 60_000_000);
        assert!(near(average.value(60_000_000), 500.0), "after many time constants only the new counts");
    }

    #[test]
    fn nonsense_and_clocks_that_step_back_change_nothing_bad() {
        let mut average = Ewma::default();
        average.add(f64::NAN, 5);
        assert_eq!(average.value(5), None);
        average.add(10.0, 5);
        average.add(f64::INFINITY, 6);
        average.add(20.0, 1);
        assert!(near(average.value(0), 11.0));
    }

    #[test]
    fn without_samples_it_is_forgotten() {
        let mut average = Ewma::default();
        average.add(150.0, 1_000);
        // Half of it is forgotten after ln 2 of half an hour.
        assert!(near(average.value(1_000 + 1_247_665), 150.0), "what was seen is shown as it was seen");
        assert_eq!(average.value(1_000 + 8_300_000), None);
    }
}
