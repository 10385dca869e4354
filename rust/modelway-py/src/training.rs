//! `TrainingSet`: the trainer of the core, with numbers as little-endian bytes.

use std::num::NonZero;

use modelway_core::classify::{READABLE, SHIPPED, WeightsFile, all_cores};
use modelway_core::learn::{Chosen, Labels, Rows, TrainingSet as Core};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::arguments::text;
use crate::batch::held;

/// Columns of raw scores: the classes, then complexity.
const SCORES: usize = READABLE.len() + 1;

/// Labelled texts as features, ready to train on.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct TrainingSet {
    core: Core,
}

/// The weights in the bytes of a file.
fn parsed(weights: &[u8]) -> PyResult<WeightsFile> {
    WeightsFile::parse(weights).map_err(PyValueError::new_err)
}

/// Numbers of four bytes.
fn numbers<T>(name: &str, bytes: &[u8], number: impl Fn([u8; 4]) -> T) -> PyResult<Vec<T>> {
    match bytes.as_chunks::<4>() {
        (chunks, []) => Ok(chunks.iter().copied().map(number).collect()),
        _ => Err(PyValueError::new_err(format!("{name} has {} bytes, no multiple of four", bytes.len()))),
    }
}

/// Rows of `N` floats, as many as `count`.
fn table<const N: usize>(name: &str, bytes: &[u8], count: usize) -> PyResult<Vec<[f32; N]>> {
    let floats = numbers(name, bytes, f32::from_le_bytes)?;
    match floats.as_chunks::<N>() {
        (rows, []) if rows.len() == count => Ok(rows.to_vec()),
        _ => Err(PyValueError::new_err(format!("{name} is not {count} rows of {N} numbers"))),
    }
}

impl TrainingSet {
    /// Numbers of rows, each below the number of all.
    fn places(&self, name: &str, bytes: &[u8]) -> PyResult<Vec<u32>> {
        let rows = numbers(name, bytes, u32::from_le_bytes)?;
        match rows.iter().find(|row| **row as usize >= self.core.len()) {
            Some(row) => Err(PyValueError::new_err(format!("{name} has row {row} of {}", self.core.len()))),
            None => Ok(rows),
        }
    }
}

#[pymethods]
impl TrainingSet {
    #[new]
    fn new(
        texts: &Bound<'_, PyAny>,
        labels: &[u8],
        accepted: &[u8],
        weights: &[u8],
        bags: &[u8],
        typical: &[u8],
        grades: &[u8],
    ) -> PyResult<Self> {
        let py = texts.py();
        let held = held(texts)?;
        let texts: Vec<_> = held.iter().map(text).collect();
        let labels = Labels {
            first: labels.to_vec(),
            accepted: accepted.to_vec(),
            weight: numbers("weights", weights, f32::from_le_bytes)?,
            bag: bags.iter().map(|bag| bag.cast_signed()).collect(),
            typical: typical.iter().map(|flag| *flag != 0).collect(),
            grade: grades.to_vec(),
        };
        let rows = py.detach(|| Rows::extract(&texts, all_cores()));
        Ok(Self { core: Core::new(rows, labels).map_err(PyValueError::new_err)? })
    }

    #[pyo3(signature = (rows, *, steps, base=None, threads=None))]
    fn train<'py>(
        &self,
        py: Python<'py>,
        rows: &[u8],
        steps: usize,
        base: Option<&[u8]>,
        threads: Option<NonZero<usize>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let rows = &*self.places("rows", rows)?;
        let base = base.map(parsed).transpose()?;
        let threads = threads.unwrap_or_else(all_cores);
        let weights = py.detach(|| self.core.train(Chosen { rows, base: base.as_ref(), steps, threads }));
        Ok(PyBytes::new(py, &weights.to_bytes()))
    }

    #[pyo3(signature = (rows, held, *, steps, base=None, threads=None))]
    fn held_losses(
        &self,
        py: Python<'_>,
        rows: &[u8],
        held: &[u8],
        steps: usize,
        base: Option<&[u8]>,
        threads: Option<NonZero<usize>>,
    ) -> PyResult<Vec<f64>> {
        let (rows, held) = (&*self.places("rows", rows)?, self.places("held", held)?);
        let base = base.map(parsed).transpose()?;
        let threads = threads.unwrap_or_else(all_cores);
        Ok(py.detach(|| self.core.held_losses(Chosen { rows, base: base.as_ref(), steps, threads }, &held)))
    }

    fn scores<'py>(&self, py: Python<'py>, weights: &[u8], rows: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let rows = self.places("rows", rows)?;
        let weights = parsed(weights)?;
        let scores = py.detach(|| self.core.scores(&weights, &rows, all_cores()));
        let bytes: Vec<u8> = scores.into_iter().flatten().flat_map(f32::to_le_bytes).collect();
        Ok(PyBytes::new(py, &bytes))
    }

    fn calibrated<'py>(
        &self,
        py: Python<'py>,
        weights: &[u8],
        rows: &[u8],
        scores: &[u8],
        priors: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let rows = self.places("rows", rows)?;
        let weights = parsed(weights)?;
        let scores = table::<SCORES>("scores", scores, rows.len())?;
        let priors = table::<{ READABLE.len() }>("priors", priors, rows.len())?;
        let weights = py.detach(|| self.core.calibrated(weights, &rows, &scores, &priors));
        Ok(PyBytes::new(py, &weights.to_bytes()))
    }

    fn __len__(&self) -> usize {
        self.core.len()
    }
}

/// The file of the shipped weights.
#[pyfunction]
pub(crate) fn shipped_weights(py: Python<'_>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, SHIPPED)
}

/// A file of weights that say nothing of any text.
#[pyfunction]
pub(crate) fn silent_weights(py: Python<'_>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, &WeightsFile::silent().to_bytes())
}
