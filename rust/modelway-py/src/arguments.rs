//! Python values as numbers and texts of the core, with errors that name the argument; times the other way.

use std::borrow::Cow;
use std::time::Instant;

use modelway_core::Millis;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString};

use crate::errors::invalid_request;

/// The text of a str. A lone surrogate, which is no text, is read as one U+FFFD, so that positions stay
/// those of the str.
pub(crate) fn text<'a>(value: &'a Bound<'_, PyString>) -> Cow<'a, str> {
    match value.to_str() {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => without_surrogates(value).map_or_else(|_| value.to_string_lossy(), Cow::Owned),
    }
}

#[cold]
fn without_surrogates(value: &Bound<'_, PyString>) -> PyResult<String> {
    let mut bytes: Vec<u8> = value.call_method1("encode", ("utf-8", "surrogatepass"))?.extract()?;
    for at in 2..bytes.len() {
        // U+D800 to U+DFFF: in UTF-8 nothing else has these two bytes together.
        if bytes[at - 2] == 0xED && bytes[at - 1] >= 0xA0 {
            bytes[at - 2..=at].copy_from_slice("\u{FFFD}".as_bytes());
        }
    }
    Ok(String::from_utf8(bytes)?)
}

/// Several texts, but not one text taken for the sequence of its letters.
pub(crate) fn texts(name: &str, values: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    if values.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(format!("{name} must hold several str, not be one")));
    }
    values.try_iter()?.map(|value| Ok(text(value?.cast::<PyString>()?).into_owned())).collect()
}

/// A count: an int from 0 to 2^53, beyond which no float of a client's JSON is exact.
pub(crate) fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    const MOST: u64 = 1 << 53;
    let is_int = value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>();
    match value.extract::<u64>() {
        Ok(number) if is_int && number <= MOST => Ok(number),
        _ => {
            // Python refuses to write an int of more than 4,300 digits.
            let seen = match value.extract::<i64>() {
                Ok(number) if is_int => number.to_string(),
                _ if is_int => "one of more than 64 bits".to_owned(),
                _ => value.get_type().name()?.to_string(),
            };
            Err(invalid_request(value.py(), &format!("{name} must be an int from 0 to 2**53, not {seen}")))
        }
    }
}

/// An amount: a finite number, not negative.
pub(crate) fn amount(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match value.extract::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 && !value.is_instance_of::<PyBool>() => Ok(number),
        _ => Err(invalid_request(value.py(), &format!("{name} must be a finite number, not negative"))),
    }
}

/// Milliseconds since something was made. In 64 bits: `as_millis` multiplies in 128.
pub(crate) fn millis_since(born: Instant) -> Millis {
    let age = born.elapsed();
    age.as_secs() * 1_000 + Millis::from(age.subsec_millis())
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "times of a process stay far below 2^52 ms")]
pub(crate) fn seconds(ms: Millis) -> f64 {
    ms as f64 / 1000.0
}
