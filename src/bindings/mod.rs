//! The extension module `opool._opool`: parses, converts, raises, wakes. It decides nothing.
#![allow(unsafe_code)]

mod alarm;
mod async_lease;
mod async_lease_type;
mod async_wait;
mod background;
mod clock;
mod closing;
mod errors;
mod figures;
mod fork;
mod giving_back;
mod hooks;
mod lease;
mod lease_type;
mod lender;
mod objectmgr;
mod objectmgr_batch;
mod objectmgr_keep;
mod objectmgr_lease;
mod objectmgr_slots;
mod options;
mod outside;
mod palindrome;
mod pool;
mod pool_methods;
mod raw;
mod refcount;
mod self_descriptor;
mod spare;
mod stop_iteration;
mod timeouts;
mod triplets;
mod waiting;
mod waker;
mod watch;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _opool {
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        errors::register(module)?;
        fork::register()?;
        background::register(module)?;
        timeouts::register(module);
        pool_methods::register(module)?;
        lease_type::register(module)?;
        async_lease_type::register(module)?;
        objectmgr::register(module)?;
        palindrome::register(module)?;
        triplets::register(module)
    }
}
