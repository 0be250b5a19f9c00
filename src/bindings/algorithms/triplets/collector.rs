//! Rest for the garbage collector while many lists are made at once.

/// Keeps the collector from running until it is dropped. Nobody else misses it: the interpreter's lock is held.
///
/// CPython 3.10 and 3.11 collect inside allocations. Among thousands of lists that are all going to live that is time
/// for nothing, and more than making them takes. Later versions wait for the next bytecode; 3.9 cannot be asked from C.
pub(super) struct Rest {
    #[cfg(all(Py_3_10, not(Py_3_12)))]
    was_enabled: bool,
}

#[cfg(all(Py_3_10, not(Py_3_12)))]
impl Rest {
    pub(super) fn begin(_attached: pyo3::Python<'_>) -> Self {
        // SAFETY: the caller is attached to the interpreter. It sets a flag and runs no code.
        let was_enabled = unsafe { pyo3::ffi::PyGC_Disable() } == 1;
        Rest { was_enabled }
    }
}

#[cfg(all(Py_3_10, not(Py_3_12)))]
impl Drop for Rest {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: as above: the value lives within one call from Python that never detaches meanwhile.
            unsafe { pyo3::ffi::PyGC_Enable() };
        }
    }
}

#[cfg(not(all(Py_3_10, not(Py_3_12))))]
impl Rest {
    pub(super) fn begin(_attached: pyo3::Python<'_>) -> Self {
        Rest {}
    }
}
