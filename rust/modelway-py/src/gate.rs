//! Permits of the standalone classes: what a gate let in, or lets wait, and how that is awaited.
//!
//! Who finds a gate open awaits something that is finished already: no coroutine, no future. Who must wait is
//! handed to `Wakes` of Python, which knows event loops.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use modelway_core::fair::Place as CorePlace;
use modelway_core::ticket::{Granted, Ticket};
use pyo3::exceptions::{PyResourceWarning, PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::arguments::{count, seconds};
use crate::errors::raise;

/// What lets in so many at once.
pub(crate) trait Gate: Send + Sync {
    /// Ends a ticket, and returns who goes on.
    fn release(&self, ticket: Ticket) -> Granted;

    /// Whether a ticket has what it asked for.
    fn is_held(&self, ticket: Ticket) -> bool;

    /// Takes note of what a ticket really costs.
    fn correct(&self, _ticket: Ticket, _real: u64) {}

    /// Where a ticket stands that waits.
    fn place(&self, _ticket: Ticket) -> Option<CorePlace> {
        None
    }
}

/// The process that made a gate may use it; a fork of that process shares none of its waiters.
#[derive(Debug, Default)]
pub(crate) struct Owner {
    is_forked: AtomicBool,
}

impl Owner {
    pub(crate) fn disown(&self) {
        self.is_forked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_forked.load(Ordering::Relaxed) {
            let message = "this was made before the process forked, and who waits or holds lives in the parent; make a \
                           new one in the child";
            return Err(raise(py, "ModelwayError", message, None));
        }
        Ok(())
    }
}

/// Tells `Wakes` who goes on.
pub(crate) fn wake(gate: &dyn Gate, wakes: &Bound<'_, PyAny>, granted: &Granted) -> PyResult<()> {
    if granted.is_empty() {
        return Ok(());
    }
    let numbers = PyTuple::new(wakes.py(), granted.iter().map(|ticket| ticket.number()))?;
    let absent = wakes.call_method1(pyo3::intern!(wakes.py(), "wake"), (numbers,))?;
    if !absent.is_none() {
        // Whoever gave up between the grant and this call is waited for by nobody.
        for gone in granted.iter().filter(|ticket| !gate.is_held(**ticket)) {
            wakes.call_method1("forget", (gone.number(),))?;
        }
    }
    Ok(())
}

/// What was asked of a gate. Released once: by `async with`, by `release`, or when dropped, with a warning.
#[pyclass(frozen, subclass, module = "modelway._core")]
pub(crate) struct Permit {
    gate: Arc<dyn Gate>,
    wakes: Py<PyAny>,
    ticket: Ticket,
    was_free: bool,
    has_waited: AtomicBool,
    is_over: AtomicBool,
}

impl Permit {
    pub(crate) fn new(gate: Arc<dyn Gate>, wakes: Py<PyAny>, ticket: Ticket, was_free: bool) -> Self {
        let (has_waited, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { gate, wakes, ticket, was_free, has_waited, is_over }
    }

    fn end(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_over.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let wakes = self.wakes.bind(py);
        let granted = self.gate.release(self.ticket);
        if !self.was_free && !self.has_waited.load(Ordering::Acquire) {
            // It may have been granted before anybody came to wait for it.
            wakes.call_method1(pyo3::intern!(py, "forget"), (self.ticket(),))?;
        }
        wake(&*self.gate, wakes, &granted)
    }

    /// A permit is used for one `async with`.
    fn enter(&self) -> PyResult<()> {
        if self.is_over.load(Ordering::Acquire) {
            return Err(PyRuntimeError::new_err("this permit is released already; acquire another"));
        }
        Ok(())
    }
}

#[pymethods]
impl Permit {
    #[getter]
    fn ticket(&self) -> u64 {
        self.ticket.number()
    }

    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.end(py)
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let ours = slf.get();
        ours.enter()?;
        if ours.was_free {
            return Ok(slf.clone().into_any());
        }
        let py = slf.py();
        ours.has_waited.store(true, Ordering::Release);
        ours.wakes.bind(py).call_method1(pyo3::intern!(py, "wait"), (ours.ticket(), slf))
    }

    fn __aexit__<'py>(
        slf: &Bound<'py, Self>,
        _kind: &Bound<'py, PyAny>,
        _error: &Bound<'py, PyAny>,
        _trace: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, Self>> {
        slf.get().end(slf.py())?;
        Ok(slf.clone())
    }

    fn __await__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }

    /// Finished at once.
    #[expect(clippy::unused_self, reason = "a slot of Python is a method")]
    const fn __next__(&self) -> Option<Py<PyAny>> {
        None
    }

    fn __repr__(&self) -> String {
        format!("Permit({})", self.ticket.number())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if *self.is_over.get_mut() {
            return;
        }
        Python::try_attach(|py| {
            // Frames are cleared while their exception is on its way.
            let on_its_way = PyErr::take(py);
            let warned = PyErr::warn(
                py,
                &py.get_type::<PyResourceWarning>(),
                c"a permit was dropped; release it, or use `async with`",
                1,
            );
            for result in [warned, self.end(py)] {
                if let Err(error) = result {
                    error.write_unraisable(py, None);
                }
            }
            if let Some(error) = on_its_way {
                error.restore(py);
            }
        });
    }
}

/// A permit of a fair queue.
#[pyclass(frozen, extends = Permit, module = "modelway._core")]
pub(crate) struct Place;

impl Place {
    pub(crate) fn new(py: Python<'_>, permit: Permit) -> PyResult<Py<Self>> {
        Py::new(py, (Self, permit))
    }
}

#[pymethods]
impl Place {
    /// Which turn is its own, from 1 on; 0: it has its slot.
    #[getter]
    fn position(slf: &Bound<'_, Self>) -> usize {
        let permit = slf.as_super().get();
        permit.gate.place(permit.ticket).map_or(0, |place| place.position)
    }

    #[getter]
    fn eta_s(slf: &Bound<'_, Self>) -> Option<f64> {
        let permit = slf.as_super().get();
        permit.gate.place(permit.ticket)?.eta_ms.map(seconds)
    }

    #[pyo3(signature = (real_cost))]
    fn correct(slf: &Bound<'_, Self>, real_cost: &Bound<'_, PyAny>) -> PyResult<()> {
        let permit = slf.as_super().get();
        permit.gate.correct(permit.ticket, count("real_cost", real_cost)?);
        Ok(())
    }

    /// Entered at once: the place itself; left: nothing, as that would hide an exception.
    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        if slf.as_super().get().is_over.load(Ordering::Acquire) {
            Ok(None)
        } else {
            Err(PyStopIteration::new_err(slf.clone().unbind()))
        }
    }
}
