//! What is known of the models at the moment of a decision, beside what the table says of them.

use crate::ewma::Millis;
use crate::model_set::{ModelIndex, ModelSet};
use crate::named::named_enum;

/// The models of a table as they are now. There is none while all is well and nobody waits.
#[derive(Clone, Debug, Default)]
pub struct Live {
    unavailable: ModelSet,
    burdens: Vec<Burden>,
}

/// What speaks against a model beside others that are equal otherwise; less is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Burden {
    /// It has failed too often lately.
    pub is_ailing: bool,
    /// How long a newcomer would wait, in whole seconds begun: noise must not send requests to and fro.
    pub wait_s: u64,
}

named_enum! {
    /// What decided among models that are equal otherwise.
    TieBreak {
        /// Another has failed lately.
        Health => "health",
        /// Another would take longer to begin.
        Wait => "wait",
    }
}

impl Burden {
    /// That of a model with this health and this queue.
    #[must_use]
    pub const fn new(is_ailing: bool, wait_ms: Millis) -> Self {
        Self { is_ailing, wait_s: wait_ms.div_ceil(1_000) }
    }

    /// Why this is less than `other`, if it is.
    #[must_use]
    pub fn less_for(self, other: Self) -> Option<TieBreak> {
        if self >= other {
            None
        } else if self.is_ailing == other.is_ailing {
            Some(TieBreak::Wait)
        } else {
            Some(TieBreak::Health)
        }
    }
}

impl Live {
    /// The view of a table's models, in its order: whether each may be asked now, and its burden. `None`: nothing
    /// speaks against any.
    pub fn of(models: impl ExactSizeIterator<Item = (bool, Burden)>) -> Option<Box<Self>> {
        let mut live = Self { unavailable: ModelSet::none(models.len()), burdens: Vec::new() };
        let mut is_plain = true;
        live.burdens.reserve_exact(models.len());
        for (index, (is_available, burden)) in (0..).zip(models) {
            if !is_available {
                live.unavailable.insert(index);
            }
            is_plain = is_plain && is_available && burden == Burden::default();
            live.burdens.push(burden);
        }
        (!is_plain).then(|| Box::new(live))
    }

    /// Whether the model may be asked.
    #[must_use]
    pub fn is_available(&self, model: ModelIndex) -> bool {
        !self.unavailable.contains(model)
    }

    /// What speaks against it.
    #[must_use]
    pub fn burden(&self, model: ModelIndex) -> Burden {
        self.burdens.get(usize::from(model)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Burden, Live, TieBreak};

    #[test]
    fn health_comes_before_waiting_and_waiting_counts_by_seconds() {
        for (ours, theirs, why) in [
            ((false, 0), (false, 0), None),
            ((false, 0), (false, 1), Some(TieBreak::Wait)),
            ((false, 1), (false, 1_000), None),
            ((false, 1_000), (false, 1_001), Some(TieBreak::Wait)),
            ((false, 9_000), (true, 0), Some(TieBreak::Health)),
            ((true, 0), (false, 9_000), None),
            ((true, 0), (true, 10), Some(TieBreak::Wait)),
        ] {
            let of = |(is_ailing, wait_ms)| Burden::new(is_ailing, wait_ms);
            assert_eq!(of(ours).less_for(of(theirs)), why, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn there_is_none_where_nothing_speaks_against_anybody() {
        let plain = (true, Burden::default());
        assert!(Live::of([plain, plain].into_iter()).is_none());
        let live = Live::of([plain, (false, Burden::default())].into_iter()).unwrap();
        assert!(live.is_available(0) && !live.is_available(1));
        let live = Live::of([plain, (true, Burden::new(false, 1))].into_iter()).unwrap();
        assert_eq!(
            (live.is_available(1), live.burden(1).wait_s, live.burden(7)),
            (true, 1, Burden::default())
        );
    }
}
