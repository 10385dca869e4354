//! Rates of requests and of tokens together, for one model, one backend or one user: both let a request
//! pass, or neither is charged.

use crate::ewma::Millis;
use crate::named::named_enum;
use crate::rate::{Bucket, Excess, Rate};

named_enum! {
    /// What is counted.
    Unit {
        /// Requests.
        Requests => "requests",
        /// Tokens, read and written.
        Tokens => "tokens",
    }
}

/// A limit that a request is beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// What it limits.
    pub unit: Unit,
    /// When the request may pass, if ever.
    pub excess: Excess,
}

impl Exceeded {
    /// Of two the one that keeps a request longer.
    pub(crate) fn later(self, other: Self) -> Self {
        match (self.excess, other.excess) {
            (Excess::Until(ours), Excess::Until(theirs)) if theirs > ours => other,
            (Excess::Until(_), Excess::Never) => other,
            _ => self,
        }
    }
}

/// The rates in force; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of requests.
    pub requests: Option<Rate>,
    /// Of tokens.
    pub tokens: Option<Rate>,
}

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// What a full bucket or a new window holds.
    pub limit: u64,
    /// What is left now.
    pub remaining: u64,
    /// When all of it is there again, if nothing else is used.
    pub reset_at: Millis,
}

/// What a request is charged as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// 1; 0 for one that repeats another of the same user.
    pub requests: u64,
    /// Tokens, read and written.
    pub tokens: u64,
}

impl Charge {
    /// A request of so many tokens.
    #[must_use]
    pub const fn of(tokens: u64) -> Self {
        Self { requests: 1, tokens }
    }

    /// A request that repeats one which failed: of the user's it is the same.
    #[must_use]
    pub const fn again(tokens: u64) -> Self {
        Self { requests: 0, tokens }
    }
}

/// What these limits have let pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    requests: Bucket,
    tokens: Bucket,
}

impl Limits {
    /// The meter after one request more.
    ///
    /// # Errors
    /// The limit that keeps it longest.
    pub fn charge(&self, meter: Meter, of: Charge, now: Millis) -> Result<Meter, Exceeded> {
        let requests = charge(self.requests.as_ref(), meter.requests, of.requests, now);
        let tokens = charge(self.tokens.as_ref(), meter.tokens, of.tokens, now);
        both(
            requests.map_err(|excess| Exceeded { unit: Unit::Requests, excess }),
            tokens.map_err(|excess| Exceeded { unit: Unit::Tokens, excess }),
        )
        .map(|(requests, tokens)| Meter { requests, tokens })
    }

    /// The meter when a request charged as `charged` tokens turns out to cost `real`.
    #[must_use]
    pub fn correct(&self, meter: Meter, charged: u64, real: u64, now: Millis) -> Meter {
        Meter { tokens: correct(self.tokens.as_ref(), meter.tokens, charged, real, now), ..meter }
    }

    /// The meter without a request that was charged so and did not happen.
    #[must_use]
    pub fn undo(&self, meter: Meter, charged: Charge, now: Millis) -> Meter {
        let requests = correct(self.requests.as_ref(), meter.requests, charged.requests, 0, now);
        Meter { requests, ..self.correct(meter, charged.tokens, 0, now) }
    }

    /// The meter of other limits under these.
    #[must_use]
    pub fn adopt(&self, meter: Meter, from: &Self) -> Meter {
        Meter {
            requests: adopt(self.requests.as_ref(), meter.requests, from.requests.as_ref()),
            tokens: adopt(self.tokens.as_ref(), meter.tokens, from.tokens.as_ref()),
        }
    }

    /// What may pass at `now`: of requests, of tokens; `None` without a limit.
    #[must_use]
    pub fn left(&self, meter: Meter, now: Millis) -> (Option<Left>, Option<Left>) {
        let left = |rate: Option<Rate>, bucket| {
            rate.map(|rate| Left {
                limit: rate.burst(),
                remaining: rate.remaining(bucket, now),
                reset_at: rate.full_at(bucket).max(now),
            })
        };
        (left(self.requests, meter.requests), left(self.tokens, meter.tokens))
    }

    /// When the meter is again as if never used.
    #[must_use]
    pub fn clear_at(&self, meter: Meter) -> Millis {
        let requests = self.requests.map_or(0, |rate| rate.full_at(meter.requests));
        requests.max(self.tokens.map_or(0, |rate| rate.full_at(meter.tokens)))
    }

    /// Whether a request of so many tokens could never pass.
    #[must_use]
    pub fn is_never(&self, tokens: u64) -> bool {
        self.tokens.is_some_and(|rate| tokens > rate.burst())
    }
}

/// Both, or of two errors the one that lasts longer.
pub(crate) fn both<A, B>(a: Result<A, Exceeded>, b: Result<B, Exceeded>) -> Result<(A, B), Exceeded> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => Err(a.later(b)),
        (Err(why), Ok(_)) | (Ok(_), Err(why)) => Err(why),
    }
}

fn charge(rate: Option<&Rate>, bucket: Bucket, cost: u64, now: Millis) -> Result<Bucket, Excess> {
    rate.map_or(Ok(bucket), |rate| rate.charge(bucket, cost, now))
}

/// A bucket begins full where there was no limit before.
fn adopt(rate: Option<&Rate>, bucket: Bucket, from: Option<&Rate>) -> Bucket {
    match (rate, from) {
        (Some(rate), Some(from)) => rate.adopt(bucket, from),
        _ => Bucket::default(),
    }
}

fn correct(rate: Option<&Rate>, bucket: Bucket, charged: u64, real: u64, now: Millis) -> Bucket {
    rate.map_or(bucket, |rate| rate.correct(bucket, charged, real, now))
}

#[cfg(test)]
mod tests {
    use super::{Charge, Exceeded, Left, Limits, Meter, Unit};
    use crate::rate::{Excess, Rate};
    use std::num::{NonZeroU32, NonZeroU64};

    fn rate(count: u32, burst: u64) -> Rate {
        let second = NonZeroU32::new(1_000).unwrap();
        Rate::new(NonZeroU32::new(count).unwrap(), second, NonZeroU64::new(burst).unwrap())
    }

    fn remaining(limits: &Limits, meter: Meter) -> (Option<u64>, Option<u64>) {
        let (requests, tokens) = limits.left(meter, 0);
        (requests.map(|left| left.remaining), tokens.map(|left| left.remaining))
    }

    #[test]
    fn both_rates_or_neither() {
        let limits = Limits { requests: Some(rate(1, 2)), tokens: Some(rate(100, 100)) };
        let meter = limits.charge(Meter::default(), Charge::of(80), 0).unwrap();
        assert_eq!(remaining(&limits, meter), (Some(1), Some(20)));
        let left = Some(Left { limit: 2, remaining: 1, reset_at: 1_000 });
        assert_eq!(limits.left(meter, 0).0, left);
        assert_eq!(limits.left(meter, 5_000).0, Some(Left { limit: 2, remaining: 2, reset_at: 5_000 }));
        let why = limits.charge(meter, Charge::of(30), 0).unwrap_err();
        assert_eq!(why, Exceeded { unit: Unit::Tokens, excess: Excess::Until(100) });
        let meter = limits.charge(meter, Charge::of(20), 0).unwrap();
        let why = limits.charge(meter, Charge::of(10), 0).unwrap_err();
        assert_eq!(why, Exceeded { unit: Unit::Requests, excess: Excess::Until(1_000) }, "the longer wait");
        assert_eq!(limits.charge(meter, Charge::of(101), 0).unwrap_err().excess, Excess::Never);
        assert!(limits.is_never(101) && !limits.is_never(100));
        assert_eq!(limits.clear_at(meter), 2_000);
    }

    #[test]
    fn what_did_not_happen_leaves_no_trace() {
        let limits = Limits { requests: Some(rate(1, 2)), tokens: Some(rate(100, 100)) };
        let meter = limits.charge(Meter::default(), Charge::of(80), 0).unwrap();
        assert_eq!(remaining(&limits, limits.undo(meter, Charge::of(80), 0)), (Some(2), Some(100)));
        assert_eq!(remaining(&limits, limits.correct(meter, 80, 100, 0)), (Some(1), Some(0)));
        let none = Limits::default();
        assert_eq!(none.charge(Meter::default(), Charge::of(u64::MAX), 0), Ok(Meter::default()));
        assert_eq!(remaining(&none, meter), (None, None));
    }
}
