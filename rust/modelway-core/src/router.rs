//! One router's state: the present table, and the health that outlives it.
//!
//! A swap of the table keeps the health of every model whose name stays. One lock around two small
//! things, held only to look and to write, never while text is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::breaker::{Attempt, BreakerPolicy};
use crate::classify::{Evidence, Reading};
use crate::ewma::Millis;
use crate::health::{Alert, HealthSnapshot, ModelHealth, NotNow};
use crate::model_set::ModelSet;
use crate::outcome::RequestOutcome;
use crate::request::Request;
use crate::select::{Decision, SelectError, select};
use crate::table::{BuildError, RoutingTable, Settings};

/// Where a model's health is kept: good for the router's whole life, whatever table is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthKey(usize);

/// A router: thread-safe, never waits.
#[derive(Debug)]
pub struct Router {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: Arc<RoutingTable>,
    policy: BreakerPolicy,
    health: Vec<ModelHealth>,
    /// For each model of the table its place in `health`.
    keys: Vec<HealthKey>,
    /// Where each model id that was ever known keeps its health.
    key_of: HashMap<String, HealthKey>,
    /// How many entries of `health` are not plainly well; zero makes a decision skip them all.
    troubled: usize,
    last_attempt: Attempt,
}

impl Router {
    /// A router with every model in good health.
    ///
    /// # Errors
    /// Everything that is wrong with the settings.
    pub fn new(settings: Settings, policy: BreakerPolicy) -> Result<Self, Vec<BuildError>> {
        let mut state = State {
            table: Arc::new(RoutingTable::build(settings)?),
            policy,
            health: Vec::new(),
            keys: Vec::new(),
            key_of: HashMap::new(),
            troubled: 0,
            last_attempt: 0,
        };
        state.find_keys();
        Ok(Self { state: Mutex::new(state) })
    }

    // A panic cannot leave the state half-written: every change is a plain assignment. So a poisoned
    // lock is as good as a sound one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the table; the health of models whose names stay is kept.
    ///
    /// # Errors
    /// Everything that is wrong with the settings; then nothing has changed.
    pub fn replace(&self, settings: Settings, policy: BreakerPolicy) -> Result<(), Vec<BuildError>> {
        let table = Arc::new(RoutingTable::build(settings)?);
        let mut state = self.lock();
        state.table = table;
        state.policy = policy;
        state.find_keys();
        Ok(())
    }

    /// The table in force.
    #[must_use]
    pub fn table(&self) -> Arc<RoutingTable> {
        Arc::clone(&self.lock().table)
    }

    /// Decides which model serves. `now` is asked for only where a model is troubled: reading a clock
    /// costs as much as a tenth of a decision.
    ///
    /// # Errors
    /// As [`select`].
    pub fn select(
        &self,
        request: &Request<'_>,
        now: impl FnOnce() -> Millis,
    ) -> Result<Decision, SelectError> {
        let (table, unavailable) = {
            let state = self.lock();
            (Arc::clone(&state.table), state.unavailable(now))
        };
        select(&table, request, unavailable)
    }

    /// What the classifier reads in a text.
    #[must_use]
    pub fn classify(&self, text: &str) -> (Reading, Vec<Evidence>) {
        self.table().classifier().explain(text)
    }

    /// Where the model with this id or alias keeps its health. An id that an earlier table had is still
    /// known: requests that began under it report to it.
    #[must_use]
    pub fn health_key(&self, name: &str) -> Option<HealthKey> {
        let state = self.lock();
        match state.table.find(name) {
            Some(index) => Some(state.keys[usize::from(index)]),
            None => state.key_of.get(name).copied(),
        }
    }

    /// Takes the right to ask a model.
    ///
    /// # Errors
    /// [`NotNow`] while it must be left alone.
    pub fn begin(&self, model: HealthKey, now: Millis) -> Result<Attempt, NotNow> {
        let mut state = self.lock();
        let attempt = state.last_attempt + 1;
        let begun = state.change(model, |health, _| health.begin(attempt, now))?;
        state.last_attempt = attempt;
        Ok(begun)
    }

    /// Takes note of how a request ended, and returns what somebody should be told of. `chance` in [0, 1)
    /// jitters the backoff.
    pub fn record(
        &self,
        model: HealthKey,
        attempt: Option<Attempt>,
        outcome: &RequestOutcome,
        now: Millis,
        chance: f64,
    ) -> Option<Alert> {
        self.lock().change(model, |health, policy| health.record(attempt, outcome, policy, now, chance))
    }

    /// A model's health as of `now`.
    #[must_use]
    pub fn health(&self, model: HealthKey, now: Millis) -> HealthSnapshot {
        self.lock().health[model.0].snapshot(now)
    }
}

impl State {
    fn find_keys(&mut self) {
        self.keys = self
            .table
            .models()
            .iter()
            .map(|model| {
                *self.key_of.entry(model.model_id.clone()).or_insert_with(|| {
                    self.health.push(ModelHealth::default());
                    HealthKey(self.health.len() - 1)
                })
            })
            .collect();
    }

    fn change<R>(&mut self, model: HealthKey, act: impl FnOnce(&mut ModelHealth, &BreakerPolicy) -> R) -> R {
        let health = &mut self.health[model.0];
        let was_troubled = !health.is_untroubled();
        let answer = act(health, &self.policy);
        let is_troubled = !health.is_untroubled();
        self.troubled = self.troubled + usize::from(is_troubled) - usize::from(was_troubled);
        answer
    }

    /// Models that must be left alone now. Boxed: nearly always there are none, and a decision is copied.
    fn unavailable(&self, now: impl FnOnce() -> Millis) -> Option<Box<ModelSet>> {
        if self.troubled == 0 {
            return None;
        }
        let now = now();
        let mut set = ModelSet::none(self.keys.len());
        for (model, key) in (0..).zip(&self.keys) {
            if self.health[key.0].check(now).is_err() {
                set.insert(model);
            }
        }
        Some(Box::new(set))
    }
}
