//! The hot path, all of it: `pool.lease()`, entering and leaving the `with`, `acquire` and `release`.
//!
//! A cycle costs what the interpreter needs for an empty context manager, because nothing here is done twice:
//!
//! * **Nothing is allocated.** Each slot of the pool keeps the `Lease` object that served it last, its *shell*, and the
//!   next lease of that slot is the same Python object, provided that nobody but the pool still refers to it. A lease
//!   that somebody kept stays released for ever, and the slot gets a new shell.
//! * **Nothing is bound.** Up to CPython 3.13 `with` looks up `__enter__` and `__exit__` and binds them, which allocates
//!   two method objects. Here the descriptors return the lease itself and calling the lease does the work:
//!   no argument enters, three leave (see `ffi/self_method.rs`). From 3.14 on ordinary methods are faster.
//! * **Nothing is locked** while there is a GIL (see `src/sync`).
//!
//! Who owns what: a slot owns its object for good. It owns its shell (one reference) while the slot is idle, handed to
//! a waiter or acquired; while the slot is leased the user owns the shell, and the slot merely knows where it is. A
//! lease that is out owns a reference to its pool, so the pool outlives it, and the slot's object with it.
//!
//! What must never happen here: a call into the interpreter inside `core.with` (it could run a destructor or the
//! collector, which may come back to this pool); a panic (these functions are `extern "C"`: it would abort); a
//! `Py<T>` that is dropped (PyO3 does not know that this thread is attached, and would postpone it).
//!
//! CPython calls the `extern "C"` functions attached; that is what `Python::assume_attached` rests on here.

use std::ptr;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

use crate::bindings::args::timeout::{self, Wait};
use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::exception::or_null;
use crate::bindings::ffi::refcount::{decref, incref, is_unique, new_reference, none};
use crate::bindings::lease::errors;
use crate::bindings::lease::shell;
use crate::bindings::objects::item::HolderTag;
use crate::bindings::objects::lease::{DISCARDED, ENTERED, Lease, NEW, RELEASED};
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::errors::not_acquired;
use crate::bindings::pool::give_back;
use crate::bindings::pool::wait;
use crate::pool::SlotId;
use crate::sync::this_thread;

// ---------------------------------------------------------------------------------------------------------------------
// Taking

/// `Pool.lease(timeout=...)`, METH_FASTCALL | METH_KEYWORDS.
///
/// Without an argument and with something idle it calls nothing, so it needs no stack. Everything else is elsewhere.
pub(crate) unsafe extern "C" fn lease(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the interpreter calls this as a method of `Pool`, attached, with `count` + len(names) arguments.
    unsafe {
        let py = Python::assume_attached();
        if count != 0 || !names.is_null() {
            return lease_within(this, args, count, names);
        }
        match take_leased(py, this) {
            Some((slot, shell)) => hand_out(this, slot, shell),
            None => wait_by_default(this),
        }
    }
}

/// On its own for the same reason.
#[cold]
#[inline(never)]
unsafe extern "C" fn wait_by_default(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `lease`.
    unsafe { wait_for_lease(this, Wait::Default) }
}

/// `Pool.lease` with a timeout. On its own, or `lease` would need a stack for it.
#[inline(never)]
unsafe extern "C" fn lease_within(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as in `lease`.
    unsafe {
        let py = Python::assume_attached();
        let Ok(wait) = timeout::parse(py, args, count, names) else { return ptr::null_mut() };
        match take_leased(py, this) {
            Some((slot, shell)) => hand_out(this, slot, shell),
            None => wait_for_lease(this, wait),
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn wait_for_lease(this: *mut PyObject, wait: Wait) -> *mut PyObject {
    // SAFETY: as in `lease`.
    unsafe {
        let py = Python::assume_attached();
        let pool = Pool::bound(py, &this);
        match wait::wait_for_slot(pool, wait) {
            Ok(slot) => hand_out(this, slot, pool.get().shell(py, slot)),
            Err(raised) => raised.null(),
        }
    }
}

/// `Pool.try_lease()`, METH_NOARGS.
pub(crate) unsafe extern "C" fn try_lease(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `lease`.
    unsafe {
        let py = Python::assume_attached();
        match take_leased(py, this) {
            Some((slot, shell)) => hand_out(this, slot, shell),
            None => try_slowly(this),
        }
    }
}

/// `Pool.try_lease` where objects are checked before they go out, or none is idle.
#[cold]
unsafe fn try_slowly(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `lease`.
    unsafe {
        let py = Python::assume_attached();
        let pool = Pool::bound(py, &this);
        match wait::take_now(pool) {
            Ok(Some(slot)) => hand_out(this, slot, pool.get().shell(py, slot)),
            Ok(None) => none(),
            Err(raised) => raised.null(),
        }
    }
}

/// idle → leased, if anything is idle: the slot, and the shell that served it last.
#[inline(always)]
unsafe fn take_leased(py: Python<'_>, this: *mut PyObject) -> Option<(SlotId, *mut Lease)> {
    // SAFETY: as in `lease`.
    unsafe {
        let me = HolderTag::this_thread();
        Pool::from_raw(py, this).core.with(attached(py), |core| {
            let slot = core.lease()?;
            core.value_mut(slot).map(|item| {
                item.holder = me;
                (slot, item.shell)
            })
        })
    }
}

/// Wraps a leased slot into its shell, or into a new one.
#[inline(always)]
unsafe fn hand_out(this: *mut PyObject, slot: SlotId, shell: *mut Lease) -> *mut PyObject {
    // SAFETY: the shell is null or a live `Lease` that the slot owned until now; if nobody else refers to it, no other
    // thread can come to refer to it either, and the slot's reference becomes the caller's.
    unsafe {
        if shell.is_null() || !is_ours(shell) {
            return new_shell(this, slot, shell);
        }
        incref(this);
        (*shell).pool = this;
        (*shell).phase.reset(NEW);
        shell.cast()
    }
}

#[cold]
unsafe extern "C" fn new_shell(this: *mut PyObject, slot: SlotId, old: *mut Lease) -> *mut PyObject {
    // SAFETY: as in `hand_out`.
    unsafe { or_null(shell::new_shell(Python::assume_attached(), this, slot, old, call)) }
}

/// The lease of a slot that was taken for an `await`, which `holder` gets.
pub(crate) unsafe fn hand_out_to(this: *mut PyObject, slot: SlotId, holder: HolderTag) -> *mut PyObject {
    // SAFETY: as in `lease`; the slot is the caller's.
    unsafe {
        let py = Python::assume_attached();
        let shell = Pool::from_raw(py, this).core.with(attached(py), |core| {
            core.value_mut(slot).map_or(ptr::null_mut(), |item| {
                item.holder = holder;
                item.shell
            })
        });
        hand_out(this, slot, shell)
    }
}

/// Whether nobody but the caller, who has it from the slot, refers to the shell.
#[inline(always)]
unsafe fn is_ours(shell: *mut Lease) -> bool {
    // SAFETY: the caller owns a reference.
    unsafe {
        #[cfg(not(Py_GIL_DISABLED))]
        return is_unique(shell.cast());
        #[cfg(Py_GIL_DISABLED)]
        return is_unique(shell.cast()) || (*shell).travel.arrive(shell.cast());
    }
}

/// The reference that an idle slot has to its shell.
#[inline(always)]
unsafe fn give_to_slot(shell: *mut Lease) {
    // SAFETY: the shell is alive. It is still the caller's alone to write: the slot is not idle yet.
    unsafe {
        #[cfg(not(Py_GIL_DISABLED))]
        incref(shell.cast());
        #[cfg(Py_GIL_DISABLED)]
        (*shell).travel.leave(shell.cast());
    }
}

/// `Pool.acquire(timeout=...)`, METH_FASTCALL | METH_KEYWORDS. As `lease`, it calls nothing if it can.
///
/// The caller's reference is taken inside the critical section: right after it, without a GIL, another thread may call
/// `release` for the object, and a third take it out of the pool for good.
pub(crate) unsafe extern "C" fn acquire(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as in `lease`.
    unsafe {
        let py = Python::assume_attached();
        if count == 0 && names.is_null() {
            let me = HolderTag::this_thread();
            let taken = Pool::from_raw(py, this).core.with(attached(py), |core| {
                let slot = core.acquire_quickly()?;
                core.value_mut(slot).map(|item| {
                    item.holder = me;
                    new_reference(item.object.as_ptr())
                })
            });
            if let Some(object) = taken {
                return object;
            }
        }
        acquire_within(this, args, count, names)
    }
}

/// `Pool.acquire` with a timeout, or when it is not quick.
#[inline(never)]
unsafe extern "C" fn acquire_within(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as in `lease`; the slot keeps its object alive.
    unsafe {
        let py = Python::assume_attached();
        let plain = count == 0 && names.is_null();
        let wait = if plain { Ok(Wait::Default) } else { timeout::parse(py, args, count, names) };
        let Ok(wait) = wait else { return ptr::null_mut() };
        let pool = Pool::bound(py, &this);
        let slot = match take_leased(py, this) {
            Some((slot, _)) => slot,
            None => match wait::wait_for_slot(pool, wait) {
                Ok(slot) => slot,
                Err(raised) => return raised.null(),
            },
        };
        let object = pool.get().with(py, |core| {
            core.acquire(slot);
            core.value_mut(slot).map(|item| new_reference(item.object.as_ptr()))
        });
        object.unwrap_or(ptr::null_mut())
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Giving back

/// `Pool.release(obj)`, METH_O.
pub(crate) unsafe extern "C" fn release(this: *mut PyObject, object: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `lease`.
    unsafe {
        let py = Python::assume_attached();
        let pool = Pool::from_raw(py, this);
        if pool.core.with(attached(py), |core| core.release_quickly(object as usize)) {
            return none();
        }
        release_slowly(this, object)
    }
}

/// `Pool.release` of an object that did not go out last, or for which somebody waits, or that is not out at all.
#[inline(never)]
unsafe extern "C" fn release_slowly(this: *mut PyObject, object: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `lease`.
    unsafe {
        let py = Python::assume_attached();
        let pool = Pool::bound(py, &this);
        match pool.get().with(py, |core| core.release(object as usize)) {
            Ok(None) => none(),
            Ok(Some(slot)) => match give_back::give_back_and_yield_gil(pool, slot) {
                Ok(()) => none(),
                Err(raised) => raised.null(),
            },
            Err(why) => not_acquired(pool.get(), Bound::ref_from_ptr(py, &object), why).null(),
        }
    }
}

/// Entering: what `__enter__` does.
#[inline(always)]
pub(crate) unsafe fn enter(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: `lease` is alive for the call and owns its object.
    unsafe {
        let py = Python::assume_attached();
        if !(*lease).phase.advance(attached(py), NEW, ENTERED) {
            return errors::cannot_enter(py, lease).null();
        }
        (*lease).holder = this_thread();
        new_reference((*lease).object)
    }
}

/// Ends the lease. Returns the phase that it was in.
///
/// Without a GIL two threads may leave one lease at the same time, and an atomic exchange decides which of them gives
/// back. But if the caller's is the only reference, no other thread can reach the lease to leave it: a slot's pointer
/// to it is used by others to look (`Item::thread`), never to move it on, except in a fork's child, which has one
/// thread.
#[inline(always)]
unsafe fn end(lease: *mut Lease) -> u8 {
    // SAFETY: the caller has a living lease.
    unsafe {
        let py = Python::assume_attached();
        #[cfg(Py_GIL_DISABLED)]
        if is_unique(lease.cast()) {
            return (*lease).phase.replace_alone(attached(py), RELEASED);
        }
        (*lease).phase.replace(attached(py), RELEASED)
    }
}

/// Leaving, of a lease that a pool made. Whatever happened in the body passes through.
#[inline(always)]
pub(crate) unsafe fn leave(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: `lease` is alive for the call. The one that moves the phase to RELEASED, and no other, gives back;
    // until then the lease owns its pool.
    unsafe {
        let py = Python::assume_attached();
        let before = end(lease);
        if before >= RELEASED {
            return if before == DISCARDED { none() } else { errors::released_twice(py, lease, before).null() };
        }
        let this = ptr::replace(&raw mut (*lease).pool, ptr::null_mut());
        let pool = Pool::from_raw(py, this);
        let slot = (*lease).slot;
        // The slot knows this shell already; from here on it owns it.
        give_to_slot(lease);
        let well = pool.core.with(attached(py), |core| core.give_back_quickly(slot)) || give_back_slowly(this, slot);
        decref(this);
        if well { none() } else { ptr::null_mut() }
    }
}

/// Giving back where somebody waits, or there is something else to mind. On its own, so that `leave` needs no stack.
#[cold]
#[inline(never)]
pub(crate) unsafe extern "C" fn give_back_slowly(this: *mut PyObject, slot: SlotId) -> bool {
    // SAFETY: as in `leave`, which keeps the pool alive meanwhile.
    unsafe { give_back::give_back_and_yield_gil(Pool::bound(Python::assume_attached(), &this), slot).is_ok() }
}

/// `Lease.discard()`: the lease is over, and its object leaves the pool.
#[cold]
pub(crate) unsafe fn discard(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: as in `leave`.
    unsafe {
        let py = Python::assume_attached();
        if (*lease).slot == SlotId::NONE {
            return errors::made_by_hand(py, lease).null();
        }
        let before = (*lease).phase.replace(attached(py), RELEASED);
        if before >= RELEASED {
            return errors::released_twice(py, lease, before).null();
        }
        if before == ENTERED {
            (*lease).phase.reset(DISCARDED);
        }
        let this = ptr::replace(&raw mut (*lease).pool, ptr::null_mut());
        give_to_slot(lease);
        let discarded = give_back::discard(Pool::bound(py, &this), (*lease).slot);
        decref(this);
        match discarded {
            Ok(()) => none(),
            Err(raised) => raised.null(),
        }
    }
}

/// Calling a lease that a pool made: `lease()` enters, `lease(type, value, traceback)` leaves.
pub(crate) unsafe extern "C" fn call(
    this: *mut PyObject,
    _args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: reached through the vectorcall field only, so `this` is a `Lease` with a slot.
    unsafe { dispatch(this.cast(), count, names, leave) }
}

/// What calling a lease means; `leave` is how it ends.
#[inline(always)]
pub(crate) unsafe fn dispatch(
    lease: *mut Lease,
    count: usize,
    names: *mut PyObject,
    leave: unsafe fn(*mut Lease) -> *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as the caller's.
    unsafe {
        if names.is_null() {
            match ffi::PyVectorcall_NARGS(count) {
                0 => return enter(lease),
                3 => return leave(lease),
                _ => {}
            }
        }
        errors::wrong_call(Python::assume_attached(), ffi::PyVectorcall_NARGS(count)).null()
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The end of a lease that nobody released

/// Gives the object back if that has not happened: for `tp_clear` and `tp_dealloc`. The shell is about to die, so
/// the slot forgets it instead of owning it.
pub(crate) unsafe fn abandon(lease: *mut Lease) {
    // SAFETY: as in `leave`; the slot's pointer to the shell is cleared before anybody else can take the slot.
    unsafe {
        let py = Python::assume_attached();
        if (*lease).slot == SlotId::NONE || (*lease).phase.replace(attached(py), RELEASED) >= RELEASED {
            return;
        }
        let this = ptr::replace(&raw mut (*lease).pool, ptr::null_mut());
        let pool = Pool::from_raw(py, this);
        let slot = (*lease).slot;
        let done = pool.core.with(attached(py), |core| {
            if let Some(item) = core.value_mut(slot) {
                item.shell = ptr::null_mut();
            }
            core.give_back_quickly(slot)
        });
        if !done {
            give_back::give_back_quietly(Pool::bound(py, &this), slot);
        }
        decref(this);
    }
}
