//! Values for Python that raise without memory. PyO3's own conversions panic there; and the text of an exception, which
//! PyO3 converts late, would end the process: it does so outside of what catches a panic.

use std::ffi::CStr;

use pyo3::PyErrArguments;
use pyo3::ffi::{self, Py_ssize_t};
use pyo3::prelude::*;
use pyo3::types::{PyRange, PyString};

use crate::bindings::ffi::call::call;

/// The text of an exception: `PyValueError::new_err(Message::of("..."))`.
pub(crate) struct Message(String);

impl Message {
    pub(crate) fn of(text: impl Into<String>) -> Message {
        Message(text.into())
    }
}

impl PyErrArguments for Message {
    fn arguments(self, py: Python<'_>) -> Py<PyAny> {
        // Without memory for the text there is most likely none for the exception, and that is what is raised then.
        text(py, &self.0).map_or_else(|_| py.None(), Bound::unbind)
    }
}

/// A float of Python's.
pub(crate) fn float(py: Python<'_>, value: f64) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: attached; the reference is new, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyFloat_FromDouble(value)) }
}

/// An int of Python's.
pub(crate) fn int(py: Python<'_>, value: i64) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: as in `float`.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyLong_FromLongLong(value)) }
}

/// An int of Python's that is not negative.
pub(crate) fn count(py: Python<'_>, value: u64) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: as in `float`.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyLong_FromUnsignedLongLong(value)) }
}

/// A str of Python's.
pub(crate) fn text<'py>(py: Python<'py>, value: &str) -> PyResult<Bound<'py, PyAny>> {
    let (start, length) = (value.as_ptr().cast(), value.len() as Py_ssize_t);
    // SAFETY: attached; the text is as long as it says. The reference is new, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_FromStringAndSize(start, length)) }
}

/// `object.name`.
pub(crate) fn attribute<'py>(object: &Bound<'py, PyAny>, name: &CStr) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached, and alive. The reference is new, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(object.py(), ffi::PyObject_GetAttrString(object.as_ptr(), name.as_ptr())) }
}

/// `object.name(*arguments)`.
pub(crate) fn call_method<'py>(
    object: &Bound<'py, PyAny>,
    name: &CStr,
    arguments: &[&Bound<'py, PyAny>],
) -> PyResult<Bound<'py, PyAny>> {
    call(&attribute(object, name)?, arguments)
}

/// What `repr` calls the class of an object: with its module, but for builtins.
pub(crate) fn class_name(object: &Bound<'_, PyAny>) -> PyResult<String> {
    let class = object.get_type();
    let part = |name: &CStr| {
        let part = attribute(class.as_any(), name)?;
        PyResult::Ok(part.cast::<PyString>().map_or_else(|_| String::new(), |part| part.to_string_lossy().into_owned()))
    };
    let (module, name) = (part(c"__module__")?, part(c"__qualname__")?);
    Ok(if matches!(module.as_str(), "" | "builtins" | "__main__") { name } else { format!("{module}.{name}") })
}

/// `range(start, end)`.
pub(crate) fn range(py: Python<'_>, start: i128, end: i128) -> PyResult<Bound<'_, PyAny>> {
    call(py.get_type::<PyRange>().as_any(), &[&long(py, start)?, &long(py, end)?])
}

/// An int that may just exceed 64 bits: the end of a range.
fn long(py: Python<'_>, value: i128) -> PyResult<Bound<'_, PyAny>> {
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => int(py, value),
        (_, Ok(value)) => count(py, value),
        _ => Err(pyo3::exceptions::PyOverflowError::new_err(Message::of(format!("{value} has more than 64 bits")))),
    }
}

/// A list of these.
pub(crate) fn list<'py>(
    py: Python<'py>,
    items: impl IntoIterator<Item = PyResult<Bound<'py, PyAny>>>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached; the references are new, or null with an exception set. `PyList_Append` takes one of its own.
    unsafe {
        let list = Bound::from_owned_ptr_or_err(py, ffi::PyList_New(0))?;
        for item in items {
            if ffi::PyList_Append(list.as_ptr(), item?.as_ptr()) != 0 {
                return Err(PyErr::fetch(py));
            }
        }
        Ok(list)
    }
}

/// A list of these three.
pub(crate) fn list_of_three<'py>(py: Python<'py>, items: [Bound<'py, PyAny>; 3]) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached. The list is ours alone while it is filled.
    unsafe {
        let list = Bound::from_owned_ptr_or_err(py, ffi::PyList_New(3))?;
        for (index, item) in items.into_iter().enumerate() {
            ffi::PyList_SET_ITEM(list.as_ptr(), index as Py_ssize_t, item.into_ptr());
        }
        Ok(list)
    }
}

/// A tuple of these.
pub(crate) fn tuple<'py>(py: Python<'py>, items: &[&Bound<'py, PyAny>]) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached. The tuple is ours alone while it is filled, each item with a reference of its own.
    unsafe {
        let tuple = Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(items.len() as Py_ssize_t))?;
        for (index, &item) in items.iter().enumerate() {
            ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index as Py_ssize_t, item.clone().into_ptr());
        }
        Ok(tuple)
    }
}

/// What a method returns: an int that is not negative, a float, or a str.
#[derive(Clone)]
pub(crate) enum Value {
    Count(u64),
    Real(f64),
    Text(String),
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::Count(value as u64)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Count(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Real(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.to_owned())
    }
}

impl<'py> IntoPyObject<'py> for &Value {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Value::Count(value) => count(py, *value),
            Value::Real(value) => float(py, *value),
            Value::Text(value) => text(py, value),
        }
    }
}

impl<'py> IntoPyObject<'py> for Value {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        (&self).into_pyobject(py)
    }
}
