//! Limits of a rate: so many requests or tokens in so much time, with a burst, by the generic cell rate
//! algorithm (GCRA, ITU-T I.371; also "leaky bucket as a meter").
//!
//! A bucket holds at most `burst` units and fills with `count` units in `period_ms`. What is kept is one
//! number, the time at which the bucket would be full again, counted in 1 / `count` of a millisecond: then
//! one unit is exactly `period_ms` long, and no division ever rounds. A worked example: 20 units a second,
//! burst 5. A unit is worth 50 ms. Five requests pass at 0; the bucket is full again at 250 ms; the sixth
//! passes at 50 ms.
//!
//! A decision is a pure function from a state to the next one, so several limits can be asked first and
//! charged together.

use std::num::{NonZeroU32, NonZeroU64};

use crate::ewma::Millis;

/// How much may pass in how much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    period_ms: NonZeroU32,
    burst: NonZeroU64,
}

/// The state of one bucket; the default is a full one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When it is full again, in milliseconds times `count`. Time and units are each worth less than 2^96, so
    /// that only 2^32 of the largest corrections reach the end of a `u128`, where sums stay.
    full_at: u128,
}

/// Why something may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It may at this time, if nothing else passes before.
    Until(Millis),
    /// It is more than the limit ever lets pass at once.
    Never,
}

impl Rate {
    /// `count` units in `period_ms`, of which up to `burst` at once.
    #[must_use]
    pub const fn new(count: NonZeroU32, period_ms: NonZeroU32, burst: NonZeroU64) -> Self {
        Self { count, period_ms, burst }
    }

    /// The bucket after `cost` units more.
    ///
    /// # Errors
    /// When they may pass, if ever.
    pub fn charge(&self, bucket: Bucket, cost: u64, now: Millis) -> Result<Bucket, Excess> {
        if cost > self.burst.get() {
            return Err(Excess::Never);
        }
        let full_at = bucket.full_at.max(self.scaled(now)).saturating_add(self.worth(cost));
        let latest = self.scaled(now) + self.worth(self.burst.get());
        if full_at <= latest {
            return Ok(Bucket { full_at });
        }
        Err(Excess::Until(self.passes_at(full_at)))
    }

    /// The bucket after `cost` units more, and when they may pass: units are given out in the order of asking, also
    /// before they are there.
    ///
    /// # Errors
    /// [`Excess::Never`].
    pub fn reserve(&self, bucket: Bucket, cost: u64, now: Millis) -> Result<(Bucket, Millis), Excess> {
        if cost > self.burst.get() {
            return Err(Excess::Never);
        }
        let full_at = bucket.full_at.max(self.scaled(now)).saturating_add(self.worth(cost));
        Ok((Bucket { full_at }, self.passes_at(full_at).max(now)))
    }

    /// When a bucket that is full again at `full_at` has no debt.
    fn passes_at(&self, full_at: u128) -> Millis {
        self.unscaled(full_at.saturating_sub(self.worth(self.burst.get())))
    }

    /// The bucket when what was charged as `charged` turns out to be `real`. More than was thought may
    /// leave a debt that the next ones wait for; less is given back, up to a full bucket.
    #[must_use]
    pub fn correct(&self, bucket: Bucket, charged: u64, real: u64, now: Millis) -> Bucket {
        let full_at = if real >= charged {
            bucket.full_at.max(self.scaled(now)).saturating_add(self.worth(real - charged))
        } else {
            bucket.full_at.saturating_sub(self.worth(charged - real))
        };
        Bucket { full_at }
    }

    /// The bucket of another rate under this one: it is full again at the same time, to the millisecond.
    #[must_use]
    pub fn adopt(&self, bucket: Bucket, from: &Self) -> Bucket {
        if self.count == from.count { bucket } else { Bucket { full_at: self.scaled(from.full_at(bucket)) } }
    }

    /// Whole units that may pass at `now`.
    #[must_use]
    pub fn remaining(&self, bucket: Bucket, now: Millis) -> u64 {
        let missing = bucket.full_at.saturating_sub(self.scaled(now));
        let room = self.worth(self.burst.get()).saturating_sub(missing);
        // At most `burst`, so it fits.
        (room / u128::from(self.period_ms.get())) as u64
    }

    /// When the bucket is full again: from then on it is as one that was never used.
    #[must_use]
    pub fn full_at(&self, bucket: Bucket) -> Millis {
        self.unscaled(bucket.full_at)
    }

    /// The first millisecond that is not before. Nearly every time fits 64 bits, whose division is ten times as
    /// quick as that of 128.
    fn unscaled(&self, scaled: u128) -> Millis {
        let count = self.count.get();
        if let Ok(scaled) = u64::try_from(scaled) {
            return scaled.div_ceil(count.into());
        }
        Millis::try_from(scaled.div_ceil(count.into())).unwrap_or(Millis::MAX)
    }

    /// How many units pass in a period.
    #[must_use]
    pub fn count(&self) -> u64 {
        u64::from(self.count.get())
    }

    /// That period.
    #[must_use]
    pub fn period_ms(&self) -> Millis {
        Millis::from(self.period_ms.get())
    }

    /// The most that passes at once.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.burst.get()
    }

    fn scaled(&self, time: Millis) -> u128 {
        u128::from(time) * u128::from(self.count.get())
    }

    fn worth(&self, units: u64) -> u128 {
        u128::from(units) * u128::from(self.period_ms.get())
    }
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Excess, Rate};
    use std::num::{NonZeroU32, NonZeroU64};

    fn rate(count: u32, period_ms: u32, burst: u64) -> Rate {
        Rate::new(
            NonZeroU32::new(count).unwrap(),
            NonZeroU32::new(period_ms).unwrap(),
            NonZeroU64::new(burst).unwrap(),
        )
    }

    #[test]
    fn the_worked_example() {
        let limit = rate(20, 1_000, 5);
        let mut bucket = Bucket::default();
        for left in (0..5).rev() {
            bucket = limit.charge(bucket, 1, 0).unwrap();
            assert_eq!(limit.remaining(bucket, 0), left);
        }
        assert_eq!(limit.full_at(bucket), 250);
        assert_eq!(limit.charge(bucket, 1, 49), Err(Excess::Until(50)));
        assert!(limit.charge(bucket, 1, 50).is_ok());
    }

    #[test]
    fn cases() {
        // count, period, burst, what is spent at 0, cost, now, answer
        for (count, period_ms, burst, spent, cost, now, excess) in [
            (3, 1_000, 1, 1, 1, 333, Some(Excess::Until(334))),
            (3, 1_000, 1, 1, 1, 334, None),
            (1, 1, 1, 1, 1, 0, Some(Excess::Until(1))),
            (10, 1_000, 10, 10, 10, 0, Some(Excess::Until(1_000))),
            (10, 1_000, 10, 10, 11, 5_000, Some(Excess::Never)),
            (10, 1_000, 10, 10, 0, 0, None),
            (u32::MAX, u32::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, None),
            (1, u32::MAX, u64::MAX, u64::MAX, u64::MAX, 0, Some(Excess::Until(u64::MAX))),
        ] {
            let limit = rate(count, period_ms, burst);
            let bucket = limit.charge(Bucket::default(), spent, 0).unwrap();
            assert_eq!(
                limit.charge(bucket, cost, now).err(),
                excess,
                "{count}/{period_ms} ms, {cost} at {now}"
            );
        }
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away() {
        let limit = rate(1, 1_000, 1);
        let bucket = limit.charge(Bucket::default(), 1, 5_000).unwrap();
        assert_eq!(limit.charge(bucket, 1, 4_000), Err(Excess::Until(6_000)));
    }

    #[test]
    fn who_reserves_comes_in_turn() {
        let limit = rate(20, 1_000, 2);
        let mut bucket = Bucket::default();
        let mut passes = Vec::new();
        for now in [0, 0, 0, 0, 70, 500] {
            let (next, at) = limit.reserve(bucket, 1, now).unwrap();
            bucket = next;
            passes.push(at);
        }
        assert_eq!(passes, [0, 0, 50, 100, 150, 500]);
        assert_eq!(limit.reserve(bucket, 3, 500), Err(Excess::Never));
        assert_eq!(limit.charge(limit.correct(bucket, 1, 0, 500), 2, 500).map(|_| ()), Ok(()));
    }

    #[test]
    fn another_rate_takes_over_what_was_used() {
        let (old, new) = (rate(20, 1_000, 5), rate(3, 1_000, 9));
        let bucket = old.charge(Bucket::default(), 4, 1_000).unwrap();
        assert_eq!(new.full_at(new.adopt(bucket, &old)), 1_200);
        assert_eq!(old.adopt(bucket, &rate(20, 500, 1)), bucket);
    }

    #[test]
    fn the_true_cost_is_charged_in_the_end() {
        let limit = rate(100, 1_000, 100);
        let bucket = limit.charge(Bucket::default(), 100, 0).unwrap();
        assert_eq!(limit.remaining(limit.correct(bucket, 100, 30, 0), 0), 70);
        let in_debt = limit.correct(bucket, 100, 150, 0);
        assert_eq!(limit.charge(in_debt, 1, 0), Err(Excess::Until(510)));
        assert_eq!(limit.remaining(in_debt, 0), 0);
        assert_eq!(
            limit.remaining(limit.correct(bucket, 100, 0, 900), 900),
            100,
            "never more than a full bucket"
        );
        let late = limit.correct(bucket, 100, 130, 5_000);
        assert_eq!(limit.remaining(late, 5_000), 70, "a bucket that was full again pays all the same");
    }
}
