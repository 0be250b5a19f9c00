//! The two methods of `ObjectMgr` that are called millions of times, as plain C functions.
//!
//! The same two in `#[pymethods]` cost 18 ns more a pair. They are ordinary method descriptors all the same: they can
//! be overridden, called on the class, and read with `help()`. Nothing in here can panic, and nothing that is user
//! Python (`__hash__`, `__eq__`) or the interpreter's allocator runs inside the critical section.

use std::ffi::c_int;
use std::ops::Range;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::exception::{OrRaised, Raised, Raises, or_null};
use crate::bindings::ffi::refcount::{new_reference, none};
use crate::bindings::ids::object::ObjectMgr;
use crate::bindings::objects::id_errors::{raise, refused};
use crate::bindings::objects::lease::is_lease;
use crate::ids::{Error, Ids, Refusal};
use crate::sync::{Attached, Guarded};

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
pub(crate) unsafe extern "C" fn get_object(slf: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
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
        let py = Python::assume_attached();
        match ids(slf).with(attached(py), Ids::take) {
            Ok(Some(id)) => handed(slf, id),
            Ok(None) => none(),
            Err(error) => raise(py, error).null(),
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

/// There was no memory for the int: the caller does not get the id, so it must not stay allocated.
#[cold]
fn give_back(mgr: &ObjectMgr, py: Python<'_>, id: i64) {
    // Another thread may have guessed the id and freed it in the meantime. Then it is free already.
    let (Ok(()) | Err(_)) = mgr.ids.with(attached(py), |ids| ids.undo_take(id));
    mgr.settle_quietly(py);
}

/// # Safety
/// CPython calls it, through the method descriptor, which has checked the type of `slf`.
pub(crate) unsafe extern "C" fn free_object(slf: *mut ffi::PyObject, obj: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a method is called attached, and the caller holds `slf` and `obj`.
    unsafe {
        if ffi::PyLong_CheckExact(obj) != 0 {
            let mut overflow: c_int = 0;
            let id = ffi::PyLong_AsLongLongAndOverflow(obj, &mut overflow);
            // What does not fit is -1, and -1 is an id like any other.
            if overflow == 0 && ids(slf).with(Attached::assume(), |ids| ids.free_quickly(id)) {
                return new_reference(obj);
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
        let py = Python::assume_attached();
        or_null(free(mgr(slf), Bound::ref_from_ptr(py, &obj)).map(|()| new_reference(obj)))
    }
}

fn free<'py>(mgr: &ObjectMgr, obj: &Bound<'py, PyAny>) -> Raises<'py> {
    let py = obj.py();
    let id = match as_int(obj) {
        Some(id) => id,
        None => equal_id(&mgr.ids, obj)?,
    };
    match id.map_or(Err(Error::NotAllocated), |id| mgr.ids.with(attached(py), |ids| ids.free(id))) {
        Ok(()) => mgr.settle(py).or_raised(py),
        Err(Error::Lent) => {
            let error = refused(py, Refusal::Lent(id.unwrap_or_default()));
            Err(Raised::from_error(py, error))
        }
        // SAFETY: attached, and the caller holds `obj`.
        Err(Error::NotAllocated) if unsafe { is_lease(obj.as_ptr()) } => {
            let text = c"that is the lease, not its id: leave its `with`, or call its release()";
            // SAFETY: a class and a C string.
            unsafe { ffi::PyErr_SetString(ffi::PyExc_ValueError, text.as_ptr()) };
            Err(Raised::is_set(py))
        }
        Err(error) => Err(raise(py, error)),
    }
}

/// The id that a plain int is, if it has 64 bits; nothing at all for other objects.
fn as_int(obj: &Bound<'_, PyAny>) -> Option<Option<i64>> {
    // SAFETY: attached, and the object is alive. What does not fit is -1, and -1 is an id like any other.
    unsafe {
        if ffi::PyLong_CheckExact(obj.as_ptr()) == 0 {
            return None;
        }
        let mut overflow: c_int = 0;
        let id = ffi::PyLong_AsLongLongAndOverflow(obj.as_ptr(), &mut overflow);
        Some(Some(id).filter(|_| overflow == 0))
    }
}

/// What `hash(int)` is taken modulo (`sys.hash_info.modulus`).
const HASH_MODULUS: i64 = if cfg!(target_pointer_width = "64") { (1 << 61) - 1 } else { (1 << 31) - 1 };

/// The allocated id that `obj` would find in a set of them: its hash first, then `id == obj`.
///
/// Both are user code, which may do anything to the manager: whether the id is still allocated is for the caller to
/// find out, in one step with freeing it.
#[cold]
fn equal_id<'py>(ids: &Guarded<Ids>, obj: &Bound<'py, PyAny>) -> Raises<'py, Option<i64>> {
    let py = obj.py();
    // SAFETY: attached, and `obj` is alive.
    let hash = unsafe { ffi::PyObject_Hash(obj.as_ptr()) };
    if hash == -1 {
        return no_hash(obj);
    }
    let range = ids.with(attached(py), |ids| ids.range());
    for turn in 0_i64.. {
        let near = ints_hashed(hash as i64, turn).into_iter().flatten();
        let mut beyond = true;
        for candidate in near.filter(|&candidate| is_within(&range, candidate)) {
            beyond = false;
            let given = ids.with(attached(py), |ids| ids.is_allocated(candidate));
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
pub(crate) fn contains<'py>(ids: &Guarded<Ids>, obj: &Bound<'py, PyAny>) -> Raises<'py, bool> {
    match as_int(obj) {
        Some(id) => Ok(id.is_some_and(|id| ids.with(attached(obj.py()), |ids| ids.is_allocated(id)))),
        None => equal_id(ids, obj).map(|id| id.is_some()),
    }
}

/// The hash of `obj` raised. A set looks for another set by its frozen copy, which no int equals; else it raises too.
#[cold]
fn no_hash<'py>(obj: &Bound<'py, PyAny>) -> Raises<'py, Option<i64>> {
    // SAFETY: attached, and `obj` is alive.
    unsafe {
        if ffi::PySet_Check(obj.as_ptr()) != 0 && ffi::PyErr_ExceptionMatches(ffi::PyExc_TypeError) != 0 {
            ffi::PyErr_Clear();
            return Ok(None);
        }
    }
    Err(Raised::is_set(obj.py()))
}

/// `id == obj`, in the order in which a set asks it.
fn is_equal<'py>(id: i64, obj: &Bound<'py, PyAny>) -> Raises<'py, bool> {
    let raised = Raised::is_set(obj.py());
    // SAFETY: attached; `int` is ours until the decref, and `obj` is alive.
    unsafe {
        let int = ffi::PyLong_FromLongLong(id);
        if int.is_null() {
            return Err(raised);
        }
        let equal = ffi::PyObject_RichCompareBool(int, obj.as_ptr(), ffi::Py_EQ);
        ffi::Py_DECREF(int);
        if equal < 0 { Err(raised) } else { Ok(equal != 0) }
    }
}
