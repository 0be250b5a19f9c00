//! `opool.AsyncLease` as a type: how an `await` and an event loop find their way into `async_lease.rs`.

use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;
use std::ptr;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::bindings::async_lease::step::{
    AsyncLease, HELD, Mode, NEW, Step, WAITING, abandon, alone, clear, dealloc, step, traverse,
};
use crate::bindings::ffi::raw::{Exception, method, slot};
use crate::bindings::ffi::refcount::{decref, incref};
use crate::bindings::ffi::self_descriptor;
use crate::bindings::ffi::stop_iteration;
use crate::bindings::lease::hot::none;
use crate::bindings::pool::errors;
use crate::sync::Attached;

static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

pub(crate) fn async_lease_type() -> *mut ffi::PyTypeObject {
    // SAFETY: only called by functions of the module, so the thread is attached.
    let py = unsafe { Python::assume_attached() };
    TYPE.get(py).map_or(ptr::null_mut(), |made| made.as_ptr().cast())
}

// ---------------------------------------------------------------------------------------------------------------------
// The protocol of an awaitable

/// What `await` iterates over: itself, unless a task waits for it already, which would wait for ever then.
unsafe extern "C" fn itself(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: alive for the call.
    unsafe {
        if (*this.cast::<AsyncLease>()).phase.get(Attached::assume()) == WAITING {
            return errors::used_twice();
        }
        incref(this);
        this
    }
}

#[cfg(Py_3_10)]
unsafe extern "C" fn send(this: *mut PyObject, sent: *mut PyObject, result: *mut *mut PyObject) -> ffi::PySendResult {
    // SAFETY: called by the interpreter on a live object, with a place for the result.
    unsafe {
        match step(this.cast(), sent) {
            Step::Return(value) => {
                *result = value;
                ffi::PySendResult::PYGEN_RETURN
            }
            Step::Yield(value) => {
                *result = value;
                ffi::PySendResult::PYGEN_NEXT
            }
            Step::Raise => {
                *result = ptr::null_mut();
                ffi::PySendResult::PYGEN_ERROR
            }
        }
    }
}

/// Where the interpreter does not send: the result comes as the value of a `StopIteration`, and None as nothing.
unsafe extern "C" fn next(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live object.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        if (*lease).mode.get() == Mode::Exit {
            (*lease).mode.set(Mode::Enter);
            return ptr::null_mut();
        }
        send_value(this, ffi::Py_None())
    }
}

/// `send(value)`: what an event loop does that answers what was yielded to it.
unsafe extern "C" fn send_value(this: *mut PyObject, sent: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method, called with one argument.
    unsafe {
        match step(this.cast(), sent) {
            Step::Yield(value) => value,
            Step::Raise => ptr::null_mut(),
            Step::Return(value) => {
                // A lease has to be known to nobody but its owner. An object is known to the pool anyway, until it is back.
                match (*this.cast::<AsyncLease>()).mode.get() {
                    Mode::Lease => stop_iteration::raise_new(value),
                    _ => stop_iteration::raise(value),
                }
                decref(value);
                ptr::null_mut()
            }
        }
    }
}

/// `throw(type, value=None, traceback=None)` or `throw(value)`: what a task does when it is cancelled.
unsafe extern "C" fn throw(this: *mut PyObject, args: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method, called with a tuple.
    unsafe { alone(this.cast(), || throw_alone(this.cast(), args), ptr::null_mut()) }
}

unsafe fn throw_alone(lease: *mut AsyncLease, args: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `throw`.
    unsafe {
        if (*lease).phase.get(Attached::assume()) == WAITING {
            let parking = (*(*lease).wait.as_ptr()).as_ref().map_or(ptr::null_mut(), |wait| wait.parking);
            if !parking.is_null() {
                return throw_on(lease, parking, args);
            }
            abandon(lease);
        }
        let count = ffi::PyTuple_GET_SIZE(args);
        if count == 0 {
            return errors::wrong_call(count);
        }
        let first = ffi::PyTuple_GET_ITEM(args, 0);
        let value = if count > 1 { ffi::PyTuple_GET_ITEM(args, 1) } else { ffi::Py_None() };
        if ffi::PyExceptionInstance_Check(first) != 0 {
            ffi::PyErr_SetObject(ffi::Py_TYPE(first).cast(), first);
        } else if ffi::PyExceptionClass_Check(first) != 0 {
            let value = if value == ffi::Py_None() { ptr::null_mut() } else { value };
            ffi::PyErr_SetObject(first, value);
        } else {
            let text = c"exceptions must be classes or instances deriving from BaseException".as_ptr();
            ffi::PyErr_SetString(ffi::PyExc_TypeError, text);
        }
        ptr::null_mut()
    }
}

/// As `throw`, to the coroutine that suspends the task.
unsafe fn throw_on(lease: *mut AsyncLease, parking: *mut PyObject, args: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `go_on`.
    unsafe {
        ffi::Py_INCREF(parking);
        let throw = ffi::PyObject_GetAttrString(parking, c"throw".as_ptr());
        let yielded = if throw.is_null() { throw } else { ffi::PyObject_CallObject(throw, args) };
        ffi::Py_XDECREF(throw);
        ffi::Py_DECREF(parking);
        if yielded.is_null() {
            let in_flight = Exception::take();
            abandon(lease);
            in_flight.put_back();
        }
        yielded
    }
}

/// `close()`: the coroutine that awaits it goes.
unsafe extern "C" fn close(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        let end = || {
            if (*lease).phase.get(Attached::assume()) == WAITING {
                abandon(lease);
            }
            none()
        };
        alone(lease, end, ptr::null_mut())
    }
}

unsafe extern "C" fn repr(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live object.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        let state = match (*lease).phase.get(Attached::assume()) {
            NEW => c"not awaited",
            WAITING => c"waiting",
            HELD => c"entered",
            _ => c"over",
        };
        let pool = if (*lease).pool.is_null() { ffi::Py_None() } else { (*lease).pool };
        ffi::PyUnicode_FromFormat(c"<opool.AsyncLease of %R, %s>".as_ptr(), pool, state.as_ptr())
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The type

const DOC: &CStr = c"What `Pool.lease_async` and `ObjectMgr.lease_async` return.

In an `async with` it is the object, from the moment that there is one until the
block is left. Awaited, it is a `Lease`, which is yours to release. It can be
used once, in one of the two ways.

Example:
    >>> import asyncio, opool
    >>> pool = opool.Pool([\"a\"])
    >>> async def main():
    ...     async with pool.lease_async() as obj:
    ...         print(obj)
    >>> asyncio.run(main())
    a
";

const ENTER_DOC: &CStr = c"Waits for an object, and returns it.";
const EXIT_DOC: &CStr = c"Gives the object back. An exception of the body passes through.";

/// Nobody makes one by hand. (There is a flag that says so, but only from CPython 3.10 on.)
unsafe extern "C" fn new(_: *mut ffi::PyTypeObject, _: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: attached, as every slot.
    unsafe {
        ffi::PyErr_SetString(
            ffi::PyExc_TypeError,
            c"an AsyncLease is made by lease_async, of a Pool or an ObjectMgr".as_ptr(),
        );
        ptr::null_mut()
    }
}

fn make_type(py: Python<'_>) -> PyResult<Py<PyType>> {
    let methods = Box::leak(Box::new([
        method(c"send", ffi::PyMethodDefPointer { PyCFunction: send_value }, ffi::METH_O, c"See generators."),
        method(c"throw", ffi::PyMethodDefPointer { PyCFunction: throw }, ffi::METH_VARARGS, c"See generators."),
        method(c"close", ffi::PyMethodDefPointer { PyCFunction: close }, ffi::METH_NOARGS, c"See generators."),
        ffi::PyMethodDef::zeroed(),
    ]));
    let members = Box::leak(Box::new([
        ffi::PyMemberDef {
            name: c"_thread".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: offset_of!(AsyncLease, thread) as Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: c"The thread that asked.".as_ptr(),
        },
        ffi::PyMemberDef {
            name: c"_pool".as_ptr(),
            type_code: ffi::Py_T_OBJECT_EX,
            offset: offset_of!(AsyncLease, pool) as Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: c"Not there once it is over.".as_ptr(),
        },
        ffi::PyMemberDef {
            name: c"__vectorcalloffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: offset_of!(AsyncLease, vectorcall) as Py_ssize_t,
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
        slot(ffi::Py_am_await, itself as *mut c_void),
        slot(ffi::Py_tp_iter, itself as *mut c_void),
        slot(ffi::Py_tp_iternext, next as *mut c_void),
        #[cfg(Py_3_10)]
        slot(ffi::Py_am_send, send as *mut c_void),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"opool.AsyncLease".as_ptr(),
        basicsize: size_of::<AsyncLease>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_HAVE_VECTORCALL) as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec is complete, and the tables that the type keeps pointers to are never freed.
    let made: Bound<'_, PyType> =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))?.cast_into_unchecked() };
    self_descriptor::install(&made, [("__aenter__", 0, ENTER_DOC), ("__aexit__", 3, EXIT_DOC)])?;
    Ok(made.unbind())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let made = TYPE.get_or_try_init(py, || make_type(py))?;
    module.add("AsyncLease", made)
}
