//! `pool.lease_async()`: what an `async with` or an `await` does with a lease.
//!
//! An `AsyncLease` is its own awaitable, its own iterator, and what `async with` finds when it looks for `__aenter__`
//! and `__aexit__` (`ffi/self_method.rs`). So an object that is idle costs no allocation and no suspension. If none is
//! idle, the task waits (`wait.rs`), in the same queue as the threads.
//!
//! What it owns: its pool, until it is over; while it waits, its future, which has the ticket; while it is inside its
//! `async with`, the slot. The slot knows it then by `Item::holder`.

use std::cell::Cell;
use std::ptr;
use std::sync::atomic::AtomicBool;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

use crate::bindings::args::timeout::{self, Wait};
use crate::bindings::async_lease::transitions::{exclusively, retire};
use crate::bindings::async_lease::wait::{begin, go_on};
use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::refcount::{incref, is_unique, new_reference, none};
use crate::bindings::ffi::stop_iteration;
use crate::bindings::lease::errors;
use crate::bindings::lease::hot::give_back_slowly;
use crate::bindings::objects::async_lease::{
    AsyncLease, FORKED, HELD, Mode, NEW, OVER, Step, WAITING, async_lease_type,
};
use crate::bindings::objects::item::HolderTag;
use crate::bindings::objects::pool::Pool;
use crate::pool::SlotId;
use crate::sync::{Phase, this_thread};

// ---------------------------------------------------------------------------------------------------------------------
// Birth

/// `Pool.lease_async(timeout=...)`, METH_FASTCALL | METH_KEYWORDS.
pub(crate) unsafe extern "C" fn lease_async(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the interpreter calls this as a method of `Pool`, attached, with `count` + len(names) arguments.
    unsafe {
        let py = Python::assume_attached();
        let mut timeout = f64::NAN;
        if count != 0 || !names.is_null() {
            match timeout::parse(py, args, count, names) {
                Ok(Wait::Default) => {}
                Ok(wait) => timeout = wait.seconds(py, None).unwrap_or(f64::INFINITY),
                Err(raised) => return raised.null(),
            }
        }
        allocate(py, this, timeout).cast()
    }
}

/// One for the next use: the one that is over and that the pool has kept, if nobody else refers to it, or a new one.
///
/// While it is in use the pool does not keep it: a lease is given back when its last reference is dropped.
#[inline(always)]
unsafe fn allocate(py: Python<'_>, pool: *mut PyObject, timeout: f64) -> *mut AsyncLease {
    // SAFETY: the pool's reference becomes ours. If it is the only one, nobody can come to refer to it meanwhile.
    unsafe {
        let spare: *mut AsyncLease = Pool::from_raw(py, pool).spare.take().cast();
        if spare.is_null() || !is_unique(spare.cast()) {
            return allocate_new(pool, timeout, spare);
        }
        incref(pool);
        (*spare).pool = pool;
        (*spare).phase.reset(NEW);
        (*spare).mode.set(Mode::Lease);
        (*spare).timeout = timeout;
        spare
    }
}

#[cold]
#[inline(never)]
unsafe fn allocate_new(pool: *mut PyObject, timeout: f64, old: *mut AsyncLease) -> *mut AsyncLease {
    // SAFETY: the memory is written field by field before the collector or anybody else can see it.
    unsafe {
        // Somebody else refers to it still, so this does not drop it.
        ffi::Py_XDECREF(old.cast());
        let new: *mut AsyncLease = ffi::PyObject_GC_New(async_lease_type());
        if new.is_null() {
            return new;
        }
        incref(pool);
        (&raw mut (*new).vectorcall).write(Some(call));
        (&raw mut (*new).pool).write(pool);
        (&raw mut (*new).slot).write(SlotId::NONE);
        (&raw mut (*new).phase).write(Phase::new(NEW));
        (&raw mut (*new).mode).write(Cell::new(Mode::Lease));
        (&raw mut (*new).thread).write(0);
        (&raw mut (*new).timeout).write(timeout);
        (&raw mut (*new).wait).write(Cell::new(None));
        (&raw mut (*new).busy).write(AtomicBool::new(false));
        ffi::PyObject_GC_Track(new.cast());
        new
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// `async with`, and awaiting

/// Calling it: `lease()` is `__aenter__`, `lease(type, value, traceback)` is `__aexit__`.
unsafe extern "C" fn call(
    this: *mut PyObject,
    _args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: reached through the vectorcall field only.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        if names.is_null() {
            match ffi::PyVectorcall_NARGS(count) {
                0 => return enter(lease),
                3 => return leave(lease),
                _ => {}
            }
        }
        wrong_call(ffi::PyVectorcall_NARGS(count))
    }
}

#[inline(always)]
pub(crate) unsafe fn enter(lease: *mut AsyncLease) -> *mut PyObject {
    // SAFETY: the caller has a live object.
    unsafe {
        let py = Python::assume_attached();
        if (*lease).phase.get(attached(py)) != NEW || (*lease).mode.get() != Mode::Lease {
            return used_twice();
        }
        (*lease).mode.set(Mode::Enter);
        new_reference(lease.cast())
    }
}

#[inline(always)]
pub(crate) unsafe fn leave(lease: *mut AsyncLease) -> *mut PyObject {
    // SAFETY: as in `enter`. The one that moves the phase from HELD gives back.
    unsafe {
        let py = Python::assume_attached();
        if !(*lease).phase.advance(attached(py), HELD, OVER) {
            return not_held(lease);
        }
        (*lease).mode.set(Mode::Exit);
        stop_iteration::forget();
        let (this, slot) = ((*lease).pool, (*lease).slot);
        let me = HolderTag::of_thread((*lease).thread);
        let quick = Pool::from_raw(py, this).core.with(attached(py), |core| {
            if let Some(item) = core.value_mut(slot) {
                item.holder = me;
            }
            core.give_back_quickly(slot)
        });
        let well = quick || give_back_slowly(this, slot);
        retire(py, lease);
        if !well {
            return ptr::null_mut();
        }
        new_reference(lease.cast())
    }
}

/// Raises. On its own, so that the hot path needs no stack for it.
#[cold]
#[inline(never)]
unsafe extern "C" fn used_twice() -> *mut PyObject {
    // SAFETY: attached, as every slot.
    unsafe { errors::used_twice(Python::assume_attached()).null() }
}

/// As `used_twice`.
#[cold]
#[inline(never)]
unsafe extern "C" fn not_held(lease: *mut AsyncLease) -> *mut PyObject {
    // SAFETY: as in `leave`.
    unsafe {
        let py = Python::assume_attached();
        errors::not_held(py, (*lease).phase.get(attached(py)) == FORKED).null()
    }
}

/// As `used_twice`.
#[cold]
#[inline(never)]
unsafe extern "C" fn wrong_call(count: Py_ssize_t) -> *mut PyObject {
    // SAFETY: as in `call`.
    unsafe { errors::wrong_call(Python::assume_attached(), count).null() }
}

/// One step of an `await`, in one thread at a time. With a GIL that only matters where the slow path runs Python.
#[inline(always)]
pub(crate) unsafe fn step(lease: *mut AsyncLease, sent: *mut PyObject) -> Step {
    // SAFETY: as in `advance`.
    unsafe {
        if cfg!(opool_gil) {
            advance(lease, sent)
        } else {
            exclusively(Python::assume_attached(), lease, || advance(lease, sent), Step::Raise)
        }
    }
}

#[inline(always)]
unsafe fn advance(lease: *mut AsyncLease, sent: *mut PyObject) -> Step {
    // SAFETY: the caller has a live object, and is attached.
    unsafe {
        let py = Python::assume_attached();
        if (*lease).mode.get() == Mode::Exit {
            // Once: awaited again, it is a lease that is over.
            (*lease).mode.set(Mode::Enter);
            return Step::Return(none());
        }
        if (*lease).phase.get(attached(py)) == NEW && (*lease).mode.get() == Mode::Enter {
            let taken = Pool::from_raw(py, (*lease).pool).core.with(attached(py), |core| {
                let slot = core.lease()?;
                core.value_mut(slot).map(|item| {
                    item.holder = HolderTag::of_task(lease);
                    (slot, item.object.as_ptr())
                })
            });
            if let Some((slot, object)) = taken {
                (*lease).thread = this_thread();
                (*lease).slot = slot;
                (*lease).phase.reset(HELD);
                return Step::Return(new_reference(object));
            }
        }
        if cfg!(opool_gil) { step_slowly_alone(lease, sent) } else { step_slowly(lease, sent) }
    }
}

#[cold]
#[inline(never)]
unsafe fn step_slowly_alone(lease: *mut AsyncLease, sent: *mut PyObject) -> Step {
    // SAFETY: as in `step`.
    unsafe { exclusively(Python::assume_attached(), lease, || step_slowly(lease, sent), Step::Raise) }
}

#[cold]
#[inline(never)]
unsafe fn step_slowly(lease: *mut AsyncLease, sent: *mut PyObject) -> Step {
    // SAFETY: as in `step`.
    unsafe {
        let py = Python::assume_attached();
        let this = (*lease).pool;
        match (*lease).phase.get(attached(py)) {
            NEW => begin(lease, Pool::bound(py, &this)),
            WAITING => go_on(lease, Pool::bound(py, &this), sent),
            _ => {
                errors::used_twice(py);
                Step::Raise
            }
        }
    }
}
