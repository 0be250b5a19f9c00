//! The options of a pool: what may be said, and how a wrong word is answered.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::pool::{Order, Patience};

/// How long a thread with short bodies keeps its turn, with `fairness="adaptive"`. `DESIGN.md` has the measurements.
const PATIENCE: Patience = Patience { body: 10_000, turn: 500_000 };

/// The first argument of the constructor. None is no pool of nothing, but a mistake.
pub(super) struct Objects<'py>(pub(super) Option<Bound<'py, PyAny>>);

impl<'a, 'py> FromPyObject<'a, 'py> for Objects<'py> {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        Ok(Objects(Some(value.to_owned())))
    }
}

/// `name`: a string for messages, or None.
pub(super) struct Name(pub(super) Option<String>);

impl<'a, 'py> FromPyObject<'a, 'py> for Name {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if value.is_none() {
            return Ok(Name(None));
        }
        match value.cast::<PyString>() {
            Ok(name) => match name.to_str() {
                Ok(name) => Ok(Name(Some(name.to_owned()))),
                Err(_) => Err(PyValueError::new_err(format!("name must be valid text, not {}", value.repr()?))),
            },
            Err(_) => Err(PyTypeError::new_err(format!("name must be a str or None, not {}", value.repr()?))),
        }
    }
}

/// `order`.
pub(super) struct Ordering(pub(super) Order);

impl<'a, 'py> FromPyObject<'a, 'py> for Ordering {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let choices = [("fifo", Order::Fifo), ("lifo", Order::Lifo)];
        choose("order", value, choices).map(|(_, order)| Ordering(order))
    }
}

/// `fairness`: what it is called, and what it means.
#[derive(Clone, Copy)]
pub(super) struct Fairness(pub(super) &'static str, pub(super) Patience);

impl Fairness {
    pub(super) const DEFAULT: Fairness = Fairness("adaptive", PATIENCE);
}

impl<'a, 'py> FromPyObject<'a, 'py> for Fairness {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let choices = [(Fairness::DEFAULT.0, PATIENCE), ("strict", Patience::NONE)];
        choose("fairness", value, choices).map(|(name, patience)| Fairness(name, patience))
    }
}

fn choose<T: Copy, const N: usize>(
    option: &str,
    value: Borrowed<'_, '_, PyAny>,
    choices: [(&'static str, T); N],
) -> PyResult<(&'static str, T)> {
    let text = value.cast::<PyString>();
    let said = text.as_ref().ok().and_then(|text| text.to_str().ok());
    if let Some(&choice) = choices.iter().find(|(name, _)| said == Some(name)) {
        return Ok(choice);
    }
    let names: Vec<_> = choices.iter().map(|(name, _)| format!("'{name}'")).collect();
    let message = format!("{option} must be {}, not {}", names.join(" or "), value.repr()?);
    Err(if text.is_ok() { PyValueError::new_err(message) } else { PyTypeError::new_err(message) })
}
