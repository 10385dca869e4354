//! The devices that models live on, what is told of models that were loaded and unloaded, and who goes on for it.

use super::settle::Work;
use super::{Admission, DeviceNumber, DeviceState, Effects, Model, Refusal, Why};
use crate::ewma::Millis;
use crate::vram::{Device, ModelNumber, Residency};

impl Admission {
    /// A new device.
    pub fn add_device(&mut self, device: Device) -> DeviceNumber {
        self.devices.push(DeviceState { residency: Residency::new(device), look_at: None });
        self.devices.len() - 1
    }

    /// Another memory for a device, or another way to share it. What runs goes on; what waits is looked at again.
    pub fn set_device(&mut self, number: DeviceNumber, device: Device, now: Millis) -> Effects {
        self.devices[number].residency.set_device(device);
        let lives_there = |model: &ModelNumber| self.device_of(*model) == number;
        let models: Work = (0..self.models.len()).filter(lives_there).collect();
        self.settled(models, now)
    }

    /// The models of a backend go on on another device.
    pub(super) fn move_models(&mut self, models: &[ModelNumber], from: DeviceNumber, to: DeviceNumber) {
        for model in models {
            let moved = self.devices[from].residency.let_go(*model);
            self.describe(*model);
            self.devices[to].residency.take_over(*model, moved);
        }
    }

    /// Tells a model's device what is configured of it.
    pub(super) fn describe(&mut self, model: ModelNumber) {
        let device = self.device_of(model);
        let resources = &self.models[model].resources;
        self.devices[device].residency.set_model(
            model,
            resources.memory_bytes,
            resources.is_pinned,
            resources.makes_embeddings,
        );
    }

    pub(super) fn device_of(&self, model: ModelNumber) -> DeviceNumber {
        self.backends[self.models[model].backend].device
    }

    pub(super) fn residency_of(&self, model: ModelNumber) -> &Residency {
        &self.devices[self.device_of(model)].residency
    }

    pub(super) fn residency_of_mut(&mut self, model: ModelNumber) -> &mut Residency {
        let device = self.device_of(model);
        &mut self.devices[device].residency
    }

    /// A model that was to be loaded serves from now on, or was loaded by somebody else. It takes so many bytes and
    /// loading took so long, where that is known.
    pub fn loaded(
        &mut self,
        model: ModelNumber,
        bytes: Option<u64>,
        load_ms: Option<f64>,
        now: Millis,
    ) -> Effects {
        let Model { resources, queue, .. } = &mut self.models[model];
        queue.resume(now);
        let bytes_thought = resources.memory_bytes;
        self.residency_of_mut(model).loaded(model, bytes_thought, bytes, load_ms, now);
        self.settled_with_claims(model, now)
    }

    /// A model was unloaded, or is seen not to be there.
    pub fn gone(&mut self, model: ModelNumber, now: Millis) -> Effects {
        self.residency_of_mut(model).gone(model);
        self.settled([model], now)
    }

    /// A model could not be loaded: who waits for it is refused.
    pub fn failed(&mut self, model: ModelNumber, now: Millis) -> Effects {
        let mut effects = Effects::default();
        while let Some(ticket) = self.models[model].queue.first() {
            self.refuse_first(model, ticket, Why::NotLoaded, now, &mut effects);
        }
        self.residency_of_mut(model).failed(model);
        self.settle([model], now, &mut effects);
        effects
    }

    /// A model could not be loaded as it takes more than was thought, so many bytes. All that is idle makes room, and
    /// it is loaded once more; where its device has not so much, who waits for it is refused.
    pub fn did_not_fit(&mut self, model: ModelNumber, bytes: u64, now: Millis) -> Effects {
        let evicted = self.residency_of_mut(model).did_not_fit(model, bytes);
        let mut effects = Effects { evicted, ..Effects::default() };
        effects.extend(self.settled_with_claims(model, now));
        effects
    }

    /// Loads a model of a managed backend as if somebody waited for it, until it is there.
    ///
    /// # Errors
    /// What it would be refused for.
    pub fn preload(&mut self, model: ModelNumber, now: Millis) -> Result<Effects, Refusal> {
        let bytes_thought = self.models[model].resources.memory_bytes;
        let residency = self.residency_of_mut(model);
        if !residency.is_possible(model, bytes_thought) {
            return Err(Refusal { why: Why::Memory, when: None });
        }
        residency.preload(model, bytes_thought, now);
        Ok(self.settled([], now))
    }

    /// A request has seen how long its backend took to load the model.
    pub fn note_load(&mut self, model: ModelNumber, load_ms: f64, now: Millis) {
        self.residency_of_mut(model).note_load(model, load_ms, now);
    }

    /// Looks at a model, and at all that wait for memory of its device: what it takes there may have changed.
    pub(super) fn settled_with_claims(&mut self, model: ModelNumber, now: Millis) -> Effects {
        let claimed = self.residency_of(model).claimed();
        let work: Work = std::iter::once(model).chain(claimed).collect();
        self.settled(work, now)
    }
}
