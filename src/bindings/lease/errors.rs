//! The errors of leases of both kinds. As `pool/errors.rs`, they work without memory, and while the interpreter shuts
//! down.

use pyo3::ffi::{self, Py_ssize_t};
use pyo3::prelude::*;

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::exception::{Raised, Raises};
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::shown::shown;
use crate::bindings::objects::lease::{ENTERED, FORKED, Lease};
use crate::bindings::objects::pool::Pool;
use crate::pool::SlotId;

/// A new reference to the pool of a lease that a pool made, or null if it is gone.
///
/// # Safety
/// The lease is alive, and a pool made it.
pub(crate) unsafe fn home(py: Python<'_>, lease: *mut Lease) -> Raises<'_, Option<Bound<'_, PyAny>>> {
    // SAFETY: as promised; its weak reference is alive until the collector clears it.
    unsafe {
        let home = (*lease).home;
        if home.is_null() {
            return Err(cleared(py));
        }
        #[cfg(Py_3_13)]
        {
            let mut pool = std::ptr::null_mut();
            if ffi::PyWeakref_GetRef(home, &raw mut pool) < 0 {
                return Err(Raised::is_set(py));
            }
            Ok(Bound::from_owned_ptr_or_opt(py, pool))
        }
        #[cfg(not(Py_3_13))]
        {
            let pool = ffi::PyWeakref_GetObject(home);
            if pool.is_null() {
                return Err(Raised::is_set(py));
            }
            Ok(if pool == ffi::Py_None() { None } else { Some(Bound::from_borrowed_ptr(py, pool)) })
        }
    }
}

/// What messages call the pool of a lease.
unsafe fn home_name(py: Python<'_>, lease: *mut Lease) -> String {
    const UNKNOWN: &str = "pool";
    // SAFETY: the lease is alive for the call.
    unsafe {
        if (*lease).slot == SlotId::NONE || (*lease).home.is_null() {
            return UNKNOWN.to_owned();
        }
        match home(py, lease) {
            Ok(Some(pool)) => pool.cast_unchecked::<Pool>().get().called(py),
            Ok(None) => UNKNOWN.to_owned(),
            Err(_) => {
                ffi::PyErr_Clear();
                UNKNOWN.to_owned()
            }
        }
    }
}

/// A lease is used after its end, or entered twice.
unsafe fn misused<'py>(py: Python<'py>, lease: *mut Lease, what: &str) -> Raised<'py> {
    // SAFETY: the lease is alive for the call.
    unsafe {
        let pool = home_name(py, lease);
        match shown(Bound::ref_from_ptr(py, &lease.cast())) {
            Ok(shown) => python_side::LEASE_ERROR.raise(py, format!("{pool}: {shown} {what}")),
            Err(raised) => raised,
        }
    }
}

const FORKED_AWAY: &str =
    "has ended with the fork: the thread that held it exists in the parent process only, and here its object is free";

#[cold]
pub(crate) unsafe fn cannot_enter(py: Python<'_>, lease: *mut Lease) -> Raised<'_> {
    // SAFETY: the lease is alive for the call.
    unsafe {
        let what = match (*lease).phase.get(attached(py)) {
            ENTERED => "cannot be entered twice; enter it once, or take another lease",
            FORKED => FORKED_AWAY,
            _ => "cannot be entered: it is already released, and its object may be leased again; take a new lease",
        };
        misused(py, lease, what)
    }
}

/// `before` is the phase that it was in.
#[cold]
pub(crate) unsafe fn released_twice(py: Python<'_>, lease: *mut Lease, before: u8) -> Raised<'_> {
    let what = match before {
        FORKED => FORKED_AWAY,
        _ => "cannot be released twice: its object may be leased again",
    };
    // SAFETY: the lease is alive for the call.
    unsafe { misused(py, lease, what) }
}

/// `discard` of a lease that belongs to no pool of ours.
#[cold]
pub(crate) unsafe fn made_by_hand(py: Python<'_>, lease: *mut Lease) -> Raised<'_> {
    // SAFETY: the lease is alive for the call.
    unsafe { misused(py, lease, "was made by hand: only a lease that a pool made can discard its object") }
}

/// Only seen by code that the collector runs while it takes a cycle apart.
#[cold]
pub(crate) fn cleared(py: Python<'_>) -> Raised<'_> {
    python_side::LEASE_ERROR.raise(py, "this lease has been taken apart by the garbage collector".to_owned())
}

#[cold]
pub(crate) fn wrong_call(py: Python<'_>, count: Py_ssize_t) -> Raised<'_> {
    let message =
        format!("a lease is entered without arguments and left with three (type, value, traceback), not {count}");
    // SAFETY: a class of the interpreter's.
    unsafe { Raised::builtin(py, ffi::PyExc_TypeError, message) }
}

/// An async lease is entered or awaited again.
#[cold]
pub(crate) fn used_twice(py: Python<'_>) -> Raised<'_> {
    let what = "an async lease can be awaited or entered once; call lease_async again";
    python_side::LEASE_ERROR.raise(py, what.to_owned())
}

/// An async lease is left that is not entered, or not any more.
#[cold]
pub(crate) fn not_held(py: Python<'_>, forked: bool) -> Raised<'_> {
    let what = if forked { FORKED_AWAY } else { "is not entered, or over already" };
    python_side::LEASE_ERROR.raise(py, format!("the async lease {what}"))
}
