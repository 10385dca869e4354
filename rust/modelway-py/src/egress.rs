//! Consents as Python hands them over, and passes.

use modelway_core::{Consent, DataKind, Pass, WallMillis};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::clock::WallClock;
use crate::names::all_known;
use crate::names::kind_names;

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct RawConsent {
    id: String,
    destination: String,
    kinds: Vec<String>,
    #[pyo3(default)]
    model: Option<String>,
    #[pyo3(default)]
    since_s: Option<f64>,
    #[pyo3(default)]
    until_s: Option<f64>,
}

/// Seconds since 1970 as milliseconds; what was before is then.
fn moment(seconds: f64) -> PyResult<WallMillis> {
    if !seconds.is_finite() {
        return Err(PyValueError::new_err(format!(
            "{seconds} is no moment; give seconds since 1970, or None"
        )));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    Ok((seconds * 1000.0).floor() as WallMillis)
}

impl RawConsent {
    fn consent(self) -> PyResult<Consent> {
        Ok(Consent {
            id: self.id,
            destination: self.destination,
            model: self.model,
            kinds: all_known(DataKind::parse, &self.kinds)?,
            since: self.since_s.map(moment).transpose()?,
            until: self.until_s.map(moment).transpose()?,
        })
    }
}

/// The core's consents from Python's dicts.
pub(crate) fn consents(raw: &Bound<'_, PyAny>) -> PyResult<Vec<Consent>> {
    raw.try_iter()?.map(|one| one?.extract::<RawConsent>()?.consent()).collect()
}

/// The right to send one body to one destination, once. Only the router makes one.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct EgressPass {
    pass: Pass,
    wall: WallClock,
}

impl EgressPass {
    pub(crate) const fn new(pass: Pass, wall: WallClock) -> Self {
        Self { pass, wall }
    }
}

#[pymethods]
impl EgressPass {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.wall.visit(&visit)
    }

    #[getter]
    fn destination(&self) -> &str {
        &self.pass.destination
    }

    #[getter]
    fn model(&self) -> &str {
        &self.pass.model
    }

    #[getter]
    fn request_id(&self) -> &str {
        &self.pass.request_id
    }

    #[getter]
    fn kinds<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        kind_names(py, self.pass.kinds)
    }

    #[getter]
    fn consent(&self) -> &str {
        self.pass.consent()
    }

    #[getter]
    fn is_valid(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.pass.is_valid(self.wall.now(py)?))
    }

    fn take(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.pass.take(self.wall.now(py)?))
    }

    fn __repr__(&self) -> String {
        let Pass { destination, model, request_id, .. } = &self.pass;
        format!(
            "EgressPass({destination:?}, model={model:?}, request_id={request_id:?}, consent={:?})",
            self.consent()
        )
    }
}
