//! What a wrong answer to a request could do harm in.

use modelway_core::classify::{self, Stake, stakes::training};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::arguments;
use crate::features::FeatureBatch;

/// Which of ``tax``, ``medical`` and ``legal`` a request is about, in this order.
#[pyfunction]
pub(crate) fn stakes_of<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyTuple>> {
    let stakes = classify::stakes_of(&arguments::text(text));
    PyTuple::new(text.py(), stakes.into_iter().map(Stake::name))
}

/// What the weights of stakes are trained on: a row for each text and who wrote it.
#[pyfunction]
pub(crate) fn stakes_features(rows: &Bound<'_, PyAny>) -> PyResult<FeatureBatch> {
    let held: Vec<(String, u32)> = rows.extract()?;
    let texts: Vec<_> = held.iter().map(|(text, hand)| (text.as_str(), *hand)).collect();
    Ok(FeatureBatch::of(rows.py(), training::rows(&texts).into_iter()))
}
