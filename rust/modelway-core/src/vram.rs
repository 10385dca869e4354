//! Memory of one backend: which models are resident, which of them are in use, who waits for room.
//!
//! A model's bytes are taken once, when it begins to load, and stay taken while it is idle: loading it again would cost
//! seconds. A request pins its model. Who finds its model not resident, or closed, has a claim; what is to be loaded
//! and unloaded for claims is decided by [`swap::plan`].
//!
//! A *managed* backend loads and unloads at our word, and tells when it has: until then a model takes memory and serves
//! nobody. Any other loads by itself what is asked for, so there what is decided counts as done.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::ewma::{Ewma, Millis};
use crate::named::named_enum;
use crate::swap::{self, Claim, Doing, Policy, View};
use crate::usage::Usage;

/// A model, as its owner numbers them.
pub type ModelNumber = usize;

/// Models whose memory was given to another; nearly always none.
pub type Evicted = SmallVec<[ModelNumber; 2]>;

/// What is resident on one backend.
#[derive(Clone, Debug)]
pub struct Residency {
    /// `None`: not known, nothing is limited.
    capacity: Option<u64>,
    is_managed: bool,
    policy: Policy,
    /// Of all resident models. Without a capacity it may saturate, and decides nothing.
    in_use: u64,
    residents: BTreeMap<ModelNumber, Resident>,
    /// Since when requests wait for a model that can't be pinned.
    claims: BTreeMap<ModelNumber, Millis>,
    known: BTreeMap<ModelNumber, Known>,
    is_dirty: bool,
}

#[derive(Clone, Copy, Debug)]
struct Resident {
    bytes: u64,
    /// Since when it can serve.
    since: Millis,
    state: State,
    is_closed: bool,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Ready {
        pins: u32,
        idle_since: Millis,
        /// It was seen to be gone while requests used it: it is dropped when they end, and takes no new one.
        is_gone: bool,
    },
    Loading,
    Unloading,
}

impl State {
    /// Ready, and nobody uses it.
    const fn idle(since: Millis) -> Self {
        Self::Ready { pins: 0, idle_since: since, is_gone: false }
    }
}

impl Resident {
    const fn pins(&self) -> Option<u32> {
        match self.state {
            State::Ready { pins, .. } => Some(pins),
            State::Loading | State::Unloading => None,
        }
    }

    const fn takes_requests(&self) -> bool {
        matches!(self.state, State::Ready { is_gone: false, .. }) && !self.is_closed
    }
}

named_enum! {
    /// What a model that holds memory is about.
    Stage {
        /// It can serve.
        Ready => "ready",
        /// It is being loaded.
        Loading => "loading",
        /// It is being unloaded; its memory is not free yet.
        Unloading => "unloading",
    }
}

/// A model that holds memory, for whoever wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub model: ModelNumber,
    /// What it is about.
    pub stage: Stage,
    /// What it holds.
    pub bytes: u64,
    /// Requests that use it.
    pub running: u32,
    /// It takes no new requests, as others wait for its memory.
    pub is_closed: bool,
}

/// What was learned of a model, resident or not.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// What it took when it was measured last.
    bytes: Option<u64>,
    load_ms: Ewma,
    served_ms: Ewma,
    usage: Usage,
}

impl Known {
    /// How long loading takes: what was measured, else what a disk of a gigabyte a second would need, and a quarter of
    /// a second to start.
    fn load_ms(&self, bytes: u64, now: Millis) -> Millis {
        self.load_ms.value(now).map_or(250 + bytes / 1_000_000, |measured| measured as Millis)
    }
}

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

/// The model can't be pinned now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Residency {
    /// A backend on which nothing is resident.
    #[must_use]
    pub const fn new(capacity: Option<u64>, is_managed: bool, policy: Policy) -> Self {
        Self {
            capacity,
            is_managed,
            policy,
            in_use: 0,
            residents: BTreeMap::new(),
            claims: BTreeMap::new(),
            known: BTreeMap::new(),
            is_dirty: false,
        }
    }

    /// Whether so much could ever be in memory.
    #[must_use]
    pub fn is_possible(&self, bytes: u64) -> bool {
        self.capacity.is_none_or(|capacity| bytes <= capacity)
    }

    /// Whether a request to the model could pin it now. Changes nothing.
    #[must_use]
    pub fn has_room(&self, model: ModelNumber) -> bool {
        match self.residents.get(&model) {
            Some(resident) => resident.takes_requests(),
            None => self.capacity.is_none() && !self.is_managed,
        }
    }

    /// Pins the model for one request.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing has changed.
    pub fn pin(&mut self, model: ModelNumber, bytes: u64, now: Millis) -> Result<(), NoRoom> {
        if !self.has_room(model) {
            return Err(NoRoom);
        }
        if !self.residents.contains_key(&model) {
            self.hold(model, self.bytes_of(model, bytes), State::idle(now), now);
        }
        if let Some(Resident { state: State::Ready { pins, .. }, .. }) = self.residents.get_mut(&model) {
            *pins += 1;
        }
        self.known.entry(model).or_default().usage.note(now);
        self.withdraw(model);
        Ok(())
    }

    fn hold(&mut self, model: ModelNumber, bytes: u64, state: State, now: Millis) {
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
        if let Some(Resident { state: State::Ready { pins, idle_since, is_gone }, .. }) =
            self.residents.get_mut(&model)
        {
            *pins -= 1;
            *idle_since = now;
            self.is_dirty |= *pins == 0;
            let is_over = *is_gone && *pins == 0;
            self.known.entry(model).or_default().served_ms.add(served_ms as f64, now);
            if is_over {
                self.drop(model);
            }
        }
    }

    /// Remembers that a request to the model waits for it to be there.
    pub fn claim(&mut self, model: ModelNumber, now: Millis) {
        self.claims.entry(model).or_insert_with(|| {
            self.is_dirty = true;
            now
        });
    }

    /// Nobody waits for the model to be there any more.
    pub fn withdraw(&mut self, model: ModelNumber) {
        self.is_dirty |= self.claims.remove(&model).is_some();
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

    /// Another capacity and policy. Below what is in use nothing new is loaded until enough was given back.
    pub const fn resize(&mut self, capacity: Option<u64>, is_managed: bool, policy: Policy) {
        self.capacity = capacity;
        self.is_managed = is_managed;
        self.policy = policy;
        self.is_dirty = true;
    }

    /// The model serves from now on, whether it was to be loaded or somebody else did. It takes so many bytes and
    /// loading took so long, where that is known better now; else as many as `bytes_thought`.
    pub fn loaded(
        &mut self,
        model: ModelNumber,
        bytes_thought: u64,
        bytes: Option<u64>,
        load_ms: Option<f64>,
        now: Millis,
    ) {
        let known = self.known.entry(model).or_default();
        // That it was loaded shows that it can be.
        known.bytes = bytes.map(|bytes| bytes.min(self.capacity.unwrap_or(bytes))).or(known.bytes);
        if let Some(load_ms) = load_ms {
            known.load_ms.add(load_ms, now);
        }
        match self.residents.get_mut(&model) {
            None => self.hold(model, bytes.unwrap_or(bytes_thought), State::idle(now), now),
            Some(resident) => {
                match &mut resident.state {
                    State::Loading => {
                        resident.state = State::idle(now);
                        resident.since = now;
                    }
                    State::Ready { is_gone, .. } => *is_gone = false,
                    // Seen before it went, and told late.
                    State::Unloading => {}
                }
                if let Some(bytes) = bytes {
                    self.in_use = self.in_use.saturating_sub(resident.bytes).saturating_add(bytes);
                    resident.bytes = bytes;
                }
            }
        }
        self.is_dirty = true;
    }

    /// The model is not in memory: it was unloaded, or could not be loaded. One that requests use stays until they
    /// end, and on a managed backend takes no new ones.
    pub fn gone(&mut self, model: ModelNumber) {
        let is_managed = self.is_managed;
        match self.residents.get_mut(&model) {
            Some(Resident { state: State::Ready { pins: 1.., is_gone, .. }, .. }) => *is_gone |= is_managed,
            _ => self.drop(model),
        }
    }

    /// The model did not fit into what was thought to be free: it takes so many bytes. It is loaded again once all
    /// that is idle has made room.
    pub fn did_not_fit(&mut self, model: ModelNumber, bytes: u64) -> Evicted {
        if !self.residents.get(&model).is_some_and(|one| matches!(one.state, State::Loading)) {
            return Evicted::new();
        }
        self.known.entry(model).or_default().bytes = Some(bytes);
        self.drop(model);
        let mut evicted = Evicted::new();
        for (model, resident) in &mut self.residents {
            if resident.pins() == Some(0) {
                resident.state = State::Unloading;
                evicted.push(*model);
            }
        }
        self.is_dirty = true;
        evicted
    }

    /// What the model takes: as measured last, else what is thought.
    #[must_use]
    pub fn bytes_of(&self, model: ModelNumber, bytes_thought: u64) -> u64 {
        self.known.get(&model).and_then(|known| known.bytes).unwrap_or(bytes_thought)
    }

    /// Whether it loads and unloads at our word.
    #[must_use]
    pub const fn is_managed(&self) -> bool {
        self.is_managed
    }

    /// Bytes for models; `None`: not known.
    #[must_use]
    pub const fn capacity(&self) -> Option<u64> {
        self.capacity
    }

    /// The models that hold memory, in the order of their numbers.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        self.residents.iter().map(|(&model, one)| Held {
            model,
            stage: match one.state {
                State::Ready { .. } => Stage::Ready,
                State::Loading => Stage::Loading,
                State::Unloading => Stage::Unloading,
            },
            bytes: one.bytes,
            running: one.pins().unwrap_or(0),
            is_closed: !one.takes_requests() && one.pins().is_some(),
        })
    }

    /// Decides what is to be loaded and unloaded. `queue` tells who waits for a model.
    pub fn plan(&mut self, queue: impl Fn(ModelNumber) -> Queue, now: Millis) -> Moves {
        self.is_dirty = false;
        let mut moves = Moves::default();
        loop {
            let plan = self.planned(&queue, now);
            // One that nobody uses, though somebody waits to, is idle once it is closed.
            let has_closed = self.close(&plan.closed, &mut moves);
            moves.look_again = plan.look_again;
            for model in &plan.unload {
                match self.residents.get_mut(model) {
                    Some(resident) if self.is_managed => resident.state = State::Unloading,
                    _ => self.drop(*model),
                }
            }
            moves.evicted.extend(plan.unload.iter().copied());
            if let Some(model) = plan.load {
                let state = if self.is_managed {
                    moves.load = Some(model);
                    State::Loading
                } else {
                    moves.opened.push(model);
                    State::idle(now)
                };
                self.hold(model, self.bytes_of(model, queue(model).bytes), state, now);
            }
            let is_done = plan.unload.is_empty() && plan.load.is_none();
            if !has_closed && (self.is_managed || is_done) {
                break;
            }
        }
        self.is_dirty = false;
        moves
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
        let Some(capacity) = self.capacity.or_else(|| self.is_managed.then_some(u64::MAX)) else {
            return swap::Plan::default();
        };
        if self.claims.is_empty() {
            return swap::Plan::default();
        }
        let known = |model: ModelNumber| self.known.get(&model).copied().unwrap_or_default();
        let residents: SmallVec<[_; 16]> = self
            .residents
            .iter()
            .map(|(&model, one)| {
                let served_ms = known(model).served_ms.value(now).map_or(0, |ms| ms as Millis);
                // Who waits for something else than memory will use it.
                let is_wanted = !one.is_closed && queue(model).waiting > 0;
                swap::Resident {
                    model,
                    bytes: one.bytes,
                    doing: match one.state {
                        State::Ready { pins: 0, idle_since, .. } if !is_wanted => Doing::Idle(idle_since),
                        State::Ready { .. } => Doing::Busy(now.saturating_add(served_ms)),
                        State::Loading => Doing::Loading,
                        State::Unloading => Doing::Unloading,
                    },
                    since: one.since,
                    load_ms: known(model).load_ms(one.bytes, now),
                    chance: known(model).usage.chance(now),
                    is_pinned: false,
                    is_closed: one.is_closed,
                }
            })
            .collect();
        let claims: SmallVec<[_; 16]> = self
            .claims
            .iter()
            .map(|(&model, &since)| {
                let Queue { bytes, waiting, mean_since } = queue(model);
                let bytes = self.bytes_of(model, bytes);
                let load_ms = known(model).load_ms(bytes, now);
                Claim { model, bytes, since, mean_since, waiting, load_ms }
            })
            .collect();
        swap::plan(&View { capacity, residents: &residents, claims: &claims }, &self.policy, now)
    }

    /// Bytes of all resident models.
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
