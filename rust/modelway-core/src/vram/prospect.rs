//! How long it will be until a model can serve that can't now: an estimate from what was learned, made for a newcomer
//! who wants to know, and for decisions between models that are equal otherwise.
//!
//! It is what remains of a load under way, then the loads of those that wait for longer, then the time until room is
//! made, then the model's own load. Room is there, or idle models make it at once, or those in use do when others
//! have passed for as long as they may and what runs has ended.

use smallvec::SmallVec;

use super::resident::State;
use super::share::Share;
use super::{Claimed, Residency};
use crate::ewma::Millis;
use crate::vram::ModelNumber;

/// What all models of a device find that are not in its memory. Made once for many of them.
#[derive(Clone, Debug)]
pub struct Prospect {
    now: Millis,
    /// What remains of the load under way.
    change_ms: Millis,
    /// The part of embedding models, where they have one.
    share: Option<Share>,
    /// Bytes that are free, or that idle models would give, in that part.
    available_in_share: u64,
    /// And in all the rest.
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
    is_of_share: bool,
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
        let share = self.share();
        let is_of_share = |model, bytes| share.is_some_and(|share| self.is_of(&share, model, bytes));
        let mut available_in_share = share.map_or(0, |share| share.bytes);
        let mut available = self.device.capacity.unwrap_or(u64::MAX).saturating_sub(available_in_share);
        let (mut change_ms, mut drain_ms) = (0, 0);
        for (&model, one) in &self.residents {
            let is_kept = match one.state {
                State::Loading => {
                    change_ms = self.remaining_load_ms(model, one.bytes, one.since, now);
                    true
                }
                State::Unloading => false,
                State::Ready { pins: 0, .. } => self.pinned.contains_key(&model),
                State::Ready { .. } => {
                    drain_ms = drain_ms.max(self.learned(model).served_ms(now));
                    true
                }
            };
            let part = if is_of_share(model, one.bytes) { &mut available_in_share } else { &mut available };
            *part = part.saturating_sub(if is_kept { one.bytes } else { 0 });
        }
        let waiting = self.claims.iter().filter(|(model, _)| !self.residents.contains_key(model));
        let waiting = waiting.map(|(&model, &Claimed { since, bytes_thought })| {
            let bytes = self.bytes_of(model, bytes_thought);
            let load_ms = self.learned(model).load_ms(bytes, now);
            Waiting { since, model, is_of_share: is_of_share(model, bytes), bytes, load_ms }
        });
        let waiting = waiting.collect();
        Prospect { now, change_ms, share, available_in_share, available, drain_ms, waiting }
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
        let is_of_share = prospect.share.is_some_and(|share| self.is_of(&share, model, bytes));
        let before = prospect.waiting.iter().filter(|other| (other.since, other.model) < (since, model));
        let (theirs, theirs_ms) = before.fold((0_u64, 0_u64), |(bytes, load_ms), other| {
            let of_same = if other.is_of_share == is_of_share { other.bytes } else { 0 };
            (bytes.saturating_add(of_same), load_ms.saturating_add(other.load_ms))
        });
        let available = if is_of_share { prospect.available_in_share } else { prospect.available };
        let room_ms = if bytes.saturating_add(theirs) <= available {
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
