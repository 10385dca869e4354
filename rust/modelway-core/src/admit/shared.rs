//! A rate that several models share, and the order in which they wait for it.

use std::collections::BTreeSet;

use crate::ewma::Millis;
use crate::limits::{Charge, Exceeded, Limits, Meter};
use crate::ticket::Ticket;
use crate::vram::ModelNumber;

/// The rates of one backend or of all.
///
/// Models wait in the order of the request that came first among those they wait with: a model whose requests
/// are cheap can't use up again and again what an expensive request waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct SharedRate {
    pub(super) limits: Limits,
    meter: Meter,
    line: BTreeSet<(Ticket, ModelNumber)>,
}

/// Why a model's request does not get its part of a shared rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Another model waits for it and came first.
    InLine,
    /// The rate is used up.
    Exceeded(Exceeded),
}

impl SharedRate {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Other rates; what has passed counts under them.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.meter = limits.adopt(self.meter, &self.limits);
        self.limits = limits;
    }

    /// What the meter would be. Changes nothing.
    pub(super) fn check(&self, model: ModelNumber, tokens: u64, now: Millis) -> Result<Meter, Kept> {
        match self.first() {
            Some(first) if first != model => Err(Kept::InLine),
            _ => self.limits.charge(self.meter, Charge::of(tokens), now).map_err(Kept::Exceeded),
        }
    }

    pub(super) fn keep(&mut self, meter: Meter) {
        self.meter = meter;
    }

    pub(super) fn correct(&mut self, charged: u64, real: u64, now: Millis) {
        self.meter = self.limits.correct(self.meter, charged, real, now);
    }

    pub(super) fn undo(&mut self, charged: u64, now: Millis) {
        self.meter = self.limits.undo(self.meter, Charge::of(charged), now);
    }

    /// Whether the model is now the first and was not before: then nobody but it looks at the rate.
    pub(super) fn join(&mut self, since: Ticket, model: ModelNumber) -> bool {
        let was_first = self.first() == Some(model);
        self.line.insert((since, model));
        !was_first && self.first() == Some(model)
    }

    /// Whether the model was in line.
    pub(super) fn leave(&mut self, since: Ticket, model: ModelNumber) -> bool {
        self.line.remove(&(since, model))
    }

    /// Whose turn it is.
    pub(super) fn first(&self) -> Option<ModelNumber> {
        self.line.first().map(|(_, model)| *model)
    }
}
