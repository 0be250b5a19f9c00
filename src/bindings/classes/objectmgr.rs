//! The methods of `opool.ObjectMgr`.

use pyo3::PyTraverseError;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;
use pyo3::types::{PyBool, PyDict, PyList, PyRange, PySet, PyTuple, PyType};

use crate::bindings::async_lease::step;
use crate::bindings::classes::docs;
use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::exception::{OrRaised, or_null};
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::slots::{add_methods, document_slot, method};
use crate::bindings::ffi::values::{self, Value, class_name, list};
use crate::bindings::ids::object::ObjectMgr;
use crate::bindings::ids::range::{end_of, ids_of, ids_up_to, index, order_of};
use crate::bindings::ids::{batch, dump, hot};
use crate::bindings::lease::hot as lease_hot;
use crate::bindings::objects::id_errors::refused;
use crate::ids::Ids;
use crate::sync::Attached;

#[pymethods]
impl ObjectMgr {
    /// Takes anything, as the constructor of any class with an `__init__` does: a subclass may have its own arguments.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(n, *, inclusive=False, order='fifo', seed=None)")]
    fn py_new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        ObjectMgr::new()
    }

    #[pyo3(signature = (n, *, inclusive=false, order="fifo", seed=None))]
    fn __init__(
        &self,
        py: Python<'_>,
        n: &Bound<'_, PyAny>,
        inclusive: bool,
        order: &str,
        seed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let order = order_of(order, seed)?;
        let ids = match n.cast::<PyRange>() {
            Ok(range) => ids_of(range, inclusive, order)?,
            Err(_) => ids_up_to(n, inclusive, order)?,
        };
        // A second `__init__` starts again.
        self.replace(py, ids)
    }

    /// The ids that were never given, in the order in which they will be given.
    ///
    /// Ids that were reserved or excluded before are in it all the same. With the order "lowest" it is the ids beyond
    /// all that were given, and with "random" it is empty: see `freed_objects`.
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
        values::range(py, fresh.start, fresh.end)
    }

    /// The ids that are given: a new set at each access.
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
        dump::fill(py, allocated, |id| set.add(id))?;
        Ok(set)
    }

    /// The ids that were freed and not given again, oldest first: a new deque at each access.
    ///
    /// With the orders "lowest" and "random": all ids that are free and not in `object_pool`, ascending.
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
        let ids = list(py, [])?;
        let of_ids = ids.cast::<PyList>()?;
        dump::fill(py, freed, |id| of_ids.append(id))?;
        python_side::DEQUE.call(py, &[&ids])
    }

    /// All ids of the manager.
    ///
    /// Type:
    ///     range
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> ObjectMgr(4).ids
    ///     range(1, 4)
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let range = self.ids.with(attached(py), |ids| ids.range());
        values::range(py, range.start, range.end.max(range.start))
    }

    /// Which free id is given next: "fifo", "lowest" or "random".
    ///
    /// Type:
    ///     str
    #[getter(order)]
    fn get_order(&self, py: Python<'_>) -> Value {
        self.order(py).into()
    }

    /// How many ids are free.
    ///
    /// Type:
    ///     int
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> ObjectMgr(2**63).available == 2**63 - 1
    ///     True
    #[getter]
    fn available(&self, py: Python<'_>) -> Value {
        self.ids.with(attached(py), |ids| ids.available()).into()
    }

    /// The excluded ids, as ranges, ascending: a new list at each access.
    ///
    /// Type:
    ///     list[range]
    #[getter]
    fn excluded<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let spans = self.ids.with(attached(py), |ids| ids.excluded());
        list(py, spans.into_iter().map(|span| values::range(py, span.start, span.end)))
    }

    /// Gives several ids at once, in the order in which `get_object` would.
    ///
    /// Args:
    ///     k (int): how many.
    ///
    /// Returns:
    ///     list[int] | None: the ids; None when fewer are free.
    ///
    /// Raises:
    ///     ValueError: k is negative.
    ///     MemoryError: there is no memory for them; they stay free.
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> mgr = ObjectMgr(6)
    ///     >>> mgr.get_many(3), mgr.get_many(3), mgr.get_many(2)
    ///     ([1, 2, 3], None, [4, 5])
    #[pyo3(signature = (k, /))]
    fn get_many<'py>(&self, py: Python<'py>, k: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        batch::get_many(self, py, batch::count(k)?)
    }

    /// Fills a buffer with ids, in the order of `get_object`, in a tenth of the time of a list.
    ///
    /// Args:
    ///     buffer (array.array | numpy.ndarray | memoryview): where to write the ids: as many as it has elements. It
    ///         must be writable and contiguous, and its elements ints that can hold every id of the range.
    ///
    /// Returns:
    ///     bool: whether so many were free; if not, the buffer is unchanged.
    ///
    /// Raises:
    ///     TypeError: `buffer` is no such buffer.
    ///     OverflowError: the elements are too small for the range.
    ///
    /// Example:
    ///     >>> from array import array
    ///     >>> from opool import ObjectMgr
    ///     >>> numbers = array("I", bytes(12))
    ///     >>> ObjectMgr(range(8000, 9000)).get_into(numbers)
    ///     True
    ///     >>> numbers.tolist()
    ///     [8000, 8001, 8002]
    #[pyo3(signature = (buffer, /))]
    fn get_into(&self, buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
        batch::get_into(self, buffer)
    }

    /// Gives consecutive ids.
    ///
    /// With the order "fifo", ids that were never given if there are enough of them, else the lowest; with "lowest" the
    /// lowest; with "random" the first after a random place. Ids that were never given cost next to nothing; a search
    /// for others takes 50 ms where 10**9 ids are given, at worst.
    ///
    /// Args:
    ///     k (int): how many.
    ///
    /// Returns:
    ///     range | None: the ids; None when no k consecutive ids are free.
    ///
    /// Raises:
    ///     ValueError: k is negative.
    ///     MemoryError: there is no memory for them; they stay free.
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> uids = ObjectMgr(range(100_000, 10**9))
    ///     >>> uids.get_range(65_536)
    ///     range(100000, 165536)
    #[pyo3(signature = (k, /))]
    fn get_range<'py>(&self, py: Python<'py>, k: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        batch::get_range(self, py, batch::count(k)?)
    }

    /// Takes several ids back, in this order: all of them, or none.
    ///
    /// Args:
    ///     ids (Iterable[int]): the ids. A range or a buffer of ints is quicker than a list.
    ///
    /// Raises:
    ///     ValueError: one of them is not given, or is named twice. The message names the first of those;
    ///         nothing was freed.
    ///     TypeError: one of them is no int.
    ///     MemoryError: there is no memory to note them; they stay given.
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> mgr = ObjectMgr(6)
    ///     >>> mgr.free_many(mgr.get_many(5))
    ///     >>> mgr.get_many(3)
    ///     [1, 2, 3]
    ///     >>> mgr.free_many([3, 2, 5, 1])
    ///     Traceback (most recent call last):
    ///     ValueError: 5 is not currently allocated
    ///     >>> len(mgr)
    ///     3
    #[pyo3(signature = (ids, /))]
    fn free_many(&self, ids: &Bound<'_, PyAny>) -> PyResult<()> {
        batch::free_many(self, ids)
    }

    /// Gives this id. `free_object` takes it back.
    ///
    /// Args:
    ///     id (int): the id.
    ///
    /// Returns:
    ///     int | None: the id; None when it is given already.
    ///
    /// Raises:
    ///     ValueError: it is not in the range, or is excluded.
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> ports = ObjectMgr(range(8000, 9000))
    ///     >>> ports.reserve(8001), ports.reserve(8001), ports.get_many(2)
    ///     (8001, None, [8000, 8002])
    #[pyo3(signature = (id, /))]
    fn reserve<'py>(&self, id: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        batch::reserve(self, id)
    }

    /// Excludes ids for good: they are neither given nor counted as available.
    ///
    /// Args:
    ///     ids (Iterable[int]): the ids; a range costs the same for any length. Ids that are excluded already are
    ///         ignored.
    ///
    /// Raises:
    ///     ValueError: one of them is given, or is not in the range. Nothing was excluded.
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> ports = ObjectMgr(range(8000, 9000))
    ///     >>> ports.exclude(range(8000, 8080))
    ///     >>> ports.get_object(), ports.available, ports.excluded
    ///     (8080, 919, [range(8000, 8080)])
    #[pyo3(signature = (ids, /))]
    fn exclude(&self, ids: &Bound<'_, PyAny>) -> PyResult<()> {
        batch::exclude(self, ids)
    }

    /// Moves the end of the range. Freed ids beyond it are forgotten; if it moves back, they count as never given.
    ///
    /// Args:
    ///     n (int): the end of the range, at most 2**63. At or before the start, there are no ids.
    ///     inclusive (bool): whether ``n`` itself is an id too.
    ///
    /// Raises:
    ///     ValueError: an id beyond the new end is given.
    ///     OverflowError: ``n`` is too large.
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> seats = ObjectMgr(2, inclusive=True)
    ///     >>> seats.get_many(2), seats.get_object()
    ///     ([1, 2], None)
    ///     >>> seats.resize(3, inclusive=True)
    ///     >>> seats.get_object()
    ///     3
    #[pyo3(signature = (n, *, inclusive=false))]
    fn resize(&self, n: &Bound<'_, PyAny>, inclusive: bool) -> PyResult<()> {
        let py = n.py();
        let n = index(n)?;
        let end = end_of(&n, inclusive)?;
        let done = self.ids.with(attached(py), |ids| {
            let count = (end - ids.range().start).max(0);
            ids.resize(u64::try_from(count).unwrap_or(u64::MAX))
        });
        done.map_err(|refusal| refused(py, refusal))?;
        self.settle(py)
    }

    /// How many wait for an id.
    ///
    /// Type:
    ///     int
    #[getter(waiting)]
    fn get_waiting(&self, py: Python<'_>) -> Value {
        self.waiting(py).into()
    }

    /// Lists who holds which id by a lease, since when, and what the holder is doing: the longest first.
    ///
    /// Returns:
    ///     list[Holder]: as of `Pool.holders`; ids that `get_object` gave are not among them.
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> mgr = ObjectMgr(4)
    ///     >>> with mgr.lease() as id:
    ///     ...     [holder.obj for holder in mgr.holders()]
    ///     [1]
    fn holders<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.existing_pool(py) {
            Some(pool) => python_side::HOLDERS.call(py, &[pool.as_any()]),
            None => list(py, []),
        }
    }

    /// Returns the whole state as bytes, for `load`.
    ///
    /// It contains the given ids as a Roaring bitmap in its portable form, which libraries of all languages read:
    /// ``data[80:80 + int.from_bytes(data[48:56], "little")]``. It has 32 bits if all ids of the range are in 0 to
    /// 2**32 - 1, else 64; a negative id is written as id + 2**64. ``DESIGN.md`` describes the rest.
    ///
    /// Returns:
    ///     bytes: equal for equal managers.
    ///
    /// Raises:
    ///     MemoryError: there is no memory for them.
    fn dump<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        dump::dump(self, py)
    }

    /// Makes a manager of what `dump` returned.
    ///
    /// Args:
    ///     data (bytes | bytearray | memoryview): what `dump` returned.
    ///
    /// Returns:
    ///     ObjectMgr: an equal manager, of the class on which this is called; its ``__init__`` is not called.
    ///
    /// Raises:
    ///     ValueError: `data` is something else, truncated, or contradicts itself.
    ///     MemoryError: there is no memory for the manager: at most some hundred times the length of `data`.
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> mgr = ObjectMgr(10**9)
    ///     >>> mgr.get_range(10**6)
    ///     range(1, 1000001)
    ///     >>> ObjectMgr.load(mgr.dump()) == mgr
    ///     True
    #[classmethod]
    #[pyo3(signature = (data, /))]
    fn load<'py>(cls: &Bound<'py, PyType>, data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        dump::load(cls, data)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        dump::reduce(slf)
    }

    fn __setstate__(slf: &Bound<'_, Self>, state: &Bound<'_, PyTuple>) -> PyResult<()> {
        dump::set_state(slf, state)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs attached, and nobody is in a critical section then.
        self.lease_pool.with(unsafe { Attached::assume() }, |pool| visit.call(&*pool))
    }

    fn __clear__(&self) {
        // SAFETY: the collector runs attached.
        drop(self.lease_pool.with(unsafe { Attached::assume() }, Option::take));
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.ids.with(attached(py), |ids| ids.allocated_count()) as usize
    }

    /// A manager without ids is still a manager: `if mgr:` asks whether there is one.
    #[expect(clippy::unused_self)]
    fn __bool__(&self) -> bool {
        true
    }

    fn __contains__(&self, obj: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(hot::contains(&self.ids, obj)?)
    }

    fn __iter__(slf: Bound<'_, Self>) -> dump::Given {
        dump::Given::new(slf.unbind())
    }

    fn __eq__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<ObjectMgr>() else { return Ok(py.NotImplemented().into_bound(py)) };
        let equal = dump::equal(self, other.get(), py)?;
        Ok(PyBool::new(py, equal).to_owned().into_any())
    }

    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let class = class_name(slf.as_any())?;
        let figures = |ids: &mut Ids| (ids.range(), ids.allocated_count(), ids.available());
        let (range, given, available) = slf.get().ids.with(attached(slf.py()), figures);
        let (start, end, order) = (range.start, range.end, slf.get().order(slf.py()));
        let text = format!("<{class} range({start}, {end}): order '{order}', given {given}, available {available}>");
        values::text(slf.py(), &text)
    }
}

/// Does something with the pool that leases the ids; null with the exception set if there is no memory for it.
///
/// # Safety
/// `slf` is an `ObjectMgr` or of a subclass, it is alive for the call, and the thread is attached.
unsafe fn with_pool(slf: *mut PyObject, act: impl FnOnce(*mut PyObject) -> *mut PyObject) -> *mut PyObject {
    // SAFETY: as promised.
    unsafe {
        let py = Python::assume_attached();
        let pool = ObjectMgr::pool(Bound::ref_from_ptr(py, &slf).cast_unchecked()).or_raised(py);
        or_null(pool.map(|pool| act(pool.as_ptr())))
    }
}

/// # Safety
/// CPython calls it, through the method descriptor, which has checked the type of `slf`. So are the others.
unsafe extern "C" fn lease(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a method is called attached, and the caller holds everything.
    unsafe { with_pool(slf, |pool| lease_hot::lease(pool, args, count, names)) }
}

unsafe extern "C" fn lease_async(
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as above.
    unsafe { with_pool(slf, |pool| step::lease_async(pool, args, count, names)) }
}

unsafe extern "C" fn try_lease(slf: *mut PyObject, unused: *mut PyObject) -> *mut PyObject {
    // SAFETY: as above.
    unsafe { with_pool(slf, |pool| lease_hot::try_lease(pool, unused)) }
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ObjectMgr>()?;
    let class = module.py().get_type::<ObjectMgr>();
    let with_timeout = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    let get_object = ffi::PyMethodDefPointer { PyCFunction: hot::get_object };
    let free_object = ffi::PyMethodDefPointer { PyCFunction: hot::free_object };
    let lease = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: lease };
    let try_lease = ffi::PyMethodDefPointer { PyCFunction: try_lease };
    let lease_async = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: lease_async };
    add_methods(
        &class,
        vec![
            method(c"get_object", get_object, ffi::METH_NOARGS, docs::OBJECTMGR_GET_OBJECT),
            method(c"free_object", free_object, ffi::METH_O, docs::OBJECTMGR_FREE_OBJECT),
            method(c"lease", lease, with_timeout, docs::OBJECTMGR_LEASE),
            method(c"try_lease", try_lease, ffi::METH_NOARGS, docs::OBJECTMGR_TRY_LEASE),
            method(c"lease_async", lease_async, with_timeout, docs::OBJECTMGR_LEASE_ASYNC),
        ],
    )?;
    document_slot(&class, c"__init__", docs::OBJECTMGR_INIT)
}
