//! Types and methods that bypass PyO3's wrappers.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyType;

pub(crate) const fn method(
    name: &'static CStr,
    function: ffi::PyMethodDefPointer,
    flags: c_int,
    doc: &'static CStr,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef { ml_name: name.as_ptr(), ml_meth: function, ml_flags: flags, ml_doc: doc.as_ptr() }
}

/// Adds methods to a class. Each is called with an instance of the class, and only with one.
pub(crate) fn add_methods(class: &Bound<'_, PyType>, methods: Vec<ffi::PyMethodDef>) -> PyResult<()> {
    for definition in methods.leak() {
        // SAFETY: the definition is never freed.
        unsafe { class.setattr(CStr::from_ptr(definition.ml_name).to_string_lossy(), descriptor(class, definition)?)? };
    }
    Ok(())
}

unsafe extern "C" {
    // pyo3-ffi leaves it out: it is in no limited API.
    fn PyDescr_NewWrapper(
        class: *mut ffi::PyTypeObject,
        base: *mut ffi::wrapperbase,
        wrapped: *mut c_void,
    ) -> *mut PyObject;
}

/// Gives the method that CPython has made of a slot a docstring of its own. CPython's is the same for all classes.
///
/// The method stays what it was, a slot wrapper: `inspect` and the slots of subclasses go by that.
///
/// `class` is a class that is just being made; it has the slot.
pub(crate) fn document_slot(class: &Bound<'_, PyType>, name: &CStr, doc: &'static CStr) -> PyResult<()> {
    let old = class.getattr(name.to_string_lossy())?;
    // SAFETY: a slot wrapper, whose type CPython does not let anybody derive from; its base is never freed, nor is the
    // new one. Nobody else has seen the class, and the cache of its attributes is told.
    unsafe {
        debug_assert_eq!(ffi::Py_TYPE(old.as_ptr()), &raw mut ffi::PyWrapperDescr_Type);
        let wrapper: *mut ffi::PyWrapperDescrObject = old.as_ptr().cast();
        let base = &*(*wrapper).d_base;
        let documented = Box::leak(Box::new(ffi::wrapperbase {
            name: base.name,
            offset: base.offset,
            function: base.function,
            wrapper: base.wrapper,
            doc: doc.as_ptr(),
            flags: base.flags,
            name_strobj: base.name_strobj,
        }));
        let kind: *mut ffi::PyTypeObject = class.as_ptr().cast();
        let new = PyDescr_NewWrapper(kind, documented, (*wrapper).d_wrapped);
        let new = Bound::from_owned_ptr_or_err(class.py(), new)?;
        if ffi::PyDict_SetItemString((*kind).tp_dict, name.as_ptr(), new.as_ptr()) != 0 {
            return Err(PyErr::fetch(class.py()));
        }
        ffi::PyType_Modified(kind);
    }
    Ok(())
}

/// # Safety
/// The definition is never freed.
unsafe fn descriptor<'py>(
    class: &Bound<'py, PyType>,
    definition: *mut ffi::PyMethodDef,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: as promised; the descriptor checks the type of what it is called on.
    unsafe { Bound::from_owned_ptr_or_err(class.py(), ffi::PyDescr_NewMethod(class.as_ptr().cast(), definition)) }
}

/// Makes a type of CPython's C API.
pub(crate) struct TypeBuilder {
    name: &'static CStr,
    size: usize,
    flags: std::ffi::c_ulong,
    slots: Vec<ffi::PyType_Slot>,
    methods: Vec<ffi::PyMethodDef>,
    getters: Vec<ffi::PyGetSetDef>,
    vectorcall: Option<usize>,
}

impl TypeBuilder {
    /// `name` is its full name; `T` what an instance is, beginning with a `PyObject`.
    pub(crate) fn new<T>(name: &'static CStr) -> Self {
        TypeBuilder {
            name,
            size: size_of::<T>(),
            flags: ffi::Py_TPFLAGS_DEFAULT,
            slots: Vec::new(),
            methods: Vec::new(),
            getters: Vec::new(),
            vectorcall: None,
        }
    }

    pub(crate) fn slot(mut self, slot: c_int, function: *mut c_void) -> Self {
        self.slots.push(ffi::PyType_Slot { slot, pfunc: function });
        self
    }

    pub(crate) fn doc(self, doc: &'static CStr) -> Self {
        self.slot(ffi::Py_tp_doc, doc.as_ptr().cast_mut().cast())
    }

    pub(crate) fn method(
        mut self,
        name: &'static CStr,
        function: ffi::PyMethodDefPointer,
        flags: c_int,
        doc: &'static CStr,
    ) -> Self {
        self.methods.push(method(name, function, flags, doc));
        self
    }

    pub(crate) fn getter(mut self, name: &'static CStr, get: ffi::getter, doc: Option<&'static CStr>) -> Self {
        let doc = doc.map_or(ptr::null(), CStr::as_ptr);
        let closure = ptr::null_mut();
        self.getters.push(ffi::PyGetSetDef { name: name.as_ptr(), get: Some(get), set: None, doc, closure });
        self
    }

    /// Its instances are seen by the garbage collector.
    pub(crate) fn collected(
        mut self,
        dealloc: ffi::destructor,
        traverse: ffi::traverseproc,
        clear: ffi::inquiry,
    ) -> Self {
        self.flags |= ffi::Py_TPFLAGS_HAVE_GC;
        self.slot(ffi::Py_tp_dealloc, dealloc as *mut c_void)
            .slot(ffi::Py_tp_traverse, traverse as *mut c_void)
            .slot(ffi::Py_tp_clear, clear as *mut c_void)
    }

    /// Its instances are called by CPython's vectorcall protocol, which finds the function at this offset.
    pub(crate) fn vectorcall(mut self, offset: usize) -> Self {
        self.flags |= ffi::Py_TPFLAGS_HAVE_VECTORCALL;
        self.vectorcall = Some(offset);
        self.slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void)
    }

    pub(crate) fn make(self, py: Python<'_>) -> PyResult<Bound<'_, PyType>> {
        let TypeBuilder { name, size, flags, mut slots, mut methods, mut getters, vectorcall } = self;
        let mut add = |slot, table: *mut c_void| slots.push(ffi::PyType_Slot { slot, pfunc: table });
        methods.push(ffi::PyMethodDef::zeroed());
        add(ffi::Py_tp_methods, methods.leak().as_mut_ptr().cast());
        getters.push(ffi::PyGetSetDef::default());
        add(ffi::Py_tp_getset, getters.leak().as_mut_ptr().cast());
        const VECTORCALL: &CStr = c"__vectorcalloffset__";
        if let Some(offset) = vectorcall {
            let member = ffi::PyMemberDef {
                name: VECTORCALL.as_ptr(),
                type_code: ffi::Py_T_PYSSIZET,
                offset: offset as Py_ssize_t,
                flags: ffi::Py_READONLY,
                doc: ptr::null(),
            };
            add(ffi::Py_tp_members, Box::leak(Box::new([member, ffi::PyMemberDef::default()])).as_mut_ptr().cast());
        }
        add(0, ptr::null_mut());
        let mut spec = ffi::PyType_Spec {
            name: name.as_ptr(),
            basicsize: size as c_int,
            itemsize: 0,
            flags: flags as _,
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: the spec is complete, and the tables that the type keeps pointers to are never freed.
        let made: Bound<'_, PyType> =
            unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))?.cast_into_unchecked() };
        // CPython has read the offset, and users have no use for the attribute.
        if vectorcall.is_some() && made.hasattr("__vectorcalloffset__")? {
            made.delattr("__vectorcalloffset__")?;
        }
        Ok(made)
    }
}

/// Visits the objects that are not null, for a `tp_traverse`.
///
/// # Safety
/// CPython is traversing an object that has references to these.
pub(crate) unsafe fn visit_all<const N: usize>(
    objects: [*mut PyObject; N],
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    for object in objects {
        if !object.is_null() {
            // SAFETY: as promised.
            let result = unsafe { visit(object, arg) };
            if result != 0 {
                return result;
            }
        }
    }
    0
}
