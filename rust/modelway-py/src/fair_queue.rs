//! `CoreFairQueue`: slots with a fair queue before them, behind `modelway.FairQueue`.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use modelway_core::Millis;
use modelway_core::fair::{Place as CorePlace, Share};
use modelway_core::ticket::{Granted, Ticket};
use modelway_core::turnstile::{Entered, Turnstile};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::arguments::{count, millis_since, text};
use crate::errors::raise;
use crate::gate::{Gate, Owner, Permit, Place};
use crate::rules::UserHash;

struct Queue {
    turnstile: Mutex<Turnstile>,
    born: Instant,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Turnstile> {
        self.turnstile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Millis {
        millis_since(self.born)
    }
}

impl Gate for Queue {
    fn is_held(&self, ticket: Ticket) -> bool {
        self.lock().is_held(ticket)
    }

    fn release(&self, ticket: Ticket) -> Granted {
        let now = self.now();
        self.lock().leave(ticket, now).flatten().into_iter().collect()
    }

    fn correct(&self, ticket: Ticket, real: u64) {
        self.lock().correct(ticket, real);
    }

    fn place(&self, ticket: Ticket) -> Option<CorePlace> {
        self.lock().place(ticket)
    }
}

/// A fair queue without event loops.
#[pyclass(frozen, subclass, module = "modelway._core")]
pub(crate) struct CoreFairQueue {
    queue: Arc<Queue>,
    users: UserHash,
    wakes: Py<PyAny>,
    owner: Owner,
    max_waiting: usize,
}

#[pymethods]
impl CoreFairQueue {
    #[new]
    fn new(slots: usize, max_waiting: usize, wakes: Py<PyAny>) -> PyResult<Self> {
        if slots == 0 {
            return Err(PyValueError::new_err("slots must be 1 or more: nobody would ever be served"));
        }
        #[expect(clippy::disallowed_methods, reason = "the binding is where the clock is read")]
        let born = Instant::now();
        let turnstile = Mutex::new(Turnstile::new(slots, max_waiting));
        let queue = Arc::new(Queue { turnstile, born });
        Ok(Self { queue, users: UserHash::new(), wakes, owner: Owner::default(), max_waiting })
    }

    #[pyo3(signature = (user, cost=None, *, weight=NonZeroU32::MIN), text_signature = "($self, user, cost=1, *, weight=1)")]
    fn enter(
        &self,
        py: Python<'_>,
        user: Option<&Bound<'_, PyString>>,
        cost: Option<&Bound<'_, PyAny>>,
        weight: NonZeroU32,
    ) -> PyResult<Py<Place>> {
        self.owner.check(py)?;
        let cost = cost.map_or(Ok(1), |value| count("cost", value))?;
        let share = Share { user: self.users.of(user.map(text).as_deref()), weight };
        let now = self.queue.now();
        let entered = self.queue.lock().enter(share, cost, now);
        let (ticket, was_free) = match entered {
            Ok(Entered::Now(ticket)) => (ticket, true),
            Ok(Entered::Queued(ticket)) => (ticket, false),
            Err(_) => return Err(full(py, self.max_waiting)),
        };
        let gate = Arc::clone(&self.queue);
        Place::new(py, Permit::new(gate, self.wakes.clone_ref(py), ticket, was_free))
    }

    #[getter]
    fn running(&self) -> usize {
        self.queue.lock().running()
    }

    #[getter]
    fn waiting(&self) -> usize {
        self.queue.lock().waiting()
    }

    fn disown(&self) {
        self.owner.disown();
    }
}

#[cold]
fn full(py: Python<'_>, max_waiting: usize) -> PyErr {
    raise(py, "QueueFull", &format!("{max_waiting} wait already, as many as may; come back later"), None)
}
