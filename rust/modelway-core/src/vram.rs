//! Memory of one backend: which models are resident, which of them are in use, who waits for room.
//!
//! A model's bytes are taken once, when its first request is admitted, and stay taken while it is idle: loading
//! it again would cost seconds. A request pins its model. When another needs room, idle models give theirs back,
//! the longest unused first, and only if that is enough.
//!
//! Who finds no room has a claim, and claims are served in order. While the oldest waits, requests to resident
//! models and smaller models may pass it [`Residency::MAX_OVERTAKES`] times. Then the models that stand in its
//! way are closed: they finish what runs and take nothing new. What runs waits for nobody here, so the claim
//! is met when the longest of it has ended.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

/// A model, as its owner numbers them.
pub type ModelNumber = usize;

/// Models whose memory was given to another; nearly always none.
pub type Evicted = SmallVec<[ModelNumber; 2]>;

/// What is resident on one backend. Operations take O(log n) in the number of models, closing O(n).
#[derive(Clone, Debug)]
pub struct Residency {
    /// `None`: not known, nothing is limited.
    capacity: Option<u64>,
    /// Within the capacity at every load, so that it can't overflow; without one it may saturate and decides
    /// nothing.
    in_use: u64,
    resident: BTreeMap<ModelNumber, Resident>,
    /// Resident models that nobody uses, the longest unused first.
    idle: BTreeSet<(Use, ModelNumber)>,
    idle_bytes: u64,
    last_use: Use,
    /// Who waits for room or is closed, the oldest first.
    claims: BTreeMap<Use, Claim>,
    /// How often others went while the oldest claim waited.
    overtakes: u32,
    /// Models that take nothing new until the oldest claim is met.
    closed: BTreeSet<ModelNumber>,
}

/// Counts uses and claims: later ones are larger.
type Use = u64;

#[derive(Clone, Copy, Debug)]
struct Resident {
    bytes: u64,
    pins: u32,
    last_use: Use,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    model: ModelNumber,
    bytes: u64,
}

/// What pinning a model changed.
#[derive(Clone, Debug, Default)]
pub struct Pinned {
    /// Whose memory it took.
    pub evicted: Evicted,
    /// Whether the model had waited for room: then others may find some.
    pub had_claim: bool,
}

/// There is no room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Residency {
    /// Others go before the oldest claim at most so often.
    pub const MAX_OVERTAKES: u32 = 16;

    /// A backend on which nothing is resident.
    #[must_use]
    pub const fn new(capacity: Option<u64>) -> Self {
        Self {
            capacity,
            in_use: 0,
            resident: BTreeMap::new(),
            idle: BTreeSet::new(),
            idle_bytes: 0,
            last_use: 0,
            claims: BTreeMap::new(),
            overtakes: 0,
            closed: BTreeSet::new(),
        }
    }

    /// Whether so much could ever be resident.
    #[must_use]
    pub fn is_possible(&self, bytes: u64) -> bool {
        self.capacity.is_none_or(|capacity| bytes <= capacity)
    }

    /// Whether a request to the model could pin it now. Changes nothing.
    #[must_use]
    pub fn has_room(&self, model: ModelNumber, bytes: u64) -> bool {
        let is_oldest_claim = self.claims.first_key_value().is_some_and(|(_, claim)| claim.model == model);
        let is_blocked = !is_oldest_claim && self.overtakes >= Self::MAX_OVERTAKES && !self.claims.is_empty();
        if self.resident.contains_key(&model) {
            !self.closed.contains(&model)
        } else {
            let pinned = self.in_use.saturating_sub(self.idle_bytes);
            !is_blocked
                && self
                    .capacity
                    .is_none_or(|capacity| capacity.checked_sub(pinned).is_some_and(|room| bytes <= room))
        }
    }

    /// Pins the model for one request, loading it if need be.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing has changed.
    pub fn pin(&mut self, model: ModelNumber, bytes: u64) -> Result<Pinned, NoRoom> {
        if !self.has_room(model, bytes) {
            return Err(NoRoom);
        }
        let had_claim = self.withdraw(model);
        let mut evicted = Evicted::new();
        if let Some(resident) = self.resident.get_mut(&model) {
            if resident.pins == 0 {
                self.idle.remove(&(resident.last_use, model));
                self.idle_bytes = self.idle_bytes.saturating_sub(resident.bytes);
            }
            resident.pins += 1;
        } else {
            while let Some(capacity) = self.capacity
                && self.in_use.saturating_add(bytes) > capacity
                && let Some((_, oldest)) = self.idle.pop_first()
            {
                evicted.extend(self.evict(oldest));
            }
            self.in_use = self.in_use.saturating_add(bytes);
            self.resident.insert(model, Resident { bytes, pins: 1, last_use: 0 });
        }
        if !self.claims.is_empty() {
            self.overtakes += 1;
            self.close();
        }
        Ok(Pinned { evicted, had_claim })
    }

    fn evict(&mut self, model: ModelNumber) -> Option<ModelNumber> {
        let resident = self.resident.remove(&model)?;
        self.in_use = self.in_use.saturating_sub(resident.bytes);
        self.idle_bytes = self.idle_bytes.saturating_sub(resident.bytes);
        Some(model)
    }

    /// One request to the model has ended. Whether that made it idle: then somebody may find room.
    #[must_use = "who waits for room must be asked again"]
    pub fn unpin(&mut self, model: ModelNumber) -> bool {
        let Some(resident) = self.resident.get_mut(&model) else { return false };
        self.last_use += 1;
        resident.pins -= 1;
        resident.last_use = self.last_use;
        let is_idle = resident.pins == 0;
        if is_idle {
            self.idle.insert((resident.last_use, model));
            self.idle_bytes = self.idle_bytes.saturating_add(resident.bytes);
        }
        is_idle
    }

    /// Remembers that a request to the model waits for room, behind those that wait already.
    pub fn claim(&mut self, model: ModelNumber, bytes: u64) {
        if self.claims.values().all(|claim| claim.model != model) {
            self.last_use += 1;
            self.claims.insert(self.last_use, Claim { model, bytes });
        }
    }

    /// Nobody waits for the model any more. Whether anybody did: then others may find room.
    pub fn withdraw(&mut self, model: ModelNumber) -> bool {
        let Some((&since, _)) = self.claims.iter().find(|(_, claim)| claim.model == model) else {
            return false;
        };
        let was_oldest = self.claims.first_key_value().is_some_and(|(oldest, _)| *oldest == since);
        self.claims.remove(&since);
        if was_oldest {
            self.overtakes = 0;
            self.closed.clear();
        }
        true
    }

    /// Who waits for room, the oldest first.
    #[must_use]
    pub fn claimants(&self) -> SmallVec<[ModelNumber; 8]> {
        self.claims.values().map(|claim| claim.model).collect()
    }

    /// Another capacity. Below what is in use nothing new is loaded until enough was given back.
    pub fn resize(&mut self, capacity: Option<u64>) {
        self.capacity = capacity;
        self.closed.clear();
        self.close();
    }

    /// Closes what stands in the oldest claim's way once it was passed often enough: the longest unused models,
    /// until their memory and what is free suffice.
    fn close(&mut self) {
        let Some((_, &Claim { model, bytes })) = self.claims.first_key_value() else { return };
        let Some(capacity) = self.capacity else { return };
        if self.overtakes < Self::MAX_OVERTAKES
            || !self.closed.is_empty()
            || self.resident.contains_key(&model)
        {
            return;
        }
        let mut by_use: Vec<_> = self
            .resident
            .iter()
            .map(|(model, one)| ((one.pins > 0, one.last_use), *model, one.bytes))
            .collect();
        by_use.sort_unstable();
        let mut left = self.in_use;
        for (_, model, model_bytes) in by_use {
            if left.saturating_add(bytes) <= capacity {
                break;
            }
            left = left.saturating_sub(model_bytes);
            self.closed.insert(model);
        }
    }

    /// Bytes of all resident models.
    #[must_use]
    pub const fn in_use(&self) -> u64 {
        self.in_use
    }

    /// Bytes of resident models that nobody uses.
    #[must_use]
    pub const fn idle_bytes(&self) -> u64 {
        self.idle_bytes
    }

    /// Whether the model is resident.
    #[must_use]
    pub fn is_resident(&self, model: ModelNumber) -> bool {
        self.resident.contains_key(&model)
    }
}
