//! The methods of a job, for the tasks and clocks that run it.

use pyo3::PyTraverseError;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;

use crate::bindings::ffi::values::Message;
use crate::bindings::pool::background;
use crate::bindings::pool::job::{Job, Outcome, is_coroutine};

#[pymethods]
impl Job {
    /// Calls the hook, and tells the pool how that ended.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        background::run(self, py)
    }

    /// As `run`, but a coroutine that the hook has made is returned: the caller awaits it and ends the job.
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.call(py) {
            Ok(returned) if is_coroutine(&returned) => Ok(Some(returned)),
            result => background::conclude(self, py, result).map(|()| None),
        }
    }

    /// The hook, called by the caller, has returned `result`.
    fn finish<'py>(&self, py: Python<'py>, result: Bound<'py, PyAny>) -> PyResult<()> {
        end(self, py, Ok(result).into())
    }

    /// The hook, called by the caller, has raised `error`.
    fn fail(&self, py: Python<'_>, error: Bound<'_, PyAny>) -> PyResult<()> {
        end(self, py, Outcome::Raised(PyErr::from_value(error)))
    }

    /// The hook, called by the caller, was interrupted from outside. What it did to the object is unknown.
    fn break_off(&self, py: Python<'_>) {
        background::finish(self, py, Outcome::Interrupted);
    }

    // A test's clock keeps the job in its frame, and the traceback of a hook's error keeps the frame. What the others
    // in such a cycle do to be cleared is enough.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.obj)?;
        visit.call(&self.hook)?;
        visit.call(&self.dispose)
    }
}

fn end<'py>(job: &Job, py: Python<'py>, outcome: Outcome<'py>) -> PyResult<()> {
    if job.is_ended(py) {
        return Err(PyRuntimeError::new_err(Message::of("this job is finished already")));
    }
    background::finish(job, py, outcome);
    Ok(())
}
