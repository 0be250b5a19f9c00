//! What goes wrong, in words. The classes are written in Python (`opool.errors`).
//!
//! The hot path's functions call these on their way out, perhaps without memory and perhaps while the interpreter goes
//! down, where PyO3 would panic. So they use the C API, which reports even its own failures as exceptions.

use std::ffi::{CString, c_int};
use std::fmt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;

use crate::bindings::lease::hot::{ENTERED, FORKED, Lease};
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::background::{call_python, python_function};
use crate::bindings::pool::holders as watch;
use crate::bindings::pool::wait::Waited;
use crate::pool::{Counts, Nanos, NotAcquired, Refusal};
use crate::sync::Attached;

/// Set when the module is made, and never freed.
static LEASE_ERROR: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());
static POOL_TIMEOUT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());
static POOL_ERROR: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());
static POOL_CLOSED: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());
static TOO_MANY_WAITERS: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let errors = module.py().import("opool.errors")?;
    for (class, name) in [
        (&LEASE_ERROR, "LeaseError"),
        (&POOL_TIMEOUT, "PoolTimeout"),
        (&POOL_ERROR, "PoolError"),
        (&POOL_CLOSED, "PoolClosed"),
        (&TOO_MANY_WAITERS, "TooManyWaiters"),
    ] {
        class.store(errors.getattr(name)?.into_ptr(), Relaxed);
    }
    Ok(())
}

/// Sets the exception; the null is what a slot returns then.
unsafe fn raise(class: *mut PyObject, message: String) -> *mut PyObject {
    let message = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
    // SAFETY: the caller names a class, and the thread is attached. Without memory it sets `MemoryError` instead.
    unsafe { ffi::PyErr_SetString(class, message.as_ptr()) };
    ptr::null_mut()
}

/// How much of a `repr` a message shows.
const SHOWN: usize = 200;

/// The object as `repr` shows it, or a stand-in where `repr` fails. `None` if it was interrupted: then that exception,
/// which is set, is what must come out.
unsafe fn show(object: *mut PyObject) -> Option<String> {
    // SAFETY: the caller's object is alive, and no exception is set.
    unsafe {
        let repr = ffi::PyObject_Repr(object);
        let mut length = 0;
        let text = if repr.is_null() { ptr::null() } else { ffi::PyUnicode_AsUTF8AndSize(repr, &raw mut length) };
        let shown = if text.is_null() {
            // Ctrl-C is no `Exception`.
            let failed = ffi::PyErr_ExceptionMatches(ffi::PyExc_Exception) != 0;
            if failed {
                ffi::PyErr_Clear();
            }
            failed.then(|| format!("an object of type {}", type_name(object)))
        } else {
            let text = String::from_utf8_lossy(std::slice::from_raw_parts(text.cast(), length as usize));
            let cut = text.char_indices().nth(SHOWN).map(|(end, _)| end);
            Some(cut.map_or_else(|| text.to_string(), |end| format!("{}...", &text[..end])))
        };
        ffi::Py_XDECREF(repr);
        shown
    }
}

unsafe fn type_name(object: *mut PyObject) -> String {
    // SAFETY: a living object has a type, and a type a name.
    unsafe { std::ffi::CStr::from_ptr((*ffi::Py_TYPE(object)).tp_name).to_string_lossy().into_owned() }
}

/// What messages call a pool.
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

fn describe(counts: Counts) -> String {
    let Counts { size, idle, leased, waiting, .. } = counts;
    format!("size {size}, idle {idle}, leased {leased}, waiting {waiting}")
}

/// Nothing became free in time. The words are made when somebody reads them (`opool.errors`).
#[cold]
pub(crate) fn timed_out(wait: &Waited<'_, '_>, counts: Counts, before: Option<usize>, now: Nanos) {
    let (py, pool) = (wait.pool.py(), wait.pool.get());
    let seconds = |nanos: Nanos| nanos as f64 / 1e9;
    let spent = pool.with(|core| core.spent(now));
    let creating = seconds(spent.creating.saturating_sub(wait.spent.creating));
    let checking = seconds(spent.checking.saturating_sub(wait.spent.checking));
    let waited = seconds(now.saturating_sub(wait.since));
    let rules = pool.with(|core| *core.rules());
    let Counts { size, idle, leased, waiting, .. } = counts;
    let name = pool.to_string();
    let cause = match pool.last_error(py) {
        Ok(cause) => cause,
        Err(error) => return error.restore(py),
    };
    // SAFETY: attached. The format says how many of what follow; what `or_none` made is alive until the end.
    let made = python_function(py, c"opool.errors", c"_timeout_error").and_then(|function| unsafe {
        let limit = or_none((rules.max_size < usize::MAX).then(|| ffi::PyLong_FromSize_t(rules.max_size)));
        let place = or_none(before.map(|before| ffi::PyLong_FromSize_t(before + 1)));
        let oldest = or_none(watch::oldest(pool, now).map(|(thread, age, exact, task)| {
            let (exact, task) = (c_int::from(exact), c_int::from(task));
            ffi::Py_BuildValue(c"(ndii)".as_ptr(), thread, age, exact, task)
        }));
        let made = ffi::PyObject_CallFunction(
            function.as_ptr(),
            c"Nd(ddd)N(nnnnN)NOi".as_ptr(),
            ffi::PyUnicode_FromStringAndSize(name.as_ptr().cast(), name.len() as Py_ssize_t),
            wait.deadline.seconds,
            (waited - creating - checking).max(0.0),
            creating,
            checking,
            place,
            size,
            idle,
            leased,
            waiting,
            limit,
            oldest,
            cause.as_ref().map_or(ffi::Py_None(), |cause| cause.as_ptr()),
            c_int::from(pool.lender().is_some()),
        );
        Bound::from_owned_ptr_or_err(py, made)
    });
    raise_made(py, made);
}

/// The new reference, or one to None. Without memory it is null, which `Py_BuildValue` passes on as the error it is.
unsafe fn or_none(made: Option<*mut PyObject>) -> *mut PyObject {
    // SAFETY: None is always there.
    // `Py_NewRef` came with CPython 3.10.
    made.unwrap_or_else(|| unsafe {
        ffi::Py_INCREF(ffi::Py_None());
        ffi::Py_None()
    })
}

/// Everybody who holds something waits for this pool.
#[cold]
pub(crate) fn deadlock(pool: &Bound<'_, Pool>) {
    raise_made(pool.py(), call_python(pool.py(), c"opool._deadlock", c"deadlock_error", &[pool.as_any()]));
}

/// Whoever asks is not to wait.
#[cold]
pub(crate) fn refused(pool: &Bound<'_, Pool>, refusal: Refusal) {
    let (py, this) = (pool.py(), pool.get());
    match refusal {
        Refusal::Closed => closed(this),
        // Whoever asked with a deadline tells more (`timed_out`).
        Refusal::TimedOut(_) => {}
        Refusal::TooMany => {
            let (counts, limit) = this.with(|core| (core.counts(), core.rules().max_waiting));
            let advice = "Try again later, or raise max_waiting or max_size.";
            let who = match limit {
                0 => "nothing is free, and with max_waiting=0 nobody may wait".to_owned(),
                _ => format!("max_waiting={limit} wait already"),
            };
            let message = format!("{this}: {who} ({}). {advice}", describe(counts));
            // SAFETY: called by methods, which are attached.
            unsafe { raise(TOO_MANY_WAITERS.load(Relaxed), message) };
        }
        Refusal::Failed => {
            let now = this.now();
            let failing = this.with(|core| core.failing(now));
            let (in_a_row, pause) = failing.map_or((0, 0), |failing| (failing.in_a_row, failing.pause));
            let made = this.last_error(py).and_then(|cause| {
                let function = python_function(py, c"opool.errors", c"_factory_error")?;
                // SAFETY: as in `timed_out`.
                unsafe {
                    let made = ffi::PyObject_CallFunction(
                        function.as_ptr(),
                        c"OOnd".as_ptr(),
                        pool.as_ptr(),
                        cause.as_ref().map_or(ffi::Py_None(), |cause| cause.as_ptr()),
                        in_a_row as Py_ssize_t,
                        pause as f64 / 1e9,
                    );
                    Bound::from_owned_ptr_or_err(py, made)
                }
            });
            raise_made(py, made);
        }
    }
}

/// "factory and dispose are coroutine functions".
fn async_hooks(pool: &Pool) -> String {
    let hooks = pool.async_hooks();
    let what = if hooks.len() == 1 { "is a coroutine function" } else { "are coroutine functions" };
    format!("{} {what}", hooks.join(" and "))
}

/// A thread asks a pool whose hooks need an event loop.
#[cold]
pub(crate) fn only_for_tasks(pool: &Pool) {
    let hooks = async_hooks(pool);
    let message = format!("{pool}: {hooks}, and a thread has no event loop to run that in: use lease_async");
    // SAFETY: called by methods, which are attached.
    unsafe { raise(POOL_ERROR.load(Relaxed), message) };
}

/// A pool whose hooks need an event loop is in a `with`.
#[cold]
pub(crate) fn only_async_with(pool: &Pool) -> PyErr {
    pool_error(format!("{pool}: {}, which a plain with could not end: use async with", async_hooks(pool)))
}

/// The thread of an event loop is about to wait for what happens in that event loop.
#[cold]
pub(crate) fn only_aclose(pool: &Pool) -> PyErr {
    let what = "close would stop the event loop that this thread runs, and wait for its tasks for ever";
    pool_error(format!("{pool}: {what}: use await pool.aclose(), or async with"))
}

fn pool_error(message: String) -> PyErr {
    // SAFETY: the callers are attached; the exception has just been set.
    unsafe {
        raise(POOL_ERROR.load(Relaxed), message);
        PyErr::fetch(Python::assume_attached())
    }
}

/// Why there is no object, if the factory has not come back in time.
pub(crate) fn gave_up(py: Python<'_>, limit: Option<Nanos>) -> PyResult<Bound<'_, PyAny>> {
    let function = python_function(py, c"opool.errors", c"_create_timeout_error")?;
    // SAFETY: as in `timed_out`.
    unsafe {
        let seconds = limit.unwrap_or(0) as f64 / 1e9;
        Bound::from_owned_ptr_or_err(py, ffi::PyObject_CallFunction(function.as_ptr(), c"d".as_ptr(), seconds))
    }
}

/// Nothing goes out of a closed pool, nor into it.
#[cold]
pub(crate) fn closed(pool: &Pool) {
    // SAFETY: called by methods, which are attached.
    unsafe { raise(POOL_CLOSED.load(Relaxed), format!("{pool}: it is closed")) };
}

/// The pool does not take this object.
#[cold]
pub(crate) fn not_added(pool: &Bound<'_, Pool>, object: &Bound<'_, PyAny>, refusal: Refusal) {
    let this = pool.get();
    if refusal == Refusal::Closed {
        return closed(this);
    }
    let (counts, limit) = this.with(|core| (core.counts(), core.rules().max_size));
    // SAFETY: attached, and the object is alive.
    unsafe {
        let Some(shown) = show(object.as_ptr()) else { return };
        let message =
            format!("{this}: cannot add {shown}: it has max_size={limit} objects already ({})", describe(counts));
        raise(ffi::PyExc_ValueError, message);
    }
}

/// `discard` of a lease that belongs to no pool of ours.
#[cold]
pub(crate) unsafe fn made_by_hand(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: as the caller's.
    unsafe { misused(lease, "was made by hand: only a lease that a pool made can discard its object") }
}

/// Raises what the Python side has made, or what went wrong there.
fn raise_made(py: Python<'_>, made: PyResult<Bound<'_, PyAny>>) {
    match made {
        Ok(error) => PyErr::from_value(error).restore(py),
        Err(error) => error.restore(py),
    }
}

/// The interpreter is going down, so nothing will ever become free.
#[cold]
pub(crate) fn shutting_down(pool: &Pool, counts: Counts) {
    let counts = describe(counts);
    let message = format!("{pool}: the interpreter is shutting down, so no object will come free ({counts})");
    // SAFETY: called by methods, which are attached.
    unsafe { raise(POOL_TIMEOUT.load(Relaxed), message) };
}

/// `release` of what is not out by `acquire`.
#[cold]
pub(crate) unsafe fn not_acquired(pool: &Pool, object: *mut PyObject, why: NotAcquired) -> *mut PyObject {
    let why = match why {
        NotAcquired::Foreign => {
            "is not an object of this pool: give it back to the one that it came from; add_obj adds new ones"
        }
        NotAcquired::Idle => "is back already: it was released twice, or was never acquired",
        NotAcquired::Leased => "is held by a lease, which gives it back itself: leave its `with`, or release the lease",
    };
    // SAFETY: an argument of a method, alive for the call.
    unsafe {
        let Some(shown) = show(object) else { return ptr::null_mut() };
        raise(LEASE_ERROR.load(Relaxed), format!("{pool}: cannot release {shown}: it {why}"))
    }
}

/// A lease is used after its end, or entered twice.
unsafe fn misused(lease: *mut Lease, what: &str) -> *mut PyObject {
    // SAFETY: the lease is alive for the call.
    unsafe {
        let pool = Lease::home(lease).unwrap_or_else(|| "pool".to_owned());
        let Some(shown) = show(lease.cast()) else { return ptr::null_mut() };
        raise(LEASE_ERROR.load(Relaxed), format!("{pool}: {shown} {what}"))
    }
}

const FORKED_AWAY: &str =
    "has ended with the fork: the thread that held it exists in the parent process only, and here its object is free";

#[cold]
pub(crate) unsafe fn cannot_enter(lease: *mut Lease) -> *mut PyObject {
    // SAFETY: as the caller's.
    unsafe {
        let what = match (*lease).phase.get(Attached::assume()) {
            ENTERED => "cannot be entered twice; enter it once, or take another lease",
            FORKED => FORKED_AWAY,
            _ => "cannot be entered: it is over, and its object may be with somebody else; take a new lease",
        };
        misused(lease, what)
    }
}

/// `before` is the phase that it was in.
#[cold]
pub(crate) unsafe fn released_twice(lease: *mut Lease, before: u8) -> *mut PyObject {
    let what = match before {
        FORKED => FORKED_AWAY,
        _ => "cannot be released twice: its object may be with somebody else",
    };
    // SAFETY: as the caller's.
    unsafe { misused(lease, what) }
}

/// Only seen by code that the collector runs while it takes a cycle apart.
#[cold]
pub(crate) unsafe fn cleared() -> *mut PyObject {
    // SAFETY: attached, as every getter.
    unsafe { raise(LEASE_ERROR.load(Relaxed), "this lease has been taken apart by the garbage collector".to_owned()) }
}

#[cold]
pub(crate) unsafe fn wrong_call(count: Py_ssize_t) -> *mut PyObject {
    // SAFETY: attached, as every slot.
    unsafe {
        let message =
            format!("a lease is entered without arguments and left with three (type, value, traceback), not {count}");
        raise(ffi::PyExc_TypeError, message)
    }
}

#[cold]
pub(crate) unsafe fn not_a_lease(object: *mut PyObject, class: *mut ffi::PyTypeObject) -> *mut PyObject {
    // SAFETY: an argument of the caller's, alive; a type has a name.
    unsafe {
        let wanted = std::ffi::CStr::from_ptr((*class).tp_name).to_string_lossy();
        raise(ffi::PyExc_TypeError, format!("expected an {wanted}, got {}", type_name(object)))
    }
}

/// An async lease is entered or awaited again.
#[cold]
pub(crate) unsafe fn used_twice() -> *mut PyObject {
    let what = "an async lease can be awaited or entered once; call lease_async again";
    // SAFETY: attached, as every slot.
    unsafe { raise(LEASE_ERROR.load(Relaxed), what.to_owned()) }
}

/// An async lease is left that is not entered, or not any more.
#[cold]
pub(crate) unsafe fn not_held(forked: bool) -> *mut PyObject {
    let what = if forked { FORKED_AWAY } else { "is not entered, or over already" };
    // SAFETY: attached, as every slot.
    unsafe { raise(LEASE_ERROR.load(Relaxed), format!("the async lease {what}")) }
}

/// Somebody awaits where no event loop runs that we know.
#[cold]
pub(crate) fn no_event_loop() -> PyErr {
    PyRuntimeError::new_err("lease_async needs a running event loop, of asyncio or trio; in plain threads use lease()")
}

/// Not exactly one argument, `timeout`.
#[cold]
pub(crate) unsafe fn wrong_arguments(count: Py_ssize_t, names: *mut PyObject) {
    // SAFETY: `names` is null or the call's tuple of keywords.
    unsafe {
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        let message = match named {
            0 => format!("expected at most one argument, timeout (seconds or None), got {count}"),
            _ => {
                let Some(names) = show(names) else { return };
                format!("the only argument is timeout (seconds or None), got {count} positional and {names} by name")
            }
        };
        raise(ffi::PyExc_TypeError, message);
    }
}

/// A timeout that is no number.
#[cold]
pub(crate) unsafe fn seconds_type(option: &str, value: *mut PyObject) {
    // SAFETY: an argument of the caller's, alive.
    unsafe {
        let Some(shown) = show(value) else { return };
        raise(ffi::PyExc_TypeError, format!("{option} must be seconds or None, not {} ({shown})", type_name(value)));
    }
}

/// A timeout below zero, or NaN.
#[cold]
pub(crate) unsafe fn seconds_value(option: &str, value: *mut PyObject) {
    // SAFETY: an argument of the caller's, alive.
    unsafe {
        let Some(shown) = show(value) else { return };
        raise(ffi::PyExc_ValueError, format!("{option} must be seconds >= 0 or None, not {shown}"));
    }
}

/// Whether the interpreter is being torn down.
pub(crate) fn finalizing() -> bool {
    #[cfg(not(Py_3_13))]
    unsafe extern "C" {
        #[link_name = "_Py_IsFinalizing"]
        fn is_finalizing() -> c_int;
    }
    #[cfg(Py_3_13)]
    use pyo3::ffi::Py_IsFinalizing as is_finalizing;
    // SAFETY: both read a flag. Late in the teardown it is down again, but then nothing is initialised any more.
    let flags: [c_int; 2] = unsafe { [is_finalizing(), ffi::Py_IsInitialized()] };
    flags[0] != 0 || flags[1] == 0
}
