//! What active checks of backends change in the health of their models.

use super::{Alerts, Backend, ModelKey, Roster};
use crate::ewma::Millis;

/// What an active check of a backend saw, without asking any model.
#[derive(Clone, Debug, Default)]
pub struct Sighting {
    /// Whether it answered.
    pub is_reachable: bool,
    /// Ids of models that it has.
    pub present: Vec<String>,
    /// Ids of models that it does not have.
    pub missing: Vec<String>,
}

impl Roster {
    /// Takes note of what an active check of a backend saw. Nothing is opened or closed by it, as only a request
    /// proves that requests are answered. Names that nothing has are passed over.
    pub(in crate::router) fn observe(&mut self, backend: &str, seen: &Sighting, now: Millis) -> Alerts {
        let mut alerts = Alerts::new();
        let Some(number) = self.backend_of.get(backend).copied() else { return alerts };
        let Backend { health, is_unreachable, .. } = &mut self.backends[number];
        let was_away = *is_unreachable || !health.is_closed();
        *is_unreachable = !seen.is_reachable;
        if seen.is_reachable && was_away {
            health.see_server_back(now);
            for model in self.models.iter_mut().filter(|model| model.backend == number) {
                model.health.see_server_back(now);
            }
        }
        let key_of = |id: &String| self.key_of.get(&(number, id.clone())).copied();
        let missing: Vec<ModelKey> = seen.missing.iter().filter_map(key_of).collect();
        let present: Vec<ModelKey> = seen.present.iter().filter_map(key_of).collect();
        for model in missing {
            let alert = self.change(model, |health, _, _| health.see_missing(now));
            self.tell(&mut alerts, model, alert.as_slice());
        }
        for model in present {
            let alert = self.change(model, |health, _, _| health.see_present(now));
            self.tell(&mut alerts, model, alert.as_slice());
        }
        alerts
    }
}
