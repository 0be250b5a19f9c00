//! The two methods of `ObjectMgr` that are called millions of times, as plain C functions.
//!
//! The same two in `#[pymethods]` cost 18 ns more a pair. They are ordinary method descriptors all the same: they can
//! be overridden, called on the class, and read with `help()`. Nothing in here can panic, and nothing that is user
//! Python (`__hash__`, `__eq__`) or the interpreter's allocator runs inside the critical section.

use std::ffi::{CStr, c_int};
use std::ops::Range;
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::lease_type::is_lease;
use super::objectmgr::{ObjectMgr, attached, refused};
use super::raw::{add_methods, method};
use crate::ids::{Error, Ids, Refusal};
use crate::sync::{Attached, Guarded};

const GET_OBJECT: &CStr = c"get_object($self, /)
--

Gives an id that nobody has.

Returns:
    int | None: with the order `fifo`, the lowest id that was never given; when there is none left, the
        id that was freed longest ago. With `lowest` the lowest free id, with `random` any. None when all
        of them are out.

Raises:
    MemoryError: there is no memory for the id; it stays free.

Example:
    >>> from opool import ObjectMgr
    >>> mgr = ObjectMgr(3)
    >>> mgr.get_object(), mgr.get_object(), mgr.get_object()
    (1, 2, None)
";

const FREE_OBJECT: &CStr = c"free_object($self, obj, /)
--

Takes an id back, so that it can be given again.

Args:
    obj (object): the id, or anything equal to it, as in a set of ints: 1.0 or True is 1.

Returns:
    object: obj itself.

Raises:
    ValueError: obj is not an id that is given out; it may have been freed already. Or a lease has it.
    TypeError: obj cannot be hashed.
    MemoryError: there is no memory to note it; it stays given out.

Example:
    >>> from opool import ObjectMgr
    >>> mgr = ObjectMgr(3)
    >>> mgr.free_object(mgr.get_object())
    1
    >>> mgr.free_object(1)
    Traceback (most recent call last):
    ValueError: Object is not currently allocated.
";

/// Puts both methods on the type.
pub(super) fn add_to(class: &Bound<'_, PyType>) -> PyResult<()> {
    let get_object = ffi::PyMethodDefPointer { PyCFunction: get_object };
    let free_object = ffi::PyMethodDefPointer { PyCFunction: free_object };
    add_methods(
        class,
        [
            method(c"get_object", get_object, ffi::METH_NOARGS, GET_OBJECT),
            method(c"free_object", free_object, ffi::METH_O, FREE_OBJECT),
        ],
    )
}

/// The state behind `slf`.
///
/// # Safety
/// `slf` is an `ObjectMgr` or of a subclass, it outlives the result, and the thread is attached.
#[inline(always)]
unsafe fn ids<'a>(slf: *mut ffi::PyObject) -> &'a Guarded<Ids> {
    // SAFETY: as promised.
    unsafe { &mgr(slf).ids }
}

/// # Safety
/// As for `ids`.
#[inline(always)]
unsafe fn mgr<'a>(slf: *mut ffi::PyObject) -> &'a ObjectMgr {
    // SAFETY: the promise above. A frozen class has no borrow flag, so a plain reference is right.
    unsafe { Borrowed::<PyAny>::from_ptr(Python::assume_attached(), slf).cast_unchecked::<ObjectMgr>().get() }
}

/// # Safety
/// CPython calls it, through the method descriptor, which has checked the type of `slf`.
unsafe extern "C" fn get_object(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a method is called attached, and the caller holds `slf`.
    let (ids, attached) = unsafe { (ids(slf), Attached::assume()) };
    match ids.with(attached, Ids::take_quickly) {
        // SAFETY: as above.
        Some(id) => unsafe { handed(slf, id) },
        // SAFETY: as above.
        None => unsafe { get_object_slowly(slf) },
    }
}

/// What is not done by a bit and a step of the watermark or the queue.
///
/// # Safety
/// As for `get_object`.
#[inline(never)]
unsafe fn get_object_slowly(slf: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe {
        let (ids, attached) = (ids(slf), Attached::assume());
        match ids.with(attached, Ids::take) {
            Ok(Some(id)) => handed(slf, id),
            Ok(None) => new_ref(ffi::Py_None()),
            Err(error) => raise(attached, error),
        }
    }
}

/// The id as an int.
///
/// # Safety
/// As for `get_object`.
#[inline(always)]
unsafe fn handed(slf: *mut ffi::PyObject, id: i64) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe {
        let int = ffi::PyLong_FromLongLong(id);
        if int.is_null() {
            give_back(mgr(slf), Python::assume_attached(), id);
        }
        int
    }
}

/// There was no memory for the int: nobody has the id, so it must not stay allocated.
#[cold]
fn give_back(mgr: &ObjectMgr, py: Python<'_>, id: i64) {
    // Somebody may have guessed the id and freed it in the meantime. Then it is free already.
    let (Ok(()) | Err(_)) = mgr.ids.with(attached(py), |ids| ids.undo_take(id));
    mgr.settle_quietly(py);
}

/// # Safety
/// CPython calls it, through the method descriptor, which has checked the type of `slf`.
unsafe extern "C" fn free_object(slf: *mut ffi::PyObject, obj: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a method is called attached, and the caller holds `slf` and `obj`.
    unsafe {
        if ffi::PyLong_CheckExact(obj) != 0 {
            let mut overflow: c_int = 0;
            let id = ffi::PyLong_AsLongLongAndOverflow(obj, &mut overflow);
            // What does not fit is -1, and -1 is an id like any other.
            if overflow == 0 && ids(slf).with(Attached::assume(), |ids| ids.free_quickly(id)) {
                return new_ref(obj);
            }
        }
        free_object_slowly(slf, obj)
    }
}

/// What is not done by a bit and an entry of the queue.
///
/// # Safety
/// As for `free_object`.
#[inline(never)]
unsafe fn free_object_slowly(slf: *mut ffi::PyObject, obj: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as promised.
    unsafe {
        let (ids, attached) = (ids(slf), Attached::assume());
        let id = if ffi::PyLong_CheckExact(obj) != 0 {
            let mut overflow: c_int = 0;
            let id = ffi::PyLong_AsLongLongAndOverflow(obj, &mut overflow);
            Some(id).filter(|_| overflow == 0)
        } else {
            match equal_id(ids, attached, obj) {
                Ok(id) => id,
                Err(Raised) => return ptr::null_mut(),
            }
        };
        match id.map_or(Err(Error::NotAllocated), |id| ids.with(attached, |ids| ids.free(id))) {
            Err(Error::Lent) => {
                refused(Python::assume_attached(), Refusal::Lent(id.unwrap_or_default()))
                    .restore(Python::assume_attached());
                ptr::null_mut()
            }
            Err(Error::NotAllocated) if is_lease(obj) => {
                let text = c"that is the lease, not its id: leave its `with`, or call its release()";
                ffi::PyErr_SetString(ffi::PyExc_ValueError, text.as_ptr());
                ptr::null_mut()
            }
            Ok(()) => match mgr(slf).settle(Python::assume_attached()) {
                Ok(()) => new_ref(obj),
                Err(error) => {
                    error.restore(Python::assume_attached());
                    ptr::null_mut()
                }
            },
            Err(error) => raise(attached, error),
        }
    }
}

/// What `Py_NewRef` does, which Python 3.9 lacks and the others do not inline.
///
/// # Safety
/// The thread is attached, and `obj` is alive.
#[inline(always)]
unsafe fn new_ref(obj: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the promise above.
    unsafe { ffi::Py_INCREF(obj) };
    obj
}

/// A Python exception is set.
pub(super) struct Raised;

/// What `hash(int)` is taken modulo (`sys.hash_info.modulus`).
const HASH_MODULUS: i64 = if cfg!(target_pointer_width = "64") { (1 << 61) - 1 } else { (1 << 31) - 1 };

/// The allocated id that `obj` would find in a set of them: its hash first, then `id == obj`.
///
/// Both are user code, which may do anything to the manager: whether the id is still allocated is for the caller to
/// find out, in one step with freeing it.
///
/// # Safety
/// The thread is attached, and the caller holds `obj`.
#[cold]
unsafe fn equal_id(ids: &Guarded<Ids>, attached: Attached<'_>, obj: *mut ffi::PyObject) -> Result<Option<i64>, Raised> {
    // SAFETY: attached, `obj` is alive, and every pointer is checked before its use.
    unsafe {
        let hash = ffi::PyObject_Hash(obj);
        if hash == -1 {
            return no_hash(obj);
        }
        let range = ids.with(attached, |ids| ids.range());
        for turn in 0_i64.. {
            let near = ints_hashed(hash as i64, turn).into_iter().flatten();
            let mut beyond = true;
            for candidate in near.filter(|&candidate| is_within(&range, candidate)) {
                beyond = false;
                let given = ids.with(attached, |ids| ids.is_allocated(candidate));
                if given && is_equal(candidate, obj)? {
                    return Ok(Some(candidate));
                }
            }
            // Not at once: with the hash 0, the turns begin on both sides of it.
            if beyond && turn > 0 {
                break;
            }
        }
        Ok(None)
    }
}

/// The ints of 64 bits that have this hash, and are so many turns of the modulus away from 0.
///
/// Below the modulus an int is its own hash, and after that the hashes repeat, on either side of 0. No hash is -1: that
/// of -1 is -2.
fn ints_hashed(hash: i64, turn: i64) -> [Option<i64>; 3] {
    let far = turn.checked_mul(HASH_MODULUS);
    let above = far.filter(|_| hash >= 0).and_then(|far| hash.checked_add(far));
    let below = far.filter(|_| hash < 0 || hash == 0 && turn > 0).and_then(|far| hash.checked_sub(far));
    let minus_one = far.filter(|_| hash == -2).and_then(|far| (-1_i64).checked_sub(far));
    [above, minus_one, below]
}

/// Whether there are ids as far out as this, on its side of 0.
fn is_within(range: &Range<i128>, candidate: i64) -> bool {
    if candidate < 0 { range.start <= candidate.into() } else { i128::from(candidate) < range.end }
}

/// Whether `obj` equals an id that is out, as in a set of them.
///
/// # Safety
/// The thread is attached, and the caller holds `obj`. Where it fails, an exception is set.
pub(super) unsafe fn contains(
    ids: &Guarded<Ids>,
    attached: Attached<'_>,
    obj: *mut ffi::PyObject,
) -> Result<bool, Raised> {
    // SAFETY: as promised.
    unsafe {
        if ffi::PyLong_CheckExact(obj) == 0 {
            return equal_id(ids, attached, obj).map(|id| id.is_some());
        }
        let mut overflow: c_int = 0;
        let id = ffi::PyLong_AsLongLongAndOverflow(obj, &mut overflow);
        Ok(overflow == 0 && ids.with(attached, |ids| ids.is_allocated(id)))
    }
}

/// The hash of `obj` raised. A set looks for another set by its frozen copy, which no int equals; else it raises too.
///
/// # Safety
/// The thread is attached, an exception is set, and the caller holds `obj`.
#[cold]
unsafe fn no_hash(obj: *mut ffi::PyObject) -> Result<Option<i64>, Raised> {
    // SAFETY: attached, and `obj` is alive.
    unsafe {
        if ffi::PySet_Check(obj) != 0 && ffi::PyErr_ExceptionMatches(ffi::PyExc_TypeError) != 0 {
            ffi::PyErr_Clear();
            return Ok(None);
        }
    }
    Err(Raised)
}

/// `id == obj`, in the order in which a set asks it.
///
/// # Safety
/// The thread is attached, and the caller holds `obj`.
unsafe fn is_equal(id: i64, obj: *mut ffi::PyObject) -> Result<bool, Raised> {
    // SAFETY: attached; `int` is ours until the decref, and `obj` is alive.
    unsafe {
        let int = ffi::PyLong_FromLongLong(id);
        if int.is_null() {
            return Err(Raised);
        }
        let equal = ffi::PyObject_RichCompareBool(int, obj, ffi::Py_EQ);
        ffi::Py_DECREF(int);
        if equal < 0 { Err(Raised) } else { Ok(equal != 0) }
    }
}

/// Sets the exception for an error of the core, and returns what a C function returns then.
///
/// Written for the slots, which PyO3 does not know about: a `PyErr` dropped here would be kept until somebody calls
/// something of PyO3's.
#[cold]
pub(super) fn raise(_attached: Attached<'_>, error: Error) -> *mut ffi::PyObject {
    // SAFETY: attached, as the argument proves; the exception types are there as long as the interpreter is.
    unsafe {
        match error {
            Error::NotAllocated => {
                ffi::PyErr_SetString(ffi::PyExc_ValueError, c"Object is not currently allocated.".as_ptr());
            }
            Error::Lent => {
                let text = c"a lease has the id, which only the lease gives back";
                ffi::PyErr_SetString(ffi::PyExc_ValueError, text.as_ptr());
            }
            Error::OutOfMemory => {
                ffi::PyErr_NoMemory();
            }
            Error::OutOfReach => {
                ffi::PyErr_SetString(
                    ffi::PyExc_OverflowError,
                    c"ids reach from -2**63 to 2**63 - 1, and a range has at most 2**63 of them".as_ptr(),
                );
            }
        }
    }
    ptr::null_mut()
}
