//! Many texts at once, for whoever has thousands.

use std::borrow::Cow;

use modelway_core::classify::{READABLE, all_cores, share};
use modelway_core::{Basis, Classify};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::arguments::text;

/// Bytes of a probability.
const FLOAT: usize = size_of::<f32>();
/// Texts that one thread reads before it asks for more: some 100 microseconds of work.
const BLOCK: usize = 64;

/// What the classifier read in many texts: one buffer, in which the same fact of all texts stands together.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct ClassificationBatch {
    bytes: Py<PyBytes>,
    texts: usize,
}

/// Where in a batch each fact begins, in bytes a text; those of four bytes first, so that all are aligned.
const CONFIDENCE: usize = 0;
const COMPLEXITY: usize = CONFIDENCE + FLOAT;
const SCORES: usize = COMPLEXITY + FLOAT;
const TASKS: usize = SCORES + FLOAT * READABLE.len();
const UNSURE: usize = TASKS + 1;
const END: usize = UNSURE + 1;

impl ClassificationBatch {
    /// Reads a sequence of str on all cores, with the interpreter left to others.
    pub(crate) fn read(classifier: &dyn Classify, texts: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = texts.py();
        let held = held(texts)?;
        let texts: Vec<_> = held.iter().map(text).collect();
        let bytes = PyBytes::new_with(py, END * texts.len(), |bytes| {
            py.detach(|| fill(classifier, &texts, bytes));
            Ok(())
        })?;
        Ok(Self { bytes: bytes.unbind(), texts: texts.len() })
    }

    /// A read-only array over the fact that begins at `place`.
    fn array<'py>(
        &self,
        py: Python<'py>,
        kind: &str,
        place: usize,
        each: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let arguments = (&self.bytes, kind, self.texts * each, self.texts * place);
        py.import("numpy")?.getattr("frombuffer")?.call1(arguments)
    }
}

/// The items of a sequence of str, held so that nobody can take them away meanwhile.
pub(crate) fn held<'py>(texts: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyString>>> {
    if texts.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("texts must be a list of str, not one str"));
    }
    texts.try_iter()?.map(|item| Ok(item?.cast_into::<PyString>()?)).collect()
}

fn fill(classifier: &dyn Classify, texts: &[Cow<'_, str>], bytes: &mut [u8]) {
    let count = texts.len();
    let (confidences, bytes) = bytes.split_at_mut(count * FLOAT);
    let (complexities, bytes) = bytes.split_at_mut(count * FLOAT);
    let (scores, bytes) = bytes.split_at_mut(count * FLOAT * READABLE.len());
    let (tasks, unsure) = bytes.split_at_mut(count);
    let blocks = texts
        .chunks(BLOCK)
        .zip(confidences.as_chunks_mut().0.chunks_mut(BLOCK))
        .zip(complexities.as_chunks_mut().0.chunks_mut(BLOCK))
        .zip(scores.as_chunks_mut().0.chunks_mut(BLOCK * READABLE.len()))
        .zip(tasks.chunks_mut(BLOCK))
        .zip(unsure.chunks_mut(BLOCK));
    share(all_cores(), blocks, |(((((texts, confidences), complexities), scores), tasks), unsure)| {
        for (place, text) in texts.iter().enumerate() {
            let reading = classifier.read(text);
            confidences[place] = reading.confidence().to_le_bytes();
            complexities[place] = reading.complexity.to_le_bytes();
            let row = &mut scores[place * READABLE.len()..][..READABLE.len()];
            for (column, (score, task)) in (0_u8..).zip(row.iter_mut().zip(READABLE)) {
                *score = reading.probabilities[task.index()].to_le_bytes();
                if task == reading.task {
                    tasks[place] = column;
                }
            }
            unsure[place] = u8::from(reading.basis == Basis::Unsure);
        }
    });
}

#[pymethods]
impl ClassificationBatch {
    /// Places in `task_names`.
    #[getter]
    fn tasks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, "u1", TASKS, 1)
    }

    #[getter]
    fn confidence<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, "<f4", CONFIDENCE, 1)
    }

    #[getter]
    fn complexity<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, "<f4", COMPLEXITY, 1)
    }

    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let flat = self.array(py, "<f4", SCORES, READABLE.len())?;
        flat.call_method1("reshape", (self.texts, READABLE.len()))
    }

    #[getter]
    fn unsure<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.array(py, "?", UNSURE, 1)
    }

    #[getter]
    #[expect(clippy::unused_self, reason = "read beside the arrays")]
    fn task_names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, READABLE.iter().map(|task| task.short()))
    }

    fn __len__(&self) -> usize {
        self.texts
    }
}
