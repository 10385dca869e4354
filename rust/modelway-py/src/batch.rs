//! Many texts at once: classification for whoever has thousands, features for the trainer.

use modelway_core::classify::training::{LEVEL_VALUE, OPENING_VALUE, features};
use modelway_core::classify::{BUCKETS, LEVELS, READABLE, SHIPPED, each_text};
use modelway_core::{Classify, Reading};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::arguments::text;

/// What the classifier read in many texts.
#[pyclass(frozen, module = "modelway._core")]
pub(crate) struct ClassificationBatch {
    tasks: Py<PyBytes>,
    confidence: Py<PyBytes>,
    complexity: Py<PyBytes>,
    scores: Py<PyBytes>,
}

fn little_endian(py: Python<'_>, numbers: impl Iterator<Item = f32>) -> Py<PyBytes> {
    PyBytes::new(py, &numbers.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()).unbind()
}

/// A read-only array over these bytes.
fn array<'py>(py: Python<'py>, bytes: &Py<PyBytes>, kind: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("numpy")?.getattr("frombuffer")?.call1((bytes, kind))
}

impl ClassificationBatch {
    fn new(py: Python<'_>, readings: &[Reading]) -> Self {
        let place = |reading: &Reading| {
            READABLE.iter().position(|task| *task == reading.task).unwrap_or_default() as u8
        };
        let scores =
            readings.iter().flat_map(|read| READABLE.iter().map(|task| read.probabilities[task.index()]));
        Self {
            tasks: PyBytes::new(py, &readings.iter().map(place).collect::<Vec<u8>>()).unbind(),
            confidence: little_endian(py, readings.iter().map(Reading::confidence)),
            complexity: little_endian(py, readings.iter().map(|reading| reading.complexity)),
            scores: little_endian(py, scores),
        }
    }

    /// Reads a sequence of str.
    pub(crate) fn read(classifier: &dyn Classify, texts: &Bound<'_, PyAny>) -> PyResult<Self> {
        let readings = detached(texts, |text| classifier.read(text))?;
        Ok(Self::new(texts.py(), &readings))
    }
}

/// `work` done for each text of a sequence of str, on all cores, with the interpreter left to others.
fn detached<T: Send>(texts: &Bound<'_, PyAny>, work: impl Fn(&str) -> T + Send + Sync) -> PyResult<Vec<T>> {
    if texts.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err("texts must be a list of str, not one str"));
    }
    let held: Vec<Bound<'_, PyString>> =
        texts.try_iter()?.map(|item| Ok(item?.cast_into::<PyString>()?)).collect::<PyResult<_>>()?;
    let borrowed: Vec<_> = held.iter().map(text).collect();
    Ok(texts.py().detach(|| each_text(&borrowed, work)))
}

#[pymethods]
impl ClassificationBatch {
    /// Places in `task_names`.
    #[getter]
    fn tasks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        array(py, &self.tasks, "u1")
    }

    #[getter]
    fn confidence<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        array(py, &self.confidence, "<f4")
    }

    #[getter]
    fn complexity<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        array(py, &self.complexity, "<f4")
    }

    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        array(py, &self.scores, "<f4")?.call_method1("reshape", (-1, READABLE.len()))
    }

    #[getter]
    #[expect(clippy::unused_self, reason = "read beside the arrays")]
    fn task_names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, READABLE.iter().map(|task| task.short()))
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.tasks.as_bytes(py).len()
    }
}

/// Rows of the training matrix in compressed form, each number little-endian.
#[pyclass(frozen, get_all, module = "modelway._core")]
pub(crate) struct FeatureBatch {
    /// int64: where each row begins, and the end.
    indptr: Py<PyBytes>,
    /// uint32, rising within a row.
    columns: Py<PyBytes>,
    /// float32.
    values: Py<PyBytes>,
}

/// The features of texts, as scoring counts them.
#[pyfunction]
#[pyo3(name = "features")]
pub(crate) fn feature_batch(texts: &Bound<'_, PyAny>) -> PyResult<FeatureBatch> {
    let py = texts.py();
    let rows = detached(texts, features)?;
    let count: usize = rows.iter().map(Vec::len).sum();
    let mut indptr = Vec::with_capacity(8 * (rows.len() + 1));
    let (mut columns, mut values) = (Vec::with_capacity(4 * count), Vec::with_capacity(4 * count));
    let mut end = 0_u64;
    indptr.extend(end.to_le_bytes());
    for row in &rows {
        end += row.len() as u64;
        indptr.extend(end.to_le_bytes());
        for (column, value) in row {
            columns.extend(column.to_le_bytes());
            values.extend(value.to_le_bytes());
        }
    }
    let [indptr, columns, values] = [indptr, columns, values].map(|bytes| PyBytes::new(py, &bytes).unbind());
    Ok(FeatureBatch { indptr, columns, values })
}

/// What the columns of features mean, for the writer of weights.
pub(crate) fn feature_space(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let space = PyDict::new(py);
    space.set_item("version", modelway_core::classify::VERSION)?;
    space.set_item("buckets", BUCKETS)?;
    space.set_item("sample_bytes", modelway_core::classify::sample::SAMPLE_BYTES)?;
    space.set_item("opening", f64::from(OPENING_VALUE * 10.0) / 10.0)?;
    space.set_item("level", f64::from(LEVEL_VALUE * 10.0) / 10.0)?;
    space.set_item("thresholds", LEVELS.iter().map(|levels| levels.to_vec()).collect::<Vec<_>>())?;
    Ok(space)
}

/// Sixteen hex digits that tell the shipped weights from others: FNV-1a, 64 bits.
pub(crate) fn fingerprint() -> String {
    let hash = SHIPPED.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
    });
    format!("{hash:016x}")
}
