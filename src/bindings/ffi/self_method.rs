//! Methods that, looked up on an object, are the object itself, so that `with` and `async with` bind nothing.
//!
//! Calling the object then does the work. The descriptor is callable too, for `type(x).__exit__(x, ...)`, which is how
//! `contextlib.ExitStack` calls it. To `help` and `inspect` it is a method like any other.

use std::ffi::{CStr, c_void};
use std::ptr;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::bindings::ffi::exception::Raised;
use crate::bindings::ffi::refcount::make_immortal;
use crate::bindings::ffi::shown::type_name;
use crate::bindings::ffi::slots::TypeBuilder;

/// One method.
#[derive(Clone, Copy)]
pub(crate) struct SelfMethod {
    pub(crate) name: &'static CStr,
    /// How many arguments follow the object in a call: at most three.
    pub(crate) arguments: usize,
    /// The signature, two dashes and the text, as in a `PyMethodDef`.
    pub(crate) doc: &'static CStr,
    /// Raises, when it is called with so many arguments.
    pub(crate) wrong_call: fn(Python<'_>, Py_ssize_t) -> Raised<'_>,
}

#[repr(C)]
struct Descriptor {
    head: PyObject,
    method: SelfMethod,
    /// Whose method it is. Borrowed: the type has the descriptor.
    owner: *mut ffi::PyTypeObject,
}

unsafe extern "C" fn get(this: *mut PyObject, object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    let found = if object.is_null() { this } else { object };
    // SAFETY: both are alive for the call.
    unsafe { ffi::Py_INCREF(found) };
    found
}

unsafe extern "C" fn call(this: *mut PyObject, args: *mut PyObject, names: *mut PyObject) -> *mut PyObject {
    // SAFETY: the interpreter passes a tuple and a dict or null; the first argument's type is checked.
    unsafe {
        let py = Python::assume_attached();
        let Descriptor { method, owner, .. } = &*this.cast::<Descriptor>();
        let count = ffi::PyTuple_GET_SIZE(args);
        let plain = names.is_null() || ffi::PyDict_Size(names) == 0;
        if !plain || count != 1 + method.arguments as Py_ssize_t {
            return (method.wrong_call)(py, count - 1).null();
        }
        let object = ffi::PyTuple_GET_ITEM(args, 0);
        if ffi::Py_TYPE(object) != *owner {
            let wanted = CStr::from_ptr((**owner).tp_name).to_string_lossy();
            let found = type_name(Bound::ref_from_ptr(py, &object));
            let message = format!("expected an {wanted}, got {found}");
            return Raised::builtin(py, ffi::PyExc_TypeError, message).null();
        }
        let mut rest = [ptr::null_mut(); 3];
        for (index, place) in rest.iter_mut().enumerate().take(method.arguments) {
            *place = ffi::PyTuple_GET_ITEM(args, index as Py_ssize_t + 1);
        }
        ffi::PyObject_Vectorcall(object, rest.as_ptr(), method.arguments, ptr::null_mut())
    }
}

/// The signature and the text of a docstring, each of which may be missing.
fn parts(doc: &CStr) -> (Option<&str>, &str) {
    let doc = doc.to_str().unwrap_or_default();
    match doc.split_once("\n--\n\n") {
        Some((call, text)) => (call.find('(').map(|start| &call[start..]), text),
        None => (None, doc),
    }
}

unsafe fn new_text(text: &str) -> *mut PyObject {
    // SAFETY: attached, as every getter; the text is as long as it says.
    unsafe { ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), text.len() as Py_ssize_t) }
}

unsafe fn method<'a>(this: *mut PyObject) -> &'a SelfMethod {
    // SAFETY: called by the interpreter on a live descriptor.
    unsafe { &(*this.cast::<Descriptor>()).method }
}

unsafe extern "C" fn get_doc(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: a getter.
    unsafe { new_text(parts(method(this).doc).1) }
}

unsafe extern "C" fn get_name(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: a getter.
    unsafe { new_text(method(this).name.to_str().unwrap_or_default()) }
}

unsafe extern "C" fn get_signature(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: a getter.
    unsafe { new_text(parts(method(this).doc).0.unwrap_or("($self, /)")) }
}

unsafe extern "C" fn get_owner(this: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: a getter. The owner is alive as long as its descriptor is used.
    unsafe {
        let owner: *mut PyObject = (*this.cast::<Descriptor>()).owner.cast();
        ffi::Py_INCREF(owner);
        owner
    }
}

unsafe extern "C" fn repr(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live descriptor.
    unsafe {
        let owner = (*(*this.cast::<Descriptor>()).owner).tp_name;
        ffi::PyUnicode_FromFormat(c"<method '%s' of '%s' objects>".as_ptr(), method(this).name.as_ptr(), owner)
    }
}

fn make_type(py: Python<'_>) -> PyResult<Py<PyType>> {
    let builder = TypeBuilder::new::<Descriptor>(c"opool._opool._SelfMethod")
        .slot(ffi::Py_tp_descr_get, get as *mut c_void)
        .slot(ffi::Py_tp_call, call as *mut c_void)
        .slot(ffi::Py_tp_repr, repr as *mut c_void)
        .getter(c"__doc__", get_doc, None)
        .getter(c"__name__", get_name, None)
        .getter(c"__text_signature__", get_signature, None)
        .getter(c"__objclass__", get_owner, None);
    builder.make(py).map(Bound::unbind)
}

/// Adds such methods to a type whose objects can be called.
pub(crate) fn install<const N: usize>(owner: &Bound<'_, PyType>, methods: [SelfMethod; N]) -> PyResult<()> {
    static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = owner.py();
    let kind = TYPE.get_or_try_init(py, || make_type(py))?;
    for method in methods {
        // SAFETY: a descriptor is written before it is used.
        unsafe {
            let made = Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(kind.as_ptr().cast(), 0))?;
            let descriptor: *mut Descriptor = made.as_ptr().cast();
            (&raw mut (*descriptor).method).write(method);
            (&raw mut (*descriptor).owner).write(owner.as_ptr().cast());
            make_immortal(made.as_ptr());
            owner.setattr(method.name.to_string_lossy(), made)?;
        }
    }
    Ok(())
}
