//! How long requests wait, and would wait. Nothing here changes anything.

use super::{Admission, DeviceState, Load, Model, ModelResources};
use crate::ewma::Millis;
use crate::fair::Place;
use crate::ticket::Ticket;
use crate::vram::{ModelNumber, Prospect};

/// How long newcomers would wait at `now`, for many models at once.
#[derive(Clone, Debug)]
pub struct Waits<'a> {
    admission: &'a Admission,
    /// Of each device of which anything is known of what is in memory.
    prospects: Vec<Option<Prospect>>,
    now: Millis,
}

impl Waits<'_> {
    /// How long a newcomer would wait, in the scale that models are compared by: where nobody knows, a second.
    #[must_use]
    pub fn wait_ms(&self, model: ModelNumber) -> Millis {
        let prospect = self.prospects.get(self.admission.device_of(model)).and_then(Option::as_ref);
        self.admission.load_in(model, prospect, self.now).wait_ms.unwrap_or(Admission::UNKNOWN_WAIT_MS)
    }

    /// Whether the model would have to be loaded, or is being loaded, as far as anybody knows.
    #[must_use]
    pub fn is_cold(&self, model: ModelNumber) -> bool {
        let bytes_thought = self.admission.models[model].resources.memory_bytes;
        self.admission.residency_of(model).is_cold(model, bytes_thought)
    }
}

impl Admission {
    /// Where a request stands; `None` if it does not wait.
    #[must_use]
    pub fn place(&self, ticket: Ticket, now: Millis) -> Option<Place> {
        let entry = self.requests.get(ticket)?;
        let Model { queue, timer, .. } = &self.models[entry.model];
        let place = queue.place(entry.waiting(ticket))?;
        let rate_ms = timer.map(|due| due.saturating_sub(now));
        let eta_ms =
            self.eta_ms(entry.model, place.position, self.prospect_of(entry.model, now).as_ref(), now);
        Some(Place { eta_ms: eta_ms.max(rate_ms), ..place })
    }

    /// How busy a model is.
    #[must_use]
    pub fn load(&self, model: ModelNumber, now: Millis) -> Load {
        self.load_in(model, self.prospect_of(model, now).as_ref(), now)
    }

    /// How long newcomers would wait.
    #[must_use]
    pub fn waits(&self, now: Millis) -> Waits<'_> {
        let prospects = self.devices.iter().map(|device| prospect(device, now)).collect();
        Waits { admission: self, prospects, now }
    }

    /// Whether models may be cold: then they wait though nobody asks for them.
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.devices.iter().any(|device| device.residency.is_tracked())
    }

    fn prospect_of(&self, model: ModelNumber, now: Millis) -> Option<Prospect> {
        prospect(&self.devices[self.device_of(model)], now)
    }

    fn load_in(&self, model: ModelNumber, prospect: Option<&Prospect>, now: Millis) -> Load {
        let Model { running, queue, resources, .. } = &self.models[model];
        let is_free = queue.is_empty() && resources.max_concurrent.is_none_or(|most| *running < most);
        let wait_ms = if is_free {
            Some(self.until_ready_ms(model, prospect))
        } else {
            self.eta_ms(model, queue.len() + 1, prospect, now)
        };
        Load { running: *running, waiting: queue.len(), wait_ms }
    }

    fn until_ready_ms(&self, model: ModelNumber, prospect: Option<&Prospect>) -> Millis {
        let bytes_thought = self.models[model].resources.memory_bytes;
        prospect.map_or(0, |prospect| self.residency_of(model).wait_ms(model, bytes_thought, prospect))
    }

    /// How long so many turns take: at the pace of the queue, or from when the model can serve on as fast as its slots
    /// serve.
    fn eta_ms(
        &self,
        model: ModelNumber,
        turns: usize,
        prospect: Option<&Prospect>,
        now: Millis,
    ) -> Option<Millis> {
        let Model { queue, resources: ModelResources { max_concurrent, .. }, .. } = &self.models[model];
        let until_ready_ms = self.until_ready_ms(model, prospect);
        if until_ready_ms == 0 {
            return queue.eta_ms(turns);
        }
        let before =
            max_concurrent.map_or(0, |slots| turns.saturating_sub(1) as u64 / u64::from(slots.max(1)));
        let served_ms = self.residency_of(model).served_ms(model, now);
        Some(until_ready_ms.saturating_add(before.saturating_mul(served_ms)))
    }
}

fn prospect(device: &DeviceState, now: Millis) -> Option<Prospect> {
    device.residency.is_tracked().then(|| device.residency.prospect(now))
}
