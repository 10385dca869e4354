//! An average that forgets: exponentially weighted by the time between samples, not by their number.

/// Milliseconds of a monotonic clock whose origin does not matter.
pub type Millis = u64;

/// An exponentially weighted moving average. Reading it does not change it.
///
/// A sample that comes `dt` after the last takes the weight `1 - exp(-dt / tau)`, but never less than
/// `FLOOR`, so that a burst at one instant still counts. Source: the time-based form of the EWMA used
/// for load balancing (Finagle's peak EWMA, linkerd).
#[derive(Clone, Copy, Debug)]
pub struct Ewma {
    tau_ms: f64,
    state: Option<(f64, Millis)>,
}

impl Ewma {
    /// The least weight of a new sample.
    const FLOOR: f64 = 0.1;

    /// An average whose memory fades with the time constant `tau_ms`.
    #[must_use]
    pub const fn new(tau_ms: f64) -> Self {
        Self { tau_ms, state: None }
    }

    /// Adds a sample seen at `now`. Values that are not finite are no measurement and are left out.
    pub fn add(&mut self, sample: f64, now: Millis) {
        if !sample.is_finite() {
            return;
        }
        self.state = Some(match self.state {
            None => (sample, now),
            Some((value, then)) => {
                let weight =
                    (1.0 - (-(now.saturating_sub(then) as f64) / self.tau_ms).exp()).max(Self::FLOOR);
                (weight.mul_add(sample - value, value), now.max(then))
            }
        });
    }

    /// The average, or `None` before the first sample.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        self.state.map(|(value, _)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::Ewma;

    #[test]
    fn the_first_sample_is_the_average_and_old_ones_fade() {
        let mut average = Ewma::new(1_000.0);
        assert_eq!(average.value(), None);
        average.add(100.0, 0);
        assert_eq!(average.value(), Some(100.0));
        average.add(200.0, 0);
        assert!((average.value().unwrap() - 110.0).abs() < 1e-9, "a burst counts by the floor");
        average.add(500.0, 1_000_000);
        assert!(
            (average.value().unwrap() - 500.0).abs() < 1e-3,
            "after many time constants only the new counts"
        );
    }

    #[test]
    fn nonsense_and_clocks_that_step_back_change_nothing_bad() {
        let mut average = Ewma::new(1_000.0);
        average.add(f64::NAN, 5);
        assert_eq!(average.value(), None);
        average.add(10.0, 5);
        average.add(f64::INFINITY, 6);
        average.add(20.0, 1);
        assert!((average.value().unwrap() - 11.0).abs() < 1e-9);
    }
}
