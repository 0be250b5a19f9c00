//! How an async lease moves from one phase to the next.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::Ordering::{Acquire, Release};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::drop::discard;
use crate::bindings::ffi::exception::keeping_exception;
use crate::bindings::ffi::refcount::{decref, incref, is_unique, new_reference};
use crate::bindings::ffi::stop_iteration;
use crate::bindings::lease::errors;
use crate::bindings::lease::hot::hand_out_to;
use crate::bindings::objects::async_lease::{AsyncLease, HELD, Mode, OVER, Step, WAITING};
use crate::bindings::objects::item::HolderTag;
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::give_back::give_back_quietly;
use crate::bindings::pool::wake::leave_queue;
use crate::pool::SlotId;
use crate::sync::this_thread;

/// Does something that no two threads may do to one lease at the same time: two tasks that await it, or one that awaits
/// it and one that throws into it. The second gets the error, and `otherwise`.
///
/// # Safety
/// The lease is alive for the call.
pub(crate) unsafe fn exclusively<R>(
    py: Python<'_>,
    lease: *mut AsyncLease,
    act: impl FnOnce() -> R,
    otherwise: R,
) -> R {
    // SAFETY: as promised.
    unsafe {
        if (*lease).busy.swap(true, Acquire) {
            errors::used_twice(py);
            return otherwise;
        }
        let done = act();
        (*lease).busy.store(false, Release);
        done
    }
}

/// HELD, or OVER with a `Lease` for the caller: the slot, which the caller has leased, is the result of the `await`.
///
/// # Safety
/// The lease is alive for the call, and has its pool still.
pub(crate) unsafe fn take(py: Python<'_>, lease: *mut AsyncLease, slot: SlotId) -> Step {
    // SAFETY: as promised; the slot owns its object.
    unsafe {
        let this = (*lease).pool;
        (*lease).thread = this_thread();
        if (*lease).mode.get() == Mode::Lease {
            (*lease).phase.reset(OVER);
            let made = hand_out_to(this, slot, HolderTag::this_thread());
            retire(py, lease);
            return if made.is_null() { Step::Raise } else { Step::Return(made) };
        }
        (*lease).slot = slot;
        (*lease).phase.reset(HELD);
        let object = Pool::from_raw(py, this).with(py, |core| {
            core.value_mut(slot).map(|item| {
                item.holder = HolderTag::of_task(lease);
                item.object.as_ptr()
            })
        });
        object.map_or(Step::Raise, |object| Step::Return(new_reference(object)))
    }
}

/// OVER, whatever it is doing: leaves the queue, or gives back. Keeps an exception that is set.
///
/// # Safety
/// The lease is alive for the call.
pub(crate) unsafe fn abandon(py: Python<'_>, lease: *mut AsyncLease) {
    // SAFETY: as promised.
    unsafe {
        match (*lease).phase.replace(attached(py), OVER) {
            WAITING => stop_waiting(py, lease),
            HELD => {
                stop_iteration::forget();
                let this = (*lease).pool;
                let pool = Pool::bound(py, &this);
                forget_holder(py, pool.get(), (*lease).slot);
                give_back_quietly(pool, (*lease).slot);
            }
            _ => return,
        }
        leave_pool(lease);
    }
}

/// Leaves the queue; what was handed over already goes to the next.
unsafe fn stop_waiting(py: Python<'_>, lease: *mut AsyncLease) {
    // SAFETY: as the caller's.
    unsafe {
        let Some(wait) = (*lease).wait.take() else { return };
        let this = (*lease).pool;
        let pool = Pool::bound(py, &this);
        if let Some(ticket) = wait.future.get(py).get().take_ticket(py)
            && let Some(slot) = leave_queue(pool, ticket)
        {
            give_back_quietly(pool, slot);
        }
    }
}

/// The slot is held by this thread, and no longer by an async lease.
pub(crate) fn forget_holder(py: Python<'_>, pool: &Pool, slot: SlotId) {
    pool.with(py, |core| {
        if let Some(item) = core.value_mut(slot) {
            item.holder = HolderTag::this_thread();
            item.greenlet = 0;
        }
    });
}

/// It is over: its memory is the pool's to use again.
///
/// # Safety
/// The lease is alive for the call, and has its pool still.
#[inline(always)]
pub(crate) unsafe fn retire(py: Python<'_>, lease: *mut AsyncLease) {
    // SAFETY: as promised.
    unsafe {
        let spare = &Pool::from_raw(py, (*lease).pool).spare;
        if spare.is_empty() {
            incref(lease.cast());
            spare.keep(lease.cast());
        }
        leave_pool(lease);
    }
}

/// It is over, and drops its reference to the pool.
#[inline(always)]
unsafe fn leave_pool(lease: *mut AsyncLease) {
    // SAFETY: the reference is taken out before it is dropped, so that code that runs then finds none.
    unsafe {
        let pool = ptr::replace(&raw mut (*lease).pool, ptr::null_mut());
        if !pool.is_null() {
            if is_unique(pool) { discard(pool) } else { decref(pool) }
        }
    }
}

// No `tp_finalize`: the coroutine that has entered it has one, which runs the end of its body, and may use the object
// until then. What nothing ends like that ends here, when the collector takes the cycle apart.
pub(crate) unsafe extern "C" fn clear(this: *mut PyObject) -> c_int {
    // SAFETY: CPython calls it attached, with a live object.
    unsafe {
        abandon(Python::assume_attached(), this.cast());
        leave_pool(this.cast());
        0
    }
}

pub(crate) unsafe extern "C" fn dealloc(this: *mut PyObject) {
    // SAFETY: CPython calls it attached; the last reference is gone. Giving back may run foreign code, so the collector
    // forgets the lease first.
    unsafe {
        ffi::PyObject_GC_UnTrack(this.cast());
        keeping_exception(Python::assume_attached(), || {
            clear(this);
            ptr::drop_in_place(&raw mut (*this.cast::<AsyncLease>()).wait);
            let kind = ffi::Py_TYPE(this);
            ffi::PyObject_GC_Del(this.cast());
            ffi::Py_DECREF(kind.cast());
        });
    }
}
