//! The type `opool.AsyncLease`: how an `await` and an event loop find their way into `async_lease/step.rs`.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::bindings::async_lease::step::step;
use crate::bindings::async_lease::transitions::{abandon, clear, dealloc, exclusively};
use crate::bindings::classes::docs;
use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::exception::keeping_exception;
use crate::bindings::ffi::refcount::{decref, new_reference, none};
use crate::bindings::ffi::refusal::refuse_method;
#[cfg(not(Py_3_14))]
use crate::bindings::ffi::self_method::{self, SelfMethod};
use crate::bindings::ffi::slots::{TypeBuilder, visit_all};
use crate::bindings::ffi::stop_iteration;
use crate::bindings::lease::errors;
use crate::bindings::objects::async_lease::{AsyncLease, HELD, Mode, NEW, Step, WAITING, set_type};

unsafe extern "C" fn traverse(this: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the interpreter calls this on a live object and lets nothing else run meanwhile.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        let wait = (*(*lease).wait.as_ptr()).as_ref();
        let (future, parking) =
            wait.map_or((ptr::null_mut(), ptr::null_mut()), |wait| (wait.future.as_ptr(), wait.parking));
        visit_all([ffi::Py_TYPE(this).cast(), (*lease).pool, future, parking], visit, arg)
    }
}

unsafe fn phase(lease: *mut AsyncLease) -> u8 {
    // SAFETY: the caller is attached and has a live object.
    unsafe { (*lease).phase.get(attached(Python::assume_attached())) }
}

// ---------------------------------------------------------------------------------------------------------------------
// The protocol of an awaitable

/// What `await` iterates over: itself, unless a task waits for it already, which would never be resumed then.
unsafe extern "C" fn itself(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: alive for the call.
    unsafe {
        if phase(this.cast()) == WAITING {
            return errors::used_twice(Python::assume_attached()).null();
        }
        new_reference(this)
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
                // A lease has to be known to nobody but its owner. An object is known to the pool anyway, until it is
                // back.
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
    unsafe {
        let py = Python::assume_attached();
        exclusively(py, this.cast(), || throw_exclusively(this.cast(), args), ptr::null_mut())
    }
}

unsafe fn throw_exclusively(lease: *mut AsyncLease, args: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `throw`.
    unsafe {
        let py = Python::assume_attached();
        if phase(lease) == WAITING {
            let parking = AsyncLease::parking(lease);
            if !parking.is_null() {
                return throw_on(py, lease, parking, args);
            }
            abandon(py, lease);
        }
        let count = ffi::PyTuple_GET_SIZE(args);
        if count == 0 {
            return errors::wrong_call(py, count).null();
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
unsafe fn throw_on(
    py: Python<'_>,
    lease: *mut AsyncLease,
    parking: *mut PyObject,
    args: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as in `go_on`.
    unsafe {
        ffi::Py_INCREF(parking);
        let throw = ffi::PyObject_GetAttrString(parking, c"throw".as_ptr());
        let yielded = if throw.is_null() { throw } else { ffi::PyObject_CallObject(throw, args) };
        ffi::Py_XDECREF(throw);
        ffi::Py_DECREF(parking);
        if yielded.is_null() {
            keeping_exception(py, || abandon(py, lease));
        }
        yielded
    }
}

/// `close()`: the coroutine that awaits it is closed.
unsafe extern "C" fn close(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method.
    unsafe {
        let (py, lease) = (Python::assume_attached(), this.cast());
        let end = || {
            if phase(lease) == WAITING {
                abandon(py, lease);
            }
            none()
        };
        exclusively(py, lease, end, ptr::null_mut())
    }
}

unsafe extern "C" fn repr(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live object.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        let state = match phase(lease) {
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

/// `__aenter__` and `__aexit__` as ordinary methods: CPython 3.14 calls these without binding anything.
#[cfg(Py_3_14)]
mod ordinary {
    use pyo3::ffi::{Py_ssize_t, PyObject};
    use pyo3::prelude::*;

    use crate::bindings::async_lease::step;
    use crate::bindings::lease::errors;

    pub(super) unsafe extern "C" fn enter(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
        // SAFETY: a method of `AsyncLease`.
        unsafe { step::enter(this.cast()) }
    }

    pub(super) unsafe extern "C" fn exit(
        this: *mut PyObject,
        _: *mut *mut PyObject,
        count: Py_ssize_t,
    ) -> *mut PyObject {
        // SAFETY: a method of `AsyncLease`; attached, as every method.
        unsafe {
            if count != 3 {
                return errors::wrong_call(Python::assume_attached(), count).null();
            }
            step::leave(this.cast())
        }
    }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let send_value = ffi::PyMethodDefPointer { PyCFunction: send_value };
    let throw = ffi::PyMethodDefPointer { PyCFunction: throw };
    let close = ffi::PyMethodDefPointer { PyCFunction: close };
    let builder = TypeBuilder::new::<AsyncLease>(c"opool.AsyncLease")
        .doc(docs::ASYNC_LEASE)
        .collected(dealloc, traverse, clear)
        .vectorcall(offset_of!(AsyncLease, vectorcall))
        .slot(ffi::Py_tp_new, new as *mut c_void)
        .slot(ffi::Py_tp_repr, repr as *mut c_void)
        .slot(ffi::Py_am_await, itself as *mut c_void)
        .slot(ffi::Py_tp_iter, itself as *mut c_void)
        .slot(ffi::Py_tp_iternext, next as *mut c_void)
        .method(c"send", send_value, ffi::METH_O, docs::ASYNC_LEASE_SEND)
        .method(c"throw", throw, ffi::METH_VARARGS, docs::ASYNC_LEASE_THROW)
        .method(c"close", close, ffi::METH_NOARGS, docs::ASYNC_LEASE_CLOSE);
    #[cfg(Py_3_10)]
    let builder = builder.slot(ffi::Py_am_send, send as *mut c_void);
    #[cfg(Py_3_14)]
    let builder = {
        let enter = ffi::PyMethodDefPointer { PyCFunction: ordinary::enter };
        let exit = ffi::PyMethodDefPointer { PyCFunctionFast: ordinary::exit };
        builder.method(c"__aenter__", enter, ffi::METH_NOARGS, docs::ASYNC_LEASE_ENTER).method(
            c"__aexit__",
            exit,
            ffi::METH_FASTCALL,
            docs::ASYNC_LEASE_EXIT,
        )
    };
    let class = builder.make(module.py())?;
    #[cfg(not(Py_3_14))]
    let wrong_call = errors::wrong_call;
    #[cfg(not(Py_3_14))]
    self_method::install(
        &class,
        [
            SelfMethod { name: c"__aenter__", arguments: 0, doc: docs::ASYNC_LEASE_ENTER, wrong_call },
            SelfMethod { name: c"__aexit__", arguments: 3, doc: docs::ASYNC_LEASE_EXIT, wrong_call },
        ],
    )?;
    // What the interpreter looks up first. Only that one: with both, it would count as such a context manager.
    let first = if cfg!(Py_3_14) { c"__exit__" } else { c"__enter__" };
    refuse_method(
        &class,
        first,
        c"a lease of pool.lease_async() is for async with; in a thread write: with pool.lease() as obj",
    )?;
    set_type(class.clone().into_ptr().cast());
    module.add("AsyncLease", class)
}
