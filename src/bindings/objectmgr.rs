//! `ObjectMgr`: its class, what it is made from, and the snapshots.
//!
//! What is called often is in [`objectmgr_slots`], the batches in [`objectmgr_batch`](batch), bytes in
//! [`objectmgr_keep`](keep), leases in [`objectmgr_lease`].

use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem;
use std::sync::Arc;

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyOverflowError, PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;
use pyo3::types::{PyBytes, PyDict, PyList, PyRange, PySet, PyTuple, PyType};

use super::background::{call_python, follow_up, follow_up_quietly};
use super::lender::Lender;
use super::objectmgr_batch as batch;
use super::objectmgr_keep as keep;
use super::objectmgr_lease;
use super::objectmgr_slots::{self, Raised, raise};
use super::pool::Pool;
use crate::ids::{Error, Ids, Order, Refusal};
use crate::sync::{Attached, Guarded};

/// Hands out integers, each to one holder at a time.
///
/// The ids are those of ``range(1, n)``: 1 to n - 1; or those of any other range. By default fresh ones come first and
/// ascending, then the freed ones in the order they were freed. Whatever the size, construction takes no time and no
/// memory to speak of; an id costs one bit once it was given, and 4 more bytes (8 from 2**32 on) while it sits freed.
/// Any number of threads may share one manager.
///
/// Who asks for ids that are not to be had gets None and changes nothing: `get_object`, `get_many`, `get_range`,
/// `reserve` (and False: `get_into`). Who names an id that is wrong gets a `ValueError`, and changes nothing either.
///
/// Who wants an id for a while, and waits for it if need be, leases it: `lease`, in tasks `lease_async`.
///
/// As a collection a manager is the ids that are given out, ascending: ``in``, ``len`` and ``for`` speak of those.
/// While one goes through them, ids may be given and freed; each id that is out all the time comes exactly once. Unlike
/// other collections, one without ids is true. Managers are equal if they show the same and will give the same from now
/// on. As whatever is equal and changes, they cannot be hashed.
///
/// Args:
///     n (int | range): the end of the range, at most 2**63; with 1 or less there are no ids. Or the range itself, with
///         a step of 1 and at most 2**63 ids: ``range(8000, 9000)`` is 8000 to 8999.
///     inclusive (bool): whether ``n`` itself is an id too, so that there are n of them. The greatest id there can
///         be is 2**63 - 1.
///     order (str): which free id goes out next: "fifo" (the fresh ones, then the one that was freed longest ago),
///         "lowest", or "random" (any, each as likely as the others; not for secrets).
///     seed (int | None): with the order "random", the same seed and the same calls give the same ids. None is
///         another one each time.
///
/// Raises:
///     TypeError: ``n`` is neither an integer nor a range.
///     OverflowError: ``n`` is too large, or the range goes below -2**63.
///     ValueError: the range has a step other than 1; an option has an impossible value, or means nothing here.
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
///     >>> ports = ObjectMgr(range(8000, 9000), order="lowest")
///     >>> ports.get_many(3)
///     [8000, 8001, 8002]
///     >>> ports.free_object(8001), list(ports), len(ports), ports.available
///     (8001, [8000, 8002], 2, 998)
///     >>> ports
///     <opool.ObjectMgr range(8000, 9000): order 'lowest', given 2, available 998>
// No `dict`: it would cost every call of a method 12 ns on Python 3.12. A subclass has one anyway.
#[pyclass(frozen, subclass, weakref, module = "opool", name = "ObjectMgr")]
pub(super) struct ObjectMgr {
    pub(super) ids: Arc<Guarded<Ids>>,
    /// Who waits, and who leases: made for the first of them.
    desk: Guarded<Option<Py<Pool>>>,
}

#[pymethods]
impl ObjectMgr {
    /// Takes anything, as the constructor of any class with an `__init__` does: a subclass may have its own arguments.
    #[new]
    #[pyo3(signature = (*_args, **_kwargs), text_signature = "(n, *, inclusive=False, order='fifo', seed=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        ObjectMgr { ids: Arc::new(Guarded::new(Ids::default())), desk: Guarded::new(None) }
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

    /// The ids that were never given, in the order they will be.
    ///
    /// Those that were reserved or excluded before it was their turn lie in it all the same. With the order "lowest" it
    /// is the ids beyond all that were given, and with "random" it is empty: see `freed_objects`.
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
        let list = PyList::empty(py);
        fill(py, freed, |id| list.append(id))?;
        py.import("collections")?.getattr("deque")?.call1((list,))
    }

    /// All ids that there are.
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
        py.get_type::<PyRange>().call1((range.start, range.end.max(range.start)))
    }

    /// Which free id goes out next: "fifo", "lowest" or "random".
    ///
    /// Type:
    ///     str
    #[getter]
    fn order(&self, py: Python<'_>) -> &'static str {
        match self.ids.with(attached(py), |ids| ids.order()) {
            Order::Fifo => "fifo",
            Order::Lowest => "lowest",
            Order::Random(_) => "random",
        }
    }

    /// How many ids could be given out now.
    ///
    /// Type:
    ///     int
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> ObjectMgr(2**63).available == 2**63 - 1
    ///     True
    #[getter]
    fn available(&self, py: Python<'_>) -> u64 {
        self.ids.with(attached(py), |ids| ids.available())
    }

    /// The ids that must not be given, as ranges, ascending: a new list at each access.
    ///
    /// Type:
    ///     list[range]
    #[getter]
    fn excluded<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for span in self.ids.with(attached(py), |ids| ids.excluded()) {
            list.append(py.get_type::<PyRange>().call1((span.start, span.end))?)?;
        }
        Ok(list)
    }

    /// Gives several ids at once, in the order in which `get_object` would.
    ///
    /// Args:
    ///     k (int): how many.
    ///
    /// Returns:
    ///     list[int] | None: the ids; None when there are not so many.
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

    /// Fills a buffer with ids, in the order in which `get_object` would give them: a tenth of the time of a list.
    ///
    /// Args:
    ///     buffer (array.array | numpy.ndarray | memoryview): where to write them; as many ids as it has elements. It
    ///         is writable and contiguous, and its elements are ints which every id of the range fits.
    ///
    /// Returns:
    ///     bool: whether there were so many; if not, the buffer is as it was.
    ///
    /// Raises:
    ///     TypeError: it is no such buffer.
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

    /// Gives neighbouring ids.
    ///
    /// With the order "fifo", fresh ones if there are enough beside each other, else the lowest; with "lowest" the
    /// lowest; with "random" the first after a place that chance chooses. Fresh ones cost next to nothing; to search
    /// for others takes 50 ms where 10**9 ids are given, at worst.
    ///
    /// Args:
    ///     k (int): how many.
    ///
    /// Returns:
    ///     range | None: the ids; None when no k neighbours are free.
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
    ///     ValueError: one of them is not given out, or stands there twice. The message names the first of those;
    ///         nothing was freed.
    ///     TypeError: one of them is no int.
    ///     MemoryError: there is no memory to note them; they stay given out.
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

    /// Gives this very id, as if it had been its turn. It comes back by `free_object`.
    ///
    /// Args:
    ///     id (int): the id.
    ///
    /// Returns:
    ///     int | None: the id; None when it is given out already.
    ///
    /// Raises:
    ///     ValueError: it does not lie in the range, or is excluded.
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

    /// Takes ids out of the range for good: they are neither given nor counted as available.
    ///
    /// Args:
    ///     ids (Iterable[int]): the ids; a range costs the same for any length. Those that are excluded already may be
    ///         among them.
    ///
    /// Raises:
    ///     ValueError: one of them is given out, or does not lie in the range. Nothing was excluded.
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

    /// Moves the end of the range. Freed ids beyond a new end are forgotten; should it move back, they are fresh.
    ///
    /// Args:
    ///     n (int): the end of the range, at most 2**63. Before the start, there are no ids.
    ///     inclusive (bool): whether ``n`` itself is an id too.
    ///
    /// Raises:
    ///     ValueError: an id beyond the new end is given out.
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
    #[getter]
    fn waiting(&self, py: Python<'_>) -> usize {
        self.opened_desk(py).map_or(0, |pool| pool.get().counts().waiting)
    }

    /// Who has which id by a lease, since when, and what they are doing: the longest first.
    ///
    /// Returns:
    ///     list[Holder]: as of `Pool.holders`; what `get_object` gave is not among them.
    ///
    /// Example:
    ///     >>> from opool import ObjectMgr
    ///     >>> mgr = ObjectMgr(4)
    ///     >>> with mgr.lease() as id:
    ///     ...     [holder.obj for holder in mgr.holders()]
    ///     [1]
    fn holders<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.opened_desk(py) {
            Some(pool) => call_python(py, c"opool._watch", c"holders", &[pool.as_any()]),
            None => Ok(PyList::empty(py).into_any()),
        }
    }

    /// The whole state as bytes, for `load`.
    ///
    /// The ids that are given out stand in it as a Roaring bitmap in its portable form, which libraries of all
    /// languages read: ``data[80:80 + int.from_bytes(data[48:56], "little")]``. It has 32 bits if all ids of the range
    /// lie in 0 to 2**32 - 1, else 64; a negative id stands there as id + 2**64. ``DESIGN.md`` describes the rest.
    ///
    /// Returns:
    ///     bytes: equal for equal managers.
    ///
    /// Raises:
    ///     MemoryError: there is no memory for them.
    fn dump<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        keep::dump(self, py)
    }

    /// The manager that was dumped.
    ///
    /// Args:
    ///     data (bytes | bytearray | memoryview): what `dump` returned.
    ///
    /// Returns:
    ///     ObjectMgr: an equal manager, of the class on which this is called; its ``__init__`` does not run.
    ///
    /// Raises:
    ///     ValueError: it is something else, cut off, or contradicts itself.
    ///     MemoryError: there is no memory for what it says: at most some hundred times its own length.
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
        keep::load(cls, data)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        keep::reduce(slf)
    }

    fn __setstate__(slf: &Bound<'_, Self>, state: &Bound<'_, PyTuple>) -> PyResult<()> {
        keep::set_state(slf, state)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs attached, and nobody is in a critical section then.
        self.desk.with(unsafe { Attached::assume() }, |desk| visit.call(&*desk))
    }

    fn __clear__(&self) {
        // SAFETY: attached.
        drop(self.desk.with(unsafe { Attached::assume() }, Option::take));
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
        // SAFETY: attached, and the caller holds `obj`.
        let found = unsafe { objectmgr_slots::contains(&self.ids, attached(obj.py()), obj.as_ptr()) };
        found.map_err(|Raised| PyErr::fetch(obj.py()))
    }

    fn __iter__(slf: Bound<'_, Self>) -> keep::Given {
        keep::Given::new(slf.unbind())
    }

    fn __eq__<'py>(&self, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = other.py();
        let Ok(other) = other.cast::<ObjectMgr>() else { return Ok(py.NotImplemented().into_bound(py)) };
        let equal = keep::equal(self, other.get(), py)?;
        Ok(equal.into_pyobject(py)?.to_owned().into_any())
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let class = slf.get_type().fully_qualified_name()?;
        let figures = |ids: &mut Ids| (ids.range(), ids.allocated_count(), ids.available());
        let (range, given, available) = slf.get().ids.with(attached(slf.py()), figures);
        let (start, end, order) = (range.start, range.end, slf.get().order(slf.py()));
        Ok(format!("<{class} range({start}, {end}): order '{order}', given {given}, available {available}>"))
    }
}

impl ObjectMgr {
    /// Starts anew with other ids. What was there before is dropped outside the lock.
    pub(super) fn replace(&self, py: Python<'_>, ids: Ids) -> PyResult<()> {
        let waiting = self.waiting(py);
        let replaced = self.ids.with(attached(py), |mine| match mine.lent() {
            0 if waiting == 0 => Ok(mem::replace(mine, ids)),
            lent => Err(lent),
        });
        replaced.map(drop).map_err(|lent| {
            let message =
                format!("an ObjectMgr cannot start anew while it is in use: leased {lent}, waiting {waiting}");
            PyRuntimeError::new_err(message)
        })?;
        // Without a GIL somebody may have begun to wait since. The new ids do not know of that, so it is looked at here.
        self.opened_desk(py).map_or(Ok(()), |pool| follow_up(&pool))
    }

    /// The pool of those who wait, once there was one.
    fn opened_desk<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Pool>> {
        self.desk.with(attached(py), |desk| desk.as_ref().map(|pool| pool.bind(py).clone()))
    }

    /// The pool of those who wait.
    pub(super) fn desk<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Pool>> {
        let (this, py) = (slf.get(), slf.py());
        if let Some(pool) = this.opened_desk(py) {
            return Ok(pool);
        }
        let new = Bound::new(py, Pool::borrowing(Lender::new(slf)?))?;
        // Another thread may have been first.
        let kept =
            this.desk.with(attached(py), |desk| desk.get_or_insert_with(|| new.clone().unbind()).bind(py).clone());
        Ok(kept)
    }

    /// What follows from ids that have come free: those who wait get them.
    pub(super) fn settle(&self, py: Python<'_>) -> PyResult<()> {
        if !self.ids.with(attached(py), |ids| ids.is_awaited()) {
            return Ok(());
        }
        self.opened_desk(py).map_or(Ok(()), |pool| follow_up(&pool))
    }

    /// The same, where another exception is on its way.
    pub(super) fn settle_quietly(&self, py: Python<'_>) {
        if let Some(pool) = self.opened_desk(py) {
            follow_up_quietly(&pool);
        }
    }
}

/// The order that a word and a seed mean.
fn order_of(order: &str, seed: Option<&Bound<'_, PyAny>>) -> PyResult<Order> {
    let order = match order {
        "fifo" => Order::Fifo,
        "lowest" => Order::Lowest,
        "random" => {
            let seed = seed.map(index).transpose()?;
            // Any int will do. Two that differ by a multiple of 2**64 are the same.
            let seed = seed.map(|seed| seed.bitand(u64::MAX)?.extract::<u64>()).transpose()?;
            return Ok(Order::Random(seed.unwrap_or_else(by_chance)));
        }
        _ => return Err(PyValueError::new_err(format!("order must be 'fifo', 'lowest' or 'random', not {order:?}"))),
    };
    match seed {
        None => Ok(order),
        Some(_) => Err(PyValueError::new_err("seed means nothing without order='random'")),
    }
}

/// A number that is another one each time: the standard library seeds its hash tables by it.
fn by_chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What `operator.index` returns.
pub(super) fn index<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached, and what comes back is null with an exception set, or a reference of our own.
    unsafe { Bound::from_owned_ptr_or_err(obj.py(), ffi::PyNumber_Index(obj.as_ptr())) }
}

/// The ids of a range.
fn ids_of(range: &Bound<'_, PyRange>, inclusive: bool, order: Order) -> PyResult<Ids> {
    if inclusive {
        return Err(PyValueError::new_err("inclusive means nothing with a range, which says itself where it ends"));
    }
    let (start, stop, step) = (range.getattr("start")?, range.getattr("stop")?, range.getattr("step")?);
    if !step.eq(1)? {
        return Err(PyValueError::new_err(format!("the range must have a step of 1, not {}", batch::shown(&step))));
    }
    let reach = || PyOverflowError::new_err(format!("{}: not {}", Error::OutOfReach, range.as_any()));
    let first = start.extract::<i64>();
    let stop = if stop.le(&start)? { start.extract::<i128>() } else { stop.extract::<i128>() };
    let (Ok(first), Ok(stop)) = (first, stop) else { return Err(reach()) };
    let count = u64::try_from(stop - i128::from(first)).map_err(|_| reach())?;
    Ids::new(first, count, order).map_err(|_| reach())
}

/// The ids 1 to `n` - 1, and `n` too if it is `inclusive`.
fn ids_up_to(n: &Bound<'_, PyAny>, inclusive: bool, order: Order) -> PyResult<Ids> {
    // What `range` asks too, so this refuses what `range` refuses, in the same words.
    let n = index(n)?;
    if n.le(0)? {
        return Ids::new(1, 0, order).map_err(|error| raised(n.py(), error));
    }
    let count = end_of(&n, inclusive)? - 1;
    let count = u64::try_from(count).map_err(|_| too_large(&n, inclusive))?;
    Ids::new(1, count, order).map_err(|_| too_large(&n, inclusive))
}

/// Where a range ends that ends at `n`; far below all ids, anything will do.
fn end_of(n: &Bound<'_, PyAny>, inclusive: bool) -> PyResult<i128> {
    let end = match n.extract::<i128>() {
        Ok(n) => n.max(i64::MIN.into()) + i128::from(inclusive),
        Err(_) if n.lt(0)? => i64::MIN.into(),
        Err(_) => return Err(too_large(n, inclusive)),
    };
    if end <= 1 << 63 { Ok(end) } else { Err(too_large(n, inclusive)) }
}

fn too_large(n: &Bound<'_, PyAny>, inclusive: bool) -> PyErr {
    let n = batch::shown(n);
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
pub(super) fn raised(py: Python<'_>, error: Error) -> PyErr {
    raise(attached(py), error);
    PyErr::fetch(py)
}

/// The same for one that may name an id.
pub(super) fn refused(py: Python<'_>, refusal: Refusal) -> PyErr {
    match refusal {
        Refusal::Other(error) => raised(py, error),
        named => PyValueError::new_err(named.to_string()),
    }
}

/// `Python` is a proof of the same thing.
pub(super) fn attached(_py: Python<'_>) -> Attached<'_> {
    // SAFETY: `Python` proves that the thread is attached. Nobody detaches it while the closure runs that gets this.
    unsafe { Attached::assume() }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ObjectMgr>()?;
    let class = module.py().get_type::<ObjectMgr>();
    objectmgr_lease::add_to(&class)?;
    objectmgr_slots::add_to(&class)
}
