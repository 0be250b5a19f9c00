//! The hot path, all of it: `pool.lease()`, entering and leaving the `with`, `acquire` and `release`.
//!
//! A cycle costs what the interpreter needs for an empty context manager, because nothing here is done twice:
//!
//! * **Nothing is allocated.** Each slot of the pool keeps the `Lease` object that served it last, its *shell*, and the
//!   next lease of that slot is the same Python object, provided that nobody but the pool still refers to it. Whoever
//!   kept a lease keeps a dead one: it stays released for ever, and the slot gets a new shell.
//! * **Nothing is bound.** Up to CPython 3.13 `with` looks up `__enter__` and `__exit__` and binds them, which allocates
//!   two method objects. Here the descriptors return the lease itself and calling the lease does the work:
//!   no argument enters, three leave (see `lease_type.rs`). From 3.14 on ordinary methods are faster.
//! * **Nothing is locked** while there is a GIL (see `sync.rs`).
//!
//! Who owns what: a slot owns its object for good. It owns its shell (one reference) while the slot is idle, handed to
//! a waiter or acquired; while the slot is leased the user owns the shell, and the slot merely knows where it is. A
//! lease that is out owns a reference to its pool, so the pool outlives it, and the slot's object with it.
//!
//! What must never happen here: a call into the interpreter inside `core.with` (it could run a destructor or the
//! collector, which may come back to this pool); a panic (these functions are `extern "C"`: it would abort); a
//! `Py<T>` that is dropped (PyO3 does not know that this thread is attached, and would postpone it).

use std::ptr;

use pyo3::ffi::{self, Py_ssize_t, PyObject};

use crate::bindings::args::timeout::{self as timeouts, Wait};
use crate::bindings::classes::lease as lease_type;
#[cfg(Py_GIL_DISABLED)]
use crate::bindings::ffi::refcount::travel::Travel;
use crate::bindings::ffi::refcount::{decref, incref, is_unique};
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::errors;
use crate::bindings::pool::give_back as giving_back;
use crate::bindings::pool::wait as waiting;
use crate::pool::SlotId;
use crate::sync::{Attached, Phase, this_thread};

/// A lease that was handed out and not entered yet.
pub(crate) const NEW: u8 = 0;
/// Inside its `with`.
pub(crate) const ENTERED: u8 = 1;
/// Over. A lease never comes back from here, only its shell does.
pub(crate) const RELEASED: u8 = 2;
/// Over as well: its object was discarded. Leaving the `with` then has nothing more to do.
pub(crate) const DISCARDED: u8 = 4;
/// Over as well: a fork has left its holder behind, in the other process.
pub(crate) const FORKED: u8 = 3;

/// `opool.Lease`. Made in `lease_type.rs`.
#[repr(C)]
pub(crate) struct Lease {
    pub(crate) head: PyObject,
    /// [`call`], where CPython's vectorcall protocol looks for it.
    pub(crate) vectorcall: Option<ffi::vectorcallfunc>,
    /// The leased object. Owned, from birth to death.
    pub(crate) object: *mut PyObject,
    /// While out: the pool (owned). Else null. Of a lease made by hand: whatever it goes back to (owned, for good).
    pub(crate) pool: *mut PyObject,
    /// A weak reference to the pool (owned), so that a lease that is over can still name it. Null if made by hand.
    pub(crate) home: *mut PyObject,
    /// The slot of the pool, or `NONE` if made by hand.
    pub(crate) slot: SlotId,
    pub(crate) phase: Phase,
    /// The thread that entered it, once it is entered: after a fork that is who has the object.
    pub(crate) holder: usize,
    /// Whether the shell goes from thread to thread.
    #[cfg(Py_GIL_DISABLED)]
    pub(crate) travel: Travel,
}

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
        if count != 0 || !names.is_null() {
            return lease_within(this, args, count, names);
        }
        match take_leased(this) {
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
        let Some(wait) = timeouts::parse(args, count, names) else { return ptr::null_mut() };
        match take_leased(this) {
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
        let pool = Pool::bound(&this);
        match waiting::wait_for_slot(pool, wait) {
            Some(slot) => hand_out(this, slot, pool.get().shell(slot)),
            None => ptr::null_mut(),
        }
    }
}

/// `Pool.try_lease()`, METH_NOARGS.
pub(crate) unsafe extern "C" fn try_lease(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `lease`.
    unsafe {
        match take_leased(this) {
            Some((slot, shell)) => hand_out(this, slot, shell),
            None => try_harder(this),
        }
    }
}

/// `Pool.try_lease` where objects are looked at before they go out, or there is none.
#[cold]
unsafe fn try_harder(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `lease`.
    unsafe {
        let pool = Pool::bound(&this);
        match waiting::take_now(pool) {
            Some(slot) => hand_out(this, slot, pool.get().shell(slot)),
            None if ffi::PyErr_Occurred().is_null() => none(),
            None => ptr::null_mut(),
        }
    }
}

/// idle → leased, if anything is idle: the slot, and the shell that served it last.
#[inline(always)]
unsafe fn take_leased(this: *mut PyObject) -> Option<(SlotId, *mut Lease)> {
    // SAFETY: as in `lease`.
    unsafe {
        let me = this_thread();
        Pool::from_raw(this).core.with(Attached::assume(), |core| {
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
            return lease_type::new_shell(this, slot, shell);
        }
        incref(this);
        (*shell).pool = this;
        (*shell).phase.reset(NEW);
        shell.cast()
    }
}

/// The lease of a slot that the calling thread has just taken for somebody else: for an `await`.
pub(crate) unsafe fn hand_out_to(this: *mut PyObject, slot: SlotId, holder: usize) -> *mut PyObject {
    // SAFETY: as in `lease`; the slot is the caller's.
    unsafe {
        let shell = Pool::from_raw(this).core.with(Attached::assume(), |core| {
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
        if count == 0 && names.is_null() {
            let me = this_thread();
            let taken = Pool::from_raw(this).core.with(Attached::assume(), |core| {
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
        let plain = count == 0 && names.is_null();
        let wait = if plain { Some(Wait::Default) } else { timeouts::parse(args, count, names) };
        let Some(wait) = wait else { return ptr::null_mut() };
        let pool = Pool::from_raw(this);
        let slot = match take_leased(this) {
            Some((slot, _)) => slot,
            None => match waiting::wait_for_slot(Pool::bound(&this), wait) {
                Some(slot) => slot,
                None => return ptr::null_mut(),
            },
        };
        let object = pool.core.with(Attached::assume(), |core| {
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
        let pool = Pool::from_raw(this);
        if pool.core.with(Attached::assume(), |core| core.release_quickly(object as usize)) {
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
        let pool = Pool::from_raw(this);
        match pool.core.with(Attached::assume(), |core| core.release(object as usize)) {
            Ok(None) => none(),
            Ok(Some(slot)) if giving_back::give_back_and_make_way(Pool::bound(&this), slot) => none(),
            Ok(Some(_)) => ptr::null_mut(),
            Err(why) => errors::not_acquired(pool, object, why),
        }
    }
}

/// Entering: what `__enter__` does.
#[inline(always)]
pub(crate) unsafe fn enter(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: `lease` is alive for the call and owns its object.
    unsafe {
        if !(*lease).phase.advance(Attached::assume(), NEW, ENTERED) {
            return errors::cannot_enter(lease);
        }
        (*lease).holder = this_thread();
        new_reference((*lease).object)
    }
}

/// The lease is over: the phase that it was in.
///
/// Without a GIL two threads may leave one lease at the same time, and an atomic exchange decides which of them gives
/// back. But if the caller's is the only reference, no other thread can reach the lease to leave it: a slot's pointer to
/// it is used by others to look (`watch.rs`), never to move it on, except in a fork's child, which has one thread.
#[inline(always)]
unsafe fn end(lease: *mut Lease) -> u8 {
    // SAFETY: the caller has a living lease.
    unsafe {
        #[cfg(Py_GIL_DISABLED)]
        if is_unique(lease.cast()) {
            return (*lease).phase.replace_alone(Attached::assume(), RELEASED);
        }
        (*lease).phase.replace(Attached::assume(), RELEASED)
    }
}

/// Leaving, of a lease that a pool made. Whatever happened in the body passes through.
#[inline(always)]
pub(crate) unsafe fn leave(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: `lease` is alive for the call. Whoever moves the phase to RELEASED, and nobody else, gives back; until
    // then the lease owns its pool.
    unsafe {
        let before = end(lease);
        if before >= RELEASED {
            return if before == DISCARDED { none() } else { errors::released_twice(lease, before) };
        }
        let this = ptr::replace(&raw mut (*lease).pool, ptr::null_mut());
        let pool = Pool::from_raw(this);
        let slot = (*lease).slot;
        // The slot knows this shell already; from here on it owns it.
        give_to_slot(lease);
        let well =
            pool.core.with(Attached::assume(), |core| core.give_back_quickly(slot)) || give_back_slowly(this, slot);
        decref(this);
        if well { none() } else { ptr::null_mut() }
    }
}

/// Giving back where somebody waits, or there is something else to mind. On its own, so that `leave` needs no stack.
#[cold]
#[inline(never)]
pub(crate) unsafe extern "C" fn give_back_slowly(this: *mut PyObject, slot: SlotId) -> bool {
    // SAFETY: as in `leave`, which keeps the pool alive meanwhile.
    unsafe { giving_back::give_back_and_make_way(Pool::bound(&this), slot) }
}

/// `Lease.discard()`: the lease is over, and its object leaves the pool.
#[cold]
pub(crate) unsafe fn discard(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: as in `leave`.
    unsafe {
        if (*lease).slot == SlotId::NONE {
            return errors::made_by_hand(lease);
        }
        let before = (*lease).phase.replace(Attached::assume(), RELEASED);
        if before >= RELEASED {
            return errors::released_twice(lease, before);
        }
        if before == ENTERED {
            (*lease).phase.reset(DISCARDED);
        }
        let this = ptr::replace(&raw mut (*lease).pool, ptr::null_mut());
        give_to_slot(lease);
        let well = giving_back::discard(Pool::bound(&this), (*lease).slot);
        decref(this);
        if well { none() } else { ptr::null_mut() }
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
        errors::wrong_call(ffi::PyVectorcall_NARGS(count))
    }
}

#[inline(always)]
pub(crate) unsafe fn none() -> *mut PyObject {
    // SAFETY: None is always there.
    unsafe { new_reference(ffi::Py_None()) }
}

#[inline(always)]
unsafe fn new_reference(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller names an object that is alive.
    unsafe {
        incref(object);
        object
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The end of a lease that nobody released

/// Gives the object back if that has not happened: for `tp_clear` and `tp_dealloc`. The shell is about to die, so
/// the slot forgets it instead of owning it.
pub(crate) unsafe fn abandon(lease: *mut Lease) {
    // SAFETY: as in `leave`; the slot's pointer to the shell is cleared before anybody else can take the slot.
    unsafe {
        if (*lease).slot == SlotId::NONE || (*lease).phase.replace(Attached::assume(), RELEASED) >= RELEASED {
            return;
        }
        let this = ptr::replace(&raw mut (*lease).pool, ptr::null_mut());
        let pool = Pool::from_raw(this);
        let slot = (*lease).slot;
        let done = pool.core.with(Attached::assume(), |core| {
            if let Some(item) = core.value_mut(slot) {
                item.shell = ptr::null_mut();
            }
            core.give_back_quickly(slot)
        });
        if !done {
            giving_back::give_back(Pool::bound(&this), slot);
        }
        decref(this);
    }
}
