//! `ModelProfile`: one model as the table has it.

use std::sync::Arc;

use modelway_core::RoutingTable;
use modelway_core::model_set::ModelIndex;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::names::{CostTier, LatencyClass, LicenseTier, Locality, ModelCapability, TaskClass};

/// What the router knows of one model, as configured or discovered.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct ModelProfile {
    table: Arc<RoutingTable>,
    index: ModelIndex,
}

impl ModelProfile {
    pub(crate) fn new(table: Arc<RoutingTable>, index: ModelIndex) -> Self {
        Self { table, index }
    }

    fn core(&self) -> &modelway_core::ModelProfile {
        self.table.model(self.index)
    }
}

#[pymethods]
impl ModelProfile {
    #[getter]
    fn model_id(&self) -> &str {
        &self.core().model_id
    }

    #[getter]
    fn backend_id(&self) -> &str {
        &self.core().backend_id
    }

    #[getter]
    fn aliases<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.core().aliases)
    }

    #[getter]
    fn strengths<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.core().strengths.iter().map(TaskClass::from).collect::<Vec<_>>())
    }

    #[getter]
    fn weaknesses<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.core().weaknesses.iter().map(TaskClass::from).collect::<Vec<_>>())
    }

    #[getter]
    fn capabilities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.core().capabilities.iter().map(ModelCapability::from).collect::<Vec<_>>())
    }

    #[getter]
    fn avg_ttft_ms(&self) -> Option<u64> {
        self.core().avg_ttft_ms
    }

    #[getter]
    fn avg_tokens_per_sec(&self) -> Option<f32> {
        self.core().avg_tokens_per_sec
    }

    #[getter]
    fn max_context(&self) -> Option<u32> {
        self.core().max_context
    }

    #[getter]
    fn memory_bytes(&self) -> Option<u64> {
        self.core().memory_bytes
    }

    #[getter]
    fn supports_streaming(&self) -> bool {
        self.core().supports_streaming
    }

    #[getter]
    fn supports_tools(&self) -> bool {
        self.core().supports_tools
    }

    #[getter]
    fn cost_tier(&self) -> CostTier {
        self.core().cost_tier.into()
    }

    #[getter]
    fn license_tier(&self) -> LicenseTier {
        self.core().license_tier.into()
    }

    #[getter]
    fn license(&self) -> Option<&str> {
        self.core().license.as_deref()
    }

    #[getter]
    fn destination(&self) -> Option<&str> {
        self.core().site.destination.as_deref()
    }

    #[getter]
    fn latency_class(&self) -> Option<LatencyClass> {
        self.core().latency_class().map(LatencyClass::from)
    }

    #[getter]
    fn location(&self) -> Locality {
        self.core().site.location.into()
    }

    fn __repr__(&self) -> String {
        format!("ModelProfile({:?}, backend={:?})", self.core().model_id, self.core().backend_id)
    }
}
