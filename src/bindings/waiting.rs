//! What happens when nothing is idle, or somebody waits: the slow half of `lease.rs`.

use std::cell::Cell;
use std::ffi::c_int;
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::errors;
use super::pool::{Core, Pool};
use crate::pool::{Asker, SlotId, Ticket};
use crate::sync::{Attached, Parker, this_thread};

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
        Wait::read(*args)
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
        let wait = unsafe { Wait::read(value.as_ptr()) };
        wait.map(|wait| Timeout(wait.seconds(None))).ok_or_else(|| PyErr::fetch(value.py()))
    }
}

impl From<Timeout> for Wait {
    fn from(Timeout(seconds): Timeout) -> Wait {
        seconds.map_or(Wait::Forever, Wait::Seconds)
    }
}

impl Wait {
    /// Reads seconds, or `None` for no limit; with the exception set, nothing.
    ///
    /// A plain number passes without further ado.
    #[inline(always)]
    unsafe fn read(value: *mut PyObject) -> Option<Wait> {
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
            Wait::read_any(value)
        }
    }

    /// In seconds; none is for ever.
    fn seconds(self, default: Option<f64>) -> Option<f64> {
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
    unsafe fn read_any(value: *mut PyObject) -> Option<Wait> {
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
                    errors::timeout_type(value);
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
                errors::timeout_value(value);
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
struct Deadline {
    seconds: f64,
    at: Option<Instant>,
}

impl Deadline {
    fn after(seconds: Option<f64>) -> Self {
        let seconds = seconds.unwrap_or(f64::INFINITY);
        let at = Duration::try_from_secs_f64(seconds).ok().and_then(|limit| Instant::now().checked_add(limit));
        Deadline { seconds, at }
    }

    fn left(self) -> Option<Duration> {
        self.at.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Waiting

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
fn asker() -> Asker {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let now = u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Asker { thread: this_thread(), now, nested: WAITS.get() > 0 }
}

/// Takes an idle slot if there is one.
pub(super) fn take_now(pool: &Pool) -> Option<SlotId> {
    // SAFETY: called by methods of the pool only, which are attached.
    pool.core.with(unsafe { Attached::assume() }, |core| held(core.lease(), core))
}

/// Notes who has the slot, in the critical section that takes it.
fn held(slot: Option<SlotId>, core: &mut Core) -> Option<SlotId> {
    let item = core.value_mut(slot?)?;
    item.holder = this_thread();
    slot
}

/// Waits for the turn of the calling thread; `None` with the exception set when it does not come.
pub(super) fn wait_for_slot(pool: &Pool, wait: Wait) -> Option<SlotId> {
    let asker = asker();
    // SAFETY: called by methods of the pool only, which are attached.
    let attached = unsafe { Attached::assume() };
    match pool.core.with(attached, |core| held(core.lease_or_take_back(asker), core)) {
        Some(slot) => Some(slot),
        None => queue(pool, wait, asker),
    }
}

/// However this ends, the place in the queue is given up exactly once, and a slot that was handed over in the meantime
/// is returned, or passed on before the exception is raised.
#[cold]
fn queue(pool: &Pool, wait: Wait, first: Asker) -> Option<SlotId> {
    pool.membership.join(pool);
    // SAFETY: as in `wait_for_slot`; the thread detaches in `park` alone, between the critical sections.
    let attached = unsafe { Attached::assume() };
    let deadline = Deadline::after(wait.seconds(pool.default_timeout()));
    let parker = Arc::new(Parker::new());
    let queued = pool
        .core
        .with(attached, |core| core.lease_or_queue(first, Arc::clone(&parker)).map(|slot| held(Some(slot), core)));
    let mut ticket = match queued {
        Ok(slot) => return slot,
        Err(ticket) => ticket,
    };
    let _waiting = Waiting::begin();
    loop {
        let left = deadline.left();
        if let Some(reason) = reason_to_stop(left) {
            return stop(pool, ticket, reason, deadline);
        }
        park(&parker, left);
        let now = asker();
        let collected = pool
            .core
            .with(attached, |core| core.collect(ticket, now).map(|(slot, waker)| (held(Some(slot), core), waker)));
        ticket = match collected {
            Ok((slot, _waker)) => return slot,
            Err(ticket) => ticket,
        };
    }
}

/// Sleeps without the GIL, in the main thread for a moment only.
fn park(parker: &Parker, left: Option<Duration>) {
    let nap = if sees_signals() { Some(left.map_or(SIGNAL_BACKSTOP, |left| left.min(SIGNAL_BACKSTOP))) } else { left };
    // SAFETY: attached before and after. A thread that comes back while the interpreter goes down never returns from
    // the second call; nothing that it holds is needed by anybody else.
    unsafe {
        let thread = ffi::PyEval_SaveThread();
        parker.park(nap);
        ffi::PyEval_RestoreThread(thread);
    }
}

#[derive(Clone, Copy)]
enum Stop {
    /// A signal handler raised; the exception is set, and must come out even if the slot has just been handed over.
    Raised,
    /// The interpreter is going down.
    Finalizing,
    /// The time is up.
    TimedOut,
}

fn reason_to_stop(left: Option<Duration>) -> Option<Stop> {
    // SAFETY: attached.
    if unsafe { ffi::PyErr_CheckSignals() } != 0 {
        return Some(Stop::Raised);
    }
    if errors::finalizing() {
        return Some(Stop::Finalizing);
    }
    left.is_some_and(|left| left.is_zero()).then_some(Stop::TimedOut)
}

fn stop(pool: &Pool, ticket: Ticket, reason: Stop, deadline: Deadline) -> Option<SlotId> {
    // SAFETY: as in `wait_for_slot`.
    let attached = unsafe { Attached::assume() };
    // Counted while this thread still waits: that is what the message is about.
    let counts = pool.counts();
    let (slot, _waker) = pool.core.with(attached, |core| {
        let (slot, waker) = core.cancel(ticket);
        (held(slot, core), waker)
    });
    match (slot, reason) {
        (Some(slot), Stop::Finalizing | Stop::TimedOut) => return Some(slot),
        (Some(slot), Stop::Raised) => give_back(pool, slot),
        (None, Stop::Finalizing) => errors::shutting_down(pool, counts),
        (None, Stop::TimedOut) => errors::timed_out(pool, deadline.seconds, counts),
        (None, Stop::Raised) => {}
    }
    None
}

/// Whether the calling thread is the one that runs signal handlers.
fn sees_signals() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: neither call has preconditions.
    return unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) };
    #[cfg(not(target_os = "linux"))]
    true
}

/// Gives a leased slot back when somebody may be waiting: to them, or to the ring. Runs no Python.
pub(super) fn give_back(pool: &Pool, slot: SlotId) {
    if let Some((parker, _)) = hand_over(pool, slot) {
        parker.unpark();
    }
}

/// As `give_back`, and lets whoever gets the object for good run at once.
///
/// The one who is woken needs the GIL. Were the giver to keep it, the other would wake, find it taken and sleep again,
/// and the object would lie idle until the giver blocks: two changes of threads more than it takes.
pub(super) fn give_back_and_make_way(pool: &Pool, slot: SlotId) {
    match hand_over(pool, slot) {
        Some((parker, true)) if cfg!(opool_gil) => {
            // SAFETY: attached before and after, and nothing borrowed from the interpreter is used in between.
            unsafe {
                let thread = ffi::PyEval_SaveThread();
                parker.unpark();
                ffi::PyEval_RestoreThread(thread);
            }
        }
        Some((parker, _)) => parker.unpark(),
        None => {}
    }
}

/// Whom to wake, and whether the object is theirs for good.
fn hand_over(pool: &Pool, slot: SlotId) -> Option<(Arc<Parker>, bool)> {
    let asker = asker();
    // SAFETY: called by methods of the pool and of its leases, which are attached.
    pool.core.with(unsafe { Attached::assume() }, |core| {
        let parker = core.give_back(slot, asker)?;
        Some((parker, !core.may_take_back()))
    })
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "pool '{name}'"),
            None => f.write_str("pool"),
        }
    }
}
