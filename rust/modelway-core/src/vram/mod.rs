//! Memory of one device: which models are resident, which of them are in use, who waits for room. The models may be those
//! of several backends: they share it.
//!
//! A model's bytes are taken once, when it begins to load, and stay taken while it is idle: loading it again would cost
//! seconds. A request pins its model. Who finds its model not resident, or closed, has a claim; what is to be loaded
//! and unloaded for claims is decided by [`swap::plan`].
//!
//! On a *managed* device models are loaded and unloaded at our word, and it is told when that is done: until then a model
//! takes memory and serves nobody. Any other loads by itself what is asked for, so there what is decided counts as done.

mod learned;
mod moved;
mod plan;
mod prospect;
mod report;
mod resident;
mod share;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use crate::ewma::Millis;
pub use crate::swap::ModelNumber;
use crate::swap::Policy;
use learned::Learned;
pub use plan::{Moves, Queue};
pub use prospect::Prospect;
pub use resident::{Held, Stage};
use resident::{Resident, State};
use turn::Turn;

/// Models whose memory was given to another; nearly always none.
pub type Evicted = SmallVec<[ModelNumber; 2]>;

/// What models run on, and how they share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Bytes for models; `None`: not known, nothing is limited.
    pub capacity: Option<u64>,
    /// Whether it loads and unloads at our word.
    pub is_managed: bool,
    /// Whether only one model at a time has running requests; those that make embeddings do not count.
    pub computes_alone: bool,
    /// Of a managed device so many bytes are for embedding models alone; `None`: what they need, up to a tenth.
    pub embedding_bytes: Option<u64>,
    /// How its models share it.
    pub policy: Policy,
}

/// What is resident on one device.
#[derive(Clone, Debug)]
pub struct Residency {
    device: Device,
    /// Bytes of all residents. Without a capacity it may saturate, and decides nothing.
    in_use: u64,
    residents: BTreeMap<ModelNumber, Resident>,
    /// Models that can't be pinned and that requests wait for.
    claims: BTreeMap<ModelNumber, Claimed>,
    /// Models that are loaded as if somebody waited.
    preloads: BTreeSet<ModelNumber>,
    /// Models that never leave, and what they are thought to take.
    pinned: BTreeMap<ModelNumber, u64>,
    /// Models that make embeddings, and what they are thought to take.
    embedding: BTreeMap<ModelNumber, u64>,
    learned: BTreeMap<ModelNumber, Learned>,
    /// For whom room is being made.
    promised: SmallVec<[ModelNumber; 1]>,
    turn: Turn,
    /// Whether somebody tells what is loaded and unloaded.
    is_watched: bool,
    is_dirty: bool,
}

#[derive(Clone, Copy, Debug)]
struct Claimed {
    since: Millis,
    bytes_thought: u64,
}

/// The model can't be pinned now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Residency {
    /// A device on which nothing is resident.
    #[must_use]
    pub fn new(device: Device) -> Self {
        Self {
            device,
            in_use: 0,
            residents: BTreeMap::new(),
            claims: BTreeMap::new(),
            preloads: BTreeSet::new(),
            pinned: BTreeMap::new(),
            embedding: BTreeMap::new(),
            learned: BTreeMap::new(),
            promised: SmallVec::new(),
            turn: Turn::default(),
            is_watched: false,
            is_dirty: false,
        }
    }

    /// Another device. Below what is in use nothing new is loaded until enough was given back.
    pub fn set_device(&mut self, device: Device) {
        self.device = device;
        if !device.is_managed {
            self.preloads.clear();
        }
        self.see_whose_turn();
        self.is_dirty = true;
    }

    /// Whether the model never leaves once it is loaded, whether it makes embeddings, and what it is thought to take.
    pub fn set_model(
        &mut self,
        model: ModelNumber,
        bytes_thought: u64,
        is_pinned: bool,
        makes_embeddings: bool,
    ) {
        for (models, is_one) in [(&mut self.pinned, is_pinned), (&mut self.embedding, makes_embeddings)] {
            let before = if is_one { models.insert(model, bytes_thought) } else { models.remove(&model) };
            self.is_dirty |= before != is_one.then_some(bytes_thought);
        }
    }

    /// Whether the model could ever be in memory, beside those that never leave.
    #[must_use]
    pub fn is_possible(&self, model: ModelNumber, bytes_thought: u64) -> bool {
        let Some(capacity) = self.device.capacity else { return true };
        let others = self.pinned.iter().filter(|(other, _)| **other != model);
        let of_others = others.map(|(other, thought)| self.bytes_now(*other, *thought));
        of_others.fold(self.bytes_of(model, bytes_thought), u64::saturating_add) <= capacity
    }

    /// What a model holds, or will hold.
    fn bytes_now(&self, model: ModelNumber, bytes_thought: u64) -> u64 {
        let held = self.residents.get(&model).map(|one| one.bytes);
        held.unwrap_or_else(|| self.bytes_of(model, bytes_thought))
    }

    /// Whether a request must pin its model, that is thought to take so many bytes.
    #[must_use]
    pub const fn is_held_by_requests(&self, bytes_thought: u64) -> bool {
        bytes_thought > 0 || self.device.is_managed || self.device.computes_alone || self.is_watched
    }

    /// Whether a request to the model could pin it now. Changes nothing.
    #[must_use]
    pub fn has_room(&self, model: ModelNumber) -> bool {
        self.is_there(model) && self.has_turn(model)
    }

    /// Whether the model is in memory and not closed, or is loaded without us and nothing limits it.
    fn is_there(&self, model: ModelNumber) -> bool {
        match self.residents.get(&model) {
            Some(resident) => resident.takes_requests(),
            None => self.device.capacity.is_none() && !self.device.is_managed,
        }
    }

    /// Pins the model for one request.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing has changed.
    pub fn pin(&mut self, model: ModelNumber, bytes_thought: u64, now: Millis) -> Result<(), NoRoom> {
        if !self.has_room(model) {
            return Err(NoRoom);
        }
        if !self.residents.contains_key(&model) {
            self.hold(model, self.bytes_of(model, bytes_thought), State::idle(now), now);
        }
        if let Some(Resident { state: State::Ready { pins, has_served, .. }, .. }) =
            self.residents.get_mut(&model)
        {
            *pins += 1;
            *has_served = true;
        }
        self.learned.entry(model).or_default().note_use(now);
        self.take_turn(model);
        self.withdraw(model);
        Ok(())
    }

    fn hold(&mut self, model: ModelNumber, bytes: u64, state: State, now: Millis) {
        if !matches!(state, State::Loading) {
            self.preloads.remove(&model);
        }
        self.in_use = self.in_use.saturating_add(bytes);
        self.residents.insert(model, Resident { bytes, since: now, state, is_closed: false });
    }

    fn drop(&mut self, model: ModelNumber) {
        if let Some(resident) = self.residents.remove(&model) {
            self.in_use = self.in_use.saturating_sub(resident.bytes);
            self.is_dirty = true;
        }
    }

    /// One request to the model has ended, that ran for so long.
    pub fn unpin(&mut self, model: ModelNumber, served_ms: Millis, now: Millis) {
        if let Some(Resident { state: State::Ready { pins, idle_since, is_gone, .. }, .. }) =
            self.residents.get_mut(&model)
        {
            *pins -= 1;
            *idle_since = now;
            self.is_dirty |= *pins == 0;
            let is_over = *is_gone && *pins == 0;
            self.learned.entry(model).or_default().note_served(served_ms, now);
            if is_over {
                self.drop(model);
            }
        }
    }

    /// Remembers that a request to the model waits for it to be there.
    pub fn claim(&mut self, model: ModelNumber, bytes_thought: u64, now: Millis) {
        self.claims.entry(model).or_insert_with(|| {
            self.is_dirty = true;
            Claimed { since: now, bytes_thought }
        });
    }

    /// No request waits for the model to be there any more.
    pub fn withdraw(&mut self, model: ModelNumber) {
        if !self.preloads.contains(&model) {
            self.is_dirty |= self.claims.remove(&model).is_some();
        }
    }

    /// The models that requests wait for.
    pub fn claimed(&self) -> impl Iterator<Item = ModelNumber> {
        self.claims.keys().copied()
    }

    /// Plans again at the next chance: its time has come, or something of which it knows nothing.
    pub const fn look(&mut self) {
        self.is_dirty = true;
    }

    /// Whether something has happened since the last plan that may let somebody go on.
    #[must_use]
    pub const fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// What the model takes: as measured last, else what is thought.
    #[must_use]
    pub fn bytes_of(&self, model: ModelNumber, bytes_thought: u64) -> u64 {
        self.learned.get(&model).and_then(|learned| learned.bytes).unwrap_or(bytes_thought)
    }

    fn learned(&self, model: ModelNumber) -> Learned {
        self.learned.get(&model).copied().unwrap_or_default()
    }

    /// Whether it loads and unloads at our word.
    #[must_use]
    pub const fn is_managed(&self) -> bool {
        self.device.is_managed
    }

    /// Bytes for models; `None`: not known.
    #[must_use]
    pub const fn capacity(&self) -> Option<u64> {
        self.device.capacity
    }

    /// Bytes of all residents.
    #[must_use]
    pub const fn in_use(&self) -> u64 {
        self.in_use
    }

    /// Bytes of resident models that nobody uses.
    #[must_use]
    pub fn idle_bytes(&self) -> u64 {
        let idle = self.residents.values().filter(|one| one.pins() == Some(0));
        idle.fold(0, |sum, one| sum.saturating_add(one.bytes))
    }

    /// Whether the model is resident.
    #[must_use]
    pub fn is_resident(&self, model: ModelNumber) -> bool {
        self.residents.get(&model).is_some_and(|one| one.pins().is_some())
    }
}
