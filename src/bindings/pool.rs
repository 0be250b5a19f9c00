//! `opool.Pool`: the cold surface. The hot methods are in `lease.rs`, what they do when they must wait in `waiting.rs`.

use std::ptr::{self, NonNull};
use std::sync::{Arc, OnceLock};

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;
use pyo3::types::{PyDict, PyTuple};

use super::fork::Membership;
use super::lease::{self, Lease};
use super::options::{Fairness, Name, Objects, Ordering};
use super::raw::{add_methods, discard, method};
use super::waiting::{self, Timeout, Wait};
use crate::pool::{Counts, Hold, Identity, Order, SlotId, State};
use crate::sync::{Attached, Guarded, Parker};

/// A pooled object and the lease that served it last. `lease.rs` says who owns them.
pub(super) struct Item {
    pub(super) object: NonNull<PyObject>,
    pub(super) shell: *mut Lease,
    /// The thread that took it. Means something only while it is out, and until its lease is entered.
    pub(super) holder: usize,
}

// SAFETY: the pointers are used by attached threads only; the objects behind them bring their own protection.
unsafe impl Send for Item {}

/// The state of a pool of Python objects for which threads wait.
pub(super) type Core = State<Item, Arc<Parker>>;

impl Identity for Item {
    #[inline(always)]
    fn identity(&self) -> usize {
        self.object.as_ptr() as usize
    }
}

/// What a pool is told when it is made.
struct Options {
    /// How many seconds to wait by default; none is for ever.
    timeout: Option<f64>,
    name: Option<String>,
    fairness: Fairness,
}

const DEFAULT: Options = Options { timeout: Some(30.0), name: None, fairness: Fairness::DEFAULT };

/// Hands out each of its objects to one holder at a time.
///
/// Threads that find no object idle wait in the order in which they came, with the GIL released; the first of them gets
/// the next object that is given back or added. Any method may be called from any thread.
///
/// Args:
///     objects: what to hand out, in this order. Kept by reference; the same object may stand here several times.
///     timeout: how many seconds `lease` and `acquire` wait unless they are told otherwise; None is for ever.
///     name: shows up in messages.
///     order: which idle object goes out next: "fifo" (the one that has been idle longest) or "lifo" (the one that
///         came back last).
///     fairness: what a thread gets that gives back while others wait, and asks again at once. With "strict", the end
///         of the queue. With "adaptive", the same object for another while, up to half a millisecond in all, provided
///         that it keeps each lease for less than ten microseconds: then a change of threads costs more than the lease.
///         Those who wait keep their order in either case.
///
/// Raises:
///     TypeError: if `objects` cannot be iterated over, or an option has the wrong type.
///     ValueError: if `timeout` is negative, or `order` or `fairness` is unknown.
///
/// Example:
///     >>> import opool
///     >>> pool = opool.Pool(["a", "b"], name="letters")
///     >>> with pool.lease() as letter:
///     ...     letter
///     'a'
///     >>> pool
///     <opool.Pool 'letters': size 2, idle 2, leased 0, waiting 0>
#[pyclass(frozen, subclass, weakref, generic, module = "opool")]
pub(super) struct Pool {
    pub(super) core: Guarded<Core>,
    options: OnceLock<Options>,
    pub(super) membership: Membership,
}

impl Pool {
    /// # Safety
    /// `this` is an instance of the class, and outlives the reference.
    #[inline(always)]
    pub(super) unsafe fn from_raw<'a>(this: *mut PyObject) -> &'a Pool {
        // SAFETY: as promised by the caller. A frozen class has no borrow flag, so a plain reference is all it takes.
        unsafe {
            let any = Bound::ref_from_ptr(Python::assume_attached(), &this);
            &*ptr::from_ref(any.cast_unchecked::<Pool>().get())
        }
    }

    /// The shell of a slot that the caller holds.
    pub(super) fn shell(&self, slot: SlotId) -> *mut Lease {
        self.with(|core| core.value_mut(slot).map_or(ptr::null_mut(), |item| item.shell))
    }

    /// How many seconds a wait may take by default.
    pub(super) fn default_timeout(&self) -> Option<f64> {
        self.options().timeout
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.options().name.as_deref()
    }

    pub(super) fn counts(&self) -> Counts {
        self.with(|core| core.counts())
    }

    fn options(&self) -> &Options {
        self.options.get().unwrap_or(&DEFAULT)
    }

    fn with<R>(&self, critical: impl FnOnce(&mut Core) -> R) -> R {
        // SAFETY: every caller is a method, called attached.
        self.core.with(unsafe { Attached::assume() }, critical)
    }
}

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(
        signature = (*_args, **_options),
        text_signature = "(objects=(), *, timeout=30.0, name=None, order='fifo', fairness='adaptive')"
    )]
    fn new(_args: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> Self {
        Pool { core: Guarded::new(State::new()), options: OnceLock::new(), membership: Membership::default() }
    }

    #[pyo3(signature = (
        objects = Objects(None), *, timeout = Timeout(DEFAULT.timeout), name = Name(None),
        order = Ordering(Order::Fifo), fairness = DEFAULT.fairness,
    ))]
    fn __init__(
        &self,
        objects: Objects<'_>,
        timeout: Timeout,
        name: Name,
        order: Ordering,
        fairness: Fairness,
    ) -> PyResult<()> {
        if self.options.set(Options { timeout: timeout.0, name: name.0, fairness }).is_err() {
            return Err(PyRuntimeError::new_err("this pool is set up already; make a new one"));
        }
        self.with(|core| {
            core.set_order(order.0);
            core.set_patience(fairness.1);
        });
        if let Some(objects) = objects.0 {
            for object in objects.try_iter()? {
                self.add_obj(object?);
            }
        }
        Ok(())
    }

    /// Appends an object, or hands it to whoever has waited longest.
    ///
    /// Args:
    ///     obj: any object. Added twice, it can be out twice at the same time.
    fn add_obj(&self, obj: Bound<'_, PyAny>) {
        self.membership.join(self);
        let Some(object) = NonNull::new(obj.into_ptr()) else { return };
        let item = Item { object, shell: ptr::null_mut(), holder: 0 };
        if let Some(parker) = self.with(|core| core.add(item)) {
            parker.unpark();
        }
    }

    /// Takes an object out for good. For the queue that `design.opool.Pool` shows.
    fn _remove(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Py<PyAny>> {
        let slot = match waiting::take_now(self) {
            Some(slot) => slot,
            None => waiting::wait_for_slot(self, Wait::from(timeout)).ok_or_else(|| PyErr::fetch(py))?,
        };
        let item = self.with(|core| core.retire(slot));
        let item = item.ok_or_else(|| PyRuntimeError::new_err("a leased slot without an object: a bug in opool"))?;
        // SAFETY: the slot owned both, and is vacant now.
        unsafe {
            ffi::Py_XDECREF(item.shell.cast());
            Ok(Bound::from_owned_ptr(py, item.object.as_ptr()).unbind())
        }
    }

    /// How many objects there are: idle + leased.
    #[getter]
    fn size(&self) -> usize {
        self.counts().size
    }

    /// How many objects can be leased at once, without waiting.
    #[getter]
    fn idle(&self) -> usize {
        self.counts().idle
    }

    /// How many objects are out, by a lease or by `acquire`.
    #[getter]
    fn leased(&self) -> usize {
        self.counts().leased
    }

    /// How many wait for an object.
    #[getter]
    fn waiting(&self) -> usize {
        self.counts().waiting
    }

    /// The name given at construction, or None.
    #[getter(name)]
    fn get_name(&self) -> Option<&str> {
        self.name()
    }

    /// As given at construction: "adaptive" or "strict".
    #[getter]
    fn fairness(&self) -> &'static str {
        self.options().fairness.0
    }

    /// How many seconds `lease` and `acquire` wait by default; None is for ever.
    #[getter]
    fn timeout(&self) -> Option<f64> {
        self.options().timeout
    }

    /// Whether `obj` belongs to this pool, idle or out. Compares by identity, and looks at every object.
    fn __contains__(&self, obj: &Bound<'_, PyAny>) -> bool {
        self.with(|core| core.values().any(|(item, _)| item.object.as_ptr() == obj.as_ptr()))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let Counts { size, idle, leased, waiting } = slf.get().counts();
        let class = slf.get_type().fully_qualified_name()?;
        let name = slf.get().name().map_or_else(String::new, |name| format!(" '{name}'"));
        Ok(format!("<{class}{name}: size {size}, idle {idle}, leased {leased}, waiting {waiting}>"))
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let shown = slf.repr()?;
        Err(PyTypeError::new_err(format!("cannot pickle or copy {shown}: it lends objects of this process")))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs attached and lets no other thread run Python, so nobody is in a critical section
        // (none of them calls the interpreter) and visiting does not come back here.
        self.core.with(unsafe { Attached::assume() }, |core| {
            for (item, hold) in core.values() {
                // SAFETY: a `Py` is a pointer that is not null; both are only looked at.
                unsafe {
                    visit.call(&*(&raw const item.object).cast::<Py<PyAny>>())?;
                    if hold != Hold::Leased && !item.shell.is_null() {
                        visit.call(&*(&raw const item.shell).cast::<Py<PyAny>>())?;
                    }
                }
            }
            Ok(())
        })
    }

    fn __clear__(&self) {
        let items = self.with(|core| core.drain());
        // SAFETY: the caller is attached; the items are out of the pool, which owned them.
        unsafe { drop_items(items) };
    }
}

/// # Safety
/// The thread is attached, and owns what the slots owned.
unsafe fn drop_items(items: Vec<Item>) {
    for item in items {
        // SAFETY: as the caller promised.
        unsafe {
            discard(item.shell.cast());
            discard(item.object.as_ptr());
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.membership.leave(self);
        // A lease that is out owns the pool, so nothing is leased.
        let items = self.with(|core| core.drain());
        // SAFETY: Python objects die attached.
        unsafe { drop_items(items) };
    }
}

const LEASE_DOC: &std::ffi::CStr = c"lease($self, timeout=...)
--

Takes an object, and returns the lease that gives it back.

The object is taken at the call. If none is idle, the thread waits its turn,
first come, first served; signals such as Ctrl-C interrupt it.

Args:
    timeout: how many seconds to wait, None for ever; by default what the pool
        was made with.

Returns:
    A `Lease`. Use it in a `with`.

Raises:
    PoolTimeout: if no object came free in time.
    TypeError: if `timeout` is neither a number nor None.
    ValueError: if `timeout` is negative or NaN.

Example:
    >>> import opool
    >>> pool = opool.Pool([\"a\"])
    >>> with pool.lease(timeout=2.5) as obj:
    ...     obj
    'a'
";

const TRY_LEASE_DOC: &std::ffi::CStr = c"try_lease($self, /)
--

As `lease`, but never waits: returns None if no object is idle.

Example:
    >>> import opool
    >>> opool.Pool([]).try_lease() is None
    True
";

const ACQUIRE_DOC: &std::ffi::CStr = c"acquire($self, timeout=...)
--

Takes an object without a lease around it; `release` gives it back.

Prefer `lease`: what is acquired and never released is lost to the pool.

Args:
    timeout: as for `lease`.

Returns:
    The object.

Raises:
    PoolTimeout: if no object came free in time.
    TypeError: if `timeout` is neither a number nor None.
    ValueError: if `timeout` is negative or NaN.

Example:
    >>> import opool
    >>> pool = opool.Pool([\"a\"])
    >>> obj = pool.acquire()
    >>> pool.release(obj)
";

const RELEASE_DOC: &std::ffi::CStr = c"release($self, obj, /)
--

Gives back an object that `acquire` took. It is recognised by identity.

Args:
    obj: the object.

Raises:
    LeaseError: if the object is not out by `acquire`: released twice, held by
        a lease, or never in this pool. Nothing changes.
";

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = module.py().get_type::<Pool>();
    let with_timeout = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    add_methods(
        &class,
        [
            method(
                c"lease",
                ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: lease::lease },
                with_timeout,
                LEASE_DOC,
            ),
            method(
                c"try_lease",
                ffi::PyMethodDefPointer { PyCFunction: lease::try_lease },
                ffi::METH_NOARGS,
                TRY_LEASE_DOC,
            ),
            method(
                c"acquire",
                ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: lease::acquire },
                with_timeout,
                ACQUIRE_DOC,
            ),
            method(c"release", ffi::PyMethodDefPointer { PyCFunction: lease::release }, ffi::METH_O, RELEASE_DOC),
        ],
    )?;
    module.add("Pool", class)
}
