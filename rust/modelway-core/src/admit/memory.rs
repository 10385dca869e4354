//! What is told of models that were loaded and unloaded, and who goes on for it.

use super::settle::Work;
use super::{Admission, Effects, Model, Refusal, Why};
use crate::ewma::Millis;
use crate::vram::ModelNumber;

impl Admission {
    /// A model that was to be loaded serves from now on, or was loaded by somebody else. It takes so many bytes and
    /// loading took so long, where that is known.
    pub fn loaded(
        &mut self,
        model: ModelNumber,
        bytes: Option<u64>,
        load_ms: Option<f64>,
        now: Millis,
    ) -> Effects {
        let Model { backend, resources, queue, .. } = &mut self.models[model];
        queue.resume(now);
        let residency = &mut self.backends[*backend].residency;
        residency.loaded(model, resources.memory_bytes, bytes, load_ms, now);
        self.settled_with_claims(model, now)
    }

    /// A model was unloaded, or is seen not to be there.
    pub fn gone(&mut self, model: ModelNumber, now: Millis) -> Effects {
        let backend = self.models[model].backend;
        self.backends[backend].residency.gone(model);
        self.settled([model], now)
    }

    /// A model could not be loaded: who waits for it is refused.
    pub fn failed(&mut self, model: ModelNumber, now: Millis) -> Effects {
        let mut effects = Effects::default();
        while let Some(ticket) = self.models[model].queue.first() {
            self.refuse_first(model, ticket, Why::NotLoaded, now, &mut effects);
        }
        let backend = self.models[model].backend;
        self.backends[backend].residency.failed(model);
        self.settle([model], now, &mut effects);
        effects
    }

    /// A model could not be loaded as it takes more than was thought, so many bytes. All that is idle makes room, and
    /// it is loaded once more; where its backend has not so much, who waits for it is refused.
    pub fn did_not_fit(&mut self, model: ModelNumber, bytes: u64, now: Millis) -> Effects {
        let backend = self.models[model].backend;
        self.backends[backend].residency.did_not_fit(model, bytes);
        self.settled_with_claims(model, now)
    }

    /// Loads a model of a managed backend as if somebody waited for it, until it is there.
    ///
    /// # Errors
    /// What it would be refused for.
    pub fn preload(&mut self, model: ModelNumber, now: Millis) -> Result<Effects, Refusal> {
        let Model { backend, resources, .. } = &self.models[model];
        let residency = &mut self.backends[*backend].residency;
        if !residency.is_possible(model, resources.memory_bytes) {
            return Err(Refusal { why: Why::Memory, when: None });
        }
        residency.preload(model, resources.memory_bytes, now);
        Ok(self.settled([], now))
    }

    /// A request has seen how long its backend took to load the model.
    pub fn note_load(&mut self, model: ModelNumber, load_ms: f64, now: Millis) {
        let backend = self.models[model].backend;
        self.backends[backend].residency.note_load(model, load_ms, now);
    }

    /// Looks at a model, and at all that wait for memory of its backend: what it takes there may have changed.
    pub(super) fn settled_with_claims(&mut self, model: ModelNumber, now: Millis) -> Effects {
        let claimed = self.backends[self.models[model].backend].residency.claimed();
        let work: Work = std::iter::once(model).chain(claimed).collect();
        self.settled(work, now)
    }
}
