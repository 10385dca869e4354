//! What requests may use, as configured: limits of users, models and backends, by name.

use std::collections::HashMap;
use std::num::NonZeroU32;

use crate::admit::{BackendResources, ModelResources};
use crate::breaker::BreakerPolicy;
use crate::egress::Policy;
use crate::limits::Limits;
use crate::profile::{ModelProfile, Site};
use crate::table::BuildError;
use crate::users::{User, UserLimits};
use crate::vram::Device;

/// The rules in force beside the routing table. By default nothing is limited but the length of queues.
#[derive(Clone, Debug)]
pub struct Rules {
    /// When circuits open.
    pub breaker: BreakerPolicy,
    /// What each user may use.
    pub users: UserLimits,
    /// So many users are kept apart by their limits.
    pub max_users: usize,
    /// Users to whom more of a queue is due than to others.
    pub shares: HashMap<User, NonZeroU32>,
    /// Rates of all requests together.
    pub common: Limits,
    /// What backends offer, by name; the default for those not named.
    pub backends: HashMap<String, BackendResources>,
    /// The devices that models live on, by name; the default for those not named.
    pub devices: HashMap<String, Device>,
    /// The device of a backend, by their names; a backend that is not named has one of its own, `backend NAME`.
    pub shared: HashMap<String, String>,
    /// What models may use, by id, but for their memory, which stands in their profile.
    pub models: HashMap<String, ModelResources>,
    /// Where backends are, by name.
    pub sites: HashMap<String, Site>,
    /// What may leave this device.
    pub egress: Policy,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            breaker: BreakerPolicy::default(),
            users: UserLimits::default(),
            max_users: 10_000,
            shares: HashMap::new(),
            common: Limits::default(),
            backends: HashMap::new(),
            devices: HashMap::new(),
            shared: HashMap::new(),
            models: HashMap::new(),
            sites: HashMap::new(),
            egress: Policy::default(),
        }
    }
}

impl Rules {
    /// What a model may use.
    #[must_use]
    pub fn of_model(&self, model: &ModelProfile) -> ModelResources {
        let named = self.models.get(&model.model_id).copied().unwrap_or_default();
        let memory_bytes = model.memory_bytes.unwrap_or(0);
        ModelResources { memory_bytes, makes_embeddings: model.only_makes_embeddings(), ..named }
    }

    /// What a backend offers.
    #[must_use]
    pub fn of_backend(&self, name: &str) -> BackendResources {
        self.backends.get(name).copied().unwrap_or_default()
    }

    /// The name of the device that a backend's models live on.
    #[must_use]
    pub fn device_of(&self, backend: &str) -> String {
        self.shared.get(backend).cloned().unwrap_or_else(|| Self::own_device_of(backend))
    }

    /// The name of the device of a backend that shares none.
    #[must_use]
    pub fn own_device_of(backend: &str) -> String {
        format!("backend {backend}")
    }

    /// A device by its name.
    #[must_use]
    pub fn device(&self, name: &str) -> Device {
        self.devices.get(name).copied().unwrap_or_default()
    }

    /// Models that could never be loaded.
    pub(super) fn problems(&self, models: &[ModelProfile]) -> Vec<BuildError> {
        let too_large = |(index, model): (usize, &ModelProfile)| {
            let device = self.device_of(&model.backend_id);
            let (bytes, room) = (model.memory_bytes?, self.device(&device).capacity?);
            let pinned = models.iter().filter(|other| {
                other.model_id != model.model_id
                    && self.device_of(&other.backend_id) == device
                    && self.of_model(other).is_pinned
            });
            let of_pinned = pinned.filter_map(|other| other.memory_bytes).fold(0, u64::saturating_add);
            (bytes.saturating_add(of_pinned) > room).then(|| BuildError {
                path: format!("models[{index}].memory_bytes"),
                message: if bytes > room {
                    format!(
                        "{bytes} bytes are more than the {room} of {device:?}; correct one of them or move the model to \
                         another backend"
                    )
                } else {
                    format!(
                        "{bytes} bytes do not fit beside the {of_pinned} of the pinned models into the {room} of \
                         {device:?}; pin less, or move the model to another backend"
                    )
                },
            })
        };
        models.iter().enumerate().filter_map(too_large).collect()
    }
}
