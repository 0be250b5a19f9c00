//! `ObjectMgr` as bytes and pickled, its snapshots, and iteration over the ids that are given.

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyAttributeError, PyMemoryError, PyValueError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple, PyType};

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::values::{Message, attribute, call_method, tuple};
use crate::bindings::ids::object::ObjectMgr;
use crate::bindings::objects::id_errors::raised;
use crate::ids::{Error, Ids, Unreadable};
use crate::sync::Guarded;

/// The whole state, as bytes.
pub(crate) fn dump<'py>(mgr: &ObjectMgr, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
    let bytes = mgr.ids.with(attached(py), |ids| ids.dump()).map_err(|error| raised(py, error))?;
    let (start, length) = (bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t);
    // SAFETY: attached; the bytes are as many as it says. The reference is new, or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(start, length)) }
}

/// The ids that were dumped.
pub(crate) fn loaded(data: &Bound<'_, PyAny>) -> PyResult<Ids> {
    let py = data.py();
    let ids = if let Ok(bytes) = data.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        py.detach(|| Ids::load(bytes))
    } else {
        let bytes = PyBuffer::<u8>::get(data)?.to_vec(py)?;
        py.detach(|| Ids::load(&bytes))
    };
    ids.map_err(|unreadable| match unreadable {
        Unreadable::OutOfMemory => PyMemoryError::new_err(()), // makes no text
        Unreadable::Broken(why) => {
            PyValueError::new_err(Message::of(format!("this is no dump of an ObjectMgr: {why}")))
        }
    })
}

/// A new manager of this class; its `__init__` does not run.
pub(crate) fn load<'py>(class: &Bound<'py, PyType>, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let ids = loaded(data)?;
    let made = call_method(class.as_any(), c"__new__", &[class.as_any()])?;
    made.cast::<ObjectMgr>()?.get().replace(class.py(), ids)?;
    Ok(made)
}

/// What `pickle` and `copy` keep: the bytes, and what a subclass has added to an instance.
pub(crate) fn reduce<'py>(slf: &Bound<'py, ObjectMgr>) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let make = python_side::NEW_OBJECT.get(py)?;
    let added = match attribute(slf.as_any(), c"__dict__") {
        Err(error) if error.is_instance_of::<PyAttributeError>(py) => py.None().into_bound(py),
        added => added?,
    };
    let state = tuple(py, &[&dump(slf.get(), py)?, &added])?;
    tuple(py, &[&make, &tuple(py, &[slf.get_type().as_any()])?, &state])
}

/// The other way.
pub(crate) fn set_state(slf: &Bound<'_, ObjectMgr>, state: &Bound<'_, PyTuple>) -> PyResult<()> {
    let (data, added): (Bound<'_, PyAny>, Option<Bound<'_, PyDict>>) = state.extract()?;
    let ids = loaded(&data)?;
    if let Some(added) = added {
        call_method(&attribute(slf.as_any(), c"__dict__")?, c"update", &[added.as_any()])?;
    }
    slf.get().replace(slf.py(), ids)
}

/// Whether both show the same and will give the same.
pub(crate) fn equal(one: &ObjectMgr, other: &ObjectMgr, py: Python<'_>) -> PyResult<bool> {
    let figures = |mgr: &ObjectMgr| {
        mgr.ids.with(attached(py), |ids| (ids.range(), ids.order(), ids.allocated_count(), ids.available()))
    };
    // Most that differ, differ in these. One after the other: nobody holds two locks.
    if figures(one) != figures(other) {
        return Ok(false);
    }
    let dumped = |mgr: &ObjectMgr| mgr.ids.with(attached(py), |ids| ids.dump()).map_err(|error| raised(py, error));
    Ok(dumped(one)? == dumped(other)?)
}

/// Iterates over the ids that are given. It keeps nothing but where it is, so the manager may change meanwhile.
#[pyclass(frozen, module = "opool._opool", name = "_ObjectMgrIterator")]
pub(crate) struct Given {
    mgr: Py<ObjectMgr>,
    /// The lowest id that may come next.
    from: Guarded<Option<i64>>,
}

impl Given {
    pub(crate) fn new(mgr: Py<ObjectMgr>) -> Self {
        Given { mgr, from: Guarded::new(Some(i64::MIN)) }
    }
}

#[pymethods]
impl Given {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> Option<i64> {
        loop {
            let from = self.from.with(attached(py), |from| *from)?;
            let next = self.mgr.get().ids.with(attached(py), |ids| ids.next_allocated(from));
            let then = next.and_then(|id| id.checked_add(1));
            // Another thread may have taken this step in between; then this one takes the next.
            let mine = self.from.with(attached(py), |now| {
                let mine = *now == Some(from);
                if mine {
                    *now = then;
                }
                mine
            });
            if mine {
                return next;
            }
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.mgr)
    }
}

/// Calls `add` with every id of a snapshot. Ctrl-C gets through.
pub(crate) fn fill(
    py: Python<'_>,
    ids: Result<impl Iterator<Item = i64>, Error>,
    add: impl Fn(Bound<'_, PyAny>) -> PyResult<()>,
) -> PyResult<()> {
    for (i, id) in ids.map_err(|error| raised(py, error))?.enumerate() {
        if i % (1 << 16) == 0 {
            py.check_signals()?;
        }
        // SAFETY: attached, and what comes back is null with an exception set, or a reference of our own.
        // Not `into_pyobject`: that panics where there is no memory for the int.
        add(unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyLong_FromLongLong(id)) }?)?;
    }
    Ok(())
}
