//! Reference counts where the hot path cannot afford a call, and what an interpreter without a GIL needs besides.
//!
//! There, an object belongs to the thread that made it. That thread counts in `ob_ref_local` without atomics; all others
//! count in `ob_ref_shared`, in steps of four above two flags (PEP 703; `Include/refcount.h` and, up to 3.13,
//! `Include/object.h`). An object that nobody owns (`ob_tid` 0) is *merged*: its whole count is in `ob_ref_shared`.

use pyo3::ffi::{self, PyObject};

/// One more reference.
///
/// # Safety
/// The object is alive and the thread attached.
#[inline(always)]
pub(super) unsafe fn incref(object: *mut PyObject) {
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
pub(super) unsafe fn decref(object: *mut PyObject) {
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

/// Is the caller's reference the only one?
///
/// # Safety
/// The caller owns the reference, and the thread is attached.
#[inline(always)]
pub(super) unsafe fn is_unique(object: *mut PyObject) -> bool {
    // SAFETY: as the caller's.
    unsafe {
        #[cfg(not(Py_GIL_DISABLED))]
        return ffi::Py_REFCNT(object) == 1;
        #[cfg(Py_GIL_DISABLED)]
        return counts::is_unique(object);
    }
}

/// Takes an object that every thread uses out of reference counting, for as long as the process lives.
///
/// Without a GIL every `with` in every thread would else write to the same cache line.
///
/// # Safety
/// The caller has just made the object, which the collector does not track, and nobody else knows it.
pub(super) unsafe fn make_immortal(object: *mut PyObject) {
    #[cfg(Py_GIL_DISABLED)]
    // SAFETY: as the caller's.
    unsafe {
        counts::make_immortal(object);
    }
    #[cfg(not(Py_GIL_DISABLED))]
    let _ = object;
}

#[cfg(Py_GIL_DISABLED)]
mod counts {
    use std::sync::atomic::Ordering::{Acquire, Relaxed};
    use std::sync::atomic::{AtomicIsize, AtomicU32, AtomicUsize};

    use pyo3::ffi::PyObject;

    use crate::sync::this_thread;

    /// `_Py_IMMORTAL_REFCNT_LOCAL`.
    const IMMORTAL: u32 = u32::MAX;
    /// One reference in `ob_ref_shared`.
    const ONE: isize = 1 << 2;

    unsafe fn local<'a>(object: *mut PyObject) -> &'a AtomicU32 {
        // SAFETY: the object is alive during the caller's use.
        unsafe { &(*object).ob_ref_local }
    }

    unsafe fn shared<'a>(object: *mut PyObject) -> &'a AtomicIsize {
        // SAFETY: as above.
        unsafe { &(*object).ob_ref_shared }
    }

    /// Only the owner compares equal, and it stays the owner unless it gives that up itself. `this_thread` reads what
    /// the interpreter reads (`_Py_ThreadId`).
    unsafe fn is_owner(object: *mut PyObject) -> bool {
        // SAFETY: as above; the field is a plain word that others may write.
        unsafe { AtomicUsize::from_ptr(&raw mut (*object).ob_tid).load(Relaxed) == this_thread() }
    }

    #[inline(always)]
    pub(super) unsafe fn incref(object: *mut PyObject) {
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
    pub(super) unsafe fn decref_quickly(object: *mut PyObject) -> bool {
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

    #[inline(always)]
    pub(super) unsafe fn is_unique(object: *mut PyObject) -> bool {
        // SAFETY: as above. Only the owner may conclude anything from the local count; with one local reference, the
        // caller's own, and no shared ones there is nobody who could make another meanwhile.
        unsafe { is_owner(object) && local(object).load(Relaxed) == 1 && shared(object).load(Acquire) == 0 }
    }

    pub(super) unsafe fn make_immortal(object: *mut PyObject) {
        // SAFETY: nobody else knows the object. This is what CPython's own `_Py_SetImmortalUntracked` writes.
        unsafe {
            (*object).ob_tid = 0;
            local(object).store(IMMORTAL, Relaxed);
            shared(object).store(0, Relaxed);
        }
    }
}
