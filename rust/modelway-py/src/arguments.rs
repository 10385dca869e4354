//! Python values as numbers and texts of the core, with errors that name the argument.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString};

use crate::errors::invalid_request;

/// The text of a str. Lone surrogates, which are no text, are read as U+FFFD.
pub(crate) fn text<'a>(value: &'a Bound<'_, PyString>) -> Cow<'a, str> {
    match value.to_str() {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => value.to_string_lossy(),
    }
}

/// A count: an int from 0 to 2^53, beyond which no float of a client's JSON is exact.
pub(crate) fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    const MOST: u64 = 1 << 53;
    let is_int = value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>();
    match value.extract::<u64>() {
        Ok(number) if is_int && number <= MOST => Ok(number),
        _ => {
            let seen = if is_int { value.to_string() } else { value.get_type().name()?.to_string() };
            let seen: String = seen.chars().take(40).collect();
            Err(invalid_request(value.py(), &format!("{name} must be an int from 0 to 2**53, not {seen}")))
        }
    }
}

/// An amount: a finite number, not negative.
pub(crate) fn amount(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match value.extract::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
        _ => Err(invalid_request(value.py(), &format!("{name} must be a finite number, not negative"))),
    }
}
