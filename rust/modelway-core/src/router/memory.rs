//! What is in the memory of devices: what those who load and unload report, and what is there.

use super::requests::Told;
use super::{ModelKey, Router, State};
use crate::admit::{Effects, Refusal};
use crate::ewma::Millis;
use crate::vram::Held;

/// What the memory of one backend's device holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The device's name; backends on a device of the same name share it.
    pub device: String,
    /// Bytes for models; `None`: not known, not limited.
    pub capacity: Option<u64>,
    /// Bytes of all that is loaded on the device, also for other backends, is being loaded, or is not unloaded yet.
    pub in_use: u64,
    /// The models of the backend that hold some of it, by id.
    pub held: Vec<(String, Held)>,
}

impl Router {
    /// A model serves from now on, loaded at our word or by somebody else. It takes so many bytes and loading took so
    /// long, where that is known.
    pub fn model_loaded(
        &self,
        model: ModelKey,
        bytes: Option<u64>,
        load_ms: Option<f64>,
        now: Millis,
    ) -> Told {
        self.report(|state| {
            if let Some(load_ms) = load_ms {
                state.roster.note_load(model, load_ms, now);
            }
            state.admission.loaded(model.number(), bytes, load_ms, now)
        })
    }

    /// A model was unloaded, or is seen not to be there.
    pub fn model_unloaded(&self, model: ModelKey, now: Millis) -> Told {
        self.report(|state| state.admission.gone(model.number(), now))
    }

    /// A model could not be loaded. Who waits for it is refused; but where it is known that it takes more than was
    /// thought, so many `bytes`, and its device has that, all that is idle makes room and it is to be loaded again.
    pub fn model_not_loaded(&self, model: ModelKey, bytes: Option<u64>, now: Millis) -> Told {
        self.report(|state| match bytes {
            Some(bytes) => state.admission.did_not_fit(model.number(), bytes, now),
            None => state.admission.failed(model.number(), now),
        })
    }

    /// Loads a model of a managed backend as if somebody waited for it, until it is there. A model that must be left
    /// alone is loaded too: that is for who asks.
    ///
    /// # Errors
    /// What a request would be refused for.
    pub fn preload(&self, model: ModelKey, now: Millis) -> Result<Told, Refusal> {
        let mut state = self.lock();
        let effects = state.admission.preload(model.number(), now)?;
        state.owe(effects);
        Ok(state.tell())
    }

    /// What is in the memory of a backend's device; `None` where no backend was ever called so. Changes nothing.
    #[must_use]
    pub fn memory(&self, backend: &str) -> Option<Memory> {
        let State { roster, admission, rules, .. } = &*self.lock();
        let number = roster.number_of_backend(backend)?;
        let residency = admission.residency(number);
        let own = residency.held().filter(|held| roster.is_of(held.model, number));
        Some(Memory {
            device: rules.device_of(backend),
            capacity: residency.capacity(),
            in_use: residency.in_use(),
            held: own.map(|held| (roster.id(held.model).to_owned(), held)).collect(),
        })
    }

    fn report(&self, change: impl FnOnce(&mut State) -> Effects) -> Told {
        let mut state = self.lock();
        let effects = change(&mut state);
        state.owe(effects);
        state.tell()
    }
}
