//! Python's values as the core's, and back.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyInt, PyString, PyTuple};

use crate::core::model::{MAX_KEY, MAX_PAYLOAD, Micros, NEVER, New, PRIORITIES, Payload, Value};

static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "something".into(), |name| name.to_string())
}

/// Seconds as microseconds; not negative, not NaN, at most 300 years.
pub fn span(what: &str, seconds: f64) -> PyResult<Micros> {
    if !(0.0..=1e10).contains(&seconds) {
        return Err(PyValueError::new_err(format!("{what} must be a number of seconds of 0 or more, not {seconds}")));
    }
    Ok((seconds * 1e6).round() as Micros)
}

/// The length of a lease: None is without end.
pub fn ttl(seconds: Option<f64>) -> PyResult<Micros> {
    match seconds {
        None => Ok(NEVER),
        Some(seconds) if seconds >= 0.01 => span("ttl", seconds),
        Some(seconds) => {
            Err(PyValueError::new_err(format!("ttl must be at least 0.01 seconds, or None for no end, not {seconds}")))
        }
    }
}

/// A key or a claim id.
pub fn value(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Value> {
    let value = if let Ok(text) = object.cast::<PyString>() {
        Value::Text(text.to_cow()?.into_owned())
    } else if let Ok(bytes) = object.cast::<PyBytes>() {
        Value::Bytes(bytes.as_bytes().to_vec())
    } else if object.is_instance_of::<PyInt>() && !object.is_instance_of::<PyBool>() {
        let number = object.extract::<i64>();
        Value::Int(number.map_err(|_| PyValueError::new_err(format!("{what} must fit into 64 bits, not {object}")))?)
    } else {
        let name = type_name(object);
        return Err(PyTypeError::new_err(format!("{what} must be a str, bytes or int, not {name} {}", short(object))));
    };
    let length = match &value {
        Value::Int(_) => 0,
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
    };
    if length > MAX_KEY {
        return Err(PyValueError::new_err(format!("{what} has {length} bytes; at most {MAX_KEY} are allowed")));
    }
    Ok(value)
}

fn short(object: &Bound<'_, PyAny>) -> String {
    let shown = object.repr().map_or_else(|_| String::new(), |text| text.to_string());
    if shown.chars().count() > 60 { shown.chars().take(57).chain("...".chars()).collect() } else { shown }
}

/// A payload or a result. What is neither None, int, str nor bytes is stored as JSON.
pub fn payload(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Payload> {
    let payload = if object.is_none() {
        Payload::None
    } else if let Ok(text) = object.cast::<PyString>() {
        Payload::Text(text.to_cow()?.into_owned())
    } else if let Ok(bytes) = object.cast::<PyBytes>() {
        Payload::Bytes(bytes.as_bytes().to_vec())
    } else if object.is_instance_of::<PyInt>() && !object.is_instance_of::<PyBool>() && object.extract::<i64>().is_ok()
    {
        Payload::Int(object.extract()?)
    } else {
        let py = object.py();
        let dumps = DUMPS.get_or_try_init(py, || py.import("json")?.getattr("dumps").map(Bound::unbind))?;
        let text = dumps.bind(py).call1((object,)).map_err(|error| {
            let name = type_name(object);
            let refusal = PyTypeError::new_err(format!(
                "{what} must be None, int, str, bytes or JSON, not {name} {}",
                short(object)
            ));
            refusal.set_cause(py, Some(error));
            refusal
        })?;
        Payload::Json(text.cast::<PyString>()?.to_cow()?.into_owned())
    };
    let length = match &payload {
        Payload::None | Payload::Int(_) => 0,
        Payload::Text(text) | Payload::Json(text) => text.len(),
        Payload::Bytes(bytes) => bytes.len(),
    };
    if length > MAX_PAYLOAD {
        return Err(PyValueError::new_err(format!("{what} has {length} bytes; at most {MAX_PAYLOAD} are allowed")));
    }
    Ok(payload)
}

pub fn from_value<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::Int(number) => number.into_pyobject(py)?.into_any(),
        Value::Text(text) => PyString::new(py, text).into_any(),
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
    })
}

pub fn from_payload<'py>(py: Python<'py>, payload: &Payload) -> PyResult<Bound<'py, PyAny>> {
    Ok(match payload {
        Payload::None => py.None().into_bound(py),
        Payload::Int(number) => number.into_pyobject(py)?.into_any(),
        Payload::Text(text) => PyString::new(py, text).into_any(),
        Payload::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Payload::Json(text) => {
            let loads = LOADS.get_or_try_init(py, || py.import("json")?.getattr("loads").map(Bound::unbind))?;
            loads.bind(py).call1((text,))?
        }
    })
}

/// What a chunk of items has where it says nothing.
pub struct Defaults {
    pub priority: i64,
    pub delay: Micros,
    pub max_attempts: Option<u32>,
}

pub fn priority(number: i64) -> PyResult<u8> {
    u8::try_from(number)
        .ok()
        .filter(|number| *number < PRIORITIES)
        .ok_or_else(|| PyValueError::new_err(format!("priority must be from 0 (first) to 9, not {number}")))
}

pub fn attempts(number: Option<i64>) -> PyResult<Option<u32>> {
    number
        .map(|number| {
            u32::try_from(number)
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| PyValueError::new_err(format!("max_attempts must be 1 or more, or None, not {number}")))
        })
        .transpose()
}

/// A key, or a tuple of key, payload, and then perhaps priority, delay and max_attempts.
pub fn new(object: &Bound<'_, PyAny>, defaults: &Defaults) -> PyResult<New> {
    let Ok(tuple) = object.cast::<PyTuple>() else {
        return Ok(New {
            key: value("a key", object)?,
            payload: Payload::None,
            priority: priority(defaults.priority)?,
            delay: defaults.delay,
            max_attempts: defaults.max_attempts,
        });
    };
    if tuple.is_empty() || tuple.len() > 5 {
        let length = tuple.len();
        return Err(PyValueError::new_err(format!("an item must be a key or (key, payload), not a tuple of {length}")));
    }
    let part = |place: usize| tuple.get_item(place).ok().filter(|part| !part.is_none());
    Ok(New {
        key: value("a key", &tuple.get_item(0)?)?,
        payload: part(1).map_or(Ok(Payload::None), |part| payload("a payload", &part))?,
        priority: priority(part(2).map_or(Ok(defaults.priority), |part| part.extract())?)?,
        delay: part(3).map_or(Ok(defaults.delay), |part| span("delay", part.extract()?))?,
        max_attempts: part(4).map_or(Ok(defaults.max_attempts), |part| attempts(Some(part.extract()?)))?,
    })
}
