//! One router's state: the present table, and what outlives it: health, limits, and the requests under way.
//!
//! A swap of the table keeps the health of every model whose name and backend stay, and what was used of
//! limits and quotas. One lock around all of it, held only to look and to write, never while text is read.

use rustc_hash::FxHashMap;

mod egress;
mod in_force;
mod memory;
mod requests;
mod roster;
mod rules;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::admit::Admission;
use crate::breaker::Attempt;
use crate::classify::{Evidence, Reading};
use crate::egress::{Gate, WallMillis};
use crate::ewma::Millis;
use crate::health::{HealthSnapshot, NotNow};
use crate::live::{Live, Outlook};
use crate::outcome::RequestOutcome;
use crate::request::Request;
use crate::select::{Checkpoint, Decision, SelectError, select};
use crate::table::{BuildError, RoutingTable, Settings};
pub use egress::NoControl;
pub use in_force::{LimitInForce, What};
pub use memory::Memory;
use requests::Held;
pub use requests::{Answer, Changes, Refused, Terms, Told};
use roster::Roster;
pub use roster::{Alerts, ModelKey, Sighting, Subject};
pub use rules::Rules;

/// A router: thread-safe, never waits.
#[derive(Debug)]
pub struct Router {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    table: Arc<RoutingTable>,
    rules: Rules,
    gate: Arc<Gate>,
    roster: Roster,
    admission: Admission,
    /// Requests that wait or run, by the number of their ticket.
    requests: FxHashMap<u64, Held>,
    /// What changes have caused that nobody was told yet.
    owed: Option<Box<Changes>>,
}

impl Router {
    /// A router with every model in good health and nothing used.
    ///
    /// # Errors
    /// Everything that is wrong with the settings.
    pub fn new(settings: Settings, rules: Rules) -> Result<Self, Vec<BuildError>> {
        let table = built(settings, &rules)?;
        let mut state = State {
            table,
            roster: Roster::default(),
            admission: Admission::new(rules.users, rules.max_users, rules.common),
            gate: Arc::new(Gate::new(rules.egress)),
            rules,
            requests: FxHashMap::default(),
            owed: None,
        };
        state.adopt(0);
        Ok(Self { state: Mutex::new(state) })
    }

    // A panic cannot leave the state half-written where it matters: a change of health is a plain assignment,
    // and the admission does not panic but on its own bugs. So a poisoned lock is as good as a sound one.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the table and the rules. Passes that the new ones have no room for are void from now on. Health, and what was used of limits and quotas, stays with the names.
    /// Whom the new rules let go on is told by the next call that returns [`Changes`].
    ///
    /// # Errors
    /// Everything that is wrong with the settings; then nothing has changed.
    pub fn replace(&self, settings: Settings, rules: Rules, now: Millis) -> Result<(), Vec<BuildError>> {
        let table = built(settings, &rules)?;
        let mut state = self.lock();
        state.table = table;
        state.gate = Arc::new(state.gate.under(rules.egress));
        state.rules = rules;
        state.adopt(now);
        Ok(())
    }

    /// The table in force.
    #[must_use]
    pub fn table(&self) -> Arc<RoutingTable> {
        Arc::clone(&self.lock().table)
    }

    /// Decides which model serves. `now` is asked for only where a model is troubled or requests are under way:
    /// reading a clock costs as much as a tenth of a decision; and `wall_now` only where models are elsewhere.
    ///
    /// # Errors
    /// As [`select`].
    pub fn select(
        &self,
        request: &Request<'_>,
        now: impl FnOnce() -> Millis,
        wall_now: impl FnOnce() -> WallMillis,
    ) -> Result<Decision, SelectError> {
        let (table, live, gate) = {
            let mut state = self.lock();
            let gate = state.table.has_models_elsewhere().then(|| Arc::clone(&state.gate));
            (Arc::clone(&state.table), state.live(now), gate)
        };
        let checkpoint = gate.map(|gate| Checkpoint { gate, now: wall_now() });
        select(&table, request, live, checkpoint)
    }

    /// What the classifier reads in a text.
    #[must_use]
    pub fn classify(&self, text: &str) -> (Reading, Vec<Evidence>) {
        self.table().classifier().explain(text)
    }

    /// The key of the model with this id or alias. An id that an earlier table had is still known: requests
    /// that began under it report to it.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<ModelKey> {
        let state = self.lock();
        state.roster.find(&state.table, name)
    }

    /// Takes the right to ask a model.
    ///
    /// # Errors
    /// [`NotNow`] while it or its backend must be left alone.
    pub fn begin(&self, model: ModelKey, now: Millis) -> Result<Attempt, NotNow> {
        self.lock().roster.begin(model, now)
    }

    /// Takes note of how a request ended, and returns what somebody should be told of; `None` where nothing is
    /// called `name`. `chance` in [0, 1) jitters the backoff.
    pub fn record(
        &self,
        name: &str,
        attempt: Option<Attempt>,
        outcome: &RequestOutcome,
        now: Millis,
        chance: f64,
    ) -> Option<Alerts> {
        let State { table, roster, .. } = &mut *self.lock();
        let model = roster.find(table, name)?;
        Some(roster.record(model, attempt, outcome, now, chance))
    }

    /// A model's health as of `now`. It is not available either while its backend must be left alone.
    #[must_use]
    pub fn health(&self, model: ModelKey, now: Millis) -> HealthSnapshot {
        let state = self.lock();
        let own = state.roster.health(model).snapshot(now);
        let not_now = state.roster.check(model, now).err();
        HealthSnapshot {
            available: not_now.is_none(),
            retry_in_ms: not_now.map(|why| why.until.saturating_sub(now)),
            ..own
        }
    }

    /// Whether a model may be asked at `now`, and otherwise when, and what stands against it.
    ///
    /// # Errors
    /// As [`Self::begin`]. Changes nothing.
    pub fn check(&self, model: ModelKey, now: Millis) -> Result<(), NotNow> {
        self.lock().roster.check(model, now)
    }

    /// A backend's health as of `now`; `None` where none was ever called so.
    #[must_use]
    pub fn backend_health(&self, name: &str, now: Millis) -> Option<HealthSnapshot> {
        self.lock().roster.health_of_backend(name).map(|health| health.snapshot(now))
    }
}

fn built(settings: Settings, rules: &Rules) -> Result<Arc<RoutingTable>, Vec<BuildError>> {
    let mut problems = rules.problems(&settings.models);
    match RoutingTable::build(settings) {
        Ok(table) if problems.is_empty() => Ok(Arc::new(table)),
        Ok(_) => Err(problems),
        Err(others) => {
            problems.extend(others);
            Err(problems)
        }
    }
}

impl State {
    fn adopt(&mut self, now: Millis) {
        let effects = self.roster.adopt(&self.table, &self.rules, &mut self.admission, now);
        self.owe(effects);
    }

    /// What speaks against models now.
    fn live(&mut self, now: impl FnOnce() -> Millis) -> Option<Arc<Live>> {
        if self.roster.is_well() && self.requests.is_empty() && !self.admission.is_tracked() {
            return self.roster.slow().cloned();
        }
        let now = now();
        self.roster.recover(now);
        let waits = self.admission.waits(now);
        let outlooks = self.roster.keys().iter().map(|key| {
            let (wait_ms, is_cold) = (waits.wait_ms(key.number()), waits.is_cold(key.number()));
            Outlook { is_cold, ..self.roster.outlook(*key, wait_ms, now) }
        });
        Live::of(outlooks, self.table.budgets())
    }
}
