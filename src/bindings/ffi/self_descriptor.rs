//! Attributes that, looked up on an object, are the object itself, so that `with` and `async with` bind nothing.
//!
//! Calling the object then does the work. A descriptor is callable too, for `type(x).__exit__(x, ...)`, which is how
//! `contextlib.ExitStack` goes about it.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::bindings::ffi::raw::slot;
use crate::bindings::ffi::refcount::make_immortal;
use crate::bindings::pool::errors;

#[repr(C)]
struct Descriptor {
    head: PyObject,
    /// How many arguments after the object.
    arguments: Py_ssize_t,
    /// Whose attribute it is. Borrowed: the type has the descriptor.
    owner: *mut ffi::PyTypeObject,
    doc: &'static CStr,
}

/// One attribute: its name, how many arguments follow the object in a call, and its docstring.
pub(crate) type Attribute = (&'static str, Py_ssize_t, &'static CStr);

unsafe extern "C" fn get(this: *mut PyObject, object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    let found = if object.is_null() { this } else { object };
    // SAFETY: both are alive for the call.
    unsafe { ffi::Py_INCREF(found) };
    found
}

unsafe extern "C" fn call(this: *mut PyObject, args: *mut PyObject, names: *mut PyObject) -> *mut PyObject {
    // SAFETY: the interpreter passes a tuple and a dict or null; the first argument's type is checked.
    unsafe {
        let descriptor: *mut Descriptor = this.cast();
        let count = ffi::PyTuple_GET_SIZE(args);
        let plain = names.is_null() || ffi::PyDict_Size(names) == 0;
        if !plain || count != 1 + (*descriptor).arguments {
            return errors::wrong_call(count - 1);
        }
        let object = ffi::PyTuple_GET_ITEM(args, 0);
        if ffi::Py_TYPE(object) != (*descriptor).owner {
            return errors::not_a_lease(object, (*descriptor).owner);
        }
        let mut rest = [ptr::null_mut(); 3];
        for (index, place) in rest.iter_mut().enumerate().take((*descriptor).arguments as usize) {
            *place = ffi::PyTuple_GET_ITEM(args, index as Py_ssize_t + 1);
        }
        ffi::PyObject_Vectorcall(object, rest.as_ptr(), (*descriptor).arguments as usize, ptr::null_mut())
    }
}

unsafe extern "C" fn get_doc(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live descriptor.
    unsafe {
        let doc = (*this.cast::<Descriptor>()).doc.to_str().unwrap_or_default();
        let doc = doc.split_once("--\n\n").map_or(doc, |(_signature, text)| text);
        ffi::PyUnicode_FromStringAndSize(doc.as_ptr().cast(), doc.len() as Py_ssize_t)
    }
}

fn make_type(py: Python<'_>) -> PyResult<Py<PyType>> {
    let getters = Box::leak(Box::new([
        ffi::PyGetSetDef {
            name: c"__doc__".as_ptr(),
            get: Some(get_doc),
            set: None,
            doc: ptr::null(),
            closure: ptr::null_mut(),
        },
        ffi::PyGetSetDef::default(),
    ]));
    let mut slots = [
        slot(ffi::Py_tp_descr_get, get as *mut c_void),
        slot(ffi::Py_tp_call, call as *mut c_void),
        slot(ffi::Py_tp_getset, getters.as_mut_ptr().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"opool._opool.LeaseSlot".as_ptr(),
        basicsize: size_of::<Descriptor>() as c_int,
        itemsize: 0,
        flags: ffi::Py_TPFLAGS_DEFAULT as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec is complete, and the table that the type keeps a pointer to is never freed.
    let made: Bound<'_, PyType> =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))?.cast_into_unchecked() };
    Ok(made.unbind())
}

/// Adds such attributes to a type whose objects can be called.
pub(crate) fn install<const N: usize>(owner: &Bound<'_, PyType>, attributes: [Attribute; N]) -> PyResult<()> {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = owner.py();
    let kind = TYPE.get_or_try_init(py, || make_type(py))?;
    for (name, arguments, doc) in attributes {
        // SAFETY: a descriptor is written before it is used.
        unsafe {
            let made = Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(kind.as_ptr().cast(), 0))?;
            let descriptor: *mut Descriptor = made.as_ptr().cast();
            (&raw mut (*descriptor).arguments).write(arguments);
            (&raw mut (*descriptor).owner).write(owner.as_ptr().cast());
            (&raw mut (*descriptor).doc).write(doc);
            make_immortal(made.as_ptr());
            owner.setattr(name, made)?;
        }
    }
    Ok(())
}
