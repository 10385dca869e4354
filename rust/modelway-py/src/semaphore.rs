//! `CoreSemaphore`: the weighted semaphore behind `modelway.WeightedSemaphore`.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use modelway_core::WeightedSemaphore;
use modelway_core::semaphore::Acquired;
use modelway_core::ticket::{Granted, Ticket};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::arguments::count;
use crate::errors::raise;
use crate::gate::{Gate, Owner, Permit, wake};

struct Semaphore(Mutex<WeightedSemaphore>);

impl Semaphore {
    // A call that panicked has a bug of its own, and others are no worse for it.
    fn lock(&self) -> MutexGuard<'_, WeightedSemaphore> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate for Semaphore {
    fn is_held(&self, ticket: Ticket) -> bool {
        self.lock().is_held(ticket)
    }

    fn release(&self, ticket: Ticket) -> Granted {
        self.lock().release(ticket).unwrap_or_default()
    }
}

/// A weighted semaphore without event loops.
#[pyclass(frozen, subclass, module = "modelway._core")]
pub(crate) struct CoreSemaphore {
    semaphore: Arc<Semaphore>,
    wakes: Py<PyAny>,
    owner: Owner,
}

impl CoreSemaphore {
    fn permit(&self, py: Python<'_>, ticket: Ticket, was_free: bool) -> PyResult<Py<Permit>> {
        let gate = Arc::clone(&self.semaphore);
        Py::new(py, Permit::new(gate, self.wakes.clone_ref(py), ticket, was_free))
    }

    /// A ticket, and whether it holds its weight at once.
    fn ask(&self, py: Python<'_>, weight: u64) -> PyResult<(Ticket, bool)> {
        self.owner.check(py)?;
        let weight = NonZeroU64::new(weight)
            .ok_or_else(|| PyValueError::new_err("weight must be 1 or more: nothing is not acquired"))?;
        // The lock is given back before any Python runs: an error is made by Python.
        let acquired = self.semaphore.lock().acquire(weight);
        match acquired {
            Acquired::Now(ticket) => Ok((ticket, true)),
            Acquired::Queued(ticket) => Ok((ticket, false)),
            Acquired::Refused { weight, capacity } => Err(too_heavy(py, weight, capacity)),
        }
    }
}

#[cold]
fn too_heavy(py: Python<'_>, weight: u64, capacity: u64) -> PyErr {
    let message = format!(
        "a weight of {weight} is more than the whole capacity of {capacity}; ask for less, or resize"
    );
    raise(py, "ModelwayError", &message, None)
}

#[pymethods]
impl CoreSemaphore {
    #[new]
    fn new(capacity: &Bound<'_, PyAny>, wakes: Py<PyAny>) -> PyResult<Self> {
        let semaphore = WeightedSemaphore::new(count("capacity", capacity)?);
        Ok(Self { semaphore: Arc::new(Semaphore(Mutex::new(semaphore))), wakes, owner: Owner::default() })
    }

    #[pyo3(signature = (weight=1))]
    fn acquire(&self, py: Python<'_>, weight: u64) -> PyResult<Py<Permit>> {
        let (ticket, was_free) = self.ask(py, weight)?;
        self.permit(py, ticket, was_free)
    }

    #[pyo3(signature = (weight=1))]
    fn try_acquire(&self, py: Python<'_>, weight: u64) -> PyResult<Option<Py<Permit>>> {
        let (ticket, was_free) = self.ask(py, weight)?;
        if was_free {
            return self.permit(py, ticket, true).map(Some);
        }
        wake(&*self.semaphore, self.wakes.bind(py), &self.semaphore.release(ticket))?;
        Ok(None)
    }

    fn resize(&self, py: Python<'_>, capacity: &Bound<'_, PyAny>) -> PyResult<()> {
        let capacity = count("capacity", capacity)?;
        self.owner.check(py)?;
        let resized = self.semaphore.lock().resize(capacity);
        let wakes = self.wakes.bind(py);
        wake(&*self.semaphore, wakes, &resized.granted)?;
        for ticket in resized.refused {
            let message = format!("it waits for more than the new capacity of {capacity}; ask for less");
            let error = raise(py, "ModelwayError", &message, None).into_value(py);
            wakes.call_method1("wake", ((ticket.number(),), error))?;
        }
        Ok(())
    }

    #[getter]
    fn capacity(&self) -> u64 {
        self.semaphore.lock().capacity()
    }

    #[getter]
    fn in_use(&self) -> u64 {
        self.semaphore.lock().in_use()
    }

    #[getter]
    fn waiting(&self) -> usize {
        self.semaphore.lock().waiting()
    }

    fn disown(&self) {
        self.owner.disown();
    }
}
