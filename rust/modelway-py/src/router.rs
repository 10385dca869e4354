//! `CoreRouter`: the router of the core, with the clock and the chance it does not have itself.

use std::time::Instant;

use modelway_core::request::Request;
use modelway_core::{HealthKey, Millis, NotNow, Rejection, Router, RoutingTable, SelectError, TaskClass};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::arguments::{seconds, text};
use crate::batch::ClassificationBatch;
use crate::decision::{Classification, RoutingDecision};
use crate::errors::{attempt, config_error, raise};
use crate::outcome::{ModelHealth, RequestOutcome};
use crate::profile::ModelProfile;
use crate::request::RoutingRequest;
use crate::settings;

/// The routing table, the classifier and the health of all models.
#[pyclass(frozen, subclass, module = "modelway._core")]
pub(crate) struct CoreRouter {
    router: Router,
    born: Instant,
}

impl CoreRouter {
    #[expect(clippy::cast_possible_truncation, reason = "2^64 ms are 580 million years")]
    fn now(&self) -> Millis {
        self.born.elapsed().as_millis() as Millis
    }

    fn decide(&self, py: Python<'_>, request: &Request<'_>) -> PyResult<RoutingDecision> {
        match self.router.select(request, || self.now()) {
            Ok(core) => Ok(RoutingDecision { core }),
            Err(error) => Err(self.select_error(py, request, error)),
        }
    }

    fn key(&self, py: Python<'_>, name: &str) -> PyResult<HealthKey> {
        self.router.health_key(name).ok_or_else(|| unknown(py, name, self.router.table().nearest(name)))
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
        rejected: &[(modelway_core::model_set::ModelIndex, Rejection)],
    ) -> PyResult<PyErr> {
        let explain = py.import("modelway.explain")?;
        let sentence = explain.getattr("rejection_sentence")?;
        let now = self.now();
        let mut attempts = Vec::with_capacity(rejected.len());
        for (index, why) in rejected {
            let model = table.model(*index).model_id.as_str();
            let health = self.router.health_key(model).map(|key| self.router.health(key, now));
            let next = health.and_then(|seen| seen.retry_in_ms).filter(|_| *why == Rejection::Unavailable);
            let why: String = sentence.call1((why.short(),))?.extract()?;
            attempts.push(attempt(py, model, &why, next.map(seconds))?);
        }
        let message: String = explain.getattr("none_left_sentence")?.call1((&attempts,))?.extract()?;
        let facts = PyDict::new(py);
        facts.set_item("attempts", PyTuple::new(py, attempts)?)?;
        Ok(raise(py, "NoModelAvailable", &message, Some(&facts)))
    }
}

/// Nothing here is called `name`.
#[cold]
fn unknown(py: Python<'_>, name: &str, nearest: Option<&str>) -> PyErr {
    let shown: String = name.chars().take(80).collect();
    let remedy = match nearest {
        Some(near) => format!("did you mean {near:?}?"),
        None => "`modelway models` lists what there is".to_owned(),
    };
    let facts = PyDict::new(py);
    match facts.set_item("name", &shown) {
        Ok(()) => raise(py, "UnknownModel", &format!("no model is called {shown:?}; {remedy}"), Some(&facts)),
        Err(error) => error,
    }
}

#[pymethods]
impl CoreRouter {
    #[new]
    fn new(settings: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = settings.py();
        let (settings, policy) = settings::read(settings)?;
        let router = Router::new(settings, policy).map_err(|problems| config_error(py, &problems))?;
        #[expect(clippy::disallowed_methods, reason = "the binding is where the clock is read")]
        Ok(Self { router, born: Instant::now() })
    }

    fn select(&self, request: &Bound<'_, PyAny>) -> PyResult<RoutingDecision> {
        let py = request.py();
        if let Ok(prompt) = request.cast::<PyString>() {
            return self.decide(py, &Request { prompt: &text(prompt), ..Request::default() });
        }
        if let Ok(request) = request.cast::<RoutingRequest>() {
            return self.decide(py, &request.get().core());
        }
        let kind = request.get_type().name()?;
        Err(PyTypeError::new_err(format!("select takes a str or a RoutingRequest, not {kind}")))
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
    fn record_outcome(
        &self,
        py: Python<'_>,
        model: &Bound<'_, PyString>,
        outcome: &Bound<'_, RequestOutcome>,
        attempt: Option<u64>,
    ) -> PyResult<()> {
        let key = self.key(py, &text(model))?;
        self.router.record(key, attempt, &outcome.get().core, self.now(), fastrand::f64());
        Ok(())
    }

    fn begin(&self, py: Python<'_>, model: &Bound<'_, PyString>) -> PyResult<u64> {
        let model = &*text(model);
        let key = self.key(py, model)?;
        let now = self.now();
        self.router.begin(key, now).map_err(|not_now: NotNow| {
            let make = || -> PyResult<PyErr> {
                let held = not_now.held.map(modelway_core::OutcomeKind::short);
                let why: String =
                    py.import("modelway.explain")?.getattr("not_now_sentence")?.call1((held,))?.extract()?;
                let next = seconds(not_now.until.saturating_sub(now));
                let facts = PyDict::new(py);
                facts.set_item("attempts", (attempt(py, model, &why, Some(next))?,))?;
                Ok(raise(py, "NoModelAvailable", &format!("{model}: {why}"), Some(&facts)))
            };
            make().unwrap_or_else(|error| error)
        })
    }

    fn health(&self, py: Python<'_>, model: &Bound<'_, PyString>) -> PyResult<ModelHealth> {
        let key = self.key(py, &text(model))?;
        let model = self.resolve(py, model)?;
        Ok(ModelHealth { model, core: self.router.health(key, self.now()) })
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
        let (settings, policy) = settings::read(settings)?;
        self.router.replace(settings, policy).map_err(|problems| config_error(py, &problems))
    }
}
