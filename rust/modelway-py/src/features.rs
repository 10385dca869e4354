//! What the trainer reads of texts, for whoever wants to look at it.

use modelway_core::classify::OPENING_VALUE;
use modelway_core::classify::training::LEVEL_VALUE;
use modelway_core::classify::{BUCKETS, LEVELS, SHIPPED, VERSION, all_cores, sample};
use modelway_core::learn::Rows;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::arguments::text;
use crate::batch::held;

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
    let held = held(texts)?;
    let texts: Vec<_> = held.iter().map(text).collect();
    let rows = py.detach(|| Rows::extract(&texts, all_cores()));
    Ok(FeatureBatch::of(
        py,
        (0..rows.len()).map(|row| rows.row(row).map(|(column, value)| (column as u32, value))),
    ))
}

impl FeatureBatch {
    /// Rows of (column, value).
    pub(crate) fn of<R: IntoIterator<Item = (u32, f32)>>(
        py: Python<'_>,
        rows: impl Iterator<Item = R>,
    ) -> Self {
        let mut indptr = 0_u64.to_le_bytes().to_vec();
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for row in rows {
            for (column, value) in row {
                columns.extend(column.to_le_bytes());
                values.extend(value.to_le_bytes());
            }
            indptr.extend((columns.len() as u64 / 4).to_le_bytes());
        }
        let [indptr, columns, values] =
            [indptr, columns, values].map(|bytes| PyBytes::new(py, &bytes).unbind());
        Self { indptr, columns, values }
    }
}

/// What the columns of features mean.
pub(crate) fn feature_space(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let space = PyDict::new(py);
    space.set_item("version", VERSION)?;
    space.set_item("buckets", BUCKETS)?;
    space.set_item("sample_bytes", sample::SAMPLE_BYTES)?;
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
