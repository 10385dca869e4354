//! Two counts over a sliding stretch of time, in ten buckets: exact about what it holds, and no older than a
//! tenth of the stretch more or less.

use crate::ewma::Millis;

/// How often each of two things happened lately.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    bucket_ms: Millis,
    /// The number of the newest bucket: its time divided by `bucket_ms`.
    newest: u64,
    /// When it ends: before that nothing has to be divided.
    ends_at: Millis,
    /// The bucket with number n is at n modulo their count.
    counts: [(u64, u64); Self::BUCKETS as usize],
}

impl Window {
    const BUCKETS: u64 = 10;

    /// A window of the last `span_ms`, the present bucket among them.
    pub(crate) const fn new(span_ms: Millis) -> Self {
        let bucket_ms = if span_ms < Self::BUCKETS { 1 } else { span_ms / Self::BUCKETS };
        Self { bucket_ms, newest: 0, ends_at: bucket_ms, counts: [(0, 0); Self::BUCKETS as usize] }
    }

    /// Another stretch of time: what was counted is forgotten, unless it is the same.
    pub(crate) const fn set_span(&mut self, span_ms: Millis) {
        let other = Self::new(span_ms);
        if other.bucket_ms != self.bucket_ms {
            *self = other;
        }
    }

    /// Counts so many more of both. When the clock steps back they count as now.
    pub(crate) fn add(&mut self, first: u64, second: u64, now: Millis) {
        if now >= self.ends_at {
            let bucket = now / self.bucket_ms;
            // Beyond ten all are old, and one round clears them.
            let passed = (bucket - self.newest).min(Self::BUCKETS);
            for number in bucket + 1 - passed..=bucket {
                self.counts[(number % Self::BUCKETS) as usize] = (0, 0);
            }
            self.newest = bucket;
            self.ends_at = (bucket + 1).saturating_mul(self.bucket_ms);
        }
        let newest = &mut self.counts[(self.newest % Self::BUCKETS) as usize];
        *newest = (newest.0 + first, newest.1 + second);
    }

    /// How often both happened in the window that ends now.
    pub(crate) fn totals(&self, now: Millis) -> (u64, u64) {
        let passed = (now / self.bucket_ms).saturating_sub(self.newest);
        let kept = Self::BUCKETS.saturating_sub(passed).min(self.newest + 1);
        (self.newest + 1 - kept..=self.newest)
            .map(|number| self.counts[(number % Self::BUCKETS) as usize])
            .fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.counts = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::Window;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    #[test]
    fn counts_leave_bucket_by_bucket() {
        let mut window = Window::new(1_000);
        window.add(1, 0, 0);
        window.add(2, 5, 99);
        window.add(0, 1, 100);
        for (now, totals) in
            [(100, (3, 6)), (999, (3, 6)), (1_000, (0, 1)), (1_100, (0, 0)), (99_999, (0, 0))]
        {
            assert_eq!(window.totals(now), totals, "at {now}");
        }
        window.add(7, 0, 5_000);
        assert_eq!(window.totals(5_000), (7, 0));
        window.add(1, 1, 4_000);
        assert_eq!(window.totals(5_000), (8, 1), "a clock that steps back");
        window.clear();
        assert_eq!(window.totals(5_000), (0, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn holds_what_fell_in_the_last_ten_buckets(
            span_ms in 1_u64..200,
            events in proptest::collection::vec((0_u64..60, 0_u64..3, 0_u64..3), 0..100),
        ) {
            let mut window = Window::new(span_ms);
            let (mut now, mut all) = (0, Vec::new());
            for (wait, first, second) in events {
                now += wait;
                window.add(first, second, now);
                all.push((now / (span_ms / 10).max(1), first, second));
            }
            for later in [now, now + span_ms / 2, now + span_ms] {
                let newest = later / (span_ms / 10).max(1);
                let recent = all.iter().filter(|(bucket, ..)| bucket + 10 > newest);
                let sums = recent.fold((0, 0), |sum, (_, first, second)| (sum.0 + first, sum.1 + second));
                prop_assert_eq!(window.totals(later), sums);
            }
        }
    }
}
