//! What goes wrong, in words. The classes are written in Python (`opool.errors`) and looked up when first needed.

use std::ptr;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{Py_ssize_t, PyObject};
use pyo3::prelude::*;

use super::lease::{ENTERED, Lease};
use super::pool::Pool;
use crate::pool::{Counts, NotAcquired};
use crate::sync::Attached;

pyo3::import_exception!(opool.errors, LeaseError);
pyo3::import_exception!(opool.errors, PoolTimeout);

/// Sets the exception; the null is what a slot returns then.
pub(super) fn raise(error: impl FnOnce(Python<'_>) -> PyErr) -> *mut PyObject {
    Python::attach(|py| error(py).restore(py));
    ptr::null_mut()
}

fn describe(counts: Counts) -> String {
    let Counts { size, idle, leased, waiting } = counts;
    format!("size {size}, idle {idle}, leased {leased}, waiting {waiting}")
}

/// Nothing became free in time.
#[cold]
pub(super) fn timed_out(pool: &Pool, seconds: f64, counts: Counts) -> PyErr {
    let advice = match counts.size {
        0 => "The pool is empty: add objects with add_obj.",
        _ => "Wait longer, add objects, or look for a lease that is kept too long.",
    };
    PoolTimeout::new_err(format!("{}: no object came free within {seconds} s ({}). {advice}", pool, describe(counts)))
}

/// The interpreter is going down, so nothing will ever become free.
#[cold]
pub(super) fn shutting_down(pool: &Pool, counts: Counts) -> PyErr {
    let counts = describe(counts);
    PoolTimeout::new_err(format!("{pool}: the interpreter is shutting down, so nothing will come free ({counts})"))
}

/// `release` of what is not out by `acquire`.
#[cold]
pub(super) fn not_acquired(pool: &Pool, object: *mut PyObject, why: NotAcquired) -> *mut PyObject {
    raise(|py| {
        // SAFETY: the caller passes an argument of its own, which is alive.
        let object = unsafe { Bound::from_borrowed_ptr(py, object) };
        let object = object.repr().map_or_else(|_| "the object".to_owned(), |repr| repr.to_string());
        let why = match why {
            NotAcquired::Foreign => "is not an object of this pool; add_obj adds new ones",
            NotAcquired::Idle => "is back already: it was released twice, or was never acquired",
            NotAcquired::Leased => {
                "is held by a lease, which gives it back itself: leave its `with`, or release the lease"
            }
        };
        LeaseError::new_err(format!("{pool}: cannot release {object}: it {why}"))
    })
}

/// A lease is used after its end, or entered twice.
unsafe fn misused(lease: *mut Lease, what: &str) -> *mut PyObject {
    raise(|py| {
        // SAFETY: the lease is alive for the call.
        let shown = unsafe { Bound::from_borrowed_ptr(py, lease.cast()) };
        let shown = shown.repr().map_or_else(|_| "a lease".to_owned(), |repr| repr.to_string());
        LeaseError::new_err(format!("{shown} {what}; take a new one with pool.lease()"))
    })
}

#[cold]
pub(super) unsafe fn cannot_enter(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: as the caller's.
    unsafe {
        match (*lease).phase.get(Attached::assume()) {
            ENTERED => misused(lease, "cannot be entered twice"),
            _ => misused(lease, "cannot be entered: it is over, and its object may be with somebody else"),
        }
    }
}

#[cold]
pub(super) unsafe fn released_twice(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: as the caller's.
    unsafe { misused(lease, "cannot be released twice: its object may be with somebody else") }
}

#[cold]
pub(super) fn wrong_call(count: Py_ssize_t) -> *mut PyObject {
    raise(|_| {
        PyTypeError::new_err(format!(
            "a lease is entered without arguments and left with three (type, value, traceback), not {count}"
        ))
    })
}

#[cold]
pub(super) unsafe fn not_a_lease(object: *mut PyObject) -> *mut PyObject {
    raise(|py| {
        // SAFETY: an argument of the caller's, alive.
        let object = unsafe { Bound::from_borrowed_ptr(py, object) };
        PyTypeError::new_err(format!("expected an opool.Lease, got {}", type_name(&object)))
    })
}

/// Only seen by code that the collector runs while it takes a cycle apart.
#[cold]
pub(super) fn cleared() -> *mut PyObject {
    raise(|_| LeaseError::new_err("this lease has been taken apart by the garbage collector"))
}

pub(super) fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string())
}

/// Whether the interpreter is being torn down.
pub(super) fn finalizing() -> bool {
    #[cfg(not(Py_3_13))]
    unsafe extern "C" {
        #[link_name = "_Py_IsFinalizing"]
        fn is_finalizing() -> std::ffi::c_int;
    }
    #[cfg(Py_3_13)]
    use pyo3::ffi::Py_IsFinalizing as is_finalizing;
    // SAFETY: reads a flag.
    unsafe { is_finalizing() != 0 }
}
