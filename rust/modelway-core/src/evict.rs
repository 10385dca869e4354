//! Which idle models give their memory back so that another fits: the set that costs least.
//!
//! What evicting a model costs is the time to load it again times how often it is used; what it gives are
//! its bytes. The cheapest set that gives enough is found by branch and bound, with the bound that fractions of models
//! could be evicted. The search ends after [`NODES`] steps with the best set it has seen; the first one it sees is that
//! of a greedy choice, so it is never worse than that. With nine idle models it always ends by itself.

use smallvec::SmallVec;

/// A model that may be evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Victim<K> {
    /// Which.
    pub model: K,
    /// What it gives.
    pub bytes: u64,
    /// What it costs, in any unit that adds up.
    pub cost: u64,
}

/// So many steps take some 5 us.
const NODES: u32 = 1_024;

/// Models whose bytes together are at least `needed`, at the least cost; of sets that cost the same one of those that
/// are smallest. `None`: all together are not enough. Nothing needed takes nobody.
#[must_use]
pub fn cheapest<K: Copy>(victims: &[Victim<K>], needed: u64) -> Option<SmallVec<[K; 2]>> {
    if needed == 0 {
        return Some(SmallVec::new());
    }
    let mut sorted: SmallVec<[Victim<K>; 16]> =
        victims.iter().filter(|victim| victim.bytes > 0).copied().collect();
    if sorted.iter().fold(0_u64, |sum, victim| sum.saturating_add(victim.bytes)) < needed {
        return None;
    }
    // The cheapest byte first; of equals the larger model, as it makes the smaller set.
    sorted.sort_by(|a, b| {
        let (ours, theirs) =
            (u128::from(a.cost) * u128::from(b.bytes), u128::from(b.cost) * u128::from(a.bytes));
        ours.cmp(&theirs).then(b.bytes.cmp(&a.bytes))
    });
    let mut search = Search { sorted: &sorted, chosen: SmallVec::new(), best: None, nodes: 0 };
    search.visit(0, needed, 0);
    let (_, best) = search.best?;
    Some(best.into_iter().map(|index| sorted[index].model).collect())
}

struct Search<'a, K> {
    sorted: &'a [Victim<K>],
    chosen: SmallVec<[usize; 16]>,
    best: Option<(u64, SmallVec<[usize; 16]>)>,
    nodes: u32,
}

impl<K> Search<'_, K> {
    /// Goes through the sets that hold what is chosen and any of the models from `from` on.
    fn visit(&mut self, from: usize, needed: u64, cost: u64) {
        self.nodes += 1;
        if needed == 0 {
            if self.best.as_ref().is_none_or(|(least, set)| (cost, self.chosen.len()) < (*least, set.len())) {
                self.best = Some((cost, self.chosen.clone()));
            }
            return;
        }
        if (self.nodes > NODES && self.best.is_some()) || !self.can_win(from, needed, cost) {
            return;
        }
        let Some(victim) = self.sorted.get(from) else { return };
        self.chosen.push(from);
        self.visit(from + 1, needed.saturating_sub(victim.bytes), cost.saturating_add(victim.cost));
        self.chosen.pop();
        self.visit(from + 1, needed, cost);
    }

    /// Whether models from `from` on suffice, and could cost less than the best, or as little in a smaller set.
    fn can_win(&self, from: usize, needed: u64, cost: u64) -> bool {
        let mut left = needed;
        let mut least = cost;
        for victim in &self.sorted[from..] {
            if victim.bytes >= left {
                // A part of it would do; rounded down, as the bound must never be too high.
                let part = u128::from(victim.cost) * u128::from(left) / u128::from(victim.bytes);
                least = least.saturating_add(u64::try_from(part).unwrap_or(u64::MAX));
                return self.best.as_ref().is_none_or(|(best, set)| {
                    least < *best || (least == *best && self.chosen.len() + 1 < set.len())
                });
            }
            left -= victim.bytes;
            least = least.saturating_add(victim.cost);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::{Victim, cheapest};

    /// Every set, one after the other.
    fn brute_force(victims: &[Victim<usize>], needed: u64) -> Option<(u64, usize)> {
        (0_u32..1 << victims.len())
            .filter_map(|set| {
                let chosen =
                    || victims.iter().enumerate().filter(move |(i, _)| set >> i & 1 == 1).map(|(_, v)| v);
                let is_enough = chosen().map(|victim| victim.bytes).sum::<u64>() >= needed;
                is_enough.then(|| (chosen().map(|victim| victim.cost).sum(), set.count_ones() as usize))
            })
            .min()
    }

    #[test]
    fn the_dear_one_stays_and_one_large_beats_two_small() {
        let victim = |model, bytes, cost| Victim { model, bytes, cost };
        let idle = [victim(0, 8, 900), victim(1, 4, 10), victim(2, 4, 10), victim(3, 8, 20)];
        assert_eq!(cheapest(&idle, 0).unwrap().as_slice(), &[] as &[i32]);
        assert_eq!(cheapest(&idle, 4).unwrap().len(), 1);
        assert_eq!(cheapest(&idle, 8).unwrap().as_slice(), [3], "as dear as 1 and 2, in one");
        assert_eq!(cheapest(&idle, 16).unwrap().len(), 3);
        assert_eq!(cheapest(&idle, 24).unwrap().len(), 4);
        assert_eq!(cheapest(&idle, 25), None);
        assert_eq!(cheapest(&[victim(0, u64::MAX, u64::MAX); 3], u64::MAX).unwrap().len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(7), failure_persistence: None, cases: 2_000, ..ProptestConfig::default()
        })]

        #[test]
        fn no_set_is_cheaper(
            models in proptest::collection::vec((0_u64..20, 0_u64..30), 0..9),
            needed in 0_u64..100,
        ) {
            let victims: Vec<_> =
                models.iter().enumerate().map(|(model, (bytes, cost))| Victim { model, bytes: *bytes, cost: *cost }).collect();
            let found = cheapest(&victims, needed);
            let cost = found.as_ref().map(|set| set.iter().map(|model| victims[*model].cost).sum::<u64>());
            prop_assert_eq!(cost, brute_force(&victims, needed).map(|(cost, _)| cost));
            if let Some(set) = found {
                prop_assert!(set.iter().map(|model| victims[*model].bytes).sum::<u64>() >= needed);
            }
        }

        #[test]
        fn many_models_take_no_longer_and_suffice(
            models in proptest::collection::vec((1_u64..1_000_000, 0_u64..1_000_000), 50..60),
            percent in 1_u64..100,
        ) {
            let victims: Vec<_> =
                models.iter().enumerate().map(|(model, (bytes, cost))| Victim { model, bytes: *bytes, cost: *cost }).collect();
            let needed = victims.iter().map(|victim| victim.bytes).sum::<u64>() * percent / 100;
            let set = cheapest(&victims, needed).unwrap();
            prop_assert!(set.iter().map(|model| victims[*model].bytes).sum::<u64>() >= needed);
        }
    }
}
