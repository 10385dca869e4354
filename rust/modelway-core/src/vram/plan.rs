//! What a plan changes: models are closed, unloaded and loaded, and the turn goes on.

use smallvec::SmallVec;

use super::resident::State;
use super::{Claimed, Evicted, ModelNumber, Residency};
use crate::ewma::Millis;
use crate::swap::{self, Claim, Doing, View};

/// The requests that wait for a model.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// What the model is thought to take.
    pub bytes: u64,
    /// How many.
    pub waiting: u32,
    /// When they came, on average.
    pub mean_since: Millis,
}

/// What a plan has changed.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    /// Their memory is given to others: they must be unloaded.
    pub evicted: Evicted,
    /// It must be loaded.
    pub load: Option<ModelNumber>,
    /// They can be pinned again, or at last.
    pub opened: SmallVec<[ModelNumber; 2]>,
    /// When to plan again, if nothing happens before.
    pub look_again: Option<Millis>,
}

impl Residency {
    /// Decides what is to be loaded and unloaded, and whose turn it is. `queue` tells who waits for a model.
    pub fn plan(&mut self, queue: impl Fn(ModelNumber) -> Queue, now: Millis) -> Moves {
        let mut moves = Moves::default();
        // It ends: each turn but the last closes a model more, drops one, or loads one that was claimed and is new
        // then, so that it stays.
        loop {
            let plan = self.planned(&queue, now);
            // One that nobody uses, though somebody waits to, is idle once it is closed.
            let has_closed = self.close(&plan.closed, &mut moves);
            (moves.look_again, self.promised) = (plan.look_again, plan.promised);
            for model in &plan.unload {
                self.unload(*model);
                moves.evicted.push(*model);
            }
            if let Some(model) = plan.load {
                let state = if self.device.is_managed {
                    moves.load = Some(model);
                    State::Loading
                } else {
                    moves.opened.push(model);
                    State::idle(now)
                };
                self.hold(model, self.bytes_of(model, queue(model).bytes), state, now);
            }
            let is_done = plan.unload.is_empty() && plan.load.is_none();
            if !has_closed && (self.device.is_managed || is_done) {
                break;
            }
        }
        self.plan_turn(&mut moves, now);
        self.is_dirty = false;
        moves
    }

    /// The model's memory goes to others: at once, or when it is told to be gone.
    pub(super) fn unload(&mut self, model: ModelNumber) {
        match self.residents.get_mut(&model) {
            Some(resident) if self.device.is_managed => resident.state = State::Unloading,
            _ => self.drop(model),
        }
    }

    /// Whether there are more now.
    fn close(&mut self, closed: &[ModelNumber], moves: &mut Moves) -> bool {
        let mut has_closed = false;
        for (model, resident) in &mut self.residents {
            let is_closed = closed.contains(model);
            if resident.is_closed && !is_closed && resident.pins().is_some() {
                moves.opened.push(*model);
            }
            has_closed |= is_closed && !resident.is_closed;
            resident.is_closed = is_closed;
        }
        has_closed
    }

    fn planned(&self, queue: impl Fn(ModelNumber) -> Queue, now: Millis) -> swap::Plan {
        let Some(capacity) = self.device.capacity.or_else(|| self.device.is_managed.then_some(u64::MAX))
        else {
            return swap::Plan::default();
        };
        if self.claims.is_empty() {
            return swap::Plan::default();
        }
        let residents: SmallVec<[_; 16]> = self
            .residents
            .iter()
            .map(|(&model, one)| {
                let learned = self.learned(model);
                // Who waits for something else than memory will use it.
                let is_wanted = !one.is_closed && queue(model).waiting > 0;
                swap::Resident {
                    model,
                    bytes: one.bytes,
                    doing: match one.state {
                        State::Ready { pins: 0, idle_since, .. } if !is_wanted => Doing::Idle(idle_since),
                        State::Ready { has_served: false, .. } if self.claims.contains_key(&model) => {
                            Doing::Expected
                        }
                        State::Ready { pins, .. } => {
                            // Who waits runs after who runs, as many at once.
                            let waiting = if one.is_closed { 0 } else { queue(model).waiting };
                            let rounds = 1 + Millis::from(waiting / pins.max(1));
                            Doing::Busy(now.saturating_add(learned.served_ms(now).saturating_mul(rounds)))
                        }
                        State::Loading => Doing::Loading,
                        State::Unloading => Doing::Unloading,
                    },
                    since: one.since,
                    load_ms: learned.load_ms(one.bytes, now),
                    uses: learned.uses(now),
                    is_pinned: self.pinned.contains_key(&model),
                    is_closed: one.is_closed,
                }
            })
            .collect();
        let claims: SmallVec<[_; 16]> = self
            .claims
            .iter()
            .filter_map(|(&model, &Claimed { since, .. })| {
                let Queue { bytes: bytes_thought, waiting, mean_since } = queue(model);
                if !self.is_possible(model, bytes_thought) {
                    return None;
                }
                let bytes = self.bytes_of(model, bytes_thought);
                let load_ms = self.learned(model).load_ms(bytes, now);
                // A preload waits like one request.
                let (waiting, mean_since) = if waiting == 0 { (1, since) } else { (waiting, mean_since) };
                Some(Claim { model, bytes, since, mean_since, waiting, load_ms })
            })
            .collect();
        let view = View { capacity, residents: &residents, claims: &claims, promised: &self.promised };
        self.plan_parts(&view, now)
    }
}
