//! The clocks of a router: those of the machine, or ones that the caller winds.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use modelway_core::{Millis, WallMillis};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::arguments::{amount, millis_since};

/// Milliseconds since it was made.
pub(crate) enum Clock {
    Machine(Instant),
    /// A callable that gives monotonic seconds, and what it gave when the router was made.
    Given(Py<PyAny>, f64),
}

impl Clock {
    pub(crate) fn new(given: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        match given {
            Some(clock) => Ok(Self::Given(clock.clone().unbind(), read(clock)?)),
            #[expect(clippy::disallowed_methods, reason = "the binding is where the clock is read")]
            None => Ok(Self::Machine(Instant::now())),
        }
    }

    /// Runs Python code where the clock is given, so never call it while something is locked.
    pub(crate) fn now(&self, py: Python<'_>) -> PyResult<Millis> {
        match self {
            Self::Machine(born) => Ok(millis_since(*born)),
            Self::Given(clock, born) => {
                let elapsed = read(clock.bind(py))? - born;
                // Rounded: a clock that is wound by a sum of seconds must not stay a millisecond short of it.
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
                Ok((elapsed * 1000.0).round() as Millis)
            }
        }
    }

    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Machine(_) => Ok(()),
            Self::Given(clock, _) => visit.call(clock),
        }
    }
}

/// The wall clock: that of the machine, or a callable that gives seconds since 1970.
pub(crate) enum WallClock {
    Machine,
    Given(Py<PyAny>),
}

impl WallClock {
    pub(crate) fn new(given: Option<&Bound<'_, PyAny>>) -> Self {
        given.map_or(Self::Machine, |clock| Self::Given(clock.clone().unbind()))
    }

    /// Milliseconds since 1970. Runs Python code where the clock is given, so never call it while something is locked.
    pub(crate) fn now(&self, py: Python<'_>) -> PyResult<WallMillis> {
        match self {
            Self::Machine => Ok(Self::of_machine()),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
            Self::Given(clock) => Ok((read(clock.bind(py))? * 1000.0).floor() as WallMillis),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the binding is where the clock is read")]
    pub(crate) fn of_machine() -> WallMillis {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since_1970.as_secs() * 1_000 + WallMillis::from(since_1970.subsec_millis())
    }

    pub(crate) fn another(&self, py: Python<'_>) -> Self {
        match self {
            Self::Machine => Self::Machine,
            Self::Given(clock) => Self::Given(clock.clone_ref(py)),
        }
    }

    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Machine => Ok(()),
            Self::Given(clock) => visit.call(clock),
        }
    }
}

fn read(clock: &Bound<'_, PyAny>) -> PyResult<f64> {
    amount("the clock", &clock.call0()?)
}
