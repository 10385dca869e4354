//! How often something is used, lately more than long ago.

use crate::ewma::Millis;

/// A count of uses that halves every ten minutes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    uses: f64,
    at: Millis,
}

impl Usage {
    const HALF_LIFE_MS: f64 = 600_000.0;
    /// In a doubling.
    const STEPS: f64 = 4.0;

    /// It is used at `now`.
    pub fn note(&mut self, now: Millis) {
        self.uses = self.left(now) + 1.0;
        self.at = now;
    }

    fn left(&self, now: Millis) -> f64 {
        self.uses * (-(now.saturating_sub(self.at) as f64) / Self::HALF_LIFE_MS).exp2()
    }

    /// The count in sixteenths, in steps of a quarter of a doubling: whatever is used about as often as another counts
    /// as much, or of models asked for in turn it would always be the next one's turn to go.
    #[must_use]
    pub fn weight(&self, now: Millis) -> u32 {
        let sixteenths = (self.left(now) * 16.0).max(1.0);
        ((sixteenths.log2() * Self::STEPS).floor() / Self::STEPS).exp2() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::Usage;

    #[test]
    fn what_is_used_often_or_lately_weighs_more() {
        let mut usage = Usage::default();
        assert_eq!(usage.weight(0), 1);
        usage.note(0);
        assert_eq!((usage.weight(0), usage.weight(600_000), usage.weight(86_400_000)), (16, 8, 1));
        for now in 0..999 {
            usage.note(now);
        }
        assert!((13_000..=16_000).contains(&usage.weight(1_000)), "{}", usage.weight(1_000));
    }

    #[test]
    fn one_use_more_makes_no_difference_among_many() {
        let (mut once, mut more) = (Usage::default(), Usage::default());
        for now in 0..20 {
            once.note(now);
            more.note(now);
        }
        more.note(20);
        assert_eq!(once.weight(20), more.weight(20));
    }
}
