//! The rate limit against a bucket of rational numbers, over long runs: not one answer may differ.

#![allow(clippy::unwrap_used, reason = "numbers of the tests that are known not to be zero")]

mod support;

use std::num::{NonZeroU32, NonZeroU64};

use modelway_core::Millis;
use modelway_core::rate::{Bucket, Excess, Rate};
use num_rational::Ratio;
use proptest::prelude::*;
use support::cases;

type Exact = Ratio<i128>;

/// A bucket that is filled as time passes, as everybody draws it.
struct Drawn {
    level: Exact,
    as_of: Millis,
    count: i128,
    period_ms: i128,
    burst: i128,
}

impl Drawn {
    fn pass(&mut self, now: Millis) {
        let filled = Exact::new(i128::from(now - self.as_of) * self.count, self.period_ms);
        self.level = (self.level + filled).min(Exact::from(self.burst));
        self.as_of = now;
    }

    fn charge(&mut self, cost: u64) -> Result<(), Excess> {
        let cost = i128::from(cost);
        if cost > self.burst {
            return Err(Excess::Never);
        }
        if self.level >= Exact::from(cost) {
            self.level -= Exact::from(cost);
            return Ok(());
        }
        let wait = (Exact::from(cost) - self.level) * Exact::new(self.period_ms, self.count);
        Err(Excess::Until(self.as_of + u64::try_from(wait.ceil().to_integer()).unwrap()))
    }

    fn correct(&mut self, charged: u64, real: u64) {
        let given_back = Exact::from(i128::from(charged) - i128::from(real));
        self.level = (self.level + given_back).min(Exact::from(self.burst));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(Millis),
    Charge(u64),
    /// The last charge was in truth so much.
    Correct(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop_oneof![0_u64..50, 0_u64..5_000].prop_map(Step::Wait),
        5 => prop_oneof![4 => 0_u64..10, 1 => 0_u64..400].prop_map(Step::Charge),
        1 => (0_u64..400).prop_map(Step::Correct),
    ]
}

fn agree(count: u32, period_ms: u32, burst: u64, start: Millis, steps: &[Step]) -> Result<(), TestCaseError> {
    let limit = Rate::new(
        NonZeroU32::new(count).unwrap(),
        NonZeroU32::new(period_ms).unwrap(),
        NonZeroU64::new(burst).unwrap(),
    );
    let (mut bucket, mut now) = (Bucket::default(), start);
    let (count, period_ms, burst) = (i128::from(count), i128::from(period_ms), i128::from(burst));
    let mut drawn = Drawn { level: Exact::from(burst), as_of: start, count, period_ms, burst };
    let mut last = None;
    for step in steps {
        match *step {
            Step::Wait(ms) => now += ms,
            Step::Charge(cost) => {
                drawn.pass(now);
                let answer = limit.charge(bucket, cost, now);
                prop_assert_eq!(answer.err(), drawn.charge(cost).err(), "{} at {}", cost, now);
                if let Ok(charged) = answer {
                    (bucket, last) = (charged, Some(cost));
                }
            }
            Step::Correct(real) => {
                if let Some(charged) = last.take() {
                    drawn.pass(now);
                    drawn.correct(charged, real);
                    bucket = limit.correct(bucket, charged, real, now);
                }
            }
        }
        drawn.pass(now);
        let level = drawn.level.floor().to_integer().max(0);
        prop_assert_eq!(i128::from(limit.remaining(bucket, now)), level);
        let is_full = drawn.level == Exact::from(burst);
        prop_assert_eq!(limit.full_at(bucket) <= now, is_full);
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn every_answer_is_exact(
        count in 1_u32..1_000,
        period_ms in 1_u32..100_000,
        burst in 1_u64..300,
        start in prop_oneof![Just(0), 0_u64..1 << 50],
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        agree(count, period_ms, burst, start, &steps)?;
    }
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn nothing_drifts_in_a_long_run(
        (count, period_ms) in proptest::sample::select(vec![(3, 1_000), (7, 60_001), (997, 86_400_000 / 13)]),
        steps in proptest::collection::vec(step(), 30_000),
    ) {
        agree(count, period_ms, 50, 0, &steps)?;
    }

    #[test]
    fn no_window_lets_more_pass_than_burst_and_rate(
        asked in proptest::collection::vec((0_u64..40, 1_u64..4), 2_000),
    ) {
        let [twenty, second] = [20, 1_000].map(|number| NonZeroU32::new(number).unwrap());
        let limit = Rate::new(twenty, second, NonZeroU64::new(5).unwrap());
        let (mut bucket, mut now) = (Bucket::default(), 0);
        let mut passed: Vec<(Millis, u64)> = Vec::new();
        for (wait, cost) in asked {
            now += wait;
            if let Ok(charged) = limit.charge(bucket, cost, now) {
                bucket = charged;
                passed.push((now, cost));
            }
        }
        for (first, (begin, _)) in passed.iter().enumerate() {
            let mut sum = 0;
            for (end, cost) in &passed[first..] {
                sum += cost;
                prop_assert!(sum * 1_000 <= 5 * 1_000 + (end - begin) * 20, "{} in {}..{}", sum, begin, end);
            }
        }
    }
}
