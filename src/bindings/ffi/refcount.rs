//! Reference counts where the hot path cannot afford a call, and what an interpreter without a GIL needs besides.
//!
//! There, an object belongs to the thread that made it. That thread counts in `ob_ref_local` without atomics; all
//! others count in `ob_ref_shared`, in steps of four above two flags (PEP 703; `Include/refcount.h` and, up to 3.13,
//! `Include/object.h`). An object that nobody owns (`ob_tid` 0) is *merged*: its whole count is in `ob_ref_shared`.

use pyo3::ffi::{self, PyObject};

/// One more reference.
///
/// # Safety
/// The object is alive and the thread attached.
#[inline(always)]
pub(crate) unsafe fn incref(object: *mut PyObject) {
    #[cfg(not(Py_GIL_DISABLED))]
    // SAFETY: as the caller's.
    unsafe {
        ffi::Py_INCREF(object);
    }
    #[cfg(Py_GIL_DISABLED)]
    // SAFETY: as the caller's.
    unsafe {
        counts::incref(object);
    }
}

/// One reference less. May run any code.
///
/// # Safety
/// The caller owns the reference, and the thread is attached.
#[inline(always)]
pub(crate) unsafe fn decref(object: *mut PyObject) {
    #[cfg(not(Py_GIL_DISABLED))]
    // SAFETY: as the caller's.
    unsafe {
        ffi::Py_DECREF(object);
    }
    #[cfg(Py_GIL_DISABLED)]
    // SAFETY: as the caller's.
    unsafe {
        if !counts::decref_quickly(object) {
            ffi::Py_DECREF(object);
        }
    }
}

/// The object, with one more reference.
///
/// # Safety
/// The object is alive and the thread attached.
#[inline(always)]
pub(crate) unsafe fn new_reference(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: as the caller's.
    unsafe { incref(object) };
    object
}

/// A new reference to None, as functions of the C API return it.
///
/// # Safety
/// The thread is attached.
#[inline(always)]
pub(crate) unsafe fn none() -> *mut PyObject {
    // SAFETY: None is always there.
    unsafe { new_reference(ffi::Py_None()) }
}

/// One more reference to an object that may be about to die; false if it is. Without a GIL only the thread that owns it
/// can tell, so it is false in all others.
///
/// # Safety
/// The object's memory is there, and the thread is attached. With a GIL, the object is alive.
#[inline(always)]
pub(crate) unsafe fn try_incref(object: *mut PyObject) -> bool {
    // SAFETY: as the caller's.
    unsafe {
        #[cfg(Py_GIL_DISABLED)]
        if !counts::is_alive_here(object) {
            return false;
        }
        incref(object);
        true
    }
}

/// Is the caller's reference the only one? Without a GIL the answer may be a mistaken no.
///
/// # Safety
/// The caller owns the reference, and the thread is attached.
#[inline(always)]
pub(crate) unsafe fn is_unique(object: *mut PyObject) -> bool {
    // SAFETY: as the caller's.
    unsafe {
        #[cfg(not(Py_GIL_DISABLED))]
        return ffi::Py_REFCNT(object) == 1;
        #[cfg(Py_GIL_DISABLED)]
        return counts::is_owner(object) && counts::is_owners_only(object);
    }
}

/// Takes an object that every thread uses out of reference counting, for as long as the process lives.
///
/// Without a GIL every `with` in every thread would else write to the same cache line.
///
/// # Safety
/// The caller has just made the object, which the collector does not track, and nobody else knows it.
pub(crate) unsafe fn make_immortal(object: *mut PyObject) {
    #[cfg(Py_GIL_DISABLED)]
    // SAFETY: as the caller's.
    unsafe {
        counts::make_immortal(object);
    }
    #[cfg(not(Py_GIL_DISABLED))]
    let _ = object;
}

/// What lets an object that is used by one thread after the other, and by one at a time, be reused by the next.
///
/// An object counts cheaply in the thread that owns it, and only there can it be known to be unique. So one that
/// travels is given up by each thread that is done with it, and adopted by the next. That costs two atomic operations,
/// where a new object would cost an allocation, a deallocation and a message to the former owner. An object that has
/// stayed in one thread for a while stops travelling and costs nothing.
#[cfg(Py_GIL_DISABLED)]
pub(crate) mod travel {
    use std::cell::Cell;

    use pyo3::ffi::PyObject;

    use super::counts;
    use crate::sync::this_thread;

    /// How often an object has to come back to the same thread in a row before it stays there.
    const PATIENCE: u8 = 32;

    /// Of one object: the thread that had it last, and for how long it is going to travel. Its holder writes it.
    pub(crate) struct Travel {
        last: Cell<usize>,
        left: Cell<u8>,
    }

    impl Travel {
        /// For an object that replaces `old` (may be null). It travels if `old` belongs to another thread.
        pub(crate) unsafe fn instead_of(old: *mut PyObject) -> Self {
            // SAFETY: the caller has a reference to `old`.
            let travels = !old.is_null() && !unsafe { counts::is_owner(old) };
            Travel { last: Cell::new(this_thread()), left: Cell::new(if travels { PATIENCE } else { 0 }) }
        }

        /// Whether the caller's reference is the only one, and the object now its own.
        #[cold]
        pub(crate) unsafe fn arrive(&self, object: *mut PyObject) -> bool {
            // SAFETY: as the caller's.
            if !unsafe { counts::adopt(object) } {
                return false;
            }
            let me = this_thread();
            let stayed = self.last.replace(me) == me;
            self.left.set(if stayed { self.left.get().saturating_sub(1) } else { PATIENCE });
            true
        }

        /// One more reference, for the slot that keeps the object for the next thread.
        #[inline(always)]
        pub(crate) unsafe fn leave(&self, object: *mut PyObject) {
            // SAFETY: as the caller's.
            unsafe {
                if self.left.get() == 0 {
                    counts::incref(object);
                } else {
                    counts::incref_and_disown(object);
                }
            }
        }
    }
}

#[cfg(Py_GIL_DISABLED)]
mod counts {
    use std::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
    use std::sync::atomic::{AtomicIsize, AtomicU32, AtomicUsize};

    use pyo3::ffi::PyObject;

    use crate::sync::this_thread;

    /// `_Py_IMMORTAL_REFCNT_LOCAL`.
    const IMMORTAL: u32 = u32::MAX;
    /// `_Py_REF_SHARED_SHIFT`, `_Py_REF_MERGED`, and one reference in `ob_ref_shared`.
    const SHIFT: u32 = 2;
    const MERGED: isize = 3;
    const ONE: isize = 1 << SHIFT;

    unsafe fn local<'a>(object: *mut PyObject) -> &'a AtomicU32 {
        // SAFETY: the object is alive during the caller's use.
        unsafe { &(*object).ob_ref_local }
    }

    unsafe fn shared<'a>(object: *mut PyObject) -> &'a AtomicIsize {
        // SAFETY: as above.
        unsafe { &(*object).ob_ref_shared }
    }

    unsafe fn owner<'a>(object: *mut PyObject) -> &'a AtomicUsize {
        // SAFETY: as above; the field is a plain word, which others may write.
        unsafe { AtomicUsize::from_ptr(&raw mut (*object).ob_tid) }
    }

    /// Only the owner compares equal, and it stays the owner unless it gives that up itself. `this_thread` reads what
    /// the interpreter reads (`_Py_ThreadId`).
    #[inline(always)]
    pub(crate) unsafe fn is_owner(object: *mut PyObject) -> bool {
        // SAFETY: as above.
        unsafe { owner(object).load(Relaxed) == this_thread() }
    }

    #[inline(always)]
    pub(crate) unsafe fn incref(object: *mut PyObject) {
        // SAFETY: the interpreter's `Py_INCREF`, to the letter.
        unsafe {
            let more = local(object).load(Relaxed).wrapping_add(1);
            if more == 0 {
                return;
            }
            if is_owner(object) {
                local(object).store(more, Relaxed);
            } else {
                shared(object).fetch_add(ONE, Relaxed);
            }
        }
    }

    /// False if that is beyond the plain case: the owner lets go of one of several.
    #[inline(always)]
    pub(crate) unsafe fn decref_quickly(object: *mut PyObject) -> bool {
        // SAFETY: the first half of the interpreter's `Py_DECREF`.
        unsafe {
            let count = local(object).load(Relaxed);
            let plain = count > 1 && count != IMMORTAL && is_owner(object);
            if plain {
                local(object).store(count - 1, Relaxed);
            }
            plain
        }
    }

    /// Whether there is one reference, and it was counted by the owner, who asks.
    #[inline(always)]
    pub(crate) unsafe fn is_owners_only(object: *mut PyObject) -> bool {
        // SAFETY: as above. With one local reference, the caller's own, and no shared ones there is nobody who could
        // make another meanwhile. (Nobody else may conclude that: the two words cannot be read at once.)
        unsafe { local(object).load(Relaxed) == 1 && shared(object).load(Acquire) == 0 }
    }

    /// Whether the calling thread owns the object and has references to it: then nobody ends it meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn is_alive_here(object: *mut PyObject) -> bool {
        // SAFETY: as above. The owner alone counts down its own references, and no object dies before they are gone.
        unsafe { is_owner(object) && local(object).load(Relaxed) > 0 }
    }

    /// Makes an object without an owner the calling thread's, if the caller's reference is the only one.
    pub(crate) unsafe fn adopt(object: *mut PyObject) -> bool {
        // SAFETY: as above. The whole count is in one word, so one look is enough; and there is nobody else then who
        // could see the three stores one by one.
        unsafe {
            let only = shared(object).load(Acquire) == ONE | MERGED;
            if only {
                owner(object).store(this_thread(), Relaxed);
                local(object).store(1, Relaxed);
                shared(object).store(0, Relaxed);
            }
            only
        }
    }

    /// One more reference; an object of the calling thread has no owner after that.
    pub(crate) unsafe fn incref_and_disown(object: *mut PyObject) {
        // SAFETY: the interpreter's `_Py_ExplicitMergeRefcount`, in its order, which an owner may use at any time.
        unsafe {
            if !is_owner(object) {
                return incref(object);
            }
            let more = local(object).load(Relaxed) as isize + 1;
            local(object).store(0, Relaxed);
            owner(object).store(0, Relaxed);
            let mut before = shared(object).load(Relaxed);
            while let Err(now) =
                shared(object).compare_exchange(before, (((before >> SHIFT) + more) << SHIFT) | MERGED, SeqCst, Relaxed)
            {
                before = now;
            }
        }
    }

    pub(crate) unsafe fn make_immortal(object: *mut PyObject) {
        // SAFETY: nobody else knows the object. This is what CPython's own `_Py_SetImmortalUntracked` writes.
        unsafe {
            (*object).ob_tid = 0;
            local(object).store(IMMORTAL, Relaxed);
            shared(object).store(0, Relaxed);
        }
    }
}
