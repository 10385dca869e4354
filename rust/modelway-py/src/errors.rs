//! Core errors as the exceptions of `modelway.errors`, which is loaded when the first one is raised.

use modelway_core::BuildError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The exception `modelway.errors.<class>(message, **attributes)`.
pub(crate) fn raise(
    py: Python<'_>,
    class: &str,
    message: &str,
    attributes: Option<&Bound<'_, PyDict>>,
) -> PyErr {
    let made = py
        .import("modelway.errors")
        .and_then(|errors| errors.getattr(class))
        .and_then(|class| class.call((message,), attributes));
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// A request whose argument `name` can't be used.
pub(crate) fn invalid_request(py: Python<'_>, message: &str) -> PyErr {
    raise(py, "InvalidRequest", message, None)
}

/// A configuration whose meaning does not hold together: every problem in one exception.
pub(crate) fn config_error(py: Python<'_>, problems: &[BuildError]) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let errors = py.import("modelway.errors")?;
        let problem = errors.getattr("ConfigProblem")?;
        let problems = problems
            .iter()
            .map(|found| problem.call1((&found.path, &found.message)))
            .collect::<PyResult<Vec<_>>>()?;
        Ok(PyErr::from_value(errors.getattr("ConfigError")?.call1((problems,))?))
    };
    make().unwrap_or_else(|error| error)
}

/// A model that was not chosen, as `modelway.errors.Attempt`.
pub(crate) fn attempt<'py>(
    py: Python<'py>,
    model: &str,
    why: &str,
    next_try_s: Option<f64>,
) -> PyResult<Bound<'py, PyAny>> {
    py.import("modelway.errors")?.getattr("Attempt")?.call1((model, why, next_try_s))
}
