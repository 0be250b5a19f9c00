//! The extension module `opool._opool`: parses, converts, raises, wakes. It decides nothing.
#![allow(unsafe_code)]

mod algorithms;
mod args;
mod async_lease;
mod classes;
mod ffi;
mod ids;
mod lease;
mod objects;
mod pool;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _opool {
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        pool::errors::register(module)?;
        pool::fork::register()?;
        pool::background::register(module)?;
        args::timeout::register(module);
        classes::pool_hot::register(module)?;
        classes::lease::register(module)?;
        classes::async_lease::register(module)?;
        ids::object::register(module)?;
        algorithms::palindrome::register(module)?;
        algorithms::triplets::register(module)
    }
}
