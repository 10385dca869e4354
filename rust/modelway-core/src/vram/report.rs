//! What is told of models that were loaded and unloaded, at our word or by somebody else.

use super::{Evicted, Held, Residency, Resident, Stage, State};
use crate::ewma::Millis;
use crate::vram::ModelNumber;

impl Residency {
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
        // That it was loaded shows that it can be.
        let learnable = bytes.map(|bytes| bytes.min(self.device.capacity.unwrap_or(bytes)));
        let learned = self.learned.entry(model).or_default();
        learned.bytes = learnable.or(learned.bytes);
        if let Some(load_ms) = load_ms {
            learned.note_load(load_ms, now);
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
        self.preloads.remove(&model);
        self.is_watched = true;
        self.is_dirty = true;
    }

    /// The model is not in memory: it was unloaded, or could not be loaded. One that requests use stays until they
    /// end, and on a managed backend takes no new ones.
    pub fn gone(&mut self, model: ModelNumber) {
        let is_managed = self.device.is_managed;
        self.is_watched = true;
        match self.residents.get_mut(&model) {
            Some(Resident { state: State::Ready { pins: 1.., is_gone, .. }, .. }) => *is_gone |= is_managed,
            _ => self.drop(model),
        }
    }

    /// The model can't be loaded.
    pub fn failed(&mut self, model: ModelNumber) {
        self.preloads.remove(&model);
        self.gone(model);
    }

    /// The model did not fit into what was thought to be free: it takes so many bytes. All that is idle must be unloaded;
    /// once that has made room the model is loaded again. Of one that is not being loaded nothing is believed.
    pub fn did_not_fit(&mut self, model: ModelNumber, bytes: u64) -> Evicted {
        if !self.residents.get(&model).is_some_and(|one| matches!(one.state, State::Loading)) {
            return Evicted::new();
        }
        self.learned.entry(model).or_default().bytes = Some(bytes);
        self.drop(model);
        let idle = self
            .residents
            .iter()
            .filter(|(model, one)| one.pins() == Some(0) && !self.pinned.contains_key(model));
        let idle: Evicted = idle.map(|(model, _)| *model).collect();
        for model in &idle {
            self.unload(*model);
        }
        idle
    }

    /// Loads the model as if somebody waited for it, until it is there. Other backends than managed ones load by
    /// themselves what is asked for.
    pub fn preload(&mut self, model: ModelNumber, bytes_thought: u64, now: Millis) {
        if self.device.is_managed && !self.residents.contains_key(&model) {
            self.preloads.insert(model);
            self.claim(model, bytes_thought, now);
        }
    }

    /// Loading the model took so long, seen by who asked it on a backend that loads by itself.
    pub fn note_load(&mut self, model: ModelNumber, load_ms: f64, now: Millis) {
        if !self.device.is_managed && self.is_tracked() {
            self.learned.entry(model).or_default().note_load(load_ms, now);
        }
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
            is_closed: one.pins().is_some() && !one.takes_requests(),
        })
    }
}
