//! Models and backends by name, for the router's whole life: a swap of the table finds them again, with their
//! health and with what they have used.

mod observe;
mod slow;

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::rules::Rules;
use crate::admit::{Admission, BackendNumber, DeviceNumber, Effects};
use crate::alert::Alert;
use crate::breaker::{Attempt, BreakerPolicy};
use crate::ewma::Millis;
use crate::first_token::Budgets;
use crate::health::{ModelHealth, NotNow, Setback};
use crate::live::{Live, Outlook};
use crate::outcome::{RequestOutcome, Verdict};
use crate::table::RoutingTable;
use crate::vram::ModelNumber;

/// A model of a backend: good for the router's whole life, whatever table is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ModelKey(ModelNumber);

impl ModelKey {
    /// The number that the admission knows it by.
    pub(super) const fn number(self) -> ModelNumber {
        self.0
    }
}

/// Whom an alert is about, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A model's id.
    Model(String),
    /// A backend's name.
    Backend(String),
}

pub use observe::Sighting;

/// What somebody should be told; nearly always nothing.
pub type Alerts = SmallVec<[(Subject, Alert); 1]>;

#[derive(Debug, Default)]
pub(super) struct Roster {
    policy: BreakerPolicy,
    /// In the order of the admission's numbers.
    models: Vec<Model>,
    backends: Vec<Backend>,
    /// For each model of the table its key.
    keys: Vec<ModelKey>,
    /// The key that a model id had last, in whatever table.
    latest: HashMap<String, ModelKey>,
    key_of: HashMap<(BackendNumber, String), ModelKey>,
    backend_of: HashMap<String, BackendNumber>,
    device_of: HashMap<String, DeviceNumber>,
    /// How many models and backends are not plainly well; zero makes a decision skip them all.
    troubled: usize,
    /// Until when a failure of the past may make some model ailing; `None`: none does.
    ailing_until: Option<Millis>,
    budgets: Budgets,
    /// How the table's models look while all are well and nobody waits: something only where one is too slow for some
    /// task. Made anew when a model becomes so or is so no longer, and shared by all decisions until then.
    slow: Option<Arc<Live>>,
    /// When the oldest of the averages behind it is forgotten.
    forgets_at: Millis,
    last_attempt: Attempt,
}

#[derive(Debug)]
struct Model {
    id: String,
    backend: BackendNumber,
    health: ModelHealth,
    /// When its first token comes by its profile, where nothing was seen.
    usual_first_token_ms: Option<Millis>,
    /// When it may be expected, as of the last outcome.
    first_token_ms: Option<Millis>,
}

#[derive(Debug)]
struct Backend {
    name: String,
    health: ModelHealth,
    /// What the latest active check saw; nothing follows from it alone.
    is_unreachable: bool,
}

impl Roster {
    /// Takes over a table's models under these rules: those it knows by name keep what they have.
    pub(super) fn adopt(
        &mut self,
        table: &RoutingTable,
        rules: &Rules,
        admission: &mut Admission,
        now: Millis,
    ) -> Effects {
        let mut effects = admission.set_limits(rules.users, rules.max_users, rules.common, now);
        self.policy = rules.breaker;
        for (name, number) in &self.device_of {
            effects.extend(admission.set_device(*number, rules.device(name), now));
        }
        for (name, number) in &self.backend_of {
            let device = device(&mut self.device_of, name, rules, admission);
            effects.extend(admission.set_backend(*number, device, &rules.of_backend(name), now));
        }
        self.keys.clear();
        for profile in table.models() {
            let resources = rules.of_model(profile);
            let backend = self.backend(&profile.backend_id, rules, admission);
            let place = (backend, profile.model_id.clone());
            let key = if let Some(key) = self.key_of.get(&place) {
                effects.extend(admission.set_model(key.0, resources, now));
                *key
            } else {
                let key = ModelKey(admission.add_model(backend, resources));
                let id = profile.model_id.clone();
                let health = ModelHealth::default();
                let (usual_first_token_ms, first_token_ms) = (None, None);
                self.models.push(Model { id, backend, health, usual_first_token_ms, first_token_ms });
                self.key_of.insert(place, key);
                key
            };
            self.models[key.0].usual_first_token_ms = profile.avg_ttft_ms;
            self.latest.insert(profile.model_id.clone(), key);
            self.keys.push(key);
        }
        let models = self.models.iter_mut().map(|model| &mut model.health);
        for health in models.chain(self.backends.iter_mut().map(|backend| &mut backend.health)) {
            health.set_policy(&self.policy);
        }
        self.budgets = *table.budgets();
        self.expect_anew(now);
        effects
    }

    fn backend(&mut self, name: &str, rules: &Rules, admission: &mut Admission) -> BackendNumber {
        if let Some(number) = self.backend_of.get(name) {
            return *number;
        }
        let device = device(&mut self.device_of, name, rules, admission);
        let number = admission.add_backend(device, rules.of_backend(name));
        let health = ModelHealth::default();
        self.backends.push(Backend { name: name.to_owned(), health, is_unreachable: false });
        self.backend_of.insert(name.to_owned(), number);
        number
    }

    /// The model's key: by a name in force, else by an id that an earlier table had.
    pub(super) fn find(&self, table: &RoutingTable, name: &str) -> Option<ModelKey> {
        match table.find(name) {
            Some(index) => Some(self.keys[usize::from(index)]),
            None => self.latest.get(name).copied(),
        }
    }

    /// The keys of the table's models, in its order.
    pub(super) fn keys(&self) -> &[ModelKey] {
        &self.keys
    }

    /// The id of a model that the admission knows by this number.
    pub(super) fn id(&self, model: ModelNumber) -> &str {
        &self.models[model].id
    }

    pub(super) fn health(&self, model: ModelKey) -> &ModelHealth {
        &self.models[model.0].health
    }

    /// The number that the admission knows a backend by; `None` where none was ever called so.
    pub(super) fn number_of_backend(&self, name: &str) -> Option<BackendNumber> {
        self.backend_of.get(name).copied()
    }

    /// Whether the admission's model of this number is one of that backend.
    pub(super) fn is_of(&self, model: ModelNumber, backend: BackendNumber) -> bool {
        self.models[model].backend == backend
    }

    pub(super) fn health_of_backend(&self, name: &str) -> Option<&ModelHealth> {
        self.backend_of.get(name).map(|number| &self.backends[*number].health)
    }

    /// What a newcomer would find at a model, where it would wait so long.
    pub(super) fn outlook(&self, model: ModelKey, wait_ms: Millis, now: Millis) -> Outlook {
        Outlook {
            is_available: self.check(model, now).is_ok(),
            is_ailing: self.is_ailing(model, now),
            first_token_ms: self.models[model.0].first_token_ms,
            wait_ms,
            is_cold: false,
        }
    }

    /// Whether all models are plainly well, as far as can be told without a clock.
    pub(super) const fn is_well(&self) -> bool {
        self.troubled == 0 && self.ailing_until.is_none()
    }

    /// Forgets that somebody was ailing, or slow, once that is over.
    pub(super) fn recover(&mut self, now: Millis) {
        self.forget(now);
        self.ailing_until = self.ailing_until.filter(|until| now < *until);
    }

    /// Whether another model that is as good otherwise should be asked first.
    fn is_ailing(&self, model: ModelKey, now: Millis) -> bool {
        let Model { backend, health, .. } = &self.models[model.0];
        health.is_ailing(now) || self.backends[*backend].health.is_ailing(now)
    }

    /// Whether a model may be asked, and its backend.
    pub(super) fn check(&self, model: ModelKey, now: Millis) -> Result<(), NotNow> {
        let Model { backend, health, .. } = &self.models[model.0];
        health.check(now)?;
        let of_backend = self.backends[*backend].health.check(now);
        of_backend.map_err(|not_now| NotNow { why: Setback::Backend, ..not_now })
    }

    /// Takes the right to ask a model, and its backend: of both or of neither.
    pub(super) fn begin(&mut self, model: ModelKey, now: Millis) -> Result<Attempt, NotNow> {
        self.check(model, now)?;
        self.last_attempt += 1;
        let attempt = self.last_attempt;
        self.change(model, |health, backend, _| {
            health.begin(attempt, now)?;
            backend.begin(attempt, now)
        })
    }

    /// Takes note of how long loading a model took, whoever had it loaded.
    pub(super) fn note_load(&mut self, model: ModelKey, load_ms: f64, now: Millis) {
        self.models[model.0].health.see_load(load_ms, now);
    }

    /// Takes note of how an attempt ended.
    pub(super) fn record(
        &mut self,
        model: ModelKey,
        attempt: Option<Attempt>,
        outcome: &RequestOutcome,
        now: Millis,
        chance: f64,
    ) -> Alerts {
        let (of_model, of_backend) = self.change(model, |health, backend, policy| {
            let of_model = health.record(attempt, outcome, policy, now, chance);
            (of_model, backend.record_of_backend(attempt, outcome, policy, now, chance))
        });
        if !matches!(outcome.kind.of_model(), Verdict::Good | Verdict::Nothing) {
            self.ailing_until = Some(now.saturating_add(self.policy.window_ms));
        }
        self.learn_first_token(model, now);
        let mut alerts = Alerts::new();
        self.tell(&mut alerts, model, &of_model);
        if let Some(alert) = of_backend {
            let name = &self.backends[self.models[model.0].backend].name;
            alerts.push((Subject::Backend(name.clone()), alert));
        }
        alerts
    }

    fn tell(&self, alerts: &mut Alerts, model: ModelKey, news: &[Alert]) {
        for alert in news {
            alerts.push((Subject::Model(self.id(model.0).to_owned()), *alert));
        }
    }

    /// Changes the health of a model and of its backend.
    fn change<R>(
        &mut self,
        model: ModelKey,
        act: impl FnOnce(&mut ModelHealth, &mut ModelHealth, &BreakerPolicy) -> R,
    ) -> R {
        let Model { backend, health, .. } = &mut self.models[model.0];
        let backend = &mut self.backends[*backend].health;
        let troubled = |one: &ModelHealth, other: &ModelHealth| {
            usize::from(!one.is_untroubled()) + usize::from(!other.is_untroubled())
        };
        let before = troubled(health, backend);
        let answer = act(health, backend, &self.policy);
        self.troubled = self.troubled + troubled(health, backend) - before;
        answer
    }
}

/// The device of the backend of this name, which is made where there was none.
fn device(
    known: &mut HashMap<String, DeviceNumber>,
    backend: &str,
    rules: &Rules,
    admission: &mut Admission,
) -> DeviceNumber {
    let name = rules.device_of(backend);
    *known.entry(name).or_insert_with_key(|name| admission.add_device(rules.device(name)))
}
