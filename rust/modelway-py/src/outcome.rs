//! `RequestOutcome` and `ModelHealth`.

use modelway_core::{HealthSnapshot, OutcomeKind};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arguments::{amount, count};

/// How one request to one model ended.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct RequestOutcome {
    pub(crate) core: modelway_core::RequestOutcome,
}

#[pymethods]
impl RequestOutcome {
    #[new]
    #[pyo3(signature = (
        success, *, kind=None, ttft_ms=None, duration_ms=None, tokens=None, retry_after_s=None, load_ms=None
    ))]
    fn new(
        success: bool,
        kind: Option<&str>,
        ttft_ms: Option<&Bound<'_, PyAny>>,
        duration_ms: Option<&Bound<'_, PyAny>>,
        tokens: Option<&Bound<'_, PyAny>>,
        retry_after_s: Option<&Bound<'_, PyAny>>,
        load_ms: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let kind = match kind {
            None if success => OutcomeKind::Success,
            None => OutcomeKind::ServerError,
            Some(name) => OutcomeKind::parse(name).ok_or_else(|| {
                let known: Vec<_> = OutcomeKind::ALL.iter().map(|kind| kind.short()).collect();
                PyValueError::new_err(format!(
                    "no outcome is called {name:?}; there are {}",
                    known.join(", ")
                ))
            })?,
        };
        if success != (kind == OutcomeKind::Success) {
            return Err(PyValueError::new_err(format!(
                "success={} does not go with kind={:?}",
                if success { "True" } else { "False" },
                kind.short()
            )));
        }
        let amount_of =
            |name, value: Option<&Bound<'_, PyAny>>| value.map(|value| amount(name, value)).transpose();
        Ok(Self {
            core: modelway_core::RequestOutcome {
                kind,
                ttft_ms: amount_of("ttft_ms", ttft_ms)?,
                duration_ms: amount_of("duration_ms", duration_ms)?,
                tokens: tokens.map(|value| count("tokens", value)).transpose()?,
                retry_after_s: amount_of("retry_after_s", retry_after_s)?,
                load_ms: amount_of("load_ms", load_ms)?,
            },
        })
    }

    #[getter]
    fn success(&self) -> bool {
        self.core.kind == OutcomeKind::Success
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.core.kind.short()
    }

    #[getter]
    fn ttft_ms(&self) -> Option<f64> {
        self.core.ttft_ms
    }

    #[getter]
    fn duration_ms(&self) -> Option<f64> {
        self.core.duration_ms
    }

    #[getter]
    fn tokens(&self) -> Option<u64> {
        self.core.tokens
    }

    #[getter]
    fn retry_after_s(&self) -> Option<f64> {
        self.core.retry_after_s
    }

    #[getter]
    fn load_ms(&self) -> Option<f64> {
        self.core.load_ms
    }

    fn __repr__(&self) -> String {
        format!("RequestOutcome({:?})", self.core.kind.short())
    }
}

/// A snapshot of the health of one model, or of one backend.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct ModelHealth {
    pub(crate) model: String,
    pub(crate) core: HealthSnapshot,
}

#[pymethods]
impl ModelHealth {
    #[getter]
    fn model(&self) -> &str {
        &self.model
    }

    #[getter]
    fn state(&self) -> &'static str {
        self.core.state
    }

    #[getter]
    fn held(&self) -> Option<&'static str> {
        self.core.held.map(OutcomeKind::short)
    }

    #[getter]
    fn available(&self) -> bool {
        self.core.available
    }

    #[getter]
    fn successes(&self) -> u64 {
        self.core.successes
    }

    #[getter]
    fn failures(&self) -> u64 {
        self.core.failures
    }

    #[getter]
    fn consecutive_failures(&self) -> u32 {
        self.core.consecutive_failures
    }

    #[getter]
    fn success_rate(&self) -> Option<f64> {
        let all = self.core.successes + self.core.failures;
        #[expect(clippy::cast_precision_loss, reason = "counts of requests stay far below 2^52")]
        (all > 0).then(|| self.core.successes as f64 / all as f64)
    }

    #[getter]
    fn ttft_ms(&self) -> Option<f64> {
        self.core.ttft_ms
    }

    #[getter]
    fn load_ms(&self) -> Option<f64> {
        self.core.load_ms
    }

    #[getter]
    fn tokens_per_sec(&self) -> Option<f64> {
        self.core.tokens_per_sec
    }

    #[getter]
    fn retry_in_s(&self) -> Option<f64> {
        self.core.retry_in_ms.map(crate::arguments::seconds)
    }

    #[getter]
    fn since_last_success_s(&self) -> Option<f64> {
        self.core.since_last_success_ms.map(crate::arguments::seconds)
    }

    fn __repr__(&self) -> String {
        format!(
            "ModelHealth({:?}, state={:?}, available={})",
            self.model,
            self.core.state,
            if self.core.available { "True" } else { "False" }
        )
    }
}
