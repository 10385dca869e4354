//! Who goes next: looks at the first request of each model that a change may have made room for.

use std::collections::VecDeque;

use super::ask::{Effects, ModelResources, Refusal, Whose, Why};
use super::shared::Kept;
use super::{Admission, DeviceNumber, Model, State, Timer};
use crate::ewma::Millis;
use crate::limits::{Charge, Exceeded, Unit};
use crate::rate::Excess;
use crate::ticket::Ticket;
use crate::vram::{ModelNumber, Queue};

/// What keeps a model's first request, in the order in which it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    Slot,
    ModelRate(Exceeded),
    Memory,
    BackendRate(Kept),
    CommonRate(Kept),
}

/// Models to be looked at.
pub(super) type Work = VecDeque<ModelNumber>;

impl Admission {
    pub(super) fn settled(&mut self, work: impl IntoIterator<Item = ModelNumber>, now: Millis) -> Effects {
        let mut effects = Effects::default();
        self.settle(work, now, &mut effects);
        effects
    }

    /// Lets go on whoever may, of these models and of those for whom that makes room. It ends: a model is
    /// looked at again only when one has gone or has left a line, and joins a line only when looked at.
    pub(super) fn settle(
        &mut self,
        work: impl IntoIterator<Item = ModelNumber>,
        now: Millis,
        effects: &mut Effects,
    ) {
        let mut work: Work = work.into_iter().collect();
        while let Some(number) = self.next_of(&mut work, now, effects) {
            loop {
                let Some(ticket) = self.models[number].queue.first() else {
                    self.stand(number, None, now, &mut work);
                    break;
                };
                let tokens = self.requests.get(ticket).map_or(0, |entry| entry.tokens);
                if let Some(why) = self.never(number, tokens) {
                    self.refuse_first(number, ticket, why, now, effects);
                    continue;
                }
                match self.take(number, tokens, now) {
                    Ok(is_pinned) => {
                        self.models[number].queue.pop(now);
                        self.backends[self.models[number].backend].waiting -= 1;
                        if let Some(entry) = self.requests.get_mut(ticket) {
                            self.models[number].asked_sum -= u128::from(entry.asked_at);
                            entry.state = State::Running { is_pinned, since: now };
                        }
                        effects.granted.push(ticket);
                        self.stand(number, None, now, &mut work);
                    }
                    Err(keeper) => {
                        self.stand(number, Some((keeper, ticket)), now, &mut work);
                        break;
                    }
                }
            }
        }
    }

    /// The next model to be looked at: the next of `work`, else one for which a device makes room.
    fn next_of(&mut self, work: &mut Work, now: Millis, effects: &mut Effects) -> Option<ModelNumber> {
        loop {
            if let Some(number) = work.pop_front() {
                return Some(number);
            }
            let dirty = self.devices.iter().position(|device| device.residency.is_dirty())?;
            self.make_room(dirty, now, work, effects);
        }
    }

    /// Lets a device decide what is to be loaded and unloaded.
    fn make_room(&mut self, number: DeviceNumber, now: Millis, work: &mut Work, effects: &mut Effects) {
        let models = &self.models;
        let queue = |model: ModelNumber| {
            let Model { queue, resources, asked_sum, .. } = &models[model];
            let waiting = queue.len() as u64;
            let mean = asked_sum.checked_div(u128::from(waiting)).unwrap_or(u128::from(now));
            Queue {
                bytes: resources.memory_bytes,
                waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
                mean_since: Millis::try_from(mean).unwrap_or(now),
            }
        };
        let moves = self.devices[number].residency.plan(queue, now);
        effects.evicted.extend(moves.evicted);
        effects.load.extend(moves.load);
        for opened in moves.opened {
            self.models[opened].queue.resume(now);
            work.push_back(opened);
        }
        let device = &mut self.devices[number];
        if device.look_at != moves.look_again {
            device.look_at.map(|old| self.timers.remove(&(old, Timer::Device(number))));
            device.look_at = moves.look_again;
            self.timers.extend(moves.look_again.map(|due| (due, Timer::Device(number))));
        }
    }

    /// Puts a model into the lines of what keeps its first request, and out of all others.
    fn stand(&mut self, number: ModelNumber, kept: Option<(Keeper, Ticket)>, now: Millis, work: &mut Work) {
        let model = &mut self.models[number];
        let backend = &mut self.backends[model.backend];
        let keeper = kept.map(|(keeper, _)| keeper);
        let due = match keeper {
            Some(
                Keeper::ModelRate(exceeded)
                | Keeper::BackendRate(Kept::Exceeded(exceeded))
                | Keeper::CommonRate(Kept::Exceeded(exceeded)),
            ) => match exceeded.excess {
                Excess::Until(due) => Some(due),
                Excess::Never => None,
            },
            _ => None,
        };
        if model.timer != due {
            model.timer.map(|old| self.timers.remove(&(old, Timer::Model(number))));
            model.timer = due;
            self.timers.extend(due.map(|due| (due, Timer::Model(number))));
        }
        let residency = &mut self.devices[backend.device].residency;
        match keeper {
            Some(Keeper::Memory) => residency.claim(number, model.resources.memory_bytes, now),
            _ => residency.withdraw(number),
        }
        let is_for_common = matches!(keeper, Some(Keeper::CommonRate(_)));
        let is_for_backend = is_for_common || matches!(keeper, Some(Keeper::BackendRate(_)));
        let since = model.in_line.or(kept.map(|(_, ticket)| ticket));
        model.in_line = since.filter(|_| is_for_backend);
        let Some(since) = since else { return };
        for (rate, is_for_it) in [(&mut backend.rate, is_for_backend), (&mut self.common, is_for_common)] {
            if is_for_it {
                work.extend(rate.join(since, number).then_some(number));
            } else if rate.leave(since, number) {
                work.extend(rate.first());
            }
        }
    }

    pub(super) fn refuse_first(
        &mut self,
        number: ModelNumber,
        ticket: Ticket,
        why: Why,
        now: Millis,
        effects: &mut Effects,
    ) {
        if let Some(entry) = self.requests.remove(ticket) {
            let model = &mut self.models[number];
            model.queue.cancel(entry.waiting(ticket));
            model.asked_sum -= u128::from(entry.asked_at);
            self.backends[model.backend].waiting -= 1;
            self.users.undo(entry.share.user, entry.charge(), entry.asked_at, now);
            effects.refused.push((ticket, Refusal { why, when: None }));
        }
    }

    /// Whether a request can never go, however long it waits.
    pub(super) fn never(&self, number: ModelNumber, tokens: u64) -> Option<Why> {
        let Model { backend, resources, .. } = &self.models[number];
        if !self.residency_of(number).is_possible(number, resources.memory_bytes) {
            return Some(Why::Memory);
        }
        let limits = [
            (Whose::Model, &resources.limits),
            (Whose::Backend, &self.backends[*backend].rate.limits),
            (Whose::Common, &self.common.limits),
        ];
        let never = limits.into_iter().find(|(_, limits)| limits.is_never(tokens));
        never.map(|(whose, _)| Why::Rate(whose, Unit::Tokens))
    }

    /// Takes all that a request of this model needs, or nothing. Whether it pins the model's memory.
    pub(super) fn take(&mut self, number: ModelNumber, tokens: u64, now: Millis) -> Result<bool, Keeper> {
        let model = &mut self.models[number];
        let backend = &mut self.backends[model.backend];
        let ModelResources { max_concurrent, memory_bytes, limits, .. } = model.resources;
        if max_concurrent.is_some_and(|most| model.running >= most) {
            return Err(Keeper::Slot);
        }
        let meter = limits.charge(model.meter, Charge::of(tokens), now).map_err(Keeper::ModelRate)?;
        let residency = &mut self.devices[backend.device].residency;
        let is_pinned = residency.is_held_by_requests(memory_bytes);
        if is_pinned && !residency.has_room(number) {
            return Err(Keeper::Memory);
        }
        let backend_meter = backend.rate.check(number, tokens, now).map_err(Keeper::BackendRate)?;
        let common_meter = self.common.check(number, tokens, now).map_err(Keeper::CommonRate)?;
        if is_pinned {
            residency.pin(number, memory_bytes, now).map_err(|_| Keeper::Memory)?;
        }
        model.meter = meter;
        model.running += 1;
        backend.rate.keep(backend_meter);
        self.common.keep(common_meter);
        Ok(is_pinned)
    }
}
