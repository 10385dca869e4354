//! Who is too slow for some task: one view of the table's models for all decisions while all are well and nobody
//! waits. It is made anew only when a model begins or ceases to keep a budget, so that a decision pays for its share
//! alone.

use std::sync::Arc;

use super::{Model, ModelKey, Roster};
use crate::ewma::Millis;
use crate::live::{Live, Outlook};

impl Model {
    /// Says anew when its first token may be expected, and returns when that is forgotten.
    fn expect(&mut self, now: Millis) -> Millis {
        let seen = self.health.first_token(now);
        self.first_token_ms = seen.map(|(expected_ms, _)| expected_ms).or(self.usual_first_token_ms);
        seen.map_or(Millis::MAX, |(_, forgotten_at)| forgotten_at)
    }
}

impl Roster {
    /// The table's models while all are well and nobody waits; `None`: nothing speaks against any.
    pub(in crate::router) const fn slow(&self) -> Option<&Arc<Live>> {
        self.slow.as_ref()
    }

    /// An outcome of the model may have changed when its first token is expected.
    pub(super) fn learn_first_token(&mut self, model: ModelKey, now: Millis) {
        let ours = &mut self.models[model.0];
        let before = self.budgets.exceeded(ours.first_token_ms);
        self.forgets_at = self.forgets_at.min(ours.expect(now));
        if self.budgets.exceeded(ours.first_token_ms) != before {
            self.see_who_is_slow();
        }
        self.forget(now);
    }

    /// Looks at all anew once the oldest average is forgotten.
    pub(super) fn forget(&mut self, now: Millis) {
        if now >= self.forgets_at {
            self.expect_anew(now);
        }
    }

    /// Looks at every model's average anew.
    pub(super) fn expect_anew(&mut self, now: Millis) {
        self.forgets_at = Millis::MAX;
        for model in &mut self.models {
            self.forgets_at = self.forgets_at.min(model.expect(now));
        }
        self.see_who_is_slow();
    }

    fn see_who_is_slow(&mut self) {
        let outlooks = self.keys.iter().map(|key| Outlook::fair(self.models[key.0].first_token_ms));
        self.slow = Live::of(outlooks, &self.budgets);
    }
}
