//! Attributes that only say what to write instead.

use std::ffi::{CStr, c_void};
use std::ptr;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::bindings::ffi::refcount::make_immortal;
use crate::bindings::ffi::slots::TypeBuilder;

/// An attribute that raises when it is looked up, with a sentence that helps. As if it were not there: `AttributeError`.
///
/// For the other kind of `with`: the interpreter looks its methods up, and passes on what is raised.
#[repr(C)]
struct Refusal {
    head: PyObject,
    message: &'static CStr,
}

unsafe extern "C" fn refuse(this: *mut PyObject, _: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: the interpreter calls it attached, on a live descriptor.
    unsafe { ffi::PyErr_SetString(ffi::PyExc_AttributeError, (*this.cast::<Refusal>()).message.as_ptr()) };
    ptr::null_mut()
}

unsafe extern "C" fn get_message(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: a getter, called by the interpreter on a live descriptor.
    unsafe { ffi::PyUnicode_FromString((*this.cast::<Refusal>()).message.as_ptr()) }
}

/// Adds an attribute to a type that only says what to write instead.
pub(crate) fn refuse_method(owner: &Bound<'_, PyType>, name: &CStr, message: &'static CStr) -> PyResult<()> {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = owner.py();
    let make = || {
        let builder = TypeBuilder::new::<Refusal>(c"opool._opool._Refusal");
        let builder = builder.slot(ffi::Py_tp_descr_get, refuse as *mut c_void);
        builder.getter(c"__doc__", get_message, None).make(py).map(Bound::unbind)
    };
    let kind = TYPE.get_or_try_init(py, make)?;
    // SAFETY: a descriptor is written before it is used.
    unsafe {
        let made = Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(kind.as_ptr().cast(), 0))?;
        (&raw mut (*made.as_ptr().cast::<Refusal>()).message).write(message);
        make_immortal(made.as_ptr());
        owner.setattr(name.to_string_lossy(), made)
    }
}
