//! `RoutingDecision` and `Classification`: frozen results whose strings are made when they are read.

use modelway_core::{Decision, Evidence, Reading, TieBreak};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::names::{Locality, SelectionReason, TaskClass, kind_names};

/// What the classifier read in a text.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct Classification {
    pub(crate) reading: Reading,
    pub(crate) evidence: Vec<Evidence>,
}

/// A number of the core as Python shows it: without the noise that 32 bits leave in 64.
fn tidy(value: f32) -> f64 {
    (f64::from(value) * 1e6).round() / 1e6
}

fn scores<'py>(py: Python<'py>, reading: &Reading) -> PyResult<Bound<'py, PyDict>> {
    let scores = PyDict::new(py);
    for task in modelway_core::classify::READABLE {
        scores.set_item(task.short(), tidy(reading.probabilities[task.index()]))?;
    }
    Ok(scores)
}

#[pymethods]
impl Classification {
    #[getter]
    fn task(&self) -> TaskClass {
        self.reading.task.into()
    }

    #[getter]
    fn confidence(&self) -> f64 {
        tidy(self.reading.confidence())
    }

    #[getter]
    fn margin(&self) -> f64 {
        tidy(self.reading.margin())
    }

    #[getter]
    fn complexity(&self) -> f64 {
        tidy(self.reading.complexity)
    }

    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        scores(py, &self.reading)
    }

    #[getter]
    fn evidence<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(
            py,
            self.evidence
                .iter()
                .map(|found| (found.start, found.end, found.task.short(), tidy(found.weight))),
        )
    }

    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        dict.set_item("task", self.reading.task.short())?;
        dict.set_item("confidence", self.confidence())?;
        dict.set_item("margin", self.margin())?;
        dict.set_item("complexity", self.complexity())?;
        dict.set_item("scores", self.scores(py)?)?;
        dict.set_item("evidence", self.evidence(py)?)?;
        Ok(dict)
    }

    fn __repr__(&self) -> String {
        format!(
            "Classification({:?}, confidence={:.2})",
            self.reading.task.short(),
            self.reading.confidence()
        )
    }
}

/// Which model serves, and why.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct RoutingDecision {
    pub(crate) core: Decision,
}

#[pymethods]
impl RoutingDecision {
    #[getter]
    fn model(&self) -> &str {
        &self.core.model().model_id
    }

    #[getter]
    fn backend(&self) -> &str {
        &self.core.model().backend_id
    }

    #[getter]
    fn task(&self) -> TaskClass {
        self.core.task().into()
    }

    #[getter]
    fn confidence(&self) -> f64 {
        self.core.reading().map_or(1.0, |reading| tidy(reading.confidence()))
    }

    #[getter]
    fn complexity(&self) -> f64 {
        tidy(self.core.complexity())
    }

    #[getter]
    fn location(&self) -> Locality {
        self.core.model().site.location.into()
    }

    #[getter]
    fn reason(&self) -> SelectionReason {
        self.core.reason().into()
    }

    #[getter]
    fn chain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let table = self.core.table();
        PyTuple::new(
            py,
            self.core
                .chain()
                .into_iter()
                .map(|index| table.model(index).model_id.as_str())
                .collect::<Vec<_>>(),
        )
    }

    #[getter]
    fn rejected<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let table = self.core.table();
        let rejected = self.core.rejected();
        PyTuple::new(
            py,
            rejected
                .iter()
                .map(|(index, why)| (table.model(*index).model_id.as_str(), why.short()))
                .collect::<Vec<_>>(),
        )
    }

    #[getter]
    fn kinds<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        kind_names(py, self.core.kinds())
    }

    /// Pairs of a model and its destination.
    #[getter]
    fn needs_consent<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let models = self.core.needs_consent().into_iter().map(|index| self.core.table().model(index));
        let pairs = models.map(|model| (model.model_id.as_str(), model.site.destination.as_deref()));
        PyTuple::new(py, pairs.collect::<Vec<_>>())
    }

    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match self.core.reading() {
            Some(reading) => scores(py, reading),
            None => Ok(PyDict::new(py)),
        }
    }

    #[getter]
    fn tie_break(&self) -> Option<&'static str> {
        self.core.tie_break().map(TieBreak::short)
    }

    #[getter]
    fn budget_ms(&self) -> u64 {
        self.core.budget_ms()
    }

    #[getter]
    fn context_tokens(&self) -> u64 {
        self.core.context_tokens()
    }

    /// Sentences are Python's business.
    #[getter]
    fn explanation<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("modelway.explain")?.getattr("explain")?.call1((slf,))
    }

    fn to_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let ours = slf.get();
        let dict = PyDict::new(py);
        dict.set_item("model", ours.model())?;
        dict.set_item("backend", ours.backend())?;
        dict.set_item("task", ours.core.task().short())?;
        dict.set_item("confidence", ours.confidence())?;
        dict.set_item("complexity", ours.complexity())?;
        dict.set_item("location", ours.core.model().site.location.short())?;
        dict.set_item("reason", ours.core.reason().short())?;
        dict.set_item("tie_break", ours.tie_break())?;
        dict.set_item("chain", ours.chain(py)?)?;
        dict.set_item("rejected", ours.rejected(py)?)?;
        dict.set_item("kinds", ours.kinds(py)?)?;
        dict.set_item("needs_consent", ours.needs_consent(py)?)?;
        dict.set_item("scores", ours.scores(py)?)?;
        dict.set_item("budget_ms", ours.budget_ms())?;
        dict.set_item("context_tokens", ours.context_tokens())?;
        dict.set_item("explanation", Self::explanation(slf)?)?;
        Ok(dict)
    }

    fn __repr__(&self) -> String {
        format!(
            "RoutingDecision({:?}, task={:?}, reason={:?})",
            self.core.model().model_id,
            self.core.task().short(),
            self.core.reason().short()
        )
    }
}
