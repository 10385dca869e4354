//! Why a router refuses, as Python's errors.

use modelway_core::model_set::ModelIndex;
use modelway_core::{DataKinds, Millis, NotNow, RoutingTable, Setback};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::arguments::seconds;
use crate::errors::{attempt, raise};
use crate::names::kind_names;

/// A model that must be left alone now.
#[cold]
pub(crate) fn not_now_error(py: Python<'_>, model: &str, not_now: NotNow, now: Millis) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let why = match not_now.why {
            Setback::Circuit => None,
            Setback::Backend => Some("backend"),
            Setback::Held(kind) => Some(kind.short()),
        };
        let sentence = py.import("modelway.explain")?.getattr("not_now_sentence")?;
        let why: String = sentence.call1((why,))?.extract()?;
        let next = seconds(not_now.until.saturating_sub(now));
        let facts = PyDict::new(py);
        facts.set_item("attempts", (attempt(py, model, &why, Some(next))?,))?;
        Ok(raise(py, "NoModelAvailable", &format!("{model}: {why}"), Some(&facts)))
    };
    make().unwrap_or_else(|error| error)
}

/// Nothing here is called `name`.
#[cold]
pub(crate) fn unknown(py: Python<'_>, name: &str, nearest: Option<&str>) -> PyErr {
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

/// Only these models could serve, the most wanted first, and nobody has consented to sending them `kinds`. Asked is
/// about one destination at a time.
#[cold]
pub(crate) fn consent_required(
    py: Python<'_>,
    table: &RoutingTable,
    models: &[ModelIndex],
    kinds: DataKinds,
) -> PyResult<PyErr> {
    let destination = |index: ModelIndex| table.model(index).site.destination.as_deref().unwrap_or_default();
    let first = models.first().map_or("", |index| destination(*index));
    let there = models.iter().filter(|index| destination(**index) == first);
    let there: Vec<_> = there.map(|index| table.model(*index).model_id.as_str()).collect();
    let (models, kinds) = (PyTuple::new(py, there)?, kind_names(py, kinds)?);
    let sentence = py.import("modelway.explain")?.getattr("consent_sentence")?;
    let message: String = sentence.call1((first, &models, &kinds))?.extract()?;
    let facts = PyDict::new(py);
    facts.set_item("destination", first)?;
    facts.set_item("models", models)?;
    facts.set_item("kinds", kinds)?;
    Ok(raise(py, "ConsentRequired", &message, Some(&facts)))
}

/// The backend `name` is not asked how it is.
#[cold]
pub(crate) fn no_control(py: Python<'_>, name: &str, destination: &str) -> PyErr {
    let message = format!(
        "the backend {name:?} is not asked what it has: only servers on this device are, and those on your network \
         that are configured by their literal address with allow_lan = true"
    );
    let facts = PyDict::new(py);
    match facts.set_item("destination", destination) {
        Ok(()) => raise(py, "EgressRefused", &message, Some(&facts)),
        Err(error) => error,
    }
}

/// No backend was ever called `name`.
#[cold]
pub(crate) fn no_backend(py: Python<'_>, name: &str) -> PyErr {
    let shown: String = name.chars().take(80).collect();
    let message = format!("no backend is called {shown:?}; the names stand under [[backends]]");
    let facts = PyDict::new(py);
    match facts.set_item("name", &shown) {
        Ok(()) => raise(py, "UnknownBackend", &message, Some(&facts)),
        Err(error) => error,
    }
}
