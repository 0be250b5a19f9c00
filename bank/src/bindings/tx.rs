//! Statements for the caller's own transaction: Python runs them on the caller's connection.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::stores::postgres::tx::{Parameter, Step};

/// Statements, what the second of them must answer, and a statement that wakes.
pub type Questions<'py> = (Bound<'py, PyList>, Vec<u8>, Bound<'py, PyList>);

fn bytes<'py>(py: Python<'py>, value: &Option<Vec<u8>>) -> Option<Bound<'py, PyBytes>> {
    value.as_ref().map(|value| PyBytes::new(py, value))
}

fn parameter<'py>(py: Python<'py>, value: &Parameter) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Parameter::Number(number) => number.into_pyobject(py)?,
        Parameter::Text(text) => text.into_pyobject(py)?.into_any(),
        Parameter::Numbers(numbers) => PyList::new(py, numbers)?.into_any(),
        Parameter::Bytes(values) => PyList::new(py, values.iter().map(|value| bytes(py, value)))?.into_any(),
    })
}

/// A list of (text, values).
pub fn steps<'py>(py: Python<'py>, steps: &[Step]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for step in steps {
        let values = step.values.iter().map(|value| parameter(py, value)).collect::<PyResult<Vec<_>>>()?;
        list.append((&step.text, PyList::new(py, values)?))?;
    }
    Ok(list)
}
