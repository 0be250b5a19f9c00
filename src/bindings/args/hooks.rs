//! The user's functions: what creates, checks, resets and disposes of an object.

use pyo3::PyTraverseError;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;

/// Each is there if it was given.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) factory: Option<Py<PyAny>>,
    pub(crate) check: Option<Py<PyAny>>,
    pub(crate) reset: Option<Py<PyAny>>,
    pub(crate) dispose: Option<Py<PyAny>>,
}

impl Hooks {
    /// References to the same functions.
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Hooks {
        let clone = |hook: &Option<Py<PyAny>>| hook.as_ref().map(|hook| hook.clone_ref(py));
        Hooks {
            factory: clone(&self.factory),
            check: clone(&self.check),
            reset: clone(&self.reset),
            dispose: clone(&self.dispose),
        }
    }

    /// Each with its name.
    pub(crate) fn named(&self) -> [(&'static str, &Option<Py<PyAny>>); 4] {
        [("factory", &self.factory), ("check", &self.check), ("reset", &self.reset), ("dispose", &self.dispose)]
    }

    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for hook in [&self.factory, &self.check, &self.reset, &self.dispose] {
            visit.call(hook)?;
        }
        Ok(())
    }
}
