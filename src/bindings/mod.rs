//! The extension module `opool._opool`: parses, converts, raises, wakes. It decides nothing.
#![allow(unsafe_code)]

mod objectmgr;
mod objectmgr_slots;
mod palindrome;
mod triplets;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _opool {
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        objectmgr::register(module)?;
        palindrome::register(module)?;
        triplets::register(module)
    }
}
