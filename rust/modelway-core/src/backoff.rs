//! How long a model is left alone after repeated failures.

use crate::ewma::Millis;

/// Equal-jittered exponential backoff: half of `min(max, base * 2^k)` is certain, half is chance, so
/// that many clients of one backend do not all come back at the same instant.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    base_ms: Millis,
    max_ms: Millis,
}

impl Backoff {
    /// A backoff from `base_ms` to `max_ms`; a maximum below the base counts as the base.
    #[must_use]
    pub const fn new(base_ms: Millis, max_ms: Millis) -> Self {
        Self { base_ms, max_ms: if max_ms < base_ms { base_ms } else { max_ms } }
    }

    /// The delay after `failures_before` earlier openings, with `chance` in [0, 1).
    #[must_use]
    pub fn delay_ms(&self, failures_before: u32, chance: f64) -> Millis {
        let full = self
            .base_ms
            .saturating_mul(1_u64.checked_shl(failures_before).unwrap_or(u64::MAX))
            .min(self.max_ms);
        let half = full / 2;
        half + ((full - half) as f64 * chance.clamp(0.0, 1.0)) as Millis
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;

    #[test]
    fn doubles_up_to_the_maximum_and_keeps_half_certain() {
        let backoff = Backoff::new(5_000, 300_000);
        for (k, full) in
            [(0, 5_000), (1, 10_000), (5, 160_000), (6, 300_000), (64, 300_000), (u32::MAX, 300_000)]
        {
            assert_eq!(backoff.delay_ms(k, 0.0), full / 2, "k = {k}");
            assert_eq!(backoff.delay_ms(k, 1.0), full, "k = {k}");
        }
        assert_eq!(Backoff::new(10, 1).delay_ms(3, 1.0), 10);
        assert_eq!(backoff.delay_ms(0, f64::NAN), 2_500);
    }
}
