//! What became of a request that wanted to be admitted, and what that caused for others.

use modelway_core::admit::{Load, Refusal, Whose, Why};
use modelway_core::fair::Place;
use modelway_core::limits::Left;
use modelway_core::router::{LimitInForce, Told};
use modelway_core::users::Standing;
use modelway_core::{Alert as CoreAlert, Changes, Millis, Subject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::arguments::seconds;
use crate::errors::{attempt, raise};

/// What a change caused: who goes on, who was refused, what must be unloaded and loaded, which troubles began or are over.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct Effects {
    told: Told,
    now: Millis,
}

impl Effects {
    pub(crate) const fn new(told: Told, now: Millis) -> Self {
        Self { told, now }
    }

    fn parts<T>(&self, of: impl Fn(&Changes) -> &[T]) -> &[T] {
        self.told.as_deref().map_or(&[], |changes| of(changes))
    }
}

#[pymethods]
impl Effects {
    #[getter]
    fn granted<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.parts(|changes| &changes.granted))
    }

    #[getter]
    fn refused<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let refused = self.parts(|changes| &changes.refused).iter();
        PyTuple::new(
            py,
            refused
                .map(|(ticket, model, why)| (*ticket, refusal(py, model, *why, self.now).into_value(py)))
                .collect::<Vec<_>>(),
        )
    }

    #[getter]
    fn evicted<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.parts(|changes| &changes.evicted))
    }

    #[getter]
    fn load<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.parts(|changes| &changes.load))
    }

    #[getter]
    fn alerts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        alerts(py, self.parts(|changes| &changes.alerts))
    }

    fn __bool__(&self) -> bool {
        self.told.is_some()
    }

    fn __repr__(&self) -> String {
        format!(
            "Effects(granted={:?}, refused={}, evicted={:?}, load={:?}, alerts={})",
            self.parts(|changes| &changes.granted),
            self.parts(|changes| &changes.refused).len(),
            self.parts(|changes| &changes.evicted),
            self.parts(|changes| &changes.load),
            self.parts(|changes| &changes.alerts).len()
        )
    }
}

pub(crate) fn alerts<'py>(py: Python<'py>, alerts: &[(Subject, CoreAlert)]) -> PyResult<Bound<'py, PyTuple>> {
    if alerts.is_empty() {
        return Ok(PyTuple::empty(py));
    }
    PyTuple::new(py, alerts.iter().map(|(subject, alert)| Alert { subject: subject.clone(), alert: *alert }))
}

/// A trouble of a model or a backend that has begun, or is over.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct Alert {
    subject: Subject,
    alert: CoreAlert,
}

#[pymethods]
impl Alert {
    #[getter]
    fn model(&self) -> Option<&str> {
        match &self.subject {
            Subject::Model(id) => Some(id),
            Subject::Backend(_) => None,
        }
    }

    #[getter]
    fn backend(&self) -> Option<&str> {
        match &self.subject {
            Subject::Backend(name) => Some(name),
            Subject::Model(_) => None,
        }
    }

    #[getter]
    const fn what(&self) -> &'static str {
        self.alert.what.short()
    }

    #[getter]
    const fn is_over(&self) -> bool {
        self.alert.lasted_ms.is_some()
    }

    #[getter]
    fn since_s(&self) -> f64 {
        self.alert.lasted_ms.map_or(0.0, seconds)
    }

    fn __repr__(&self) -> String {
        let (Subject::Model(name) | Subject::Backend(name)) = &self.subject;
        let is_over = if self.is_over() { "True" } else { "False" };
        format!("Alert({name:?}, what={:?}, is_over={is_over})", self.what())
    }
}

/// A request that holds all that it needs.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct Admitted {
    #[pyo3(get)]
    ticket: u64,
    #[pyo3(get)]
    effects: Py<Effects>,
}

impl Admitted {
    pub(crate) const fn new(ticket: u64, effects: Py<Effects>) -> Self {
        Self { ticket, effects }
    }
}

#[pymethods]
impl Admitted {
    fn __repr__(&self) -> String {
        format!("Admitted({})", self.ticket)
    }
}

/// A request that waits.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct Queued {
    #[pyo3(get)]
    ticket: u64,
    place: Place,
    #[pyo3(get)]
    effects: Py<Effects>,
}

impl Queued {
    pub(crate) const fn new(ticket: u64, place: Place, effects: Py<Effects>) -> Self {
        Self { ticket, place, effects }
    }
}

#[pymethods]
impl Queued {
    #[getter]
    const fn position(&self) -> usize {
        self.place.position
    }

    #[getter]
    fn eta_s(&self) -> Option<f64> {
        self.place.eta_ms.map(seconds)
    }

    fn __repr__(&self) -> String {
        format!("Queued({}, position={})", self.ticket, self.place.position)
    }
}

/// How busy a model is.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct ModelLoad {
    pub(crate) load: Load,
}

#[pymethods]
impl ModelLoad {
    #[getter]
    const fn running(&self) -> u32 {
        self.load.running
    }

    #[getter]
    const fn waiting(&self) -> usize {
        self.load.waiting
    }

    #[getter]
    fn wait_s(&self) -> Option<f64> {
        self.load.wait_ms.map(seconds)
    }

    fn __repr__(&self) -> String {
        format!("ModelLoad(running={}, waiting={})", self.load.running, self.load.waiting)
    }
}

/// The exception for a request that a limit keeps out.
#[cold]
pub(crate) fn refusal(py: Python<'_>, model: &str, refusal: Refusal, now: Millis) -> PyErr {
    let retry_after_s = refusal.when.map(|when| seconds(when.saturating_sub(now)));
    let facts = PyDict::new(py);
    let limited = |limit: &str| {
        let facts = &facts;
        let set =
            facts.set_item("limit", limit).and_then(|()| facts.set_item("retry_after_s", retry_after_s));
        let made = py.import("modelway.explain").and_then(|explain| {
            explain.getattr("limit_sentence")?.call1((model, limit, retry_after_s))?.extract::<String>()
        });
        match (set, made) {
            (Ok(()), Ok(message)) => raise(py, "RateLimited", &message, Some(facts)),
            (Err(error), _) | (_, Err(error)) => error,
        }
    };
    let full = |why: &str| {
        let set = facts.set_item("retry_after_s", retry_after_s);
        let message = format!("{model}: {why}");
        set.map_or_else(|error| error, |()| raise(py, "QueueFull", &message, Some(&facts)))
    };
    let unavailable = |why: &str| {
        let made = attempt(py, model, why, None).and_then(|one| facts.set_item("attempts", (one,)));
        let message = format!("{model}: {why}");
        made.map_or_else(|error| error, |()| raise(py, "NoModelAvailable", &message, Some(&facts)))
    };
    match refusal.why {
        Why::UserRate(unit) => limited(&format!("user {}", unit.short())),
        Why::UserQuota(unit) => limited(&format!("quota {}", unit.short())),
        Why::TooManyUsers => limited("users"),
        Why::Rate(whose, unit) => {
            let whose = match whose {
                Whose::Model => "model",
                Whose::Backend => "backend",
                Whose::Common => "all",
            };
            limited(&format!("{whose} {}", unit.short()))
        }
        Why::Retries => limited("retries"),
        Why::QueueFull => full("as many requests wait for its backend as may"),
        Why::Deadline => full("it would be this request's turn only after its deadline"),
        Why::Memory => unavailable("it takes more memory than its backend has"),
        Why::NotLoaded => unavailable("it could not be loaded"),
    }
}

/// What is left of each limit in force of a user, by the limit's name.
pub(crate) fn standing<'py>(
    py: Python<'py>,
    standing: &Standing,
    now: Millis,
) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    let Standing { requests, tokens, quota_requests, quota_tokens } = standing;
    for (name, left) in [
        ("requests", requests),
        ("tokens", tokens),
        ("quota_requests", quota_requests),
        ("quota_tokens", quota_tokens),
    ] {
        if let Some(Left { limit, remaining, reset_at }) = left {
            let one = PyDict::new(py);
            one.set_item("limit", limit)?;
            one.set_item("remaining", remaining)?;
            one.set_item("reset_s", seconds(reset_at.saturating_sub(now)))?;
            all.set_item(name, one)?;
        }
    }
    Ok(all)
}

/// A limit in force as a plain dict.
pub(crate) fn in_force<'py>(py: Python<'py>, limit: &LimitInForce) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("what", limit.what.short())?;
    dict.set_item("unit", limit.unit)?;
    dict.set_item("limit", limit.limit)?;
    if let Some(window_ms) = limit.window_ms {
        dict.set_item("window_s", seconds(window_ms))?;
    }
    if let Some(burst) = limit.burst {
        dict.set_item("burst", burst)?;
    }
    dict.set_item("of", &limit.of)?;
    Ok(dict)
}
