//! `opool.Lease` as a type: how shells are made and die, what they show, and how `with` finds its way into `lease.rs`.

use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;
use std::ptr;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::bindings::ffi::raw::{Exception, discard, method, slot};
#[cfg(Py_GIL_DISABLED)]
use crate::bindings::ffi::refcount::travel::Travel;
#[cfg(not(Py_3_14))]
use crate::bindings::ffi::self_descriptor;
use crate::bindings::lease::hot::{self as lease, DISCARDED, ENTERED, Lease, NEW, RELEASED};
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::errors;
use crate::bindings::pool::give_back as giving_back;
use crate::pool::SlotId;
use crate::sync::{Attached, Phase};

static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// The type object; `register` has made it.
/// Whether it is a lease.
///
/// # Safety
/// The thread is attached, and the object is alive.
pub(crate) unsafe fn is_lease(object: *mut PyObject) -> bool {
    // SAFETY: as promised.
    unsafe { ffi::Py_TYPE(object) == lease_type() }
}

fn lease_type() -> *mut ffi::PyTypeObject {
    // SAFETY: only called by functions of the module, so the thread is attached.
    let py = unsafe { Python::assume_attached() };
    TYPE.get(py).map_or(ptr::null_mut(), |made| made.as_ptr().cast())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let made = TYPE.get_or_try_init(py, || make_type(py))?;
    module.add("Lease", made)
}

// ---------------------------------------------------------------------------------------------------------------------
// Birth

/// A new shell for a leased slot, instead of `old`, which the slot gives up. On failure the slot is given back.
#[cold]
pub(crate) unsafe extern "C" fn new_shell(this: *mut PyObject, slot: SlotId, old: *mut Lease) -> *mut PyObject {
    // SAFETY: attached; the slot is leased by the caller, so nobody else touches it or its object meanwhile, whatever
    // the collector runs during the allocations.
    unsafe {
        let attached = Attached::assume();
        let pool = Pool::from_raw(this);
        let home = ffi::PyWeakref_NewRef(this, ptr::null_mut());
        let object = pool.core.with(attached, |core| core.value_mut(slot).map(|item| item.object.as_ptr()));
        let shell = match object {
            Some(object) if !home.is_null() => allocate(object, this, home, slot, old),
            _ => ptr::null_mut(),
        };
        if shell.is_null() {
            ffi::Py_XDECREF(home);
            giving_back::give_back(Pool::bound(&this), slot);
            return ptr::null_mut();
        }
        pool.core.with(attached, |core| {
            if let Some(item) = core.value_mut(slot) {
                item.shell = shell;
            }
        });
        ffi::Py_XDECREF(old.cast());
        shell.cast()
    }
}

/// Takes new references to `object` and `pool`, and the caller's to `home`. `old` is the shell that it replaces, or null.
unsafe fn allocate(
    object: *mut PyObject,
    pool: *mut PyObject,
    home: *mut PyObject,
    slot: SlotId,
    old: *mut Lease,
) -> *mut Lease {
    #[cfg(not(Py_GIL_DISABLED))]
    let _ = old;
    // SAFETY: the memory is written field by field before the collector or anybody else can see it.
    unsafe {
        let new: *mut Lease = ffi::PyObject_GC_New(lease_type());
        if !new.is_null() {
            ffi::Py_INCREF(object);
            ffi::Py_INCREF(pool);
            let call = if slot == SlotId::NONE { call_by_hand } else { lease::call };
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

/// Ends a lease of either kind: what `Lease.release()` does, and `__exit__` where it is called as a method.
unsafe fn leave(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: as the caller's, who has a living lease.
    unsafe { if (*lease).slot == SlotId::NONE { leave_by_hand(lease) } else { lease::leave(lease) } }
}

// ---------------------------------------------------------------------------------------------------------------------
// Leases made by hand

/// `Lease(obj, pool)`: made by hand, for anything with `add_obj` or `put`.
unsafe extern "C" fn new(_: *mut ffi::PyTypeObject, args: *mut PyObject, names: *mut PyObject) -> *mut PyObject {
    const KEYWORDS: [*const std::ffi::c_char; 3] = [c"obj".as_ptr(), c"pool".as_ptr(), ptr::null()];
    let (mut object, mut pool) = (ptr::null_mut::<PyObject>(), ptr::null_mut::<PyObject>());
    // SAFETY: the format asks for two objects, and two places follow.
    unsafe {
        if ffi::PyArg_ParseTupleAndKeywords(
            args,
            names,
            c"OO:Lease".as_ptr(),
            KEYWORDS.as_ptr().cast_mut().cast(),
            &raw mut object,
            &raw mut pool,
        ) == 0
        {
            return ptr::null_mut();
        }
        allocate(object, pool, ptr::null_mut(), SlotId::NONE, ptr::null_mut()).cast()
    }
}

/// Calling a lease that was made by hand.
unsafe extern "C" fn call_by_hand(
    this: *mut PyObject,
    _args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as `lease::call`.
    unsafe { lease::dispatch(this.cast(), count, names, leave_by_hand) }
}

/// Leaving: to the pool's `add_obj`, or to a queue's `put`. If that fails, the lease still holds the object.
#[cold]
unsafe fn leave_by_hand(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: a lease made by hand owns its pool for good.
    unsafe {
        let before = (*lease).phase.replace(Attached::assume(), RELEASED);
        if before >= RELEASED {
            return errors::released_twice(lease, before);
        }
        let mut put = ffi::PyObject_GetAttrString((*lease).pool, c"add_obj".as_ptr());
        if put.is_null() && ffi::PyErr_ExceptionMatches(ffi::PyExc_AttributeError) != 0 {
            ffi::PyErr_Clear();
            put = ffi::PyObject_GetAttrString((*lease).pool, c"put".as_ptr());
        }
        let result = match put.is_null() {
            true => ptr::null_mut(),
            false => ffi::PyObject_CallFunctionObjArgs(put, (*lease).object, ptr::null_mut::<PyObject>()),
        };
        ffi::Py_XDECREF(put);
        if result.is_null() {
            (*lease).phase.reset(before);
            return ptr::null_mut();
        }
        ffi::Py_DECREF(result);
        ffi::Py_INCREF(ffi::Py_None());
        ffi::Py_None()
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Death

unsafe extern "C" fn dealloc(this: *mut PyObject) {
    // SAFETY: the last reference is gone. Giving back may run foreign code (the pool may die with this lease), so
    // the collector forgets the lease first and an exception in flight is kept.
    unsafe {
        ffi::PyObject_GC_UnTrack(this.cast());
        let in_flight = Exception::take();
        clear(this);
        let kind = ffi::Py_TYPE(this);
        ffi::PyObject_GC_Del(this.cast());
        ffi::Py_DECREF(kind.cast());
        in_flight.put_back();
    }
}

/// Gives back. No `tp_finalize` does: the generator that has entered the lease has one, which runs the end of its body,
/// and may use the object until then. Which of the two the collector would call first is its secret.
unsafe extern "C" fn clear(this: *mut PyObject) -> c_int {
    // SAFETY: each reference is taken out before it is dropped, so that code that runs then finds none.
    unsafe {
        lease::abandon(this.cast());
        let lease: *mut Lease = this.cast();
        for field in [&raw mut (*lease).pool, &raw mut (*lease).object, &raw mut (*lease).home] {
            discard(ptr::replace(field, ptr::null_mut()));
        }
        0
    }
}

unsafe extern "C" fn traverse(this: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the interpreter calls this on a live lease and lets nothing else run meanwhile.
    unsafe {
        let lease: *mut Lease = this.cast();
        for object in [ffi::Py_TYPE(this).cast(), (*lease).pool, (*lease).object, (*lease).home] {
            if !object.is_null() {
                let result = visit(object, arg);
                if result != 0 {
                    return result;
                }
            }
        }
        0
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// What it shows

unsafe extern "C" fn get_obj(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: a lease owns its object until the collector clears it.
    unsafe {
        let object = (*this.cast::<Lease>()).object;
        ffi::Py_XINCREF(object);
        if object.is_null() { errors::cleared() } else { object }
    }
}

unsafe extern "C" fn get_pool(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live lease. `pool` itself is read only where it never changes.
    unsafe {
        let lease: *mut Lease = this.cast();
        if (*lease).slot == SlotId::NONE {
            let pool = (*lease).pool;
            ffi::Py_XINCREF(pool);
            return if pool.is_null() { errors::cleared() } else { pool };
        }
        let pool = Lease::home_object(lease);
        if pool.is_null() && ffi::PyErr_Occurred().is_null() {
            ffi::Py_INCREF(ffi::Py_None());
            return ffi::Py_None();
        }
        if !pool.is_null()
            && let Some(lender) = Pool::from_raw(pool).lender()
        {
            let manager = lender.manager(Python::assume_attached());
            ffi::Py_DECREF(pool);
            return manager.map_or_else(|| lease::none(), Bound::into_ptr);
        }
        pool
    }
}

impl Lease {
    /// A new reference to the pool, or null if it is gone (or, with an exception set, if something is wrong).
    unsafe fn home_object(lease: *mut Lease) -> *mut PyObject {
        // SAFETY: the caller's lease is alive, and so is its weak reference until the collector clears it.
        unsafe {
            let home = (*lease).home;
            if home.is_null() {
                return errors::cleared();
            }
            #[cfg(Py_3_13)]
            {
                let mut pool = ptr::null_mut();
                ffi::PyWeakref_GetRef(home, &raw mut pool);
                pool
            }
            #[cfg(not(Py_3_13))]
            {
                let pool = ffi::PyWeakref_GetObject(home);
                if pool == ffi::Py_None() {
                    return ptr::null_mut();
                }
                ffi::Py_XINCREF(pool);
                pool
            }
        }
    }

    /// How the lease's pool is called in messages.
    pub(crate) unsafe fn home(lease: *mut Lease) -> Option<String> {
        // SAFETY: as in `home_object`; the pool is alive while its name is copied.
        unsafe {
            if (*lease).slot == SlotId::NONE || (*lease).home.is_null() {
                return None;
            }
            let pool = Lease::home_object(lease);
            if pool.is_null() {
                ffi::PyErr_Clear();
                return None;
            }
            let name = Pool::from_raw(pool).to_string();
            ffi::Py_DECREF(pool);
            Some(name)
        }
    }
}

unsafe extern "C" fn get_released(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live lease.
    unsafe { ffi::PyBool_FromLong((phase(this.cast()) >= RELEASED).into()) }
}

unsafe fn phase(lease: *mut Lease) -> u8 {
    // SAFETY: the caller is attached and has a live lease.
    unsafe { (*lease).phase.get(Attached::assume()) }
}

unsafe extern "C" fn repr(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live lease.
    unsafe {
        let lease: *mut Lease = this.cast();
        let state = match phase(lease) {
            NEW => c"leased",
            ENTERED => c"entered",
            _ => c"released",
        };
        ffi::PyUnicode_FromFormat(c"<opool.Lease of %R, %s>".as_ptr(), (*lease).object, state.as_ptr())
    }
}

unsafe extern "C" fn release(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method of `Lease`.
    unsafe {
        let lease: *mut Lease = this.cast();
        // Only the end of the `with` has nothing more to do then.
        if phase(lease) == DISCARDED { errors::released_twice(lease, DISCARDED) } else { leave(lease) }
    }
}

unsafe extern "C" fn discard_object(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method of `Lease`.
    unsafe { lease::discard(this.cast()) }
}

const DOC: &CStr = c"Lease(obj, pool)
--

One object of a pool, yours until you give it back.

`Pool.lease` makes it. Use it in a `with`, or call `release` yourself. A lease
that is dropped without either gives its object back as well. A lease that is
over stays over: entering or releasing it again raises `LeaseError`, and never
touches the object's next holder. (`obj` still names the object; do not use it.)

A lease made by hand, `Lease(obj, pool)`, calls `pool.add_obj(obj)` when it is
left or released, or `pool.put(obj)` if that is what the pool has.

Example:
    >>> import opool
    >>> pool = opool.Pool([\"a\"])
    >>> with pool.lease() as obj:
    ...     obj
    'a'
";

const RELEASE_DOC: &CStr = c"release($self, /)
--

Gives the object back, as leaving the `with` does.

Raises:
    LeaseError: if the lease is over already.
";

const DISCARD_DOC: &CStr = c"discard($self, /)
--

Ends the lease, and takes the object out of the pool for good.

For an object that turned out to be broken. It is disposed of in the
background, and the pool makes another one when it needs one.

Raises:
    LeaseError: if the lease is over already, or was made by hand.

Example:
    >>> import opool
    >>> pool = opool.Pool([\"broken\", \"sound\"])
    >>> pool.lease().discard()
    >>> pool
    <opool.Pool: size 1, idle 1, leased 0, waiting 0>
";

const ENTER_DOC: &CStr = c"__enter__($self, /)
--

Returns the object.

Raises:
    LeaseError: if the lease was entered before, or is over.
";

const EXIT_DOC: &CStr = c"__exit__($self, type, value, traceback, /)
--

Gives the object back. An exception of the body passes through.

Raises:
    LeaseError: if the lease is over already.
";

fn make_type(py: Python<'_>) -> PyResult<Py<PyType>> {
    let getters = Box::leak(Box::new([
        getter(c"obj", get_obj, c"The leased object."),
        getter(c"pool", get_pool, c"The pool or manager it came from; None if that is gone."),
        getter(c"released", get_released, c"Whether the lease is over."),
        ffi::PyGetSetDef::default(),
    ]));
    let methods = Box::leak(Box::new([
        method(c"release", ffi::PyMethodDefPointer { PyCFunction: release }, ffi::METH_NOARGS, RELEASE_DOC),
        method(c"discard", ffi::PyMethodDefPointer { PyCFunction: discard_object }, ffi::METH_NOARGS, DISCARD_DOC),
        method(
            c"__class_getitem__",
            ffi::PyMethodDefPointer { PyCFunction: ffi::Py_GenericAlias },
            ffi::METH_O | ffi::METH_CLASS,
            c"See PEP 585.",
        ),
        #[cfg(Py_3_14)]
        ordinary::ENTER,
        #[cfg(Py_3_14)]
        ordinary::EXIT,
        ffi::PyMethodDef::zeroed(),
    ]));
    let members = Box::leak(Box::new([
        ffi::PyMemberDef {
            name: c"__vectorcalloffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: offset_of!(Lease, vectorcall) as Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        },
        ffi::PyMemberDef::default(),
    ]));
    let mut slots = [
        slot(ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_new, new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_tp_getset, getters.as_mut_ptr().cast()),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"opool.Lease".as_ptr(),
        basicsize: size_of::<Lease>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_HAVE_VECTORCALL) as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec is complete, and the tables that the type keeps pointers to are never freed.
    let made = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))?.cast_into_unchecked() };
    #[cfg(not(Py_3_14))]
    self_descriptor::install(&made, [("__enter__", 0, ENTER_DOC), ("__exit__", 3, EXIT_DOC)])?;
    Ok(made.unbind())
}

fn getter(name: &'static CStr, get: ffi::getter, doc: &'static CStr) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef { name: name.as_ptr(), get: Some(get), set: None, doc: doc.as_ptr(), closure: ptr::null_mut() }
}

/// `__enter__` and `__exit__` as everybody writes them: CPython 3.14 calls these without binding anything.
#[cfg(Py_3_14)]
mod ordinary {
    use super::*;

    pub(crate) const ENTER: ffi::PyMethodDef =
        method(c"__enter__", ffi::PyMethodDefPointer { PyCFunction: enter }, ffi::METH_NOARGS, ENTER_DOC);
    pub(crate) const EXIT: ffi::PyMethodDef =
        method(c"__exit__", ffi::PyMethodDefPointer { PyCFunctionFast: exit }, ffi::METH_FASTCALL, EXIT_DOC);

    unsafe extern "C" fn enter(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
        // SAFETY: a method of `Lease`.
        unsafe { lease::enter(this.cast()) }
    }

    unsafe extern "C" fn exit(this: *mut PyObject, _: *mut *mut PyObject, count: Py_ssize_t) -> *mut PyObject {
        // SAFETY: a method of `Lease`.
        unsafe { if count == 3 { leave(this.cast()) } else { errors::wrong_call(count) } }
    }
}
