//! `CoreRouter`: the router of the core, with the clock and the chance it does not have itself.

use modelway_core::model_set::ModelIndex;
use modelway_core::request::Request;
use modelway_core::router::{Answer, Memory, NoControl, Refused, Told};
use modelway_core::{
    Millis, ModelKey, Rejection, Router, RoutingTable, SelectError, Sighting, TaskClass, Terms,
};
use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::admission::{Admitted, Effects, ModelLoad, Queued, alerts, in_force, refusal, standing};
use crate::arguments::{amount, count, millis_since, seconds, text, texts};
use crate::batch::ClassificationBatch;
use crate::clock::{Clock, WallClock};
use crate::decision::{Classification, RoutingDecision};
use crate::egress::{self, EgressPass};
use crate::errors::{attempt, config_error, raise};
use crate::memory::Resident;
use crate::outcome::{ModelHealth, RequestOutcome};
use crate::profile::ModelProfile;
use crate::refusals::{consent_required, no_backend, no_control, not_now_error, unknown};
use crate::request::RoutingRequest;
use crate::rules::UserHash;
use crate::settings;

/// The routing table, the classifier, the health of all models, and the limits on their use.
#[pyclass(frozen, subclass, module = "modelway._core")]
pub(crate) struct CoreRouter {
    router: Router,
    users: UserHash,
    clock: Clock,
    wall: WallClock,
    /// What nearly every change causes.
    nothing: Py<Effects>,
}

impl CoreRouter {
    fn decide(&self, py: Python<'_>, request: &Request<'_>) -> PyResult<RoutingDecision> {
        let decided = if let (Clock::Machine(born), WallClock::Machine) = (&self.clock, &self.wall) {
            self.router.select(request, || millis_since(*born), WallClock::of_machine)
        } else {
            let (now, wall_now) = (self.clock.now(py)?, self.wall.now(py)?);
            self.router.select(request, || now, || wall_now)
        };
        match decided {
            Ok(core) => Ok(RoutingDecision { core }),
            Err(error) => Err(self.select_error(py, request, error)),
        }
    }

    /// What `act` makes of a str or a `RoutingRequest`, as the core reads it.
    fn with_request<R>(
        request: &Bound<'_, PyAny>,
        act: impl FnOnce(&Request<'_>) -> PyResult<R>,
    ) -> PyResult<R> {
        if let Ok(prompt) = request.cast::<PyString>() {
            return act(&Request { prompt: &text(prompt), ..Request::default() });
        }
        if let Ok(request) = request.cast::<RoutingRequest>() {
            return act(&request.get().core());
        }
        let kind = request.get_type().name()?;
        Err(PyTypeError::new_err(format!("a request is a str or a RoutingRequest, not {kind}")))
    }

    fn key(&self, py: Python<'_>, name: &str) -> PyResult<ModelKey> {
        self.router.key(name).ok_or_else(|| self.unknown(py, name))
    }

    #[cold]
    fn unknown(&self, py: Python<'_>, name: &str) -> PyErr {
        unknown(py, name, self.router.table().nearest(name))
    }

    fn memory_of(&self, py: Python<'_>, backend: &str) -> PyResult<Memory> {
        self.router.memory(backend).ok_or_else(|| no_backend(py, backend))
    }

    fn effects(&self, py: Python<'_>, told: Told, now: Millis) -> PyResult<Py<Effects>> {
        match told {
            None => Ok(self.nothing.clone_ref(py)),
            Some(changes) => Py::new(py, Effects::new(Some(changes), now)),
        }
    }

    #[cold]
    fn select_error(&self, py: Python<'_>, request: &Request<'_>, error: SelectError) -> PyErr {
        match error {
            SelectError::NoModels => raise(
                py,
                "NoModelAvailable",
                "the configuration has no models; declare some under [[models]] or [defaults], or let \
                 `await modelway.discover(config)` ask the backends on this machine",
                None,
            ),
            SelectError::UnknownModel(nearest) => {
                unknown(py, request.model.unwrap_or_default(), nearest.as_deref())
            }
            SelectError::Embedding => raise(
                py,
                "NoModelAvailable",
                "embeddings are not served, and no other model can stand in for one that makes them",
                None,
            ),
            SelectError::ContextTooLong { needed, longest } => {
                let facts = PyDict::new(py);
                let set = facts
                    .set_item("needed_tokens", needed)
                    .and_then(|()| facts.set_item("max_context", longest));
                let message = format!(
                    "the request takes about {needed} tokens and the longest context of the models left is \
                     {longest}; shorten it or configure a model with a longer context"
                );
                set.err().unwrap_or_else(|| raise(py, "ContextTooLong", &message, Some(&facts)))
            }
            SelectError::ConsentRequired(models, kinds) => {
                let table = self.router.table();
                consent_required(py, &table, &models, kinds).unwrap_or_else(|error| error)
            }
            SelectError::NoneLeft(rejected) => {
                let table = self.router.table();
                self.none_left(py, &table, &rejected).unwrap_or_else(|error| error)
            }
        }
    }

    fn none_left(
        &self,
        py: Python<'_>,
        table: &RoutingTable,
        rejected: &[(ModelIndex, Rejection)],
    ) -> PyResult<PyErr> {
        let explain = py.import("modelway.explain")?;
        let sentence = explain.getattr("rejection_sentence")?;
        let now = self.clock.now(py)?;
        let mut attempts = Vec::with_capacity(rejected.len());
        for (index, why) in rejected {
            let model = table.model(*index).model_id.as_str();
            let not_now = self.router.key(model).and_then(|key| self.router.check(key, now).err());
            let next = not_now.filter(|_| *why == Rejection::Unavailable);
            let next = next.map(|why| seconds(why.until.saturating_sub(now)));
            let why: String = sentence.call1((why.short(),))?.extract()?;
            attempts.push(attempt(py, model, &why, next)?);
        }
        let message: String = explain.getattr("none_left_sentence")?.call1((&attempts,))?.extract()?;
        let facts = PyDict::new(py);
        facts.set_item("attempts", PyTuple::new(py, attempts)?)?;
        Ok(raise(py, "NoModelAvailable", &message, Some(&facts)))
    }
}

#[pymethods]
impl CoreRouter {
    #[new]
    #[pyo3(signature = (settings, clock=None, wall_clock=None))]
    fn new(
        settings: &Bound<'_, PyAny>,
        clock: Option<&Bound<'_, PyAny>>,
        wall_clock: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let py = settings.py();
        let users = UserHash::new();
        let (settings, rules) = settings::read(settings, &users)?;
        let router = Router::new(settings, rules).map_err(|problems| config_error(py, &problems))?;
        let nothing = Py::new(py, Effects::new(None, 0))?;
        Ok(Self { router, users, clock: Clock::new(clock)?, wall: WallClock::new(wall_clock), nothing })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.clock.visit(&visit)?;
        self.wall.visit(&visit)
    }

    fn select(&self, request: &Bound<'_, PyAny>) -> PyResult<RoutingDecision> {
        Self::with_request(request, |core| self.decide(request.py(), core))
    }

    fn set_consents(&self, consents: &Bound<'_, PyAny>) -> PyResult<()> {
        self.router.set_consents(egress::consents(consents)?);
        Ok(())
    }

    fn clear(
        &self,
        model: &Bound<'_, PyString>,
        request: &Bound<'_, PyAny>,
        request_id: &Bound<'_, PyString>,
    ) -> PyResult<Option<EgressPass>> {
        let (py, model, request_id) = (request.py(), &*text(model), &*text(request_id));
        Self::with_request(request, |core| {
            let now = self.wall.now(py)?;
            match self.router.clear(model, core, request_id, || now) {
                Ok(pass) => Ok(pass.map(|pass| EgressPass::new(pass, self.wall.another(py)))),
                Err(error) => Err(self.select_error(py, &Request { model: Some(model), ..*core }, error)),
            }
        })
    }

    fn clear_control(&self, py: Python<'_>, backend: &Bound<'_, PyString>) -> PyResult<Option<EgressPass>> {
        let name = &*text(backend);
        match self.router.clear_control(name) {
            Ok(pass) => Ok(pass.map(|pass| EgressPass::new(pass, self.wall.another(py)))),
            Err(NoControl::Unknown) => Err(no_backend(py, name)),
            Err(NoControl::Refused(destination)) => Err(no_control(py, name, &destination)),
        }
    }

    fn classify(&self, text: &Bound<'_, PyString>) -> Classification {
        let (reading, evidence) = self.router.classify(&crate::arguments::text(text));
        Classification { reading, evidence }
    }

    fn classify_many(&self, texts: &Bound<'_, PyAny>) -> PyResult<ClassificationBatch> {
        ClassificationBatch::read(self.router.table().classifier(), texts)
    }

    fn fallback_chain<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let name = name.str()?;
        let name = text(&name);
        let table = self.router.table();
        if let Some(chain) = table.fallback_chain(&name) {
            let ids: Vec<_> = chain.into_iter().map(|index| table.model(index).model_id.as_str()).collect();
            return PyTuple::new(py, ids);
        }
        let tasks = TaskClass::ALL.iter().map(|task| task.short());
        let near = table.nearest(&name).or_else(|| modelway_core::named::nearest(&name, tasks));
        Err(unknown(py, &name, near))
    }

    #[pyo3(signature = (model, outcome, attempt=None))]
    fn record_outcome<'py>(
        &self,
        py: Python<'py>,
        model: &Bound<'py, PyString>,
        outcome: &Bound<'py, RequestOutcome>,
        attempt: Option<u64>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let model = &*text(model);
        let told =
            self.router.record(model, attempt, &outcome.get().core, self.clock.now(py)?, fastrand::f64());
        alerts(py, &told.ok_or_else(|| self.unknown(py, model))?)
    }

    #[pyo3(signature = (model, user=None, *, tokens=None, deadline_s=None, is_retry=false))]
    fn admit<'py>(
        &self,
        py: Python<'py>,
        model: &Bound<'py, PyString>,
        user: Option<&Bound<'py, PyString>>,
        tokens: Option<&Bound<'py, PyAny>>,
        deadline_s: Option<&Bound<'py, PyAny>>,
        is_retry: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let model = &*text(model);
        let now = self.clock.now(py)?;
        let deadline_s = deadline_s.map(|value| amount("deadline_s", value)).transpose()?;
        let terms = Terms {
            user: self.users.of(user.map(text).as_deref()),
            tokens: tokens.map_or(Ok(0), |value| count("tokens", value))?,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
            deadline: deadline_s.map(|seconds| now.saturating_add((seconds * 1000.0) as Millis)),
            is_retry,
        };
        match self.router.admit(model, &terms, now) {
            Ok((Answer::Admitted(ticket), changes)) => {
                let effects = self.effects(py, changes, now)?;
                Ok(Bound::new(py, Admitted::new(ticket, effects))?.into_any())
            }
            Ok((Answer::Queued(ticket, place), changes)) => {
                let effects = self.effects(py, changes, now)?;
                Ok(Bound::new(py, Queued::new(ticket, place, effects))?.into_any())
            }
            Err(Refused::Unknown) => Err(self.unknown(py, model)),
            Err(Refused::NotNow(why)) => Err(not_now_error(py, model, why, now)),
            Err(Refused::Limit(why)) => Err(refusal(py, model, why, now)),
        }
    }

    fn begin_admitted(&self, py: Python<'_>, ticket: u64) -> PyResult<()> {
        let now = self.clock.now(py)?;
        let begun = self.router.begin_admitted(ticket, now);
        begun.map_err(|(model, why)| not_now_error(py, &model, why, now))
    }

    #[pyo3(signature = (ticket, outcome, tokens=None))]
    fn finish(
        &self,
        py: Python<'_>,
        ticket: u64,
        outcome: &Bound<'_, RequestOutcome>,
        tokens: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Effects>> {
        let tokens = tokens.map(|value| count("tokens", value)).transpose()?;
        let now = self.clock.now(py)?;
        let changes = self.router.finish(ticket, &outcome.get().core, tokens, now, fastrand::f64());
        self.effects(py, changes, now)
    }

    fn cancel(&self, py: Python<'_>, ticket: u64) -> PyResult<Py<Effects>> {
        let now = self.clock.now(py)?;
        self.effects(py, self.router.cancel(ticket, now), now)
    }

    #[pyo3(
        signature = (backend, *, reachable, present=None, missing=None),
        text_signature = "($self, backend, *, reachable, present=(), missing=())"
    )]
    fn observe(
        &self,
        py: Python<'_>,
        backend: &Bound<'_, PyString>,
        reachable: bool,
        present: Option<&Bound<'_, PyAny>>,
        missing: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Effects>> {
        let seen = Sighting {
            is_reachable: reachable,
            present: present.map_or_else(|| Ok(Vec::new()), |ids| texts("present", ids))?,
            missing: missing.map_or_else(|| Ok(Vec::new()), |ids| texts("missing", ids))?,
        };
        let now = self.clock.now(py)?;
        self.effects(py, self.router.observe(&text(backend), &seen, now), now)
    }

    fn tick(&self, py: Python<'_>) -> PyResult<Py<Effects>> {
        let now = self.clock.now(py)?;
        self.effects(py, self.router.tick(now), now)
    }

    fn next_wake_s(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let Some(when) = self.router.next_wake() else { return Ok(None) };
        Ok(Some(seconds(when.saturating_sub(self.clock.now(py)?))))
    }

    fn holds(&self, ticket: u64) -> bool {
        self.router.holds(ticket)
    }

    fn place(&self, py: Python<'_>, ticket: u64) -> PyResult<Option<(usize, Option<f64>)>> {
        let place = self.router.place(ticket, self.clock.now(py)?);
        Ok(place.map(|place| (place.position, place.eta_ms.map(seconds))))
    }

    fn load(&self, py: Python<'_>, model: &Bound<'_, PyString>) -> PyResult<ModelLoad> {
        let key = self.key(py, &text(model))?;
        Ok(ModelLoad { load: self.router.load(key, self.clock.now(py)?) })
    }

    #[pyo3(signature = (model, *, memory_bytes=None, load_ms=None))]
    fn model_loaded(
        &self,
        py: Python<'_>,
        model: &Bound<'_, PyString>,
        memory_bytes: Option<&Bound<'_, PyAny>>,
        load_ms: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Effects>> {
        let key = self.key(py, &text(model))?;
        let bytes = memory_bytes.map(|value| count("memory_bytes", value)).transpose()?;
        let load_ms = load_ms.map(|value| amount("load_ms", value)).transpose()?;
        let now = self.clock.now(py)?;
        self.effects(py, self.router.model_loaded(key, bytes, load_ms, now), now)
    }

    fn model_unloaded(&self, py: Python<'_>, model: &Bound<'_, PyString>) -> PyResult<Py<Effects>> {
        let key = self.key(py, &text(model))?;
        let now = self.clock.now(py)?;
        self.effects(py, self.router.model_unloaded(key, now), now)
    }

    #[pyo3(signature = (model, *, memory_bytes=None))]
    fn model_not_loaded(
        &self,
        py: Python<'_>,
        model: &Bound<'_, PyString>,
        memory_bytes: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Effects>> {
        let key = self.key(py, &text(model))?;
        let bytes = memory_bytes.map(|value| count("memory_bytes", value)).transpose()?;
        let now = self.clock.now(py)?;
        self.effects(py, self.router.model_not_loaded(key, bytes, now), now)
    }

    fn preload(&self, py: Python<'_>, model: &Bound<'_, PyString>) -> PyResult<Py<Effects>> {
        let model = &*text(model);
        let key = self.key(py, model)?;
        let now = self.clock.now(py)?;
        match self.router.preload(key, now) {
            Ok(told) => self.effects(py, told, now),
            Err(why) => Err(refusal(py, model, why, now)),
        }
    }

    fn residents(&self, py: Python<'_>, backend: &Bound<'_, PyString>) -> PyResult<Vec<Resident>> {
        let held = self.memory_of(py, &text(backend))?.held;
        Ok(held.into_iter().map(Resident::new).collect())
    }

    fn device(&self, py: Python<'_>, backend: &Bound<'_, PyString>) -> PyResult<String> {
        Ok(self.memory_of(py, &text(backend))?.device)
    }

    fn memory(&self, py: Python<'_>, backend: &Bound<'_, PyString>) -> PyResult<(Option<u64>, u64)> {
        let Memory { capacity, in_use, .. } = self.memory_of(py, &text(backend))?;
        Ok((capacity, in_use))
    }

    #[pyo3(signature = (user))]
    fn standing<'py>(
        &self,
        py: Python<'py>,
        user: Option<&Bound<'py, PyString>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let now = self.clock.now(py)?;
        standing(py, &self.router.standing(self.users.of(user.map(text).as_deref()), now), now)
    }

    fn limits<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        self.router.limits().iter().map(|limit| in_force(py, limit)).collect()
    }

    fn begin(&self, py: Python<'_>, model: &Bound<'_, PyString>) -> PyResult<u64> {
        let model = &*text(model);
        let key = self.key(py, model)?;
        let now = self.clock.now(py)?;
        self.router.begin(key, now).map_err(|not_now| not_now_error(py, model, not_now, now))
    }

    fn health(&self, py: Python<'_>, model: &Bound<'_, PyString>) -> PyResult<ModelHealth> {
        let key = self.key(py, &text(model))?;
        let model = self.resolve(py, model)?;
        Ok(ModelHealth { model, core: self.router.health(key, self.clock.now(py)?) })
    }

    fn backend_health(&self, py: Python<'_>, backend: &Bound<'_, PyString>) -> PyResult<ModelHealth> {
        let name = text(backend).into_owned();
        match self.router.backend_health(&name, self.clock.now(py)?) {
            Some(core) => Ok(ModelHealth { model: name, core }),
            None => Err(no_backend(py, &name)),
        }
    }

    fn resolve(&self, py: Python<'_>, name: &Bound<'_, PyString>) -> PyResult<String> {
        let name = &*text(name);
        let table = self.router.table();
        match table.find(name) {
            Some(index) => Ok(table.model(index).model_id.clone()),
            None => Err(unknown(py, name, table.nearest(name))),
        }
    }

    #[getter]
    fn profiles<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let table = self.router.table();
        let profiles = PyDict::new(py);
        for (index, model) in (0..).zip(table.models()) {
            profiles.set_item(&model.model_id, ModelProfile::new(table.clone(), index))?;
        }
        Ok(profiles)
    }

    fn replace_table(&self, settings: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = settings.py();
        let (settings, rules) = settings::read(settings, &self.users)?;
        self.router
            .replace(settings, rules, self.clock.now(py)?)
            .map_err(|problems| config_error(py, &problems))
    }
}
