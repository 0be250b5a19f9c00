//! What happens when nothing is idle, or somebody waits: the slow half of `lease.rs`.

use std::cell::Cell;
use std::ffi::c_int;
use std::fmt;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::time::Duration;

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::background::{follow_up, follow_up_quietly, hook_name, no_coroutine, tell};
use super::errors;
use super::options::to_nanos;
use super::outside;
use super::pool::{Core, Pool, drop_items};
use super::waker::Waker;
use super::watch;
use crate::pool::{Answer, Asker, Care, Hold, Nanos, Reason, SlotId, Spent, Ticket, Turned};
use crate::sync::{Parker, this_thread};

/// How long everybody who holds something has to be waiting before it is called a deadlock: where objects come from the
/// pool alone, and where somebody might still add one.
const STUCK_AFTER: Nanos = 100_000_000;
const SEEMS_STUCK_AFTER: Nanos = 1_000_000_000;

/// How often the main thread looks for signals although nothing woke it.
///
/// A signal that arrives after the last look and just before the system call that sleeps does not interrupt it; this
/// bounds how late it is seen. CPython's own locks have the same gap, and no bound.
const SIGNAL_BACKSTOP: Duration = Duration::from_millis(20);

// ---------------------------------------------------------------------------------------------------------------------
// How long

/// The `timeout` of one call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wait {
    /// What the pool was made with.
    Default,
    /// Until it comes.
    Forever,
    /// Not negative, not NaN; may be infinite.
    Seconds(f64),
    /// An int that is not negative, not looked at further: most calls find an object and never need it. It is an
    /// argument of the call under way, which keeps it alive.
    Int(*mut PyObject),
}

/// The one argument, `timeout`, of a vectorcall; with the exception set, `None`.
#[inline(always)]
pub(super) unsafe fn parse(args: *const *mut PyObject, count: Py_ssize_t, names: *mut PyObject) -> Option<Wait> {
    // SAFETY: there are `count` + len(names) arguments, alive for the call; the thread is attached.
    unsafe {
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        if count + named != 1 || (named == 1 && !is_timeout(ffi::PyTuple_GET_ITEM(names, 0))) {
            errors::wrong_arguments(count, names);
            return None;
        }
        Wait::read(*args, "timeout")
    }
}

/// An interned string, set when the module is made and never freed.
static TIMEOUT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

pub(super) fn register(module: &Bound<'_, PyModule>) {
    TIMEOUT.store(PyString::intern(module.py(), "timeout").into_ptr(), Relaxed);
}

#[inline(always)]
unsafe fn is_timeout(name: *mut PyObject) -> bool {
    let timeout = TIMEOUT.load(Relaxed);
    // SAFETY: attached, and both are strings. Keywords are interned as a rule, but nothing enforces it.
    name == timeout || unsafe { ffi::PyUnicode_Compare(name, timeout) == 0 }
}

/// The `timeout` of a pool: seconds, or none for ever.
#[derive(Clone, Copy)]
pub(super) struct Timeout(pub(super) Option<f64>);

impl<'a, 'py> FromPyObject<'a, 'py> for Timeout {
    type Error = PyErr;

    fn extract(value: Borrowed<'a, 'py, PyAny>) -> PyResult<Timeout> {
        // SAFETY: the value is alive, and its lifetime says attached.
        let wait = unsafe { Wait::read(value.as_ptr(), "timeout") };
        wait.map(|wait| Timeout(wait.seconds(None))).ok_or_else(|| PyErr::fetch(value.py()))
    }
}

impl From<Timeout> for Wait {
    fn from(Timeout(seconds): Timeout) -> Wait {
        seconds.map_or(Wait::Forever, Wait::Seconds)
    }
}

impl Timeout {
    /// Reads an option that means seconds, and is called `option` in messages.
    pub(super) fn named(option: &str, value: &Bound<'_, PyAny>) -> PyResult<Timeout> {
        let wait = match value.is(value.py().Ellipsis()) {
            true => {
                // SAFETY: as below. There is no other default that this could stand for.
                unsafe { errors::seconds_type(option, value.as_ptr()) };
                None
            }
            // SAFETY: the value is alive, and its lifetime says attached.
            false => unsafe { Wait::read(value.as_ptr(), option) },
        };
        wait.map(|wait| Timeout(wait.seconds(None))).ok_or_else(|| PyErr::fetch(value.py()))
    }
}

impl Wait {
    /// Reads seconds, or `None` for no limit; with the exception set, nothing.
    ///
    /// A plain number passes without further ado.
    #[inline(always)]
    unsafe fn read(value: *mut PyObject, option: &str) -> Option<Wait> {
        // SAFETY: the caller's argument is alive; the thread is attached.
        unsafe {
            if ffi::PyLong_CheckExact(value) != 0 && !has_minus_sign(value) {
                return Some(Wait::Int(value));
            }
            if ffi::PyFloat_CheckExact(value) != 0 {
                let seconds = ffi::PyFloat_AS_DOUBLE(value);
                if seconds >= 0.0 {
                    return Some(Wait::Seconds(seconds));
                }
            }
            Wait::read_any(value, option)
        }
    }

    /// In seconds; none is for ever.
    pub(super) fn seconds(self, default: Option<f64>) -> Option<f64> {
        match self {
            Wait::Default => default,
            Wait::Forever => None,
            Wait::Seconds(seconds) => seconds.is_finite().then_some(seconds),
            // SAFETY: called during the call that has the argument, attached.
            Wait::Int(value) => unsafe {
                let seconds = ffi::PyLong_AsDouble(value);
                // -1 is an error here: the int fits no double, which is as good as for ever.
                ffi::PyErr_Clear();
                (seconds >= 0.0).then_some(seconds)
            },
        }
    }

    #[cold]
    unsafe fn read_any(value: *mut PyObject, option: &str) -> Option<Wait> {
        // SAFETY: as in `read`. Each call that fails sets an exception, which is dealt with before the next.
        unsafe {
            if value == ffi::Py_None() {
                return Some(Wait::Forever);
            }
            // What the signature shows as the default.
            if value == ffi::Py_Ellipsis() {
                return Some(Wait::Default);
            }
            let mut seconds = ffi::PyFloat_AsDouble(value);
            if seconds == -1.0 && !ffi::PyErr_Occurred().is_null() {
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_TypeError) != 0 {
                    ffi::PyErr_Clear();
                    errors::seconds_type(option, value);
                    return None;
                }
                if ffi::PyErr_ExceptionMatches(ffi::PyExc_OverflowError) == 0 {
                    return None;
                }
                // An int beyond the floats: as good as for ever, unless it is negative.
                ffi::PyErr_Clear();
                seconds = match is_negative(value) {
                    -1 => return None,
                    0 => f64::INFINITY,
                    _ => f64::NEG_INFINITY,
                };
            }
            if seconds.is_nan() || seconds < 0.0 {
                errors::seconds_value(option, value);
                return None;
            }
            Some(Wait::Seconds(seconds))
        }
    }
}

/// Whether an exact int is negative, from its own header.
#[inline(always)]
unsafe fn has_minus_sign(int: *mut PyObject) -> bool {
    // SAFETY: the caller has checked the type. Up to CPython 3.11 the sign is that of the number of digits; then the two
    // lowest bits of the tag in the same place: 0 is positive, 1 zero, 2 negative (PEP 757 describes both).
    unsafe {
        #[cfg(not(Py_3_12))]
        return ffi::Py_SIZE(int) < 0;
        #[cfg(Py_3_12)]
        return *int.cast::<u8>().add(size_of::<PyObject>()).cast::<usize>() & 3 == 2;
    }
}

/// 1, 0, or -1 with the exception set.
unsafe fn is_negative(value: *mut PyObject) -> c_int {
    // SAFETY: as in `Wait::read`.
    unsafe {
        let zero = ffi::PyLong_FromLong(0);
        if zero.is_null() {
            return -1;
        }
        let result = ffi::PyObject_RichCompareBool(value, zero, ffi::Py_LT);
        ffi::Py_DECREF(zero);
        result
    }
}

/// When to give up. A time too far away to be represented is no limit.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    pub(super) seconds: f64,
    at: Option<Nanos>,
}

impl Deadline {
    pub(super) fn after(seconds: Option<f64>, now: Nanos) -> Self {
        let at = to_nanos(seconds).and_then(|limit| now.checked_add(limit));
        Deadline { seconds: seconds.unwrap_or(f64::INFINITY), at }
    }

    /// When it is, if ever.
    pub(super) fn at(self) -> Option<Nanos> {
        self.at
    }

    /// How many nanoseconds are left.
    pub(super) fn left(self, now: Nanos) -> Option<Nanos> {
        self.at.map(|at| at.saturating_sub(now))
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Taking

thread_local! {
    /// How many waits this thread is in: a signal handler or a destructor may begin one inside another.
    static WAITS: Cell<u32> = const { Cell::new(0) };
}

/// Counts a wait for as long as it lasts.
struct Waiting;

impl Waiting {
    fn begin() -> Self {
        WAITS.set(WAITS.get() + 1);
        Waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITS.set(WAITS.get() - 1);
    }
}

/// Who asks the core, and when.
pub(super) fn asker(pool: &Pool) -> Asker {
    Asker { thread: this_thread(), now: pool.now(), nested: WAITS.get() > 0, deadline: Nanos::MAX }
}

/// Takes an idle slot if there is one that may go out. `None` with or without an exception set.
pub(super) fn take_now(pool: &Bound<'_, Pool>) -> Option<SlotId> {
    let this = pool.get();
    if this.needs_event_loop() {
        errors::only_for_tasks(this);
        return None;
    }
    let now = this.now();
    let (slot, closed) = this.with(|core| {
        let slot = held(core.take(now), core);
        if slot.is_none() {
            core.wish(now);
        }
        (slot, core.is_closed())
    });
    let slot = match slot {
        Some(slot) => Some(slot),
        None => borrowed(pool)?,
    };
    let slot = taken(pool, slot);
    // SAFETY: attached.
    if closed && slot.is_none() && unsafe { ffi::PyErr_Occurred() }.is_null() {
        errors::closed(this);
    }
    slot
}

/// Notes who has the slot, in the critical section that takes it.
pub(super) fn held(slot: Option<SlotId>, core: &mut Core) -> Option<SlotId> {
    let item = core.value_mut(slot?)?;
    item.holder = this_thread();
    slot
}

/// What there is to do outside after the pool was asked for an object.
pub(super) fn taken(pool: &Bound<'_, Pool>, slot: Option<SlotId>) -> Option<SlotId> {
    let this = pool.get();
    if !this.is_managed() {
        return slot;
    }
    if let Some(slot) = slot
        && this.tracks()
    {
        this.note_place(slot);
    }
    match follow_up(pool) {
        Ok(()) => slot,
        Err(error) => {
            if let Some(slot) = slot {
                give_back(pool, slot);
            }
            error.restore(pool.py());
            None
        }
    }
}

/// Waits for the turn of the calling thread; `None` with the exception set when it does not come.
pub(super) fn wait_for_slot(pool: &Bound<'_, Pool>, wait: Wait) -> Option<SlotId> {
    let this = pool.get();
    if this.needs_event_loop() {
        errors::only_for_tasks(this);
        return None;
    }
    let asker = asker(this);
    let slot = match this.with(|core| held(core.lease_or_take_back(asker), core)) {
        Some(slot) => Some(slot),
        None => borrowed(pool)?,
    };
    match slot {
        Some(slot) => taken(pool, Some(slot)),
        None => queue(pool, wait, asker),
    }
}

/// What there is elsewhere, for a pool whose objects are somebody else's. `None` alone with an exception set.
pub(super) fn borrowed(pool: &Bound<'_, Pool>) -> Option<Option<SlotId>> {
    match pool.get().lender() {
        None => Some(None),
        Some(lender) => lender.draw(pool).map_err(|error| error.restore(pool.py())).ok(),
    }
}

/// However this ends, the place in the queue is given up exactly once, and a slot that was handed over in the meantime
/// is returned, or passed on before the exception is raised.
#[cold]
fn queue(pool: &Bound<'_, Pool>, wait: Wait, first: Asker) -> Option<SlotId> {
    let this = pool.get();
    this.membership.join(this);
    let deadline = Deadline::after(wait.seconds(this.default_timeout()), first.now);
    let parker = Arc::new(Parker::new());
    let (answer, spent) = this.with(|core| {
        let spent = core.spent(first.now);
        let answer = core.lease_or_queue(first, Waker::Thread(Arc::clone(&parker)));
        if let Answer::Slot(slot) = answer {
            held(Some(slot), core);
        }
        (answer, spent)
    });
    let mut ticket = match answer {
        Answer::Slot(slot) => return taken(pool, Some(slot)),
        Answer::Refused(refusal) => {
            errors::refused(pool, refusal);
            return None;
        }
        Answer::Place(ticket) => ticket,
    };
    let _waiting = Waiting::begin();
    let mut wait = Waited { pool, since: first.now, deadline, spent, looked: false };
    loop {
        // Each time: a signal handler may have forked, and what was under way for this wait is the other process's then.
        if this.is_managed()
            && let Err(error) = follow_up(pool)
        {
            error.restore(pool.py());
            return wait.stop(ticket, Stop::Raised);
        }
        let now = this.now();
        let left = deadline.left(now);
        if let Some(reason) = reason_to_stop(left).or_else(|| wait.look_for_deadlock(now)) {
            return wait.stop(ticket, reason);
        }
        if !this.sleep(pool, &parker, [left, wait.until_look(now)].into_iter().flatten().min()) {
            return wait.stop(ticket, Stop::Raised);
        }
        let now = asker(this);
        let turned = this.with(|core| {
            let turned = core.collect(ticket, now);
            if let Turned::Slot(slot, _) = turned {
                held(Some(slot), core);
            }
            turned
        });
        ticket = match turned {
            Turned::Slot(slot, _waker) => return taken(pool, Some(slot)),
            Turned::Refused(refusal, _waker) => {
                errors::refused(pool, refusal);
                return None;
            }
            Turned::NotYet(ticket) => ticket,
        };
    }
}

impl Pool {
    /// Sleeps until somebody calls, or for `limit` nanoseconds; in the main thread for a moment only, because of signals.
    /// On a clock of a test, time passes instead. False with the exception set if that is impossible.
    pub(super) fn sleep(&self, pool: &Bound<'_, Pool>, parker: &Parker, limit: Option<Nanos>) -> bool {
        if let Some(clock) = self.clock() {
            let until = limit.map(|limit| self.now().saturating_add(limit));
            let passed = clock.bind(pool.py()).call_method1("_pass_until", (pool, until));
            return passed.inspect_err(|error| error.clone_ref(pool.py()).restore(pool.py())).is_ok();
        }
        let limit = limit.map(Duration::from_nanos);
        let nap = if sees_signals() {
            Some(limit.map_or(SIGNAL_BACKSTOP, |limit| limit.min(SIGNAL_BACKSTOP)))
        } else {
            limit
        };
        // SAFETY: attached before and after. A thread that comes back while the interpreter goes down never returns from
        // the second call; nothing that it holds is needed by anybody else.
        unsafe {
            let thread = ffi::PyEval_SaveThread();
            parker.park(nap);
            ffi::PyEval_RestoreThread(thread);
        }
        true
    }
}

/// Why somebody stops waiting.
#[derive(Clone, Copy)]
pub(super) enum Stop {
    /// Something raised; the exception is set, and must come out even if the slot has just been handed over.
    Raised,
    /// The interpreter is going down.
    Finalizing,
    /// The time is up.
    TimedOut,
    /// Nothing can come any more: those who hold something wait themselves.
    Stuck,
}

/// What makes a waiting thread stop, if anything does.
pub(super) fn reason_to_stop(left: Option<Nanos>) -> Option<Stop> {
    // SAFETY: attached.
    if !outside::check_signals(unsafe { Python::assume_attached() }) {
        return Some(Stop::Raised);
    }
    if errors::finalizing() {
        return Some(Stop::Finalizing);
    }
    (left == Some(0)).then_some(Stop::TimedOut)
}

/// One wait in the queue.
pub(super) struct Waited<'a, 'py> {
    pub(super) pool: &'a Bound<'py, Pool>,
    pub(super) since: Nanos,
    pub(super) deadline: Deadline,
    /// What the pool had done for those who wait when this wait began.
    pub(super) spent: Spent,
    /// Whether somebody has looked for a deadlock.
    looked: bool,
}

impl<'a, 'py> Waited<'a, 'py> {
    /// A wait that somebody else ended.
    pub(super) fn over(pool: &'a Bound<'py, Pool>, since: Nanos, deadline: Deadline, spent: Spent) -> Self {
        Waited { pool, since, deadline, spent, looked: true }
    }

    fn stop(&self, ticket: Ticket, reason: Stop) -> Option<SlotId> {
        let (pool, this) = (self.pool, self.pool.get());
        // What the message is about, while this thread still waits.
        let (counts, now) = (this.counts(), this.now());
        let before = this.with(|core| core.before(&ticket));
        let (slot, _waker) = this.with(|core| {
            let (slot, waker) = core.cancel(ticket, now);
            if slot.is_none() && matches!(reason, Stop::TimedOut | Stop::Stuck) {
                core.note_timeout();
            }
            (held(slot, core), waker)
        });
        match (slot, reason) {
            (Some(slot), Stop::Raised) => give_back(pool, slot),
            (Some(slot), _) => return taken(pool, Some(slot)),
            (None, Stop::Finalizing) => errors::shutting_down(this, counts),
            (None, Stop::TimedOut) => errors::timed_out(self, counts, before, now),
            (None, Stop::Stuck) => errors::deadlock(pool),
            (None, Stop::Raised) => {}
        }
        None
    }

    /// When it is worth looking for a deadlock.
    fn look_at(&self) -> Nanos {
        let makes = self.pool.get().with(|core| core.rules().makes);
        self.since.saturating_add(if makes { STUCK_AFTER } else { SEEMS_STUCK_AFTER })
    }

    fn until_look(&self, now: Nanos) -> Option<Nanos> {
        (!self.looked).then(|| self.look_at().saturating_sub(now))
    }

    /// Once, after a moment: whether all who hold something wait for this pool themselves. The last of them to begin
    /// sees it, so one look each is enough.
    fn look_for_deadlock(&mut self, now: Nanos) -> Option<Stop> {
        if self.looked || now < self.look_at() {
            return None;
        }
        self.looked = true;
        let this = self.pool.get();
        watch::look_at_holders(this, now);
        let (stuck, entered, makes) = this.with(|core| {
            // Only one who holds something can end it by giving up: the last of those to begin a wait looks as well.
            let me = this_thread();
            let stuck =
                core.values().any(|(_, item, hold, _)| watch::holder(item, hold) == me) && core.is_stuck(watch::holder);
            let entered = core.values().all(|(_, item, hold, _)| hold == Hold::Leased && watch::is_entered(item));
            (stuck, entered, core.rules().makes)
        });
        let stuck = stuck && !this.lender().is_some_and(|lender| lender.has_given_others(self.pool.py()));
        if !stuck {
            return None;
        }
        // A lease that was not entered, or a bare object, may be given back by any thread; and where the pool does not
        // make its objects itself, somebody may add one. So that is only suspicious.
        if makes && entered {
            return Some(Stop::Stuck);
        }
        tell(self.pool, c"seems_stuck", &[]);
        None
    }
}

/// Whether the calling thread is the one that runs signal handlers.
fn sees_signals() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: neither call has preconditions.
    return unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) };
    #[cfg(not(target_os = "linux"))]
    true
}

// ---------------------------------------------------------------------------------------------------------------------
// Giving back

/// Gives a leased slot back where no exception may come out: in destructors, and when another is on its way. An object
/// that is to be reset goes to a background thread first.
pub(super) fn give_back(pool: &Bound<'_, Pool>, slot: SlotId) {
    if let Some(waker) = give_to_next(pool, slot) {
        waker.wake(pool);
    }
    if pool.get().is_managed() {
        follow_up_quietly(pool);
    }
}

/// The first half of that: whom the caller wakes.
pub(super) fn give_to_next(pool: &Bound<'_, Pool>, slot: SlotId) -> Option<Waker> {
    let this = pool.get();
    let asker = asker(this);
    this.with(|core| {
        if core.rules().resets && core.may_touch(slot) {
            core.tend_leased(slot, asker.now);
            return None;
        }
        core.give_back(slot, asker)
    })
}

/// Gives a leased slot back, resets the object before if that was asked for, and lets whoever gets the object for good
/// run at once. False with the exception set if a signal handler raised meanwhile; the slot is given back even then.
///
/// The one who is woken needs the GIL. Were the giver to keep it, the other would wake, find it taken and sleep again,
/// and the object would lie idle until the giver blocks: two changes of threads more than it takes.
pub(super) fn give_back_and_make_way(pool: &Bound<'_, Pool>, slot: SlotId) -> bool {
    let this = pool.get();
    if this.async_hooks().contains(&"reset") {
        // Which takes an event loop: in the background.
        give_back(pool, slot);
        return true;
    }
    let reset = if this.is_managed() { reset(pool, slot) } else { Ok(true) };
    let asker = asker(this);
    let handed = this.with(|core| {
        if !matches!(reset, Ok(true)) {
            core.discard_leased(slot, Reason::NotReset, asker.now);
            return None;
        }
        let waker = core.give_back(slot, asker)?;
        Some((waker, !core.may_take_back()))
    });
    match handed {
        Some((Waker::Thread(parker), true)) if cfg!(opool_gil) => {
            // SAFETY: attached before and after, and nothing borrowed from the interpreter is used in between.
            unsafe {
                let thread = ffi::PyEval_SaveThread();
                parker.unpark();
                ffi::PyEval_RestoreThread(thread);
            }
        }
        Some((waker, _)) => waker.wake(pool),
        None => {}
    }
    // Asked again: another thread may have closed the pool since.
    if !this.is_managed() {
        return true;
    }
    let followed = follow_up(pool);
    match reset.map(|_| ()).and(followed) {
        Ok(()) => true,
        Err(error) => {
            error.restore(pool.py());
            false
        }
    }
}

/// Resets an object that its holder gives back. False if that failed; an error if it must come out.
fn reset(pool: &Bound<'_, Pool>, slot: SlotId) -> PyResult<bool> {
    let (this, py) = (pool.get(), pool.py());
    let Some(hook) = this.reset_hook(py) else { return Ok(true) };
    let object = this.with(|core| {
        let mine = core.may_touch(slot);
        let item = core.value_mut(slot).filter(|_| mine)?;
        // Whoever took it: it is this thread's while the hook runs, which may fork.
        item.holder = this_thread();
        // SAFETY: the slot is the caller's, and owns its object.
        Some(unsafe { Bound::from_borrowed_ptr(py, item.object.as_ptr()) })
    });
    let Some(object) = object else { return Ok(true) };
    match outside::call(&hook, &[&object]).and_then(no_coroutine) {
        Ok(_) => Ok(true),
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyException>(py) => {
            tell(pool, c"unfit", &[&hook_name(py, Care::Reset), error.value(py).as_any()]);
            // Not dropped: PyO3 does not know that this thread is attached, and would keep what the error refers to.
            error.restore(py);
            // SAFETY: attached; it is the one that was just set.
            unsafe { ffi::PyErr_Clear() };
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Takes a leased object out for good: `lease.discard()`.
pub(super) fn discard(pool: &Bound<'_, Pool>, slot: SlotId) -> bool {
    let (this, py) = (pool.get(), pool.py());
    if let Some(lender) = this.lender() {
        let object = this.with(|core| core.value_mut(slot).map(|item| item.object));
        if let Some(Err(error)) = object.map(|object| lender.exclude(object.as_ptr(), py)) {
            error.restore(py);
            return false;
        }
    }
    let now = this.now();
    if this.lender().is_some() {
        // Not by way of `take_back`, which goes by the number: that may be in the range again by now, and somebody else's.
        let item = this.with(|core| core.retire(slot, now));
        // SAFETY: attached, and the item is out of the pool.
        unsafe { drop_items(item) };
    } else {
        this.with(|core| core.discard_leased(slot, Reason::Discarded, now));
    }
    this.manage();
    match follow_up(pool) {
        Ok(()) => true,
        Err(error) => {
            error.restore(pool.py());
            false
        }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.lender(), self.name()) {
            // SAFETY: messages are made by attached threads.
            (Some(lender), _) => f.write_str(&lender.name(unsafe { Python::assume_attached() })),
            (None, Some(name)) => write!(f, "pool '{name}'"),
            (None, None) => f.write_str("pool"),
        }
    }
}
