//! What is known of the models at the moment of a decision, beside what the table says of them.

use std::sync::Arc;

use crate::ewma::Millis;
use crate::first_token::Budgets;
use crate::model_set::ModelIndex;
use crate::named::named_enum;

/// The models of a table as they are now. There is none while nothing speaks against any of them.
#[derive(Clone, Debug)]
pub struct Live(Vec<Outlook>);

/// What a request would find at one model.
#[derive(Clone, Copy, Debug)]
pub struct Outlook {
    /// Whether it may be asked.
    pub is_available: bool,
    /// Whether it has failed too often lately.
    pub is_ailing: bool,
    /// When its first token may be expected once it is asked; `None`: nobody knows.
    pub first_token_ms: Option<Millis>,
    /// How long a newcomer would wait before that.
    pub wait_ms: Millis,
    /// Whether it would have to be loaded first, or is being loaded.
    pub is_cold: bool,
}

/// What speaks against a model beside others that are equal otherwise; less is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Burden {
    /// It has failed too often lately.
    pub is_ailing: bool,
    /// Its first token would come after the budget of the task.
    pub is_late: bool,
    /// How long a newcomer would wait, in whole seconds begun: noise must not send requests to and fro.
    pub wait_s: u64,
}

named_enum! {
    /// What decided among models that are equal otherwise.
    TieBreak {
        /// Another has failed lately.
        Health => "health",
        /// The first token of another would come too late for the task.
        Budget => "budget",
        /// Another would take longer to begin.
        Wait => "wait",
        /// The licence of another is less free.
        License => "license",
    }
}

impl Outlook {
    /// That of a model that is well and free.
    #[must_use]
    pub const fn fair(first_token_ms: Option<Millis>) -> Self {
        Self { is_available: true, is_ailing: false, first_token_ms, wait_ms: 0, is_cold: false }
    }

    /// What speaks against the model for a task with this budget.
    #[must_use]
    pub fn burden(&self, budget_ms: Millis) -> Burden {
        let first_token_ms = self.first_token_ms.map(|expected_ms| expected_ms.saturating_add(self.wait_ms));
        Burden {
            is_ailing: self.is_ailing,
            is_late: first_token_ms.is_some_and(|expected_ms| expected_ms > budget_ms),
            wait_s: self.wait_ms.div_ceil(1_000),
        }
    }

    /// Whether nothing speaks against the model for any task.
    fn is_plain(&self, budgets: &Budgets) -> bool {
        let is_well_and_free = self.is_available && !self.is_ailing && self.wait_ms == 0;
        is_well_and_free && budgets.exceeded(self.first_token_ms) == [false; 3]
    }
}

impl Burden {
    /// Why this is less than `other`, if it is.
    #[must_use]
    pub fn less_for(self, other: Self) -> Option<TieBreak> {
        if self >= other {
            None
        } else if self.is_ailing != other.is_ailing {
            Some(TieBreak::Health)
        } else if self.is_late != other.is_late {
            Some(TieBreak::Budget)
        } else {
            Some(TieBreak::Wait)
        }
    }
}

impl Live {
    /// The view of a table's models, in its order. `None`: nothing speaks against any. Shared: nearly always many
    /// decisions see the same, and each keeps what it was made from.
    pub fn of(models: impl Iterator<Item = Outlook>, budgets: &Budgets) -> Option<Arc<Self>> {
        let models: Vec<Outlook> = models.collect();
        let is_plain = models.iter().all(|model| model.is_plain(budgets));
        (!is_plain).then(|| Arc::new(Self(models)))
    }

    /// Whether the model may be asked.
    #[must_use]
    pub fn is_available(&self, model: ModelIndex) -> bool {
        self.0.get(usize::from(model)).is_none_or(|outlook| outlook.is_available)
    }

    /// Whether it would have to be loaded first.
    #[must_use]
    pub fn is_cold(&self, model: ModelIndex) -> bool {
        self.0.get(usize::from(model)).is_some_and(|outlook| outlook.is_cold)
    }

    /// What speaks against it for a task with this budget.
    #[must_use]
    pub fn burden(&self, model: ModelIndex, budget_ms: Millis) -> Burden {
        self.0.get(usize::from(model)).map_or_else(Burden::default, |outlook| outlook.burden(budget_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::{Budgets, Burden, Live, Outlook, TieBreak};

    const BUDGETS: Budgets = Budgets { quick_ms: 100, standard_ms: 2_000, deep_ms: 30_000 };

    #[test]
    fn health_comes_before_the_budget_and_that_before_waiting_which_counts_by_seconds() {
        let slow = Some(2_500);
        for (ours, theirs, why) in [
            ((false, None, 0), (false, None, 0), None),
            ((false, None, 0), (false, None, 1), Some(TieBreak::Wait)),
            ((false, None, 1), (false, None, 1_000), None),
            ((false, None, 1_000), (false, None, 1_001), Some(TieBreak::Wait)),
            ((false, None, 9_000), (true, None, 0), Some(TieBreak::Health)),
            ((true, None, 0), (false, None, 9_000), None),
            ((true, None, 0), (true, None, 10), Some(TieBreak::Wait)),
            ((false, None, 9_000), (false, slow, 0), Some(TieBreak::Budget)),
            ((false, slow, 0), (true, None, 0), Some(TieBreak::Health)),
            ((false, slow, 0), (false, slow, 1), Some(TieBreak::Wait)),
            ((false, Some(2_000), 0), (false, slow, 0), Some(TieBreak::Budget)),
            ((false, Some(1), 1_999), (false, Some(1), 2_000), Some(TieBreak::Budget)),
        ] {
            let of = |(is_ailing, first_token_ms, wait_ms)| {
                let outlook = Outlook { is_ailing, wait_ms, ..Outlook::fair(first_token_ms) };
                outlook.burden(BUDGETS.standard_ms)
            };
            assert_eq!(of(ours).less_for(of(theirs)), why, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn there_is_none_where_nothing_speaks_against_anybody() {
        let plain = Outlook::fair(Some(100));
        assert!(Live::of([plain, Outlook::fair(None)].into_iter(), &BUDGETS).is_none());
        let of = |other| Live::of([plain, other].into_iter(), &BUDGETS).unwrap();
        let live = of(Outlook { is_available: false, ..plain });
        assert!(live.is_available(0) && !live.is_available(1) && live.is_available(7));
        let live = of(Outlook { wait_ms: 1, ..plain });
        assert_eq!((live.is_available(1), live.burden(1, 2_000).wait_s), (true, 1));
        assert_eq!(live.burden(7, 2_000), Burden::default());
        let live = of(Outlook::fair(Some(101)));
        assert!(live.burden(1, 100).is_late && !live.burden(1, 2_000).is_late);
    }
}
