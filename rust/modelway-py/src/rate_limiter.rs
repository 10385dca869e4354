//! `CoreRateLimiter`: the rate limit behind `modelway.RateLimiter`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use modelway_core::Millis;
use modelway_core::rate::{Bucket, Excess, Rate};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{amount, millis_since, seconds};
use crate::errors::raise;
use crate::rules::rate;

/// A rate limit without event loops.
#[pyclass(frozen, subclass, module = "modelway._core")]
pub(crate) struct CoreRateLimiter {
    rate: Rate,
    bucket: Mutex<Bucket>,
    born: Instant,
}

impl CoreRateLimiter {
    fn lock(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the bucket. The lock is given back before any Python runs: an error is made by Python.
    fn with_bucket<R>(
        &self,
        act: impl FnOnce(&Rate, Bucket) -> Result<(Bucket, R), Excess>,
    ) -> Result<R, Excess> {
        let mut bucket = self.lock();
        let (charged, answer) = act(&self.rate, *bucket)?;
        *bucket = charged;
        Ok(answer)
    }

    fn now(&self) -> Millis {
        millis_since(self.born)
    }

    #[cold]
    fn never(&self, py: Python<'_>, cost: u64) -> PyErr {
        let message = format!(
            "a cost of {cost} is more than the burst of {} ever lets pass; ask for less",
            self.rate.burst()
        );
        let facts = PyDict::new(py);
        match facts.set_item("limit", "burst") {
            Ok(()) => raise(py, "RateLimited", &message, Some(&facts)),
            Err(error) => error,
        }
    }
}

#[pymethods]
impl CoreRateLimiter {
    #[new]
    #[pyo3(signature = (requests, per_s, burst=None))]
    fn new(requests: u32, per_s: &Bound<'_, PyAny>, burst: Option<u64>) -> PyResult<Self> {
        let rate = rate(requests, amount("per_s", per_s)?, burst.unwrap_or(requests.into()))?;
        #[expect(clippy::disallowed_methods, reason = "the binding is where the clock is read")]
        Ok(Self { rate, bucket: Mutex::default(), born: Instant::now() })
    }

    #[pyo3(signature = (cost=1))]
    fn try_acquire(&self, py: Python<'_>, cost: u64) -> PyResult<f64> {
        let now = self.now();
        match self.with_bucket(|rate, bucket| rate.charge(bucket, cost, now).map(|charged| (charged, ()))) {
            Ok(()) => Ok(0.0),
            Err(Excess::Until(when)) => Ok(seconds(when.saturating_sub(now))),
            Err(Excess::Never) => Err(self.never(py, cost)),
        }
    }

    fn reserve(&self, py: Python<'_>, cost: u64) -> PyResult<f64> {
        let now = self.now();
        let when = self.with_bucket(|rate, bucket| rate.reserve(bucket, cost, now));
        when.map(|when| seconds(when - now)).map_err(|_| self.never(py, cost))
    }

    fn give_back(&self, cost: u64) {
        let now = self.now();
        let mut bucket = self.lock();
        *bucket = self.rate.correct(*bucket, cost, 0, now);
    }

    #[getter]
    fn remaining(&self) -> u64 {
        self.rate.remaining(*self.lock(), self.now())
    }

    #[getter]
    fn burst(&self) -> u64 {
        self.rate.burst()
    }
}
