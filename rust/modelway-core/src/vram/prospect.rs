//! How long it will be until a model can serve that can't now: an estimate from what was learned, made for a newcomer
//! who wants to know, and for decisions between models that are equal otherwise.
//!
//! It is what remains of a load under way, then the loads of those that wait for longer, then the time until room is
//! made, then the model's own load. Room is there, or idle models make it at once, or those in use do when others
//! have passed for as long as they may and what runs has ended.

use smallvec::SmallVec;

use super::resident::State;
use super::{Claimed, Residency};
use crate::ewma::Millis;
use crate::vram::ModelNumber;

/// What all models of a backend find that are not in its memory. Made once for many of them.
#[derive(Clone, Debug)]
pub struct Prospect {
    now: Millis,
    /// What remains of the load under way.
    change_ms: Millis,
    /// Bytes that are free, or that idle models would give.
    available: u64,
    /// When what runs has ended.
    drain_ms: Millis,
    /// Models that wait to be loaded.
    waiting: SmallVec<[Waiting; 8]>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    since: Millis,
    model: ModelNumber,
    bytes: u64,
    load_ms: Millis,
}

impl Residency {
    /// Whether anything is known of what is in memory.
    #[must_use]
    pub const fn is_tracked(&self) -> bool {
        self.device.is_managed
            || self.device.computes_alone
            || self.device.capacity.is_some()
            || self.is_watched
    }

    /// What models find that are not in memory at `now`.
    #[must_use]
    pub fn prospect(&self, now: Millis) -> Prospect {
        let mut available = self.device.capacity.unwrap_or(u64::MAX).saturating_sub(self.in_use);
        let (mut change_ms, mut drain_ms) = (0, 0);
        for (&model, one) in &self.residents {
            match one.state {
                State::Loading => change_ms = self.remaining_load_ms(model, one.bytes, one.since, now),
                State::Unloading => available = available.saturating_add(one.bytes),
                State::Ready { pins: 0, .. } if !self.pinned.contains_key(&model) => {
                    available = available.saturating_add(one.bytes);
                }
                State::Ready { pins: 0, .. } => {}
                State::Ready { .. } => drain_ms = drain_ms.max(self.learned(model).served_ms(now)),
            }
        }
        let waiting = self.claims.iter().filter(|(model, _)| !self.residents.contains_key(model));
        let waiting = waiting.map(|(&model, &Claimed { since, bytes_thought })| {
            let bytes = self.bytes_of(model, bytes_thought);
            Waiting { since, model, bytes, load_ms: self.learned(model).load_ms(bytes, now) }
        });
        Prospect { now, change_ms, available, drain_ms, waiting: waiting.collect() }
    }

    /// A load takes no less than a tenth of its usual time from now on: nobody knows why it takes longer.
    fn remaining_load_ms(&self, model: ModelNumber, bytes: u64, since: Millis, now: Millis) -> Millis {
        let load_ms = self.learned(model).load_ms(bytes, now);
        load_ms.saturating_sub(now.saturating_sub(since)).max(load_ms / 10)
    }

    /// Whether the model, that is thought to take so many bytes, would have to be loaded, or is being loaded, as far as
    /// anybody knows.
    #[must_use]
    pub fn is_cold(&self, model: ModelNumber, bytes_thought: u64) -> bool {
        let knows_all = self.device.is_managed || self.device.capacity.is_some() || self.is_watched;
        knows_all && self.is_held_by_requests(bytes_thought) && !self.is_resident(model)
    }

    /// How long it will be until the model, that is thought to take so many bytes, can serve. At least a millisecond
    /// where it can't now.
    #[must_use]
    pub fn wait_ms(&self, model: ModelNumber, bytes_thought: u64, prospect: &Prospect) -> Millis {
        let now = prospect.now;
        match self.residents.get(&model) {
            Some(one) if one.takes_requests() => return self.turn_wait_ms(model, now),
            Some(one) if matches!(one.state, State::Loading) => {
                return self.remaining_load_ms(model, one.bytes, one.since, now).max(1);
            }
            None if !self.is_cold(model, bytes_thought) => return self.turn_wait_ms(model, now),
            _ => {}
        }
        let bytes = self.bytes_of(model, bytes_thought);
        let load_ms = self.learned(model).load_ms(bytes, now);
        let since = self.claims.get(&model).map_or(now, |claimed| claimed.since);
        let before = prospect.waiting.iter().filter(|other| (other.since, other.model) < (since, model));
        let (theirs, theirs_ms) = before.fold((0_u64, 0_u64), |(bytes, load_ms), other| {
            (bytes.saturating_add(other.bytes), load_ms.saturating_add(other.load_ms))
        });
        let room_ms = if bytes.saturating_add(theirs) <= prospect.available {
            0
        } else {
            // What goes is thought to take as long to load as what comes.
            let patience_ms = load_ms.saturating_mul(2).saturating_mul(self.device.policy.patience);
            let most_ms = self.device.policy.max_wait_ms.saturating_sub(load_ms);
            let closes_at = since.saturating_add(patience_ms.min(most_ms));
            closes_at.saturating_sub(now).saturating_add(prospect.drain_ms)
        };
        [theirs_ms, room_ms, load_ms].into_iter().fold(prospect.change_ms, Millis::saturating_add).max(1)
    }

    /// How long the model's requests run; 0 while nobody knows.
    #[must_use]
    pub fn served_ms(&self, model: ModelNumber, now: Millis) -> Millis {
        self.learned(model).served_ms(now)
    }
}
