//! How often something is used, and so the chance that it is soon.

use crate::ewma::Millis;

/// A count of uses that halves every ten minutes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    uses: f64,
    at: Millis,
}

impl Usage {
    const HALF_LIFE_MS: f64 = 600_000.0;
    /// What is meant by soon.
    const SOON_MS: f64 = 120_000.0;

    /// It is used at `now`.
    pub fn note(&mut self, now: Millis) {
        self.uses = self.left(now) + 1.0;
        self.at = now;
    }

    fn left(&self, now: Millis) -> f64 {
        self.uses * (-(now.saturating_sub(self.at) as f64) / Self::HALF_LIFE_MS).exp2()
    }

    /// The chance that it is used within two minutes, in 65,536ths, if uses come independently of one another: of a
    /// count that halves in H the rate is ln 2 / H times the count.
    #[must_use]
    pub fn chance(&self, now: Millis) -> u16 {
        let expected = self.left(now) * Self::SOON_MS * std::f64::consts::LN_2 / Self::HALF_LIFE_MS;
        ((1.0 - (-expected).exp()) * f64::from(u16::MAX)) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::Usage;

    #[test]
    fn what_is_used_often_or_lately_is_used_soon() {
        let mut usage = Usage::default();
        assert_eq!(usage.chance(0), 0);
        usage.note(0);
        let once = usage.chance(0);
        assert!((8_000..9_000).contains(&once), "{once}: 1 - exp(-0.139) is 13 %");
        assert!(usage.chance(600_000) < once / 2 + 300);
        for now in 0..100 {
            usage.note(now);
        }
        assert!(usage.chance(100) > 65_000);
        assert!(usage.chance(86_400_000) < 10);
    }
}
