//! What a wrong answer to a request could do harm in.

use modelway_core::classify::{self, Stake};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::arguments;

/// Which of ``tax``, ``medical`` and ``legal`` a request is about, in this order.
#[pyfunction]
pub(crate) fn stakes_of<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyTuple>> {
    let stakes = classify::stakes_of(&arguments::text(text));
    PyTuple::new(text.py(), stakes.into_iter().map(Stake::name))
}
