//! Context managers that do nothing: what the interpreter itself costs, and so the floor of any lease.
//!
//! `opool_floor.ordinary.get()` and `opool_floor.unbound.get()` return the object itself, entering and leaving do
//! nothing. `ordinary` has methods as everybody writes them. `unbound` has descriptors that return the object, and is
//! called to enter and to leave, which spares CPython up to 3.13 two bound methods. The better of the two is the floor.
//! `in_task` is as `unbound` for an `async with`: it is its own awaitable, which never suspends.

use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;
use std::ptr;

use pyo3_ffi as ffi;
use pyo3_ffi::{Py_ssize_t, PyObject};

#[repr(C)]
struct Null {
    head: PyObject,
    vectorcall: Option<ffi::vectorcallfunc>,
}

unsafe extern "C" fn itself(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: alive for the call.
    unsafe { ffi::Py_INCREF(this) };
    this
}

/// As `itself`, for any arguments: what it costs to pass a keyword that nobody looks at.
unsafe extern "C" fn itself_within(
    this: *mut PyObject,
    _: *const *mut PyObject,
    _: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: alive for the call.
    unsafe { ffi::Py_INCREF(this) };
    this
}

unsafe extern "C" fn leave(_: *mut PyObject, _: *mut *mut PyObject, _: Py_ssize_t) -> *mut PyObject {
    // SAFETY: None is always there.
    unsafe {
        ffi::Py_INCREF(ffi::Py_None());
        ffi::Py_None()
    }
}

unsafe extern "C" fn call(
    this: *mut PyObject,
    _: *const *mut PyObject,
    count: usize,
    _: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: both are alive for the call.
    unsafe {
        let result = if ffi::PyVectorcall_NARGS(count) == 0 { this } else { ffi::Py_None() };
        ffi::Py_INCREF(result);
        result
    }
}

/// As `call`, where whatever is returned is awaited.
unsafe extern "C" fn call_in_task(
    this: *mut PyObject,
    _: *const *mut PyObject,
    _: usize,
    _: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: alive for the call.
    unsafe { ffi::Py_INCREF(this) };
    this
}

unsafe extern "C" fn awaited(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: alive for the call.
    unsafe { ffi::Py_INCREF(this) };
    this
}

/// Awaiting it is over at once, with None.
#[cfg(Py_3_10)]
unsafe extern "C" fn send(_: *mut PyObject, _: *mut PyObject, result: *mut *mut PyObject) -> ffi::PySendResult {
    // SAFETY: the interpreter passes a place for the result; None is always there.
    unsafe {
        ffi::Py_INCREF(ffi::Py_None());
        *result = ffi::Py_None();
    }
    ffi::PySendResult::PYGEN_RETURN
}

/// The same where the interpreter does not send: the end without a value is None.
unsafe extern "C" fn next(_: *mut PyObject) -> *mut PyObject {
    ptr::null_mut()
}

/// A descriptor's `__get__` that binds nothing.
unsafe extern "C" fn get(this: *mut PyObject, object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    let found = if object.is_null() { this } else { object };
    // SAFETY: alive for the call.
    unsafe { ffi::Py_INCREF(found) };
    found
}

const fn method(name: &'static CStr, meth: ffi::PyMethodDefPointer, flags: c_int) -> ffi::PyMethodDef {
    ffi::PyMethodDef { ml_name: name.as_ptr(), ml_meth: meth, ml_flags: flags, ml_doc: ptr::null() }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Ordinary,
    Unbound,
    InTask,
}

/// An instance of a new type. Everything it points to is never freed.
unsafe fn make(name: &'static CStr, methods: Vec<ffi::PyMethodDef>, form: Form) -> *mut PyObject {
    // SAFETY: attached, during the module's initialisation; each failure is passed on as null.
    unsafe {
        let methods = methods.leak();
        let members = Box::leak(Box::new([
            ffi::PyMemberDef {
                name: c"__vectorcalloffset__".as_ptr(),
                type_code: ffi::Py_T_PYSSIZET,
                offset: offset_of!(Null, vectorcall) as Py_ssize_t,
                flags: ffi::Py_READONLY,
                doc: ptr::null(),
            },
            ffi::PyMemberDef::default(),
        ]));
        let slot = |slot, pfunc| ffi::PyType_Slot { slot, pfunc };
        let mut slots = vec![
            slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
            slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
            slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        ];
        if form == Form::InTask {
            slots.push(slot(ffi::Py_am_await, awaited as *mut c_void));
            slots.push(slot(ffi::Py_tp_iter, awaited as *mut c_void));
            slots.push(slot(ffi::Py_tp_iternext, next as *mut c_void));
            #[cfg(Py_3_10)]
            slots.push(slot(ffi::Py_am_send, send as *mut c_void));
        }
        slots.push(slot(0, ptr::null_mut()));
        let mut spec = ffi::PyType_Spec {
            name: name.as_ptr(),
            basicsize: size_of::<Null>() as c_int,
            itemsize: 0,
            flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_VECTORCALL) as _,
            slots: slots.as_mut_ptr(),
        };
        let kind = ffi::PyType_FromSpec(&raw mut spec);
        let complete = match form {
            Form::Ordinary => !kind.is_null(),
            Form::Unbound => install(kind, [c"__enter__", c"__exit__"]),
            Form::InTask => install(kind, [c"__aenter__", c"__aexit__"]),
        };
        if !complete {
            return ptr::null_mut();
        }
        let object: *mut Null = ffi::PyType_GenericAlloc(kind.cast(), 0).cast();
        if !object.is_null() {
            let called = if form == Form::InTask { call_in_task } else { call };
            (&raw mut (*object).vectorcall).write(Some(called));
        }
        object.cast()
    }
}

unsafe fn install(kind: *mut PyObject, names: [&CStr; 2]) -> bool {
    // SAFETY: as in `make`.
    unsafe {
        if kind.is_null() {
            return false;
        }
        let mut slots = [
            ffi::PyType_Slot { slot: ffi::Py_tp_descr_get, pfunc: get as *mut c_void },
            ffi::PyType_Slot { slot: 0, pfunc: ptr::null_mut() },
        ];
        let mut spec = ffi::PyType_Spec {
            name: c"opool_floor.Itself".as_ptr(),
            basicsize: size_of::<PyObject>() as c_int,
            itemsize: 0,
            flags: ffi::Py_TPFLAGS_DEFAULT as _,
            slots: slots.as_mut_ptr(),
        };
        let descriptor = ffi::PyType_FromSpec(&raw mut spec);
        if descriptor.is_null() {
            return false;
        }
        names.into_iter().all(|name| {
            let value = ffi::PyType_GenericAlloc(descriptor.cast(), 0);
            !value.is_null() && ffi::PyObject_SetAttrString(kind, name.as_ptr(), immortal(value)) == 0
        })
    }
}

/// Shared by all threads; without a GIL a reference count would be a bottleneck.
unsafe fn immortal(object: *mut PyObject) -> *mut PyObject {
    #[cfg(Py_GIL_DISABLED)]
    // SAFETY: just made, so nobody else knows it.
    unsafe {
        use std::sync::atomic::Ordering::Relaxed;
        (*object).ob_tid = 0;
        (*object).ob_ref_local.store(u32::MAX, Relaxed);
        (*object).ob_ref_shared.store(0, Relaxed);
    }
    object
}

/// The module's initialisation.
///
/// # Safety
/// Called by the interpreter.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn PyInit_opool_floor() -> *mut PyObject {
    let get = || method(c"get", ffi::PyMethodDefPointer { PyCFunction: itself }, ffi::METH_NOARGS);
    let within = || {
        let function = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: itself_within };
        method(c"get_within", function, ffi::METH_FASTCALL | ffi::METH_KEYWORDS)
    };
    let enter = method(c"__enter__", ffi::PyMethodDefPointer { PyCFunction: itself }, ffi::METH_NOARGS);
    let exit = method(c"__exit__", ffi::PyMethodDefPointer { PyCFunctionFast: leave }, ffi::METH_FASTCALL);
    let definition = Box::leak(Box::new(ffi::PyModuleDef {
        m_base: ffi::PyModuleDef_HEAD_INIT,
        m_name: c"opool_floor".as_ptr(),
        m_doc: ptr::null(),
        m_size: -1,
        m_methods: ptr::null_mut(),
        m_slots: ptr::null_mut(),
        m_traverse: None,
        m_clear: None,
        m_free: None,
    }));
    // SAFETY: attached; null is passed on.
    unsafe {
        let module = ffi::PyModule_Create(definition);
        #[cfg(Py_GIL_DISABLED)]
        ffi::PyUnstable_Module_SetGIL(module, ffi::Py_MOD_GIL_NOT_USED);
        let ordinary = make(
            c"opool_floor.Ordinary",
            vec![get(), within(), enter, exit, ffi::PyMethodDef::zeroed()],
            Form::Ordinary,
        );
        let unbound = make(c"opool_floor.Unbound", vec![get(), within(), ffi::PyMethodDef::zeroed()], Form::Unbound);
        let in_task = make(c"opool_floor.InTask", vec![get(), ffi::PyMethodDef::zeroed()], Form::InTask);
        for (name, object) in [(c"ordinary", ordinary), (c"unbound", unbound), (c"in_task", in_task)] {
            if object.is_null() || ffi::PyModule_AddObject(module, name.as_ptr(), object) != 0 {
                return ptr::null_mut();
            }
        }
        module
    }
}
