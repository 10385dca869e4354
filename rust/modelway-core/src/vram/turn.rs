//! Whose turn it is on a device that computes with one model at a time: on a CPU two that generate at once take each
//! other's caches and cores, and both end later than one after the other.
//!
//! Who runs serves its queue until it is idle, or until another has waited [`Policy::patience`] times as long as its own
//! requests take, at least a second: so short requests do not wait long behind long ones, and turns do not get shorter
//! than what they serve. Then the model that has waited longest goes on.
//!
//! Embedding models neither take turns nor wait for them: an embedding is one short pass, an answer a long row of them,
//! and often the answer that somebody waits for needs the embedding first.

use super::{Moves, Residency, Resident};
use crate::ewma::Millis;
use crate::vram::ModelNumber;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// `None`: whoever comes first.
    of: Option<ModelNumber>,
    /// It takes nothing new: another has waited long enough.
    is_over: bool,
}

impl Residency {
    /// Nobody's turn lasts less, where somebody has something to run.
    const LEAST_TURN_MS: Millis = 1_000;

    fn takes_turns(&self, model: ModelNumber) -> bool {
        self.device.computes_alone && !self.embedding.contains_key(&model)
    }

    /// A model that takes turns and whose requests run.
    fn running(&self) -> Option<ModelNumber> {
        let runs = |(model, one): &(&ModelNumber, &Resident)| one.is_in_use() && self.takes_turns(**model);
        let is_its = |(model, _): &(&ModelNumber, &Resident)| self.turn.of == Some(**model);
        let mut running = self.residents.iter().filter(runs);
        running.clone().find(is_its).or_else(|| running.next()).map(|(model, _)| *model)
    }

    /// What is configured of the device has changed, or which models are on it: the turn is that of what runs.
    pub(super) fn see_whose_turn(&mut self) {
        self.turn = Turn { of: self.running(), is_over: false };
    }

    /// Whether the model's requests may run, as far as others run.
    pub(super) fn has_turn(&self, model: ModelNumber) -> bool {
        let is_its = self.turn.of.is_none_or(|of| of == model && !self.turn.is_over);
        is_its || !self.takes_turns(model)
    }

    /// The model's request begins.
    pub(super) fn take_turn(&mut self, model: ModelNumber) {
        if self.takes_turns(model) {
            self.turn = Turn { of: Some(model), is_over: false };
        }
    }

    /// Until when others may run before a model that waits for its turn since then.
    fn turn_due(&self, model: ModelNumber, since: Millis, now: Millis) -> Millis {
        let usual_ms = self.learned(model).served_ms(now).saturating_mul(self.device.policy.patience);
        since.saturating_add(usual_ms.max(Self::LEAST_TURN_MS))
    }

    /// For how long a model must wait for its turn at most.
    pub(super) fn turn_wait_ms(&self, model: ModelNumber, now: Millis) -> Millis {
        if self.has_turn(model) {
            return 0;
        }
        let since = self.claims.get(&model).map_or(now, |claimed| claimed.since);
        self.turn_due(model, since, now).saturating_sub(now).max(1)
    }

    /// Decides whose turn it is.
    pub(super) fn plan_turn(&mut self, moves: &mut Moves, now: Millis) {
        if !self.device.computes_alone {
            return;
        }
        let running = self.running();
        let others = || {
            let others = self.claims.iter().filter(|(model, _)| Some(**model) != running);
            others.filter(|(model, _)| self.takes_turns(**model) && self.is_there(**model))
        };
        let Some(running) = running else {
            let next = others().min_by_key(|(_, claimed)| claimed.since).map(|(model, _)| *model);
            moves.opened.extend(next);
            self.turn = Turn { of: next, is_over: false };
            return;
        };
        let due = others().map(|(model, claimed)| self.turn_due(*model, claimed.since, now)).min();
        let is_over = due.is_some_and(|due| due <= now);
        if !is_over {
            moves.look_again = moves.look_again.into_iter().chain(due).min();
            moves.opened.extend(self.turn.is_over.then_some(running));
        }
        self.turn = Turn { of: Some(running), is_over };
    }
}
