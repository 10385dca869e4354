//! How many users have a first, a second, a third request waiting: in each round of turns so many are served.
//!
//! A Fenwick tree (1994): sums of the first n counts and changes of one count, both in O(log n).

/// How many users take part in each round; rounds count from 1.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    /// `sums[n]` covers as many rounds up to n as the lowest set bit of n says; the length is 2^k + 1.
    sums: Vec<u32>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { sums: vec![0; 2] }
    }
}

impl Turns {
    /// One user more takes part in this round.
    pub(crate) fn join(&mut self, round: usize) {
        while round >= self.sums.len() {
            let all = self.upto(self.sums.len() - 1);
            let doubled = (self.sums.len() - 1) * 2;
            self.sums.resize(doubled + 1, 0);
            self.sums[doubled] = all;
        }
        self.change(round, |sum| sum + 1);
    }

    /// One user less takes part in this round.
    pub(crate) fn leave(&mut self, round: usize) {
        self.change(round, |sum| sum - 1);
    }

    /// Turns taken in the rounds up to this one.
    pub(crate) fn upto(&self, round: usize) -> u32 {
        let mut at = round.min(self.sums.len() - 1);
        let mut sum = 0;
        while at > 0 {
            sum += self.sums[at];
            at -= lowest_bit(at);
        }
        sum
    }

    fn change(&mut self, round: usize, by: impl Fn(u32) -> u32) {
        let mut at = round;
        while at < self.sums.len() {
            self.sums[at] = by(self.sums[at]);
            at += lowest_bit(at);
        }
    }
}

const fn lowest_bit(number: usize) -> usize {
    1 << number.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::Turns;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn sums_are_sums(steps in proptest::collection::vec((any::<bool>(), 1_usize..200), 0..300)) {
            let (mut turns, mut plain) = (Turns::default(), [0_u32; 200]);
            for (is_joining, round) in steps {
                if is_joining {
                    turns.join(round);
                    plain[round] += 1;
                } else if plain[round] > 0 {
                    turns.leave(round);
                    plain[round] -= 1;
                }
                for upto in [0, 1, round - 1, round, 199, 1_000] {
                    prop_assert_eq!(turns.upto(upto), plain.iter().take(upto + 1).sum::<u32>());
                }
            }
        }
    }
}
