//! The type `opool.Lease`.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::bindings::classes::docs;
use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::drop::discard;
use crate::bindings::ffi::exception::{Raises, keeping_exception, or_null};
use crate::bindings::ffi::refcount::{new_reference, none};
use crate::bindings::ffi::refusal::refuse_method;
#[cfg(not(Py_3_14))]
use crate::bindings::ffi::self_method::{self, SelfMethod};
use crate::bindings::ffi::slots::{TypeBuilder, visit_all};
use crate::bindings::lease::by_hand::{leave, new};
use crate::bindings::lease::errors;
use crate::bindings::lease::hot;
use crate::bindings::objects::lease::{DISCARDED, ENTERED, Lease, NEW, RELEASED, set_type};
use crate::bindings::objects::pool::Pool;
use crate::pool::SlotId;

// ---------------------------------------------------------------------------------------------------------------------
// Death

unsafe extern "C" fn dealloc(this: *mut PyObject) {
    // SAFETY: CPython calls it attached; the last reference is gone. Giving back may run foreign code (the pool may die
    // with this lease), so the collector forgets the lease first.
    unsafe {
        ffi::PyObject_GC_UnTrack(this.cast());
        keeping_exception(Python::assume_attached(), || {
            clear(this);
            let kind = ffi::Py_TYPE(this);
            ffi::PyObject_GC_Del(this.cast());
            ffi::Py_DECREF(kind.cast());
        });
    }
}

/// Gives back. No `tp_finalize` does: the generator that has entered the lease has one, which runs the end of its body,
/// and may use the object until then. Which of the two the collector would call first is not defined.
unsafe extern "C" fn clear(this: *mut PyObject) -> c_int {
    // SAFETY: each reference is taken out before it is dropped, so that code that runs then finds none.
    unsafe {
        hot::abandon(this.cast());
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
        visit_all([ffi::Py_TYPE(this).cast(), (*lease).pool, (*lease).object, (*lease).home], visit, arg)
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Attributes and methods

unsafe extern "C" fn get_obj(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live lease, which owns its object until the collector clears it.
    unsafe { owned((*this.cast::<Lease>()).object) }
}

/// A new reference to a field that is null only if the collector has cleared the lease.
unsafe fn owned(field: *mut PyObject) -> *mut PyObject {
    // SAFETY: attached, and the field is the lease's.
    unsafe { if field.is_null() { errors::cleared(Python::assume_attached()).null() } else { new_reference(field) } }
}

unsafe extern "C" fn get_pool(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live lease. `pool` itself is read only where it never changes.
    unsafe {
        let lease: *mut Lease = this.cast();
        if (*lease).slot == SlotId::NONE { owned((*lease).pool) } else { or_null(home(lease)) }
    }
}

/// The pool of a lease that a pool made, or the manager whose pool that is; None if it is gone.
unsafe fn home<'py>(lease: *mut Lease) -> Raises<'py, *mut PyObject> {
    // SAFETY: as in `get_pool`.
    unsafe {
        let py = Python::assume_attached();
        let home = match errors::home(py, lease)? {
            Some(pool) => match pool.cast_unchecked::<Pool>().get().id_source() {
                Some(ids) => ids.manager(py),
                None => Some(pool),
            },
            None => None,
        };
        Ok(home.map_or_else(|| none(), Bound::into_ptr))
    }
}

unsafe extern "C" fn get_released(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live lease.
    unsafe { ffi::PyBool_FromLong((phase(this.cast()) >= RELEASED).into()) }
}

unsafe fn phase(lease: *mut Lease) -> u8 {
    // SAFETY: the caller is attached and has a live lease.
    unsafe { (*lease).phase.get(attached(Python::assume_attached())) }
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
        if phase(lease) == DISCARDED {
            return errors::released_twice(Python::assume_attached(), lease, DISCARDED).null();
        }
        leave(lease)
    }
}

unsafe extern "C" fn discard_object(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method of `Lease`.
    unsafe { hot::discard(this.cast()) }
}

/// `__enter__` and `__exit__` as ordinary methods: CPython 3.14 calls these without binding anything.
#[cfg(Py_3_14)]
mod ordinary {
    use pyo3::ffi::{Py_ssize_t, PyObject};
    use pyo3::prelude::*;

    use crate::bindings::lease::{by_hand, errors, hot};

    pub(super) unsafe extern "C" fn enter(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
        // SAFETY: a method of `Lease`.
        unsafe { hot::enter(this.cast()) }
    }

    pub(super) unsafe extern "C" fn exit(
        this: *mut PyObject,
        _: *mut *mut PyObject,
        count: Py_ssize_t,
    ) -> *mut PyObject {
        // SAFETY: a method of `Lease`.
        unsafe {
            if count == 3 {
                by_hand::leave(this.cast())
            } else {
                errors::wrong_call(Python::assume_attached(), count).null()
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The type

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let release = ffi::PyMethodDefPointer { PyCFunction: release };
    let discard = ffi::PyMethodDefPointer { PyCFunction: discard_object };
    let generic = ffi::PyMethodDefPointer { PyCFunction: ffi::Py_GenericAlias };
    let builder = TypeBuilder::new::<Lease>(c"opool.Lease")
        .doc(docs::LEASE)
        .collected(dealloc, traverse, clear)
        .vectorcall(offset_of!(Lease, vectorcall))
        .slot(ffi::Py_tp_new, new as *mut c_void)
        .slot(ffi::Py_tp_repr, repr as *mut c_void)
        .getter(c"obj", get_obj, Some(docs::LEASE_OBJ))
        .getter(c"pool", get_pool, Some(docs::LEASE_POOL))
        .getter(c"released", get_released, Some(docs::LEASE_RELEASED))
        .method(c"release", release, ffi::METH_NOARGS, docs::LEASE_RELEASE)
        .method(c"discard", discard, ffi::METH_NOARGS, docs::LEASE_DISCARD)
        .method(c"__class_getitem__", generic, ffi::METH_O | ffi::METH_CLASS, docs::CLASS_GETITEM);
    #[cfg(Py_3_14)]
    let builder = {
        let enter = ffi::PyMethodDefPointer { PyCFunction: ordinary::enter };
        let exit = ffi::PyMethodDefPointer { PyCFunctionFast: ordinary::exit };
        builder.method(c"__enter__", enter, ffi::METH_NOARGS, docs::LEASE_ENTER).method(
            c"__exit__",
            exit,
            ffi::METH_FASTCALL,
            docs::LEASE_EXIT,
        )
    };
    let class = builder.make(module.py())?;
    #[cfg(not(Py_3_14))]
    self_method::install(
        &class,
        [
            SelfMethod { name: c"__enter__", arguments: 0, doc: docs::LEASE_ENTER, wrong_call: errors::wrong_call },
            SelfMethod { name: c"__exit__", arguments: 3, doc: docs::LEASE_EXIT, wrong_call: errors::wrong_call },
        ],
    )?;
    // What the interpreter looks up first. Only that one: with both, it would count as such a context manager.
    let first = if cfg!(Py_3_14) { c"__aexit__" } else { c"__aenter__" };
    refuse_method(&class, first, c"a lease of pool.lease() or await pool.lease_async() is for a plain with; in a task write: async with pool.lease_async() as obj")?;
    set_type(class.clone().into_ptr().cast());
    module.add("Lease", class)
}
