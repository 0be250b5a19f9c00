//! The methods of `opool.Pool`. The fast ones take their arguments as CPython passes them.

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;
use pyo3::types::{PyBool, PyDict, PyTuple};

use crate::bindings::args::clock;
use crate::bindings::args::options::{self, Sizes};
use crate::bindings::args::timeout::CloseTimeout;
use crate::bindings::async_lease::step::lease_async;
use crate::bindings::classes::docs;
use crate::bindings::ffi::call::finalizing;
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::slots::{add_methods, document_slot, method};
use crate::bindings::ffi::values::{Message, Value, call_method, class_name, float, text};
use crate::bindings::lease::hot;
use crate::bindings::objects::greenlet;
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::add::add;
use crate::bindings::pool::background::{follow_up, follow_up_if_managed};
use crate::bindings::pool::close::{close, close_after_error};
use crate::bindings::pool::errors;
use crate::pool::Counts;
use crate::sync::Attached;

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(signature = (*_args, **_options), text_signature = "(objects=(), *, factory=None, min_size=0, max_size=None, \
name=None, timeout=30.0, max_waiting=None, order='fifo', fairness='adaptive', check=None, check_after=1.0, \
check_timeout=5.0, reset=None, dispose=None, create_timeout=30.0, max_idle=None, max_lifetime=None, jitter=0.1, \
leak_after=None, track=False, timing=False, clock=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> Self {
        Pool::default()
    }

    #[pyo3(signature = (*args, **options))]
    fn __init__(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let (this, py) = (slf.get(), slf.py());
        let objects = options::objects(args, options)?;
        let configuration = options::read(py, options)?;
        let on_test_clock = configuration.options.clock.is_some();
        let seed = if on_test_clock { 1 } else { clock::monotonic() ^ slf.as_ptr() as u64 };
        if !this.configure(py, configuration, seed) {
            return Err(PyRuntimeError::new_err(Message::of("this pool is set up already; make a new one")));
        }
        if greenlet::look(py)? {
            this.tell_greenlets_apart(py);
        }
        if let Some(clock) = this.clock() {
            call_method(clock.bind(py).as_any(), c"_add_pool", &[slf.as_any()])?;
        }
        // For metrics of all pools that have a name. Nobody reads them when the interpreter shuts down.
        if this.name().is_some() && !finalizing() {
            python_side::REGISTER_POOL.call(py, &[slf.as_any()])?;
        }
        if let Some(objects) = objects {
            // All of them, before anything is created: else what is created for `min_size` could take their room.
            for object in options::iterate(&objects)? {
                add(slf, object?)?;
            }
        }
        follow_up_if_managed(slf)
    }

    /// Adds an object, which goes to the first waiter if there is one.
    ///
    /// Args:
    ///     obj: any object. Added twice, it can be leased twice at the same time.
    ///
    /// Raises:
    ///     PoolClosed: if the pool is closed.
    ///     ValueError: if the pool has `max_size` objects already.
    fn add_obj(slf: &Bound<'_, Self>, obj: Bound<'_, PyAny>) -> PyResult<()> {
        add(slf, obj)?;
        follow_up_if_managed(slf)
    }

    /// The number of objects: idle + leased.
    #[getter]
    fn size(&self, py: Python<'_>) -> Value {
        self.counts(py).size.into()
    }

    /// How many objects can be leased at once, without waiting.
    #[getter]
    fn idle(&self, py: Python<'_>) -> Value {
        self.counts(py).idle.into()
    }

    /// How many objects are out, by a lease or by `acquire`.
    #[getter]
    fn leased(&self, py: Python<'_>) -> Value {
        self.counts(py).leased.into()
    }

    /// How many wait for an object.
    #[getter]
    fn waiting(&self, py: Python<'_>) -> Value {
        self.counts(py).waiting.into()
    }

    /// The name given at construction, or None.
    #[getter(name)]
    fn get_name(&self) -> Option<Value> {
        self.name().map(Value::from)
    }

    /// As given at construction: "adaptive" or "strict".
    #[getter(fairness)]
    fn get_fairness(&self) -> Value {
        self.fairness().into()
    }

    /// How many seconds `lease` and `acquire` wait by default; None is no limit.
    #[getter]
    fn timeout(&self) -> Option<Value> {
        self.default_timeout().map(Value::from)
    }

    /// The minimum number of objects, once they are created. `resize` changes it.
    #[getter]
    fn min_size(&self, py: Python<'_>) -> Value {
        self.with(py, |core| core.rules().min_size).into()
    }

    /// The maximum number of objects; None is no limit. `resize` changes it.
    #[getter]
    fn max_size(&self, py: Python<'_>) -> Option<Value> {
        Some(self.with(py, |core| core.rules().max_size)).filter(|&size| size < usize::MAX).map(Value::from)
    }

    /// Whether `close` was called.
    #[getter]
    fn closed(&self, py: Python<'_>) -> bool {
        self.with(py, |core| core.is_closed())
    }

    /// Replaces all objects by new ones, one after another, and returns at once.
    ///
    /// Where there is room, a new object is created before an old one is discarded; an object that is out is replaced
    /// when it is released. While the factory fails, the old objects stay in use.
    ///
    /// Raises:
    ///     ValueError: if the pool has no factory.
    ///     PoolClosed: if the pool is closed.
    fn reload(slf: &Bound<'_, Self>) -> PyResult<()> {
        needs_factory(slf, "reload")?;
        let now = slf.get().now();
        slf.get().with(slf.py(), |core| core.reload(now));
        follow_up(slf)
    }

    /// Changes the limits. Surplus objects are discarded: idle ones at once, the others when they are released.
    ///
    /// Args:
    ///     min_size: the number of objects to keep at least; unchanged if not given.
    ///     max_size: the maximum number of objects; unchanged if not given.
    ///
    /// Raises:
    ///     TypeError: if a size is no int.
    ///     ValueError: if a size is negative, `min_size` exceeds `max_size`, or the pool has no factory.
    ///     PoolClosed: if the pool is closed.
    #[pyo3(signature = (*, min_size = None, max_size = None))]
    fn resize(
        slf: &Bound<'_, Self>,
        min_size: Option<Bound<'_, PyAny>>,
        max_size: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let this = slf.get();
        needs_factory(slf, "resize")?;
        let size = |name, value: Option<Bound<'_, PyAny>>| value.map(|value| options::count(name, &value)).transpose();
        let (min, max) = (size("min_size", min_size)?, size("max_size", max_size)?);
        let now = this.now();
        // In one step: what another thread sets at the same time is not undone.
        this.with(slf.py(), |core| {
            let rules = core.rules();
            let sizes = Sizes { makes: true, min: min.unwrap_or(rules.min_size), max: max.unwrap_or(rules.max_size) };
            sizes.check().map(|()| core.resize(sizes.min, sizes.max, now))
        })?;
        follow_up(slf)
    }

    /// Closes the pool: no object is leased any more, waiters get `PoolClosed`, and every object is disposed of.
    ///
    /// Waits for the objects that are out. Closing again waits again.
    ///
    /// Args:
    ///     timeout: how many seconds to wait for the objects that are out; None for no limit; by default the pool's
    ///         timeout.
    ///     force: whether to dispose at once of the objects that are out as well, though their holders still use them.
    ///
    /// Raises:
    ///     PoolCloseTimeout: if an object is still out then. It names the holders; the pool stays closed, and an object
    ///         that is released later is disposed of.
    ///     PoolError: in the thread of the event loop whose tasks hold the objects or run the hooks: use `aclose`.
    ///
    /// Example:
    ///     >>> import opool
    ///     >>> with opool.Pool(factory=dict, dispose=dict.clear) as pool:
    ///     ...     with pool.lease() as obj:
    ///     ...         obj["used"] = True
    ///     >>> pool.closed
    ///     True
    #[pyo3(signature = (timeout = CloseTimeout::DEFAULT, *, force = false),
        text_signature = "($self, timeout=opool._default.DEFAULT, *, force=False)")]
    fn close(slf: &Bound<'_, Self>, timeout: CloseTimeout, force: bool) -> PyResult<()> {
        close(slf, timeout.seconds(slf.get().default_timeout()), force)
    }

    /// Closes the pool from a task, as `close`: the event loop goes on meanwhile.
    ///
    /// Example:
    ///     >>> import asyncio, opool
    ///     >>> async def main():
    ///     ...     pool = opool.Pool(["a"])
    ///     ...     await pool.aclose()
    ///     ...     return pool.closed
    ///     >>> asyncio.run(main())
    ///     True
    #[pyo3(signature = (timeout = CloseTimeout::DEFAULT, *, force = false),
        text_signature = "($self, timeout=opool._default.DEFAULT, *, force=False)")]
    fn aclose<'py>(slf: &Bound<'py, Self>, timeout: CloseTimeout, force: bool) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let seconds = match timeout.seconds(this.default_timeout()) {
            Some(seconds) => float(py, seconds)?,
            None => py.None().into_bound(py),
        };
        let force = PyBool::new(py, force).to_owned();
        let aclose = if this.clock().is_some() { &python_side::ACLOSE_ON_CLOCK } else { &python_side::ACLOSE };
        aclose.call(py, &[slf.as_any(), &seconds, force.as_any()])
    }

    /// Returns the pool itself; leaving the `async with` closes it, as `aclose`.
    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        refuse_closed(slf.get(), slf.py())?;
        let in_tasks = PyBool::new(slf.py(), slf.get().works_in_tasks()).to_owned().into_any();
        python_side::ENTER_POOL.call(slf.py(), &[slf.as_any(), &in_tasks])
    }

    /// Closes the pool, as `aclose`.
    #[pyo3(signature = (*_exception))]
    fn __aexit__<'py>(slf: &Bound<'py, Self>, _exception: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        let closing = Pool::aclose(slf, CloseTimeout::DEFAULT, false)?;
        if !has_raised(_exception) {
            return Ok(closing);
        }
        python_side::ACLOSE_AFTER_ERROR.call(slf.py(), &[slf.as_any(), &closing])
    }

    /// Returns the pool itself; leaving the `with` closes it, as `close`.
    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if slf.get().needs_event_loop() {
            return Err(errors::only_async_with(slf.get(), slf.py()).into());
        }
        refuse_closed(slf.get(), slf.py())?;
        Ok(slf)
    }

    /// Closes the pool, as `close`.
    #[pyo3(signature = (*_exception))]
    fn __exit__(slf: &Bound<'_, Self>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        if has_raised(_exception) {
            return close_after_error(slf);
        }
        close(slf, slf.get().default_timeout(), false)
    }

    /// Lists who holds an object, since when, and what the holder is doing: see `opool.Holder`.
    ///
    /// Example:
    ///     >>> import opool
    ///     >>> pool = opool.Pool(["a"])
    ///     >>> with pool.lease() as obj:
    ///     ...     [holder.obj for holder in pool.holders()]
    ///     ['a']
    fn holders<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        python_side::HOLDERS.call(slf.py(), &[slf.as_any()])
    }

    /// Returns all counts and sizes of one moment: see `opool.PoolStats`.
    ///
    /// Example:
    ///     >>> import opool
    ///     >>> stats = opool.Pool(["a", "b"]).stats()
    ///     >>> stats.size, stats.idle, stats.leases
    ///     (2, 2, 0)
    fn stats<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        python_side::STATS.call(slf.py(), &[slf.as_any()])
    }

    fn __contains__(&self, obj: &Bound<'_, PyAny>) -> bool {
        self.with(obj.py(), |core| core.values().any(|(_, item, ..)| item.object.as_ptr() == obj.as_ptr()))
    }

    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(manager) = slf.get().id_source().and_then(|ids| ids.manager(slf.py())) {
            return Ok(manager.repr()?.into_any());
        }
        let Counts { size, idle, leased, waiting, .. } = slf.get().counts(slf.py());
        let class = class_name(slf.as_any())?;
        let name = slf.get().name().map_or_else(String::new, |name| format!(" '{name}'"));
        let closed = if slf.get().with(slf.py(), |core| core.is_closed()) { "closed, " } else { "" };
        text(
            slf.py(),
            &format!("<{class}{name}: {closed}size {size}, idle {idle}, leased {leased}, waiting {waiting}>"),
        )
    }

    /// Raises TypeError: the objects of a pool belong to this process.
    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let shown = slf.repr()?;
        Err(PyTypeError::new_err(Message::of(format!(
            "cannot pickle or copy {shown}: it lends objects of this process"
        ))))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector runs attached.
        self.traverse(unsafe { Attached::assume() }, &visit)
    }

    fn __clear__(&self) {
        // SAFETY: the collector runs attached.
        self.clear(unsafe { Attached::assume() });
    }
}

fn refuse_closed(pool: &Pool, py: Python<'_>) -> PyResult<()> {
    if pool.with(py, |core| core.is_closed()) { Err(errors::closed(pool, py).into()) } else { Ok(()) }
}

/// Whether these arguments of an `__exit__` say that the body has raised.
fn has_raised(exception: &Bound<'_, PyTuple>) -> bool {
    exception.iter().next().is_some_and(|kind| !kind.is_none())
}

fn needs_factory(pool: &Bound<'_, Pool>, what: &str) -> PyResult<()> {
    let (this, py) = (pool.get(), pool.py());
    let (makes, closed) = this.with(py, |core| (core.rules().makes, core.is_closed()));
    if closed {
        return Err(errors::closed(this, py).into());
    }
    if !makes {
        let message = format!("{}: {what} needs a factory; this pool only has what it was given", this.called(py));
        return Err(PyValueError::new_err(Message::of(message)));
    }
    Ok(())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = module.py().get_type::<Pool>();
    let with_timeout = ffi::METH_FASTCALL | ffi::METH_KEYWORDS;
    let lease = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: hot::lease };
    let lease_async = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: lease_async };
    let try_lease = ffi::PyMethodDefPointer { PyCFunction: hot::try_lease };
    let acquire = ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: hot::acquire };
    let release = ffi::PyMethodDefPointer { PyCFunction: hot::release };
    add_methods(
        &class,
        vec![
            method(c"lease", lease, with_timeout, docs::POOL_LEASE),
            method(c"lease_async", lease_async, with_timeout, docs::POOL_LEASE_ASYNC),
            method(c"try_lease", try_lease, ffi::METH_NOARGS, docs::POOL_TRY_LEASE),
            method(c"acquire", acquire, with_timeout, docs::POOL_ACQUIRE),
            method(c"release", release, ffi::METH_O, docs::POOL_RELEASE),
        ],
    )?;
    document_slot(&class, c"__init__", docs::POOL_INIT)?;
    module.add("Pool", class)
}
