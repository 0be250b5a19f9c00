//! The methods of what a waiting task yields to its event loop: the protocol of `asyncio.Future`.

use pyo3::PyTraverseError;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;

use crate::bindings::ffi::exception::Raised;
use crate::bindings::ffi::python_side;
use crate::bindings::objects::pool_future::{PoolFuture, Progress};
use crate::bindings::objects::ready::Ready;
use crate::sync::Attached;

#[pymethods]
impl PoolFuture {
    #[getter(_asyncio_future_blocking)]
    fn py_is_blocking(&self, py: Python<'_>) -> bool {
        self.is_blocking(py)
    }

    #[setter(_asyncio_future_blocking)]
    fn py_set_blocking(&self, py: Python<'_>, blocking: bool) {
        self.set_blocking(py, blocking);
    }

    #[getter(_loop)]
    fn py_loop<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.event_loop(py).clone()
    }

    fn get_loop<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.event_loop(py).clone()
    }

    #[pyo3(signature = (callback, *, context = None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        match PoolFuture::set_callback(slf, callback, context)? {
            Progress::Pending => Ok(()),
            Progress::Woken | Progress::Cancelled => Ready::push(slf),
        }
    }

    #[pyo3(name = "cancel", signature = (msg = None))]
    fn py_cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let cancelled = slf.get().cancel(slf.py(), msg);
        if cancelled {
            Ready::push(slf)?;
        }
        Ok(cancelled)
    }

    fn done(&self, py: Python<'_>) -> bool {
        self.progress(py) != Progress::Pending
    }

    fn cancelled(&self, py: Python<'_>) -> bool {
        self.progress(py) == Progress::Cancelled
    }

    /// None; or raises, if the task was cancelled.
    fn result(&self, py: Python<'_>) -> PyResult<()> {
        if self.progress(py) != Progress::Cancelled {
            return Ok(());
        }
        let class = python_side::ASYNCIO_CANCELLED_ERROR.get(py)?;
        let error = match self.take_message(py) {
            Some(message) => class.call1((message,)),
            None => class.call0(),
        };
        Err(Raised::made(py, error).into())
    }

    /// The task is about to wait.
    fn _again(&self, py: Python<'_>) {
        self.wait_again(py);
    }

    /// Called by the event loop: resumes the task.
    fn _resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        PoolFuture::resume(slf)
    }

    /// Something else resumes the task.
    fn forget(&self, py: Python<'_>) {
        self.forget_callback(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs attached.
        self.traverse(unsafe { Attached::assume() }, &visit)
    }

    fn __clear__(&self) {
        // SAFETY: the collector runs attached.
        self.clear(unsafe { Attached::assume() });
    }
}
