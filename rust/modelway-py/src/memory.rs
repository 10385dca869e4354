//! What is in the memory of devices, as Python sees it.

use modelway_core::vram::Held;
use pyo3::prelude::*;

/// A model that holds memory of its device.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct Resident {
    #[pyo3(get)]
    model: String,
    held: Held,
}

impl Resident {
    pub(crate) fn new((model, held): (String, Held)) -> Self {
        Self { model, held }
    }
}

#[pymethods]
impl Resident {
    #[getter]
    const fn state(&self) -> &'static str {
        self.held.stage.short()
    }

    #[getter]
    const fn memory_bytes(&self) -> u64 {
        self.held.bytes
    }

    #[getter]
    const fn running(&self) -> u32 {
        self.held.running
    }

    #[getter]
    const fn is_closed(&self) -> bool {
        self.held.is_closed
    }

    fn __repr__(&self) -> String {
        let Held { stage, bytes, running, .. } = self.held;
        format!("Resident({:?}, {}, memory_bytes={bytes}, running={running})", self.model, stage.short())
    }
}
