//! An average that forgets: exponentially weighted by the time between samples, not by their number.

/// Milliseconds of a monotonic clock whose origin does not matter.
pub type Millis = u64;

/// An exponentially weighted moving average. Reading it does not change it.
///
/// A sample that comes `dt` after the last takes the weight `1 - exp(-dt / TAU)`, but never less than
/// `FLOOR`, so that a burst at one instant still counts. Source: the time-based form of the EWMA used
/// for load balancing (Finagle's peak EWMA, linkerd). Without samples the average itself is forgotten, slowly: a slow
/// model stays slow while nobody asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ewma {
    state: Option<(f64, Millis)>,
}

impl Ewma {
    /// The least weight of a new sample.
    const FLOOR: f64 = 0.1;
    /// How fast old samples fade beside new ones.
    const TAU_MS: f64 = 60_000.0;
    /// After so long without samples there is no average any more: a worth that fades with a time constant of half
    /// an hour is 1 % then (ln 100 times 1,800,000).
    const FORGOTTEN_AFTER_MS: Millis = 8_289_307;

    /// Adds a sample seen at `now`. Values that are not finite are no measurement and are left out.
    pub fn add(&mut self, sample: f64, now: Millis) {
        if !sample.is_finite() {
            return;
        }
        self.state = Some(match self.state {
            None => (sample, now),
            Some((value, then)) => {
                let elapsed = now.saturating_sub(then) as f64 / Self::TAU_MS;
                // As 1 - exp(-x) is below x, nothing has to be worked out for samples that come soon.
                let weight = if elapsed <= Self::FLOOR {
                    Self::FLOOR
                } else {
                    (1.0 - (-elapsed).exp()).max(Self::FLOOR)
                };
                (weight.mul_add(sample - value, value), now.max(then))
            }
        });
    }

    /// The average, or `None` before the first sample and when it is forgotten.
    #[must_use]
    pub fn value(&self, now: Millis) -> Option<f64> {
        let known = self.state.filter(|(_, then)| now.saturating_sub(*then) < Self::FORGOTTEN_AFTER_MS);
        known.map(|(value, _)| value)
    }

    /// When it is forgotten unless another sample comes; `None` before the first.
    #[must_use]
    pub fn forgotten_at(&self) -> Option<Millis> {
        self.state.map(|(_, then)| then.saturating_add(Self::FORGOTTEN_AFTER_MS))
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
        assert_eq!(average.forgotten_at(), Some(8_290_307));
        assert_eq!(average.value(8_290_306), Some(150.0), "what was seen is shown as it was seen");
        assert_eq!(average.value(8_290_307), None);
    }
}
