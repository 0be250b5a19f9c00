//! `opool.Pool`: the cold surface. The hot methods are in `lease.rs`, what they do when they must wait in `waiting.rs`.

use std::ptr::{self, NonNull};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;
use pyo3::types::{PyBool, PyDict, PyList, PyTuple, PyWeakrefReference};

use super::alarm::Alarms;
use super::async_wait::new_turn;
use super::background::{self, Job, Moment, follow_up};
use super::clock::{self, Clock};
use super::closing::{self, CloseTimeout};
use super::errors;
use super::figures;
use super::fork::Membership;
use super::hooks::Hooks;
use super::lease::Lease;
use super::lender::Lender;
use super::options::{self, Options, Sizes};
use super::outside;
use super::raw::discard;
use super::spare::Spare;
use super::timeouts::{Timeout, Wait};
use super::waiting;
use super::waker::{TaskRef, Turn, Waker};
use super::watch::{self, Places};
use crate::pool::{Counts, Hold, Identity, Nanos, Rules, SlotId, State};
use crate::sync::{Attached, Guarded};

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
pub(super) type Core = State<Item, Waker>;

impl Identity for Item {
    #[inline(always)]
    fn identity(&self) -> usize {
        self.object.as_ptr() as usize
    }
}

/// Hands out each of its objects to one holder at a time.
///
/// Threads that find no object idle wait in the order in which they came, with the GIL released; the first of them gets
/// the next object that is given back or added. Any method may be called from any thread.
///
/// With a `factory` the pool makes objects itself, when somebody waits and none is idle, up to `max_size`. That happens
/// in background threads: whoever asks gets what comes first, an object that comes back or a new one. The threads end
/// when there is nothing to do. An option that is not given costs nothing. Close such a pool to have its objects
/// disposed of; one that is merely dropped drops them.
///
/// Args:
///     objects: what to hand out, in this order. Kept by reference; the same object may stand here several times.
///     factory: makes an object. If it raises, the next attempt waits (0.1 s, then twice as long each time, up to 5 s);
///         where no object is left that could come back, those who wait get the error at once.
///     min_size: how many objects to keep at least.
///     max_size: how many objects there may be; by default 10 with a factory, and without one as many as are added.
///     name: shows up in messages.
///     timeout: how many seconds `lease` and `acquire` wait unless they are told otherwise, for everything together;
///         None is for ever.
///     max_waiting: how many may wait for objects that others hold; None is any number.
///     order: which idle object goes out next: "fifo" (the one that has been idle longest) or "lifo" (the one that
///         came back last, so that those which are not needed become idle and go).
///     fairness: what a thread gets that gives back while others wait, and asks again at once. With "strict", the end
///         of the queue. With "adaptive", the same object for another while, up to half a millisecond in all, provided
///         that it keeps each lease for less than ten microseconds: then a change of threads costs more than the lease.
///         Those who wait keep their order in either case.
///     check: called with an object before it goes out; if it raises or returns something false other than None, the
///         object goes, and another takes its place.
///     check_after: only if the object has been idle for more than so many seconds; `math.inf` is never.
///     check_timeout: how many seconds a check in the background may take before its object goes.
///     reset: called with an object that comes back, by whoever gives it back; if it raises, the object goes.
///     dispose: called with an object that goes, in the background. Until that is done, but for a second at most, the
///         object still takes its place among `max_size`.
///     create_timeout: how many seconds the factory may take before the attempt counts as failed. What it returns later
///         is used or disposed of.
///     max_idle: how many seconds an object may be idle before it goes, while there are more than `min_size`.
///     max_lifetime: how many seconds after it was made an object is replaced, one after another.
///     jitter: by which part of it, at random and at most, a lifetime is shorter: 0 to 1.
///     leak_after: a lease that lasts for more seconds is reported in the log, once, with its holder's stack.
///     track: whether `holders` knows where in the program each lease was taken.
///     timing: whether `stats` knows how long leases last.
///     clock: an `opool.testing.Clock`, for tests.
///
/// Raises:
///     TypeError: if `objects` cannot be iterated over, or an option is unknown or has the wrong type.
///     ValueError: if an option has an impossible value, or means nothing without another that is missing.
///
/// Example:
///     >>> import opool
///     >>> pool = opool.Pool(["a", "b"], name="letters")
///     >>> with pool.lease() as letter:
///     ...     letter
///     'a'
///     >>> pool
///     <opool.Pool 'letters': size 2, idle 2, leased 0, waiting 0>
///     >>> with opool.Pool(factory=dict, max_size=2, dispose=dict.clear) as pool:
///     ...     with pool.lease() as made:
///     ...         made
///     {}
#[pyclass(frozen, subclass, weakref, generic, module = "opool")]
pub(super) struct Pool {
    pub(super) core: Guarded<Core>,
    options: OnceLock<Options>,
    hooks: Guarded<Hooks>,
    /// Whether there may be something to do after a change: see `background::follow_up`.
    managed: AtomicBool,
    lender: Option<Lender>,
    /// Why the latest attempt to make an object failed, if it did, and if it was not given up.
    last_error: Guarded<Option<Py<PyAny>>>,
    pub(super) places: Places,
    pub(super) alarms: Alarms,
    /// If the background work is done by tasks: when one of them looks at the clock.
    pub(super) looks_at: Moment,
    /// If tasks wait: when somebody looks for a deadlock, or should have.
    pub(super) looks_for_deadlock: Moment,
    /// The memory of an async lease that is over, for the next one.
    pub(super) spare: Spare,
    pub(super) membership: Membership,
}

impl Default for Pool {
    fn default() -> Self {
        Pool {
            core: Guarded::new(State::new()),
            options: OnceLock::new(),
            hooks: Guarded::new(Hooks::default()),
            managed: AtomicBool::new(false),
            lender: None,
            last_error: Guarded::new(None),
            places: Places::default(),
            alarms: Alarms::default(),
            looks_at: Moment::at(Nanos::MAX),
            looks_for_deadlock: Moment::at(0),
            spare: Spare::default(),
            membership: Membership::default(),
        }
    }
}

impl Pool {
    /// One whose objects are somebody else's.
    pub(super) fn borrowing(lender: Lender) -> Self {
        let mut pool = Pool::default();
        pool.lender = Some(lender);
        pool.manage();
        pool.with(|core| core.set_rules(Rules { borrows: true, ..Rules::NONE }, 0));
        pool
    }

    /// Where its objects come from, if they are not its own.
    pub(super) fn lender(&self) -> Option<&Lender> {
        self.lender.as_ref()
    }

    /// # Safety
    /// `this` is an instance of the class, and outlives the reference.
    #[inline(always)]
    pub(super) unsafe fn from_raw<'a>(this: *mut PyObject) -> &'a Pool {
        // SAFETY: as promised by the caller. A frozen class has no borrow flag, so a plain reference is all it takes.
        unsafe { &*ptr::from_ref(Pool::bound(&this).get()) }
    }

    /// # Safety
    /// `this` is an instance of the class, which outlives the reference, and the thread is attached.
    #[inline(always)]
    pub(super) unsafe fn bound(this: &*mut PyObject) -> &Bound<'_, Pool> {
        // SAFETY: as promised by the caller.
        unsafe { Bound::ref_from_ptr(Python::assume_attached(), this).cast_unchecked() }
    }

    /// The shell of a slot that the caller holds.
    pub(super) fn shell(&self, slot: SlotId) -> *mut Lease {
        self.with(|core| core.value_mut(slot).map_or(ptr::null_mut(), |item| item.shell))
    }

    /// Somebody will look for a deadlock. Should that be forgotten, as the event loop ends, the next one who waits sees to
    /// it, a while after.
    pub(super) fn look_for_deadlock_later(&self) {
        self.looks_for_deadlock.set(self.now().saturating_add(2_000_000_000));
    }

    /// How many seconds a wait may take by default.
    pub(super) fn default_timeout(&self) -> Option<f64> {
        self.options().timeout
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.options().name.as_deref()
    }

    pub(super) fn counts(&self) -> Counts {
        let counts = self.with(|core| core.counts());
        match self.lender() {
            // SAFETY: called by methods, which are attached.
            Some(lender) => lender.counts(unsafe { Python::assume_attached() }, counts),
            None => counts,
        }
    }

    pub(super) fn clock(&self) -> Option<&Py<Clock>> {
        self.options().clock.as_ref()
    }

    /// The time, in nanoseconds since the clock's own beginning.
    pub(super) fn now(&self) -> Nanos {
        self.clock().map_or_else(clock::monotonic, |clock| clock.get().nanos())
    }

    /// Whether there may be something to do after a change.
    pub(super) fn is_managed(&self) -> bool {
        self.managed.load(Relaxed)
    }

    /// From now on there may be.
    pub(super) fn manage(&self) {
        self.managed.store(true, Relaxed);
    }

    pub(super) fn tracks(&self) -> bool {
        self.options().track
    }

    /// Whether any hooks are coroutine functions.
    pub(super) fn needs_event_loop(&self) -> bool {
        !self.options().async_hooks.is_empty()
    }

    /// Whether the background work is done by tasks of an event loop.
    pub(super) fn works_in_tasks(&self) -> bool {
        self.needs_event_loop() && self.clock().is_none()
    }

    /// The hooks that are coroutine functions.
    pub(super) fn async_hooks(&self) -> &[&'static str] {
        &self.options().async_hooks
    }

    pub(super) fn note_place(&self, slot: SlotId) {
        // SAFETY: called by methods, which are attached.
        self.places.note(unsafe { Python::assume_attached() }, slot);
    }

    pub(super) fn hooks(&self, py: Python<'_>) -> Hooks {
        // SAFETY: attached.
        self.hooks.with(unsafe { Attached::assume() }, |hooks| hooks.clone_ref(py))
    }

    /// What is called with an object that comes back.
    pub(super) fn reset_hook<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        // SAFETY: attached.
        self.hooks.with(unsafe { Attached::assume() }, |hooks| hooks.reset.as_ref().map(|hook| hook.bind(py).clone()))
    }

    /// Why the latest attempt to make an object failed, if it did.
    pub(super) fn last_error<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let now = self.now();
        let (failing, limit) = self.with(|core| (core.failing(now), core.rules().make_limit));
        if failing.is_some_and(|failing| failing.gave_up) {
            // Nobody has raised: this is it.
            return errors::gave_up(py, limit).map(Some);
        }
        // SAFETY: attached.
        Ok(self
            .last_error
            .with(unsafe { Attached::assume() }, |error| error.as_ref().map(|error| error.bind(py).clone())))
    }

    pub(super) fn set_last_error(&self, _: Python<'_>, error: Option<Py<PyAny>>) {
        // SAFETY: attached.
        let before = self.last_error.with(unsafe { Attached::assume() }, |last| std::mem::replace(last, error));
        if let Some(before) = before {
            // SAFETY: attached. With it go its traceback, and what the frames there refer to.
            unsafe { outside::drop_reference(before.into_ptr()) };
        }
    }

    fn options(&self) -> &Options {
        static DEFAULT: Options = Options::DEFAULT;
        self.options.get().unwrap_or(&DEFAULT)
    }

    pub(super) fn with<R>(&self, critical: impl FnOnce(&mut Core) -> R) -> R {
        // SAFETY: every caller is a method, called attached.
        self.core.with(unsafe { Attached::assume() }, critical)
    }

    fn insert(slf: &Bound<'_, Self>, obj: Bound<'_, PyAny>) -> PyResult<()> {
        let this = slf.get();
        this.membership.join(this);
        let Some(object) = NonNull::new(obj.into_ptr()) else { return Ok(()) };
        let (item, now) = (Item { object, shell: ptr::null_mut(), holder: 0 }, this.now());
        match this.with(|core| core.add(item, now)) {
            Ok(Some(waker)) => waker.wake(slf),
            Ok(None) => {}
            Err((item, refusal)) => {
                // SAFETY: the reference that was to be the slot's.
                let object = unsafe { Bound::from_owned_ptr(slf.py(), item.object.as_ptr()) };
                errors::not_added(slf, &object, refusal);
                return Err(PyErr::fetch(slf.py()));
            }
        }
        Ok(())
    }

    /// What follows from a change, if there is anything that could.
    fn settle(slf: &Bound<'_, Self>) -> PyResult<()> {
        if slf.get().is_managed() { follow_up(slf) } else { Ok(()) }
    }
}

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(signature = (*_args, **_options), text_signature = "(objects=(), *, factory=None, min_size=0, max_size=None, \
        name=None, timeout=30.0, max_waiting=None, order='fifo', fairness='adaptive', check=None, check_after=1.0, \
        check_timeout=5.0, reset=None, dispose=None, create_timeout=30.0, max_idle=None, max_lifetime=None, \
        jitter=0.1, leak_after=None, track=False, timing=False, clock=None)")]
    fn new(_args: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> Self {
        Pool::default()
    }

    #[pyo3(signature = (*args, **options))]
    fn __init__(slf: &Bound<'_, Self>, args: &Bound<'_, PyTuple>, options: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let this = slf.get();
        let objects = options::objects(args, options)?;
        let told = options::read(options)?;
        let (order, patience) = (told.options.order, told.options.fairness.1);
        let seed = if told.options.clock.is_some() { 1 } else { clock::monotonic() ^ slf.as_ptr() as u64 };
        if this.options.set(told.options).is_err() {
            return Err(PyRuntimeError::new_err("this pool is set up already; make a new one"));
        }
        this.with(|core| {
            core.set_order(order);
            core.set_time_slice(patience);
            core.set_rules(told.rules, seed);
        });
        // SAFETY: attached.
        let none = this.hooks.with(unsafe { Attached::assume() }, |hooks| std::mem::replace(hooks, told.hooks));
        drop(none);
        if this.with(|core| core.uses_background()) {
            this.manage();
        }
        if let Some(clock) = this.clock() {
            clock.bind(slf.py()).call_method1("_join", (slf,))?;
        }
        // For metrics of all pools that have a name. Nobody reads them when the interpreter goes down.
        if this.name().is_some() && !errors::finalizing() {
            background::call_python(slf.py(), c"opool._known", c"join", &[slf.as_any()])?;
        }
        if let Some(objects) = objects {
            // All of them, before anything is made: else what is made for `min_size` could take the room of the rest.
            for object in objects.try_iter()? {
                Pool::insert(slf, object?)?;
            }
        }
        Pool::settle(slf)
    }

    /// Appends an object, or hands it to whoever has waited longest.
    ///
    /// Args:
    ///     obj: any object. Added twice, it can be out twice at the same time.
    ///
    /// Raises:
    ///     PoolClosed: if the pool is closed.
    ///     ValueError: if the pool has `max_size` objects already.
    fn add_obj(slf: &Bound<'_, Self>, obj: Bound<'_, PyAny>) -> PyResult<()> {
        Pool::insert(slf, obj)?;
        Pool::settle(slf)
    }

    /// Takes an object out for good. For the queue that `design.opool.Pool` shows.
    fn _remove(slf: &Bound<'_, Self>, py: Python<'_>, timeout: Timeout) -> PyResult<Py<PyAny>> {
        let this = slf.get();
        let slot = waiting::wait_for_slot(slf, Wait::from(timeout)).ok_or_else(|| PyErr::fetch(py))?;
        let now = this.now();
        let item = this.with(|core| core.retire(slot, now));
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

    /// How many objects there are at least, once they are made. `resize` changes it.
    #[getter]
    fn min_size(&self) -> usize {
        self.with(|core| core.rules().min_size)
    }

    /// How many objects there are at most; None if there is no limit. `resize` changes it.
    #[getter]
    fn max_size(&self) -> Option<usize> {
        Some(self.with(|core| core.rules().max_size)).filter(|&size| size < usize::MAX)
    }

    /// Whether `close` was called.
    #[getter]
    fn closed(&self) -> bool {
        self.with(|core| core.is_closed())
    }

    /// Replaces all objects by new ones, one after another, and returns at once.
    ///
    /// Where there is room, a new object comes before an old one goes; what is out is replaced when it comes back.
    /// While the factory fails, the old objects stay in use.
    ///
    /// Raises:
    ///     ValueError: if the pool has no factory.
    ///     PoolClosed: if the pool is closed.
    fn reload(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        Pool::needs_factory(slf, "reload")?;
        let now = this.now();
        this.with(|core| core.reload(now));
        follow_up(slf)
    }

    /// Changes the limits. What is idle and too much goes at once, what is out when it comes back.
    ///
    /// Args:
    ///     min_size: how many objects to keep at least; unchanged if not given.
    ///     max_size: how many there may be; unchanged if not given.
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
        Pool::needs_factory(slf, "resize")?;
        let size = |name, value: Option<Bound<'_, PyAny>>| value.map(|value| options::count(name, &value)).transpose();
        let (min, max) = (size("min_size", min_size)?, size("max_size", max_size)?);
        let now = this.now();
        // In one step: what another thread sets at the same time is not undone.
        this.with(|core| {
            let rules = core.rules();
            let sizes = Sizes { makes: true, min: min.unwrap_or(rules.min_size), max: max.unwrap_or(rules.max_size) };
            sizes.check().map(|()| core.resize(sizes.min, sizes.max, now))
        })?;
        follow_up(slf)
    }

    /// Ends the pool: nothing goes out any more, those who wait get `PoolClosed`, and every object is disposed of.
    ///
    /// Waits for what is still out. Closing again waits again, for what was left.
    ///
    /// Args:
    ///     timeout: how many seconds to wait for what is out; None for ever; by default the pool's timeout.
    ///     force: whether to dispose of what is out as well, under its holders' hands, and not to wait.
    ///
    /// Raises:
    ///     PoolCloseTimeout: if something is still out then. It says who holds it; the pool stays closed, and what
    ///         comes back later is disposed of.
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
        text_signature = "($self, timeout=..., *, force=False)")]
    fn close(slf: &Bound<'_, Self>, timeout: CloseTimeout, force: bool) -> PyResult<()> {
        closing::end(slf, timeout.seconds(slf.get()), force)
    }

    /// As `close`, for tasks: the event loop goes on meanwhile.
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
        text_signature = "($self, timeout=..., *, force=False)")]
    fn aclose<'py>(slf: &Bound<'py, Self>, timeout: CloseTimeout, force: bool) -> PyResult<Bound<'py, PyAny>> {
        let seconds = timeout.seconds(slf.get());
        let (py, this) = (slf.py(), slf.get());
        let (seconds, force) = (seconds.into_pyobject(py)?, PyBool::new(py, force).to_owned());
        let aclose = if this.clock().is_some() { c"aclose_at_once" } else { c"aclose" };
        background::call_python(py, c"opool._event_loops", aclose, &[slf.as_any(), &seconds, force.as_any()])
    }

    /// The first half of `aclose`: nothing goes out any more.
    fn _begin_close(slf: &Bound<'_, Self>, force: bool) -> PyResult<()> {
        closing::begin(slf, force);
        follow_up(slf)
    }

    /// Whether everything is back; and whether nothing is being done any more either.
    fn _is_over(&self) -> (bool, bool) {
        self.with(|core| core.is_over())
    }

    /// Something that is called at each step towards the end of the pool, for a task to wait for.
    fn _add_closer<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Turn>> {
        let turn = new_turn(slf)?;
        let closer = Waker::Task(TaskRef::new(&turn));
        slf.get().with(|core| core.add_closer(closer));
        Ok(turn)
    }

    /// Whether somebody has something that the pool lacks, and may give it back.
    fn _has_given_others(&self, py: Python<'_>) -> bool {
        self.lender().is_some_and(|lender| lender.has_given_others(py))
    }

    /// Whether its objects are the ids of a manager.
    fn _lends_ids(&self) -> bool {
        self.lender().is_some()
    }

    /// What messages call it.
    fn _called(&self) -> String {
        self.to_string()
    }

    /// Does what is left to do, should there be something.
    #[pyo3(name = "_settle")]
    fn py_settle(slf: &Bound<'_, Self>) -> PyResult<()> {
        Pool::settle(slf)
    }

    fn _looks_again(&self) {
        self.look_for_deadlock_later();
    }

    fn _no_closer(&self, turn: &Bound<'_, Turn>) {
        drop(self.with(|core| core.remove_closers(|closer| closer.is_task(turn))));
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let in_tasks = PyBool::new(slf.py(), slf.get().works_in_tasks()).to_owned().into_any();
        background::call_python(slf.py(), c"opool._crew", c"enter", &[slf.as_any(), &in_tasks])
    }

    #[pyo3(signature = (*_exception))]
    fn __aexit__<'py>(slf: &Bound<'py, Self>, _exception: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        Pool::aclose(slf, CloseTimeout::DEFAULT, false)
    }

    /// In how many seconds there is something to do in the background. Whoever asks is going to look then.
    fn _seconds_to_work(&self) -> Option<f64> {
        // In one step: whoever brings it forward (`follow_up`) comes before, or finds when this one looks.
        let due = self.with(|core| {
            let due = core.due();
            self.looks_at.set(due.unwrap_or(Nanos::MAX));
            due
        });
        due.map(|due| due.saturating_sub(self.now()) as f64 / 1e9)
    }

    /// Whether there is something to do in the background now.
    fn _has_work(&self) -> bool {
        let now = self.now();
        self.with(|core| core.has_work(now))
    }

    fn __enter__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        if slf.get().needs_event_loop() { Err(errors::only_async_with(slf.get())) } else { Ok(slf) }
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(slf: &Bound<'_, Self>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        closing::end(slf, CloseTimeout::DEFAULT.seconds(slf.get()), false)
    }

    /// What is out now, and with whom: the raw material of `holders`.
    fn _holders<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        watch::holders(slf)
    }

    /// The raw material of `stats`, all of one moment.
    fn _figures<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        figures::read(slf)
    }

    /// Who holds something, since when, and what they are doing: see `opool.Holder`.
    ///
    /// Example:
    ///     >>> import opool
    ///     >>> pool = opool.Pool(["a"])
    ///     >>> with pool.lease() as obj:
    ///     ...     [holder.obj for holder in pool.holders()]
    ///     ['a']
    fn holders<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        background::call_python(slf.py(), c"opool._watch", c"holders", &[slf.as_any()])
    }

    /// All counts and sizes of one moment: see `opool.PoolStats`.
    ///
    /// Example:
    ///     >>> import opool
    ///     >>> stats = opool.Pool(["a", "b"]).stats()
    ///     >>> stats.size, stats.idle, stats.leases
    ///     (2, 2, 0)
    fn stats<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        background::call_python(slf.py(), c"opool._figures", c"stats", &[slf.as_any()])
    }

    /// The next piece of background work, for a clock of a test.
    fn _next_job(slf: &Bound<'_, Self>) -> PyResult<Option<Job>> {
        let this = slf.get();
        let home = PyWeakrefReference::new(slf.as_any())?.unbind();
        this.membership.join(this);
        let now = this.now();
        let work = this.with(|core| {
            if this.clock().is_some() {
                let _next = core.expire(now);
            }
            core.take_work(now)
        });
        let job = work.and_then(|work| Job::new(slf, home, work));
        follow_up(slf).map(|()| job)
    }

    /// When there will be some by itself, or a task's time is up, in nanoseconds of the pool's clock.
    fn _due(&self) -> Option<u64> {
        self.with(|core| core.due().into_iter().chain(core.next_deadline()).min())
    }

    /// The alarm of an event loop, which this thread runs: sends those away whose time is up.
    fn _expire(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        let this = slf.get();
        this.alarms.rang(event_loop);
        let now = this.now();
        let next = this.with(|core| core.expire(now));
        Alarms::set(slf, event_loop, next.unwrap_or(Nanos::MAX))?;
        follow_up(slf)
    }

    /// Why the latest attempt to make an object failed, if it did.
    #[getter]
    fn _last_error<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.last_error(py)
    }

    /// Whether `obj` belongs to this pool, idle or out. Compares by identity, and looks at every object.
    fn __contains__(&self, obj: &Bound<'_, PyAny>) -> bool {
        self.with(|core| core.values().any(|(_, item, ..)| item.object.as_ptr() == obj.as_ptr()))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        if let Some(manager) = slf.get().lender().and_then(|lender| lender.manager(slf.py())) {
            return Ok(manager.repr()?.to_string());
        }
        let Counts { size, idle, leased, waiting, .. } = slf.get().counts();
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
            core.wakers().try_for_each(|waker| waker.traverse(&visit))?;
            for item in core.leaving() {
                // SAFETY: as below.
                unsafe { visit.call(&*(&raw const item.object).cast::<Py<PyAny>>())? };
            }
            for (_, item, hold, _) in core.values() {
                // SAFETY: a `Py` is a pointer that is not null; both are only looked at.
                unsafe {
                    visit.call(&*(&raw const item.object).cast::<Py<PyAny>>())?;
                    if hold != Hold::Leased && !item.shell.is_null() {
                        visit.call(&*(&raw const item.shell).cast::<Py<PyAny>>())?;
                    }
                }
            }
            Ok(())
        })?;
        // SAFETY: as above.
        let attached = unsafe { Attached::assume() };
        let spare = self.spare.get();
        if !spare.is_null() {
            // SAFETY: as above.
            unsafe { visit.call(&*(&raw const spare).cast::<Py<PyAny>>())? };
        }
        self.alarms.traverse(&visit)?;
        self.last_error.with(attached, |error| visit.call(&*error))?;
        self.hooks.with(attached, |hooks| hooks.traverse(&visit))
    }

    fn __clear__(&self) {
        let items = self.with(|core| core.drain());
        // SAFETY: the caller is attached; the items are out of the pool, which owned them.
        unsafe { drop_items(items) };
        // SAFETY: attached.
        let attached = unsafe { Attached::assume() };
        drop(self.hooks.with(attached, std::mem::take));
        drop(self.last_error.with(attached, Option::take));
        self.alarms.clear();
        // SAFETY: as above.
        unsafe { ffi::Py_XDECREF(self.spare.take()) };
    }
}

impl Pool {
    fn needs_factory(slf: &Bound<'_, Self>, what: &str) -> PyResult<()> {
        let (makes, closed) = slf.get().with(|core| (core.rules().makes, core.is_closed()));
        if closed {
            errors::closed(slf.get());
            return Err(PyErr::fetch(slf.py()));
        }
        if !makes {
            let pool = slf.get();
            return Err(PyValueError::new_err(format!(
                "{pool}: {what} needs a factory; this pool only has what it was given"
            )));
        }
        Ok(())
    }
}

/// # Safety
/// The thread is attached, and owns what the slots owned.
pub(super) unsafe fn drop_items(items: impl IntoIterator<Item = Item>) {
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
        for waker in self.with(|core| core.wake_all()) {
            waker.unpark();
        }
        // A lease that is out owns the pool, so nothing is leased.
        let items = self.with(|core| core.drain());
        // SAFETY: Python objects die attached.
        unsafe {
            ffi::Py_XDECREF(self.spare.take());
            drop_items(items);
        }
    }
}
