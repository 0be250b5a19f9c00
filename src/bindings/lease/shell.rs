//! How a `Lease` is allocated.

use std::ptr;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::bindings::ffi::exception::{Raised, Raises};
#[cfg(Py_GIL_DISABLED)]
use crate::bindings::ffi::refcount::travel::Travel;
use crate::bindings::objects::lease::{Lease, NEW, lease_type};
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::give_back::give_back_quietly;
use crate::pool::SlotId;
use crate::sync::Phase;

/// A new shell for a leased slot, instead of `old`, which the slot gives up. On failure the slot is given back.
///
/// # Safety
/// `this` is a pool, which outlives the call; the slot is the caller's, and `call` is what calling such a lease does.
pub(crate) unsafe fn new_shell(
    py: Python<'_>,
    this: *mut PyObject,
    slot: SlotId,
    old: *mut Lease,
    call: ffi::vectorcallfunc,
) -> Raises<'_, *mut PyObject> {
    // SAFETY: the slot is leased by the caller, so nobody else touches it or its object meanwhile, whatever the
    // collector runs during the allocations.
    unsafe {
        let bound = Pool::bound(py, &this);
        let pool = bound.get();
        let home = ffi::PyWeakref_NewRef(this, ptr::null_mut());
        let object = pool.with(py, |core| core.value_mut(slot).map(|item| item.object.as_ptr()));
        let shell = match object {
            Some(object) if !home.is_null() => allocate(object, this, home, slot, old, call),
            _ => ptr::null_mut(),
        };
        if shell.is_null() {
            ffi::Py_XDECREF(home);
            give_back_quietly(bound, slot);
            return Err(Raised::is_set(py));
        }
        pool.with(py, |core| {
            if let Some(item) = core.value_mut(slot) {
                item.shell = shell;
            }
        });
        ffi::Py_XDECREF(old.cast());
        Ok(shell.cast())
    }
}

/// Takes new references to `object` and `pool`, and the caller's to `home`. `old` is the shell that it replaces, or
/// null. Null with an exception set if there is no memory.
///
/// # Safety
/// The thread is attached, and the objects are alive.
pub(crate) unsafe fn allocate(
    object: *mut PyObject,
    pool: *mut PyObject,
    home: *mut PyObject,
    slot: SlotId,
    old: *mut Lease,
    call: ffi::vectorcallfunc,
) -> *mut Lease {
    #[cfg(not(Py_GIL_DISABLED))]
    let _ = old;
    // SAFETY: the memory is written field by field before the collector or anybody else can see it.
    unsafe {
        let new: *mut Lease = ffi::PyObject_GC_New(lease_type());
        if !new.is_null() {
            ffi::Py_INCREF(object);
            ffi::Py_INCREF(pool);
            (&raw mut (*new).vectorcall).write(Some(call));
            (&raw mut (*new).object).write(object);
            (&raw mut (*new).pool).write(pool);
            (&raw mut (*new).home).write(home);
            (&raw mut (*new).slot).write(slot);
            (&raw mut (*new).phase).write(Phase::new(NEW));
            (&raw mut (*new).holder).write(0);
            #[cfg(Py_GIL_DISABLED)]
            (&raw mut (*new).travel).write(Travel::instead_of(old.cast()));
            ffi::PyObject_GC_Track(new.cast());
        }
        new
    }
}
