//! The core's errors as the exceptions of `opool_bank.errors`.

use std::collections::BTreeSet;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyModule};

use super::convert::{from_payload, from_value};
use crate::core::error::Error;
use crate::core::sync::Mutex;

static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

fn class(error: &Error) -> &'static str {
    match error {
        Error::Closed => "BankClosed",
        Error::Invalid(_) => "BankUsageError",
        Error::Stale { .. } => "StaleLease",
        Error::AlreadySettled { .. } => "AlreadySettled",
        Error::ClaimMismatch { .. } => "ClaimMismatch",
        Error::KeyConflict { .. } => "KeyConflict",
        Error::UnknownKey(_) => "UnknownKey",
        Error::KindMismatch { .. } => "KindMismatch",
        Error::SizeMismatch { .. } => "SizeMismatch",
        Error::NotABank { .. } => "NotABank",
        Error::TooNew { .. } => "SchemaTooNew",
        Error::Moved { .. } => "BankMoved",
        Error::Rewound { .. } => "BankRewound",
        Error::Busy { .. } => "BankBusy",
        Error::Full { .. } => "BankFull",
        Error::ReadOnly { .. } => "BankReadOnly",
        Error::Corrupt { .. } => "BankCorrupt",
        Error::Unreachable { .. } => "BankUnreachable",
        Error::Refused { .. } | Error::Io { .. } => "BankFileError",
    }
}

/// `opool_bank.errors`.
pub fn module(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    MODULE.get_or_try_init(py, || py.import("opool_bank.errors").map(Bound::unbind)).map(|module| module.bind(py))
}

static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// A `BankWarning`, the first time that there is one with this message.
pub fn warn_once(py: Python<'_>, message: &str) -> PyResult<()> {
    if !WARNED.lock().insert(message.to_owned()) {
        return Ok(());
    }
    let text = std::ffi::CString::new(message).unwrap_or_default();
    // Shown where the caller's code made the bank.
    PyErr::warn(py, &module(py)?.getattr("BankWarning")?, &text, 2)
}

/// One of the exceptions, with a message that names the bank.
pub fn named(py: Python<'_>, class: &str, bank: &str, message: &str) -> PyErr {
    let make = || -> PyResult<PyErr> {
        let text = if bank.is_empty() { message.to_owned() } else { format!("bank {bank}: {message}") };
        Ok(PyErr::from_value(module(py)?.getattr(class)?.call1((text,))?))
    };
    make().unwrap_or_else(|error| error)
}

/// The exception for an error of the core.
pub fn raise(py: Python<'_>, bank: &str, error: &Error) -> PyErr {
    let message = error.to_string();
    // The title is `"name" (path)`; a message that begins with the path needs the name alone.
    let name = match bank.rsplit_once(" (") {
        Some((name, path)) if path.strip_suffix(')').is_some_and(|path| message.starts_with(path)) => name,
        _ => bank,
    };
    let raised = named(py, class(error), name, &message);
    let dress = || -> PyResult<()> {
        let value = raised.value(py);
        match error {
            Error::Stale { key, token, .. } => {
                value.setattr("key", from_value(py, key)?)?;
                value.setattr("token", token)
            }
            Error::AlreadySettled { key, result } => {
                value.setattr("key", from_value(py, key)?)?;
                value.setattr("result", from_payload(py, result)?)
            }
            Error::KeyConflict { keys, .. } => {
                let keys = keys.iter().map(|key| from_value(py, key)).collect::<PyResult<Vec<_>>>()?;
                value.setattr("keys", PyList::new(py, keys)?)
            }
            Error::UnknownKey(key) => value.setattr("key", from_value(py, key)?),
            Error::SizeMismatch { is, .. } => value.setattr("size", is),
            Error::Busy { pid, .. } => value.setattr("pid", pid),
            _ => Ok(()),
        }
    };
    match dress() {
        Ok(()) => raised,
        Err(error) => error,
    }
}
