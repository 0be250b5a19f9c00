//! Answers on their way to an event loop: a queue and a descriptor that the loop watches. A batch of answers costs one
//! wake-up, and no thread of the store ever takes the GIL.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::core::sync::Mutex;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Makes the Python value of an answer; run in the loop's thread.
pub type Convert = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

pub struct Inner {
    fd: i32,
    ready: Mutex<VecDeque<(u64, Convert)>>,
}

impl Inner {
    /// An answer has come. Only the first of a batch wakes the loop.
    pub fn push(&self, number: u64, convert: Convert) {
        let mut ready = self.ready.lock();
        let first = ready.is_empty();
        ready.push_back((number, convert));
        drop(ready);
        if first {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: the descriptor is open as long as `self` is, and the buffer has its eight bytes.
            #[allow(unsafe_code)]
            unsafe {
                libc::write(self.fd, one.as_ptr().cast(), one.len());
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours, and nobody has it any more.
        #[allow(unsafe_code)]
        unsafe {
            libc::close(self.fd);
        }
    }
}

/// The queue of one event loop.
#[pyclass(frozen, module = "opool_bank._bank", weakref)]
pub struct Completions {
    pub inner: Arc<Inner>,
    /// Who waits for which answer. Only touched with the interpreter attached.
    futures: Mutex<(u64, HashMap<u64, Py<PyAny>>)>,
}

impl Completions {
    pub fn expect(&self, future: Py<PyAny>) -> u64 {
        let mut futures = self.futures.lock();
        futures.0 += 1;
        let number = futures.0;
        futures.1.insert(number, future);
        number
    }
}

#[pymethods]
impl Completions {
    #[new]
    fn new() -> PyResult<Self> {
        // SAFETY: a plain system call.
        #[allow(unsafe_code)]
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(PyOSError::new_err(std::io::Error::last_os_error().to_string()));
        }
        Ok(Completions { inner: Arc::new(Inner { fd, ready: Mutex::default() }), futures: Mutex::default() })
    }

    /// The descriptor that is readable while there are answers.
    fn fileno(&self) -> i32 {
        self.inner.fd
    }

    /// Complete the futures whose answers have come. Called by the event loop.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let mut counter = [0_u8; 8];
        // SAFETY: as in `push`.
        #[allow(unsafe_code)]
        unsafe {
            libc::read(self.inner.fd, counter.as_mut_ptr().cast(), counter.len());
        }
        // Read first, then taken: an answer that comes between makes the descriptor readable again.
        let ready = std::mem::take(&mut *self.inner.ready.lock());
        for (number, convert) in ready {
            let future = self.futures.lock().1.remove(&number);
            let Some(future) = future else { continue };
            let future = future.bind(py);
            if future.call_method0("done")?.is_truthy()? {
                // Cancelled: a lease that came too late is given back when it is dropped.
                drop(convert(py));
                continue;
            }
            match convert(py) {
                Ok(value) => future.call_method1("set_result", (value,))?,
                Err(error) => future.call_method1("set_exception", (error.into_value(py),))?,
            };
        }
        Ok(())
    }

    /// Forget a request that was taken back.
    fn forget(&self, number: u64) {
        let future = self.futures.lock().1.remove(&number);
        drop(future);
    }
}
