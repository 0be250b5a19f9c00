//! `opool.Pool`: what it holds. `lease/hot.rs` has the fast path, `pool/` what it does else, `classes/pool.rs` its
//! methods.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use pyo3::PyTraverseError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;

use crate::bindings::args::clock::{self, Clock};
use crate::bindings::args::hooks::Hooks;
use crate::bindings::args::options::{Configuration, Options};
use crate::bindings::ffi::call::{attached, drop_reference};
use crate::bindings::objects::atomic_time::AtomicTime;
use crate::bindings::objects::id_source::IdSource;
use crate::bindings::objects::item::{Core, Item, drop_items};
use crate::bindings::objects::lease::Lease;
use crate::bindings::objects::places::Places;
use crate::bindings::objects::registry::{Address, Membership};
use crate::bindings::objects::spare::Spare;
use crate::bindings::objects::timers::Timers;
use crate::pool::{Counts, Hold, Nanos, Rules, SlotId, State};
use crate::sync::{Attached, Guarded};

#[doc = include_str!("../classes/docs/pool.txt")]
#[pyclass(frozen, subclass, weakref, generic, module = "opool")]
pub(crate) struct Pool {
    pub(crate) core: Guarded<Core>,
    options: OnceLock<Options>,
    hooks: Guarded<Hooks>,
    /// Whether a change may leave something to do: see `pool::background::follow_up`.
    managed: AtomicBool,
    /// Where its objects come from, if they are the ids of a manager.
    id_source: Option<IdSource>,
    /// Why the latest attempt to create an object failed, if it raised.
    last_error: Guarded<Option<Py<PyAny>>>,
    pub(crate) places: Places,
    pub(crate) timers: Timers,
    /// If tasks do the background work: when one of them looks at the clock.
    pub(crate) hooks_wake_at: AtomicTime,
    /// If tasks wait: when somebody looks for a deadlock, or should have.
    pub(crate) deadlock_watch_at: AtomicTime,
    /// How many leases there had been, plus one, when the log told of a deadlock. Zero: it never did.
    deadlock_told_at: AtomicU64,
    /// Whether the log has told that a `lease` blocks an event loop.
    blocked_loop: AtomicBool,
    /// Whether `reset` turned out to make coroutines, although it is no coroutine function.
    resets_by_coroutine: AtomicBool,
    /// The memory of an async lease that is over, for the next one.
    pub(crate) spare: Spare,
    membership: Membership,
    /// Whether it notes which greenlet holds what.
    tells_greenlets_apart: AtomicBool,
}

impl Default for Pool {
    fn default() -> Self {
        Pool {
            core: Guarded::new(State::new()),
            options: OnceLock::new(),
            hooks: Guarded::new(Hooks::default()),
            managed: AtomicBool::new(false),
            id_source: None,
            last_error: Guarded::new(None),
            places: Places::default(),
            timers: Timers::default(),
            hooks_wake_at: AtomicTime::at(Nanos::MAX),
            deadlock_watch_at: AtomicTime::at(0),
            deadlock_told_at: AtomicU64::new(0),
            blocked_loop: AtomicBool::new(false),
            resets_by_coroutine: AtomicBool::new(false),
            spare: Spare::default(),
            membership: Membership::default(),
            tells_greenlets_apart: AtomicBool::new(false),
        }
    }
}

impl Pool {
    /// A pool that leases the ids of a manager.
    pub(crate) fn of_ids(py: Python<'_>, id_source: IdSource) -> Self {
        let mut pool = Pool::default();
        pool.id_source = Some(id_source);
        pool.manage();
        pool.with(py, |core| core.set_rules(Rules { borrows: true, ..Rules::NONE }, 0));
        pool
    }

    /// Sets it up, once. False if it was set up before.
    pub(crate) fn configure(&self, py: Python<'_>, configuration: Configuration, seed: u64) -> bool {
        let Configuration { options, rules, hooks } = configuration;
        let (order, patience) = (options.order, options.fairness.1);
        if self.options.set(options).is_err() {
            return false;
        }
        let works = self.with(py, |core| {
            core.set_order(order);
            core.set_time_slice(patience);
            core.set_rules(rules, seed);
            core.uses_background()
        });
        drop(self.hooks.with(attached(py), |none| std::mem::replace(none, hooks)));
        if works {
            self.manage();
        }
        true
    }

    /// # Safety
    /// `this` is an instance of the class, and outlives the reference.
    #[inline(always)]
    pub(crate) unsafe fn from_raw<'a>(py: Python<'_>, this: *mut PyObject) -> &'a Pool {
        // SAFETY: as promised by the caller. A frozen class has no borrow flag, so a plain reference is all it takes.
        unsafe { &*ptr::from_ref(Pool::bound(py, &this).get()) }
    }

    /// # Safety
    /// `this` is an instance of the class, which outlives the reference.
    #[inline(always)]
    pub(crate) unsafe fn bound<'a, 'py>(py: Python<'py>, this: &'a *mut PyObject) -> &'a Bound<'py, Pool> {
        // SAFETY: as promised by the caller.
        unsafe { Bound::ref_from_ptr(py, this).cast_unchecked() }
    }

    /// A critical section: it never runs Python, and never waits.
    pub(crate) fn with<R>(&self, py: Python<'_>, critical: impl FnOnce(&mut Core) -> R) -> R {
        self.core.with(attached(py), critical)
    }

    fn options(&self) -> &Options {
        static DEFAULT: Options = Options::DEFAULT;
        self.options.get().unwrap_or(&DEFAULT)
    }

    pub(crate) fn id_source(&self) -> Option<&IdSource> {
        self.id_source.as_ref()
    }

    /// The shell of a slot that the caller holds.
    pub(crate) fn shell(&self, py: Python<'_>, slot: SlotId) -> *mut Lease {
        self.with(py, |core| core.value_mut(slot).map_or(ptr::null_mut(), |item| item.shell))
    }

    /// How many seconds a wait may take by default.
    pub(crate) fn default_timeout(&self) -> Option<f64> {
        self.options().timeout
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.options().name.as_deref()
    }

    pub(crate) fn fairness(&self) -> &'static str {
        self.options().fairness.0
    }

    /// What messages call it.
    pub(crate) fn called(&self, py: Python<'_>) -> String {
        match (self.id_source(), self.name()) {
            (Some(ids), _) => ids.name(py),
            (None, Some(name)) => format!("pool '{name}'"),
            (None, None) => "pool".to_owned(),
        }
    }

    pub(crate) fn counts(&self, py: Python<'_>) -> Counts {
        let counts = self.with(py, |core| core.counts());
        match self.id_source() {
            Some(ids) => ids.counts(py, counts),
            None => counts,
        }
    }

    pub(crate) fn clock(&self) -> Option<&Py<Clock>> {
        self.options().clock.as_ref()
    }

    /// The time, in nanoseconds since the clock's own beginning.
    pub(crate) fn now(&self) -> Nanos {
        self.clock().map_or_else(clock::monotonic, |clock| clock.get().nanos())
    }

    /// Whether a change may leave something to do.
    pub(crate) fn is_managed(&self) -> bool {
        self.managed.load(Relaxed)
    }

    /// From now on it may.
    pub(crate) fn manage(&self) {
        self.managed.store(true, Relaxed);
    }

    pub(crate) fn tracks(&self) -> bool {
        self.options().track
    }

    /// The hooks that are coroutine functions.
    pub(crate) fn async_hooks(&self) -> &[&'static str] {
        &self.options().async_hooks
    }

    /// Whether any hooks are coroutine functions.
    pub(crate) fn needs_event_loop(&self) -> bool {
        !self.async_hooks().is_empty()
    }

    /// Whether tasks of an event loop do the background work.
    pub(crate) fn works_in_tasks(&self) -> bool {
        self.needs_event_loop() && self.clock().is_none()
    }

    /// Somebody looks for a deadlock soon. Should that be lost because the event loop ends, the next waiter starts
    /// again a while after.
    pub(crate) fn note_deadlock_watch(&self) {
        self.deadlock_watch_at.set(self.now().saturating_add(2_000_000_000));
    }

    /// The log is about to tell that an event loop is blocked. False if it has told before.
    pub(crate) fn note_blocked_loop(&self) -> bool {
        !self.blocked_loop.swap(true, Relaxed)
    }

    /// Whether `reset` takes an event loop, or a thread of its own: then it runs in the background.
    pub(crate) fn resets_in_background(&self) -> bool {
        self.resets_by_coroutine.load(Relaxed) || self.async_hooks().contains(&"reset")
    }

    /// `reset` has made a coroutine.
    pub(crate) fn note_reset_by_coroutine(&self) {
        self.resets_by_coroutine.store(true, Relaxed);
    }

    /// The log is about to tell of a deadlock. False if it has told since the last lease: then nothing has changed.
    pub(crate) fn note_deadlock_told(&self, py: Python<'_>) -> bool {
        let now = self.with(py, |core| core.statistics().leases) + 1;
        self.deadlock_told_at.swap(now, Relaxed) != now
    }

    pub(crate) fn hooks(&self, py: Python<'_>) -> Hooks {
        self.hooks.with(attached(py), |hooks| hooks.clone_ref(py))
    }

    /// What is called with a released object.
    pub(crate) fn reset_hook<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.hooks.with(attached(py), |hooks| hooks.reset.as_ref().map(|hook| hook.bind(py).clone()))
    }

    /// What the factory raised last, if its latest attempt raised.
    pub(crate) fn last_error<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.last_error.with(attached(py), |error| error.as_ref().map(|error| error.bind(py).clone()))
    }

    pub(crate) fn set_last_error(&self, py: Python<'_>, error: Option<Py<PyAny>>) {
        let before = self.last_error.with(attached(py), |last| std::mem::replace(last, error));
        if let Some(before) = before {
            // SAFETY: attached. With it go its traceback, and what the frames there refer to.
            unsafe { drop_reference(before.into_ptr()) };
        }
    }

    /// From now on it notes which greenlet holds what, for which leases take the slow path.
    pub(crate) fn tell_greenlets_apart(&self, py: Python<'_>) {
        if !self.tells_greenlets_apart.swap(true, Relaxed) {
            self.with(py, |core| core.note_each_holder());
        }
    }

    /// A fork concerns it from now on. It does not move any more: it lives in its Python object.
    pub(crate) fn join_registry(&self, py: Python<'_>) {
        self.membership.join(attached(py), self.address());
    }

    fn address(&self) -> Address {
        Address(ptr::from_ref(self) as usize)
    }

    /// For the collector.
    pub(crate) fn traverse(&self, attached: Attached<'_>, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        /// A pointer as a `Py`, which is one that is not null.
        fn as_py<T>(pointer: &T) -> &Py<PyAny> {
            const { assert!(size_of::<T>() == size_of::<Py<PyAny>>()) };
            // SAFETY: the callers have a pointer to a living object, which is only looked at.
            unsafe { &*ptr::from_ref(pointer).cast::<Py<PyAny>>() }
        }
        // The collector lets no other thread run Python, so nobody is in a critical section (none of them calls the
        // interpreter), and visiting does not come back here.
        self.core.with(attached, |core| {
            core.wakers().try_for_each(|waker| waker.traverse(visit))?;
            core.leaving().try_for_each(|item| visit.call(as_py(&item.object)))?;
            for (_, item, hold, _) in core.values() {
                visit.call(as_py(&item.object))?;
                if hold != Hold::Leased && !item.shell.is_null() {
                    visit.call(as_py(&item.shell))?;
                }
            }
            Ok(())
        })?;
        let spare = self.spare.get();
        if !spare.is_null() {
            visit.call(as_py(&spare))?;
        }
        self.timers.traverse(attached, visit)?;
        self.last_error.with(attached, |error| visit.call(&*error))?;
        self.hooks.with(attached, |hooks| hooks.traverse(visit))
    }

    /// For the collector: drops what it refers to.
    pub(crate) fn clear(&self, attached: Attached<'_>) {
        let items = self.core.with(attached, |core| core.drain());
        // SAFETY: attached; the items are out of the pool, which owned them.
        unsafe { drop_items(items) };
        drop(self.hooks.with(attached, std::mem::take));
        drop(self.last_error.with(attached, Option::take));
        self.timers.clear(attached);
        // SAFETY: as above.
        unsafe { ffi::Py_XDECREF(self.spare.take()) };
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: Python objects die attached.
        let attached = unsafe { Attached::assume() };
        self.membership.leave(attached, self.address());
        for waker in self.core.with(attached, |core| core.wake_all()) {
            // SAFETY: as above.
            waker.wake_worker(unsafe { Python::assume_attached() });
        }
        // A lease that is out owns the pool, so nothing is leased.
        let items: Vec<Item> = self.core.with(attached, |core| core.drain());
        // SAFETY: as above.
        unsafe {
            ffi::Py_XDECREF(self.spare.take());
            drop_items(items);
        }
    }
}
