//! `ObjectMgr`: parses `n`, builds the snapshots. What is called often is in [`objectmgr_slots`](super::objectmgr_slots).

use std::mem;

use pyo3::exceptions::PyOverflowError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyRange, PySet, PyTuple};

use super::objectmgr_slots::{self, raise};
use crate::ids::{Error, Ids};
use crate::sync::{Attached, Guarded};

/// Hands out integers, each to one holder at a time.
///
/// The ids are those of ``range(1, n)``: 1 to n - 1. Fresh ones come first and ascending, then the freed ones in the
/// order they were freed. Whatever the size, construction takes no time and no memory to speak of; an id costs one bit
/// once it was given, and 4 more bytes (8 from 2**32 on) while it sits freed. Any number of threads may share one
/// manager.
///
/// Args:
///     n (int): the end of the range, at most 2**63. With 1 or less there are no ids.
///     inclusive (bool): whether ``n`` itself is an id too, so that there are n of them. The greatest id there can
///         be is 2**63 - 1.
///
/// Raises:
///     TypeError: ``n`` is not an integer.
///     OverflowError: ``n`` is too large.
///
/// Example:
///     >>> from opool import ObjectMgr
///     >>> seats = ObjectMgr(2, inclusive=True)
///     >>> seats.get_object(), seats.get_object(), seats.get_object()
///     (1, 2, None)
///     >>> seats.free_object(1)
///     1
///     >>> seats.get_object()
///     1
// No `dict`: it would cost every call of a method 12 ns on Python 3.12. A subclass has one anyway.
#[pyclass(frozen, subclass, weakref, module = "opool", name = "ObjectMgr")]
pub(super) struct ObjectMgr {
    pub(super) ids: Guarded<Ids>,
}

#[pymethods]
impl ObjectMgr {
    /// Takes anything, as the constructor of any class with an `__init__` does: a subclass may have its own arguments.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(n, *, inclusive=False)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        ObjectMgr { ids: Guarded::new(Ids::default()) }
    }

    #[pyo3(signature = (n, *, inclusive=false))]
    fn __init__(&self, py: Python<'_>, n: &Bound<'_, PyAny>, inclusive: bool) -> PyResult<()> {
        let ids = ids_up_to(n, inclusive)?;
        // A second `__init__` starts again. What was there before is dropped out here.
        drop(self.ids.with(attached(py), |mine| mem::replace(mine, ids)));
        Ok(())
    }

    /// The ids that were never given, in the order they will be.
    ///
    /// Type:
    ///     range
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> mgr = ObjectMgr(10**9)
    ///     >>> mgr.get_object()
    ///     1
    ///     >>> mgr.object_pool
    ///     range(2, 1000000000)
    #[getter]
    fn object_pool<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let fresh = self.ids.with(attached(py), |ids| ids.fresh());
        // Not `PyRange::new`: it counts in isize, and the end may be 2**63.
        py.get_type::<PyRange>().call1((fresh.start, fresh.end))
    }

    /// The ids that are given out: a new set at each access.
    ///
    /// Type:
    ///     set[int]
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> mgr = ObjectMgr(4)
    ///     >>> mgr.get_object()
    ///     1
    ///     >>> mgr.allocated_objects
    ///     {1}
    #[getter]
    fn allocated_objects<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PySet>> {
        let allocated = self.ids.with(attached(py), |ids| ids.allocated());
        let set = PySet::empty(py)?;
        fill(py, allocated, |id| set.add(id))?;
        Ok(set)
    }

    /// The ids that were freed and not given again, oldest first: a new deque at each access.
    ///
    /// Type:
    ///     collections.deque[int]
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> mgr = ObjectMgr(4)
    ///     >>> mgr.free_object(mgr.get_object())
    ///     1
    ///     >>> mgr.freed_objects
    ///     deque([1])
    #[getter]
    fn freed_objects<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let freed = self.ids.with(attached(py), |ids| ids.freed());
        let list = PyList::empty(py);
        fill(py, freed, |id| list.append(id))?;
        py.import("collections")?.getattr("deque")?.call1((list,))
    }
}

/// The ids 1 to `n` - 1, and `n` too if it is `inclusive`.
fn ids_up_to(n: &Bound<'_, PyAny>, inclusive: bool) -> PyResult<Ids> {
    // What `range` asks too, so this refuses what `range` refuses, in the same words.
    // SAFETY: attached, and what comes back is null with an exception set, or a reference of our own.
    let n = unsafe { Bound::from_owned_ptr_or_err(n.py(), ffi::PyNumber_Index(n.as_ptr())) }?;
    if n.le(0)? {
        return Ok(Ids::default());
    }
    let count = n.extract::<u64>().ok().map(|n| if inclusive { n } else { n.saturating_sub(1) });
    count.and_then(|count| Ids::new(1, count).ok()).ok_or_else(|| too_large(&n, inclusive))
}

fn too_large(n: &Bound<'_, PyAny>, inclusive: bool) -> PyErr {
    // Python refuses to write out an int of many thousand digits.
    let n = n.repr().map_or_else(|_| "an int of thousands of digits".to_owned(), |n| n.to_string());
    let most = if inclusive { "2**63 - 1 with inclusive=True" } else { "2**63" };
    PyOverflowError::new_err(format!("n is too large: {n}; it can be {most}, as the greatest id is 2**63 - 1"))
}

/// Gives every id of a snapshot to `add`. Ctrl-C gets through.
fn fill(
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

/// The exception for an error of the core.
fn raised(py: Python<'_>, error: Error) -> PyErr {
    raise(attached(py), error);
    PyErr::fetch(py)
}

/// `Python` is a proof of the same thing.
fn attached(_py: Python<'_>) -> Attached<'_> {
    // SAFETY: `Python` proves that the thread is attached. Nobody detaches it while the closure runs that gets this.
    unsafe { Attached::assume() }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ObjectMgr>()?;
    objectmgr_slots::add_to(&module.py().get_type::<ObjectMgr>())
}
