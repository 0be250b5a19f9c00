//! `pool.lease_async()`: what an `async with` or an `await` makes of a lease.
//!
//! An `AsyncLease` is its own awaitable, its own iterator, and what `async with` finds when it looks for `__aenter__` and
//! `__aexit__` (`self_descriptor.rs`). So an object that is free costs no allocation and no suspension. If none is free,
//! the task waits for its turn (`waker.rs`), in the same queue as the threads.
//!
//! What it owns: its pool, until it is over; while it waits, its turn, which has the ticket; while it is inside its
//! `async with`, the slot. The slot knows it then by `Item::holder`.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;
use std::ptr;

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyString, PyType};

use super::alarm::Alarms;
use super::background::{call_python, follow_up};
use super::errors;
use super::lease::{self, none};
use super::pool::Pool;
use super::raw::{Exception, discard, method, slot};
use super::refcount::{decref, incref, is_unique};
use super::self_descriptor;
use super::stop_iteration;
use super::waiting::{self, Deadline, Wait, Waited};
use super::waker::{TaskRef, Turn, Waker, running_loop};
use super::watch::TASK;
use crate::pool::{Answer, Asker, Nanos, Refusal, SlotId, Spent, Turned};
use crate::sync::{Attached, Phase, this_thread};

/// Nothing was asked for yet.
const NEW: u8 = 0;
/// In the queue, or about to collect.
const WAITING: u8 = 1;
/// Inside its `async with`.
pub(super) const HELD: u8 = 2;
/// Over.
const OVER: u8 = 3;
/// Over as well: a fork has left its holder behind, in the other process.
pub(super) const FORKED: u8 = 4;

/// What awaiting it does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Asks for an object, and gives a `Lease`.
    Lease,
    /// Asks for an object, and gives it: `__aenter__`.
    Enter,
    /// Nothing any more: `__aexit__`.
    Exit,
}

/// `opool.AsyncLease`.
#[repr(C)]
pub(super) struct AsyncLease {
    head: PyObject,
    /// [`call`], where CPython's vectorcall protocol looks for it.
    vectorcall: Option<ffi::vectorcallfunc>,
    /// Owned. Null once it is over.
    pool: *mut PyObject,
    /// While `HELD`.
    slot: SlotId,
    pub(super) phase: Phase,
    mode: Cell<Mode>,
    /// The thread that asked.
    pub(super) thread: usize,
    /// Seconds; NaN is the pool's own timeout.
    timeout: f64,
    wait: Cell<Option<Box<Waiting>>>,
}

/// While `WAITING`.
struct Waiting {
    turn: TaskRef,
    /// What suspends the task where a future does not: a coroutine for trio, owned.
    parking: *mut PyObject,
    since: Nanos,
    deadline: Deadline,
    spent: Spent,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // SAFETY: attached, as everybody who ends a wait.
        unsafe { discard(self.parking) };
    }
}

static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

fn async_lease_type() -> *mut ffi::PyTypeObject {
    // SAFETY: only called by functions of the module, so the thread is attached.
    let py = unsafe { Python::assume_attached() };
    TYPE.get(py).map_or(ptr::null_mut(), |made| made.as_ptr().cast())
}

// ---------------------------------------------------------------------------------------------------------------------
// Birth and death

/// `Pool.lease_async(timeout=...)`, METH_FASTCALL | METH_KEYWORDS.
pub(super) unsafe extern "C" fn lease_async(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the interpreter calls this as a method of `Pool`, attached, with `count` + len(names) arguments.
    unsafe {
        let mut timeout = f64::NAN;
        if count != 0 || !names.is_null() {
            match waiting::parse(args, count, names) {
                Some(Wait::Default) => {}
                Some(wait) => timeout = wait.seconds(None).unwrap_or(f64::INFINITY),
                None => return ptr::null_mut(),
            }
        }
        allocate(this, timeout).cast()
    }
}

/// One for the next use: the one that is over and that the pool has kept, if nobody else refers to it, or a new one.
///
/// While it is in use the pool does not keep it: whoever drops it has to be the last to refer to it.
#[inline(always)]
unsafe fn allocate(pool: *mut PyObject, timeout: f64) -> *mut AsyncLease {
    // SAFETY: the pool's reference becomes ours. If it is the only one, nobody can come to refer to it meanwhile.
    unsafe {
        let spare: *mut AsyncLease = Pool::from_raw(pool).spare.take().cast();
        if spare.is_null() || !is_unique(spare.cast()) {
            return allocate_new(pool, timeout, spare);
        }
        incref(pool);
        (*spare).pool = pool;
        (*spare).phase.reset(NEW);
        (*spare).mode.set(Mode::Lease);
        (*spare).timeout = timeout;
        spare
    }
}

#[cold]
#[inline(never)]
unsafe fn allocate_new(pool: *mut PyObject, timeout: f64, old: *mut AsyncLease) -> *mut AsyncLease {
    // SAFETY: the memory is written field by field before the collector or anybody else can see it.
    unsafe {
        // Somebody else refers to it still, so this does not drop it.
        ffi::Py_XDECREF(old.cast());
        let new: *mut AsyncLease = ffi::PyObject_GC_New(async_lease_type());
        if new.is_null() {
            return new;
        }
        incref(pool);
        (&raw mut (*new).vectorcall).write(Some(call));
        (&raw mut (*new).pool).write(pool);
        (&raw mut (*new).slot).write(SlotId::NONE);
        (&raw mut (*new).phase).write(Phase::new(NEW));
        (&raw mut (*new).mode).write(Cell::new(Mode::Lease));
        (&raw mut (*new).thread).write(0);
        (&raw mut (*new).timeout).write(timeout);
        (&raw mut (*new).wait).write(Cell::new(None));
        ffi::PyObject_GC_Track(new.cast());
        new
    }
}

unsafe extern "C" fn dealloc(this: *mut PyObject) {
    // SAFETY: the last reference is gone. Giving back may run foreign code, so the collector forgets the lease first and
    // an exception in flight is kept.
    unsafe {
        ffi::PyObject_GC_UnTrack(this.cast());
        let in_flight = Exception::take();
        clear(this);
        ptr::drop_in_place(&raw mut (*this.cast::<AsyncLease>()).wait);
        let kind = ffi::Py_TYPE(this);
        ffi::PyObject_GC_Del(this.cast());
        ffi::Py_DECREF(kind.cast());
        in_flight.put_back();
    }
}

// No `tp_finalize`: the coroutine that has entered it has one, which runs the end of its body, and may use the object
// until then. What nobody ends like that ends here, when the collector takes the cycle apart.
unsafe extern "C" fn clear(this: *mut PyObject) -> c_int {
    // SAFETY: a live object.
    unsafe {
        abandon(this.cast());
        leave_pool(this.cast());
        0
    }
}

/// It is over: its memory is the pool's to use again.
#[inline(always)]
unsafe fn retire(lease: *mut AsyncLease) {
    // SAFETY: the caller has a live object, which is over and has its pool still.
    unsafe {
        let spare = &Pool::from_raw((*lease).pool).spare;
        if spare.is_empty() {
            incref(lease.cast());
            spare.keep(lease.cast());
        }
        leave_pool(lease);
    }
}

/// It is over: the pool is no longer its.
#[inline(always)]
unsafe fn leave_pool(lease: *mut AsyncLease) {
    // SAFETY: the reference is taken out before it is dropped, so that code that runs then finds none.
    unsafe {
        let pool = ptr::replace(&raw mut (*lease).pool, ptr::null_mut());
        if !pool.is_null() {
            if is_unique(pool) { discard(pool) } else { decref(pool) }
        }
    }
}

unsafe extern "C" fn traverse(this: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: the interpreter calls this on a live object and lets nothing else run meanwhile.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        let wait = (*(*lease).wait.as_ptr()).as_ref();
        let (turn, parking) =
            wait.map_or((ptr::null_mut(), ptr::null_mut()), |wait| (wait.turn.as_ptr(), wait.parking));
        for object in [ffi::Py_TYPE(this).cast(), (*lease).pool, turn, parking] {
            if !object.is_null() {
                let result = visit(object, arg);
                if result != 0 {
                    return result;
                }
            }
        }
        0
    }
}

/// Ends whatever it is doing: leaves the queue, or gives back.
unsafe fn abandon(lease: *mut AsyncLease) {
    // SAFETY: the caller has a live object.
    unsafe {
        match (*lease).phase.replace(Attached::assume(), OVER) {
            WAITING => stop_waiting(lease),
            HELD => {
                stop_iteration::forget();
                let this = (*lease).pool;
                let pool = Pool::bound(&this);
                forget_holder(pool.get(), (*lease).slot);
                waiting::give_back(pool, (*lease).slot);
            }
            _ => return,
        }
        leave_pool(lease);
    }
}

/// The slot knows no async lease: it is in the hands of this thread.
fn forget_holder(pool: &Pool, slot: SlotId) {
    pool.with(|core| {
        if let Some(item) = core.value_mut(slot) {
            item.holder = this_thread();
        }
    });
}

/// Leaves the queue; what was handed over already goes to the next.
unsafe fn stop_waiting(lease: *mut AsyncLease) {
    // SAFETY: as the caller's. An exception that is on its way is kept.
    unsafe {
        let Some(wait) = (*lease).wait.take() else { return };
        let this = (*lease).pool;
        let pool = Pool::bound(&this);
        if let Some(ticket) = wait.turn.get(pool.py()).get().take_ticket() {
            let now = pool.get().now();
            if let (Some(slot), _waker) = pool.get().with(|core| core.cancel(ticket, now)) {
                waiting::give_back(pool, slot);
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// `async with`, and awaiting

/// Calling it: `lease()` is `__aenter__`, `lease(type, value, traceback)` is `__aexit__`.
unsafe extern "C" fn call(
    this: *mut PyObject,
    _args: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: reached through the vectorcall field only.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        if names.is_null() {
            match ffi::PyVectorcall_NARGS(count) {
                0 => return enter(lease),
                3 => return leave(lease),
                _ => {}
            }
        }
        errors::wrong_call(ffi::PyVectorcall_NARGS(count))
    }
}

#[inline(always)]
unsafe fn enter(lease: *mut AsyncLease) -> *mut PyObject {
    // SAFETY: the caller has a live object.
    unsafe {
        if (*lease).phase.get(Attached::assume()) != NEW || (*lease).mode.get() != Mode::Lease {
            return errors::used_twice();
        }
        (*lease).mode.set(Mode::Enter);
        incref(lease.cast());
        lease.cast()
    }
}

#[inline(always)]
unsafe fn leave(lease: *mut AsyncLease) -> *mut PyObject {
    // SAFETY: as in `enter`. Whoever moves the phase from HELD gives back.
    unsafe {
        let attached = Attached::assume();
        if !(*lease).phase.advance(attached, HELD, OVER) {
            return errors::not_held((*lease).phase.get(attached) == FORKED);
        }
        (*lease).mode.set(Mode::Exit);
        stop_iteration::forget();
        let (this, slot) = ((*lease).pool, (*lease).slot);
        let me = (*lease).thread;
        let quick = Pool::from_raw(this).core.with(attached, |core| {
            if let Some(item) = core.value_mut(slot) {
                item.holder = me;
            }
            core.give_back_quickly(slot)
        });
        let well = quick || lease::give_back_slowly(this, slot);
        retire(lease);
        if !well {
            return ptr::null_mut();
        }
        incref(lease.cast());
        lease.cast()
    }
}

/// What `await` iterates over: itself, unless a task waits for it already, which would wait for ever then.
unsafe extern "C" fn itself(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: alive for the call.
    unsafe {
        if (*this.cast::<AsyncLease>()).phase.get(Attached::assume()) == WAITING {
            return errors::used_twice();
        }
        incref(this);
        this
    }
}

/// One step of an `await`.
enum Step {
    /// The result.
    Return(*mut PyObject),
    /// Suspend, with this for the event loop.
    Yield(*mut PyObject),
    /// The exception is set.
    Raise,
}

#[inline(always)]
unsafe fn step(lease: *mut AsyncLease, sent: *mut PyObject) -> Step {
    // SAFETY: the caller has a live object, and is attached.
    unsafe {
        let attached = Attached::assume();
        if (*lease).mode.get() == Mode::Exit {
            // Once: awaited again, it is a lease that is over.
            (*lease).mode.set(Mode::Enter);
            return Step::Return(none());
        }
        if (*lease).phase.get(attached) == NEW && (*lease).mode.get() == Mode::Enter {
            let taken = Pool::from_raw((*lease).pool).core.with(attached, |core| {
                let slot = core.lease()?;
                core.value_mut(slot).map(|item| {
                    item.holder = lease as usize | TASK;
                    (slot, item.object.as_ptr())
                })
            });
            if let Some((slot, object)) = taken {
                (*lease).thread = this_thread();
                (*lease).slot = slot;
                (*lease).phase.reset(HELD);
                incref(object);
                return Step::Return(object);
            }
        }
        step_slowly(lease, sent)
    }
}

/// The slot is this lease's: the result of the `await`.
unsafe fn take(lease: *mut AsyncLease, slot: SlotId) -> Step {
    // SAFETY: as in `step`; the slot is leased by the caller, and owns its object.
    unsafe {
        let (this, me) = ((*lease).pool, this_thread());
        let attached = Attached::assume();
        (*lease).thread = me;
        if (*lease).mode.get() == Mode::Lease {
            (*lease).phase.reset(OVER);
            let made = lease::hand_out_to(this, slot, me);
            retire(lease);
            return if made.is_null() { Step::Raise } else { Step::Return(made) };
        }
        (*lease).slot = slot;
        (*lease).phase.reset(HELD);
        let object = Pool::from_raw(this).core.with(attached, |core| {
            core.value_mut(slot).map(|item| {
                item.holder = lease as usize | TASK;
                item.object.as_ptr()
            })
        });
        match object {
            Some(object) => {
                incref(object);
                Step::Return(object)
            }
            None => Step::Raise,
        }
    }
}

#[cold]
#[inline(never)]
unsafe fn step_slowly(lease: *mut AsyncLease, sent: *mut PyObject) -> Step {
    // SAFETY: as in `step`.
    unsafe {
        let this = (*lease).pool;
        match (*lease).phase.get(Attached::assume()) {
            NEW => begin(lease, Pool::bound(&this)),
            WAITING => go_on(lease, Pool::bound(&this), sent),
            _ => {
                errors::used_twice();
                Step::Raise
            }
        }
    }
}

/// Asks, and joins the queue if nothing is there.
unsafe fn begin(lease: *mut AsyncLease, pool: &Bound<'_, Pool>) -> Step {
    // SAFETY: as in `step`.
    unsafe {
        let this = pool.get();
        let now = this.now();
        let seconds = match (*lease).timeout {
            timeout if timeout.is_nan() => this.default_timeout(),
            timeout => Some(timeout),
        };
        let (slot, spent) = this.with(|core| (core.take(now), core.spent(now)));
        let slot = match slot {
            Some(slot) => Some(slot),
            None => match waiting::borrowed(pool) {
                Some(slot) => slot,
                None => return Step::Raise,
            },
        };
        match slot {
            // Without asking for an event loop, which only those who wait need.
            Some(slot) => finish(lease, pool, slot),
            None => queue(lease, pool, Deadline::after(seconds, now), now, spent),
        }
    }
}

/// The lease has come by a slot: what there is to do outside, and the result of the `await`.
unsafe fn finish(lease: *mut AsyncLease, pool: &Bound<'_, Pool>, slot: SlotId) -> Step {
    // SAFETY: as in `step`; the slot is the caller's.
    unsafe {
        // Nobody can use it twice while that runs.
        (*lease).phase.reset(OVER);
        forget_holder(pool.get(), slot);
        if waiting::taken(pool, Some(slot)).is_none() {
            return Step::Raise;
        }
        take(lease, slot)
    }
}

unsafe fn queue(
    lease: *mut AsyncLease,
    pool: &Bound<'_, Pool>,
    deadline: Deadline,
    since: Nanos,
    spent: Spent,
) -> Step {
    // SAFETY: as in `step`.
    unsafe {
        let (py, this) = (pool.py(), pool.get());
        this.membership.join(this);
        let now = this.now();
        let me = this_thread();
        // Needed only if there is nothing, but it takes Python, so it comes first.
        let turn = match new_turn(pool) {
            Ok(turn) => turn,
            Err(error) => {
                error.restore(py);
                return Step::Raise;
            }
        };
        let at = deadline.at().unwrap_or(Nanos::MAX);
        let asker = Asker { thread: lease as usize | TASK, now, nested: false, deadline: at };
        // Should the core refuse it, it is dropped in there; but `turn` is not, so that runs nothing.
        let waker = Waker::Task(TaskRef::new(&turn));
        let answer = this.with(|core| core.lease_or_queue(asker, waker));
        match answer {
            Answer::Slot(slot) => finish(lease, pool, slot),
            Answer::Refused(refusal) => {
                (*lease).phase.reset(OVER);
                errors::refused(pool, refusal);
                Step::Raise
            }
            Answer::Place(ticket) => {
                turn.get().begin(ticket);
                (*lease).thread = me;
                (*lease).phase.reset(WAITING);
                let parking = ptr::null_mut();
                let wait = Waiting { turn: TaskRef::new(&turn), parking, since, deadline, spent };
                (*lease).wait.set(Some(Box::new(wait)));
                let ready = join(pool, &turn)
                    .and_then(|()| follow_up(pool))
                    .and_then(|()| Alarms::set(pool, turn.get().event_loop(py), at))
                    .and_then(|()| watch_for_deadlock(pool, &turn, now));
                if let Err(error) = ready {
                    abandon(lease);
                    error.restore(py);
                    return Step::Raise;
                }
                suspend(lease, turn)
            }
        }
    }
}

/// Gives the event loop what resumes the task later.
unsafe fn suspend(lease: *mut AsyncLease, turn: Bound<'_, Turn>) -> Step {
    // SAFETY: as in `step`.
    unsafe {
        if turn.get().is_a_future() {
            return Step::Yield(turn.into_ptr());
        }
        let py = turn.py();
        let Some(mut wait) = (*lease).wait.take() else { return Step::Raise };
        match call_python(py, c"opool._event_loops", c"park", &[turn.as_any()]) {
            Ok(coroutine) => discard(ptr::replace(&raw mut wait.parking, coroutine.into_ptr())),
            Err(error) => {
                (*lease).wait.set(Some(wait));
                abandon(lease);
                error.restore(py);
                return Step::Raise;
            }
        }
        (*lease).wait.set(Some(wait));
        go_on(lease, Pool::bound(&(*lease).pool), ffi::Py_None())
    }
}

/// The event loop goes on with the task: on to what suspends it, if that is not over, else it looks.
unsafe fn go_on(lease: *mut AsyncLease, pool: &Bound<'_, Pool>, sent: *mut PyObject) -> Step {
    // SAFETY: as in `step`; the coroutine is kept alive meanwhile.
    unsafe {
        let parking = (*(*lease).wait.as_ptr()).as_ref().map_or(ptr::null_mut(), |wait| wait.parking);
        if parking.is_null() {
            return look(lease, pool);
        }
        ffi::Py_INCREF(parking);
        let sent = if sent.is_null() { ffi::Py_None() } else { sent };
        let yielded = resume(parking, sent);
        ffi::Py_DECREF(parking);
        match yielded {
            Step::Return(nothing) => {
                decref(nothing);
                look(lease, pool)
            }
            Step::Raise => {
                let in_flight = Exception::take();
                abandon(lease);
                in_flight.put_back();
                Step::Raise
            }
            step => step,
        }
    }
}

/// One step of a coroutine.
unsafe fn resume(coroutine: *mut PyObject, sent: *mut PyObject) -> Step {
    // SAFETY: both are alive, and the thread is attached.
    unsafe {
        let py = Python::assume_attached();
        let coroutine = Bound::from_borrowed_ptr(py, coroutine);
        match coroutine.call_method1(pyo3::intern!(py, "send"), (Bound::from_borrowed_ptr(py, sent),)) {
            Ok(yielded) => Step::Yield(yielded.into_ptr()),
            Err(error) if error.is_instance_of::<PyStopIteration>(py) => Step::Return(none()),
            Err(error) => {
                error.restore(py);
                Step::Raise
            }
        }
    }
}

/// Somebody has woken the task: is it its turn?
unsafe fn look(lease: *mut AsyncLease, pool: &Bound<'_, Pool>) -> Step {
    // SAFETY: as in `step`.
    unsafe {
        let this = pool.get();
        let Some(wait) = (*lease).wait.take() else {
            errors::used_twice();
            return Step::Raise;
        };
        let Waiting { ref turn, since, deadline, spent, .. } = *wait;
        // Without a ticket: the event loop stood still for a while, and somebody ended the wait for us.
        let Some(ticket) = turn.get(pool.py()).get().take_ticket() else {
            return queue(lease, pool, deadline, since, spent);
        };
        let now = this.now();
        let asker = Asker { thread: lease as usize | TASK, now, nested: false, deadline: Nanos::MAX };
        match this.with(|core| core.collect(ticket, asker)) {
            Turned::Slot(slot, _waker) => finish(lease, pool, slot),
            Turned::Refused(Refusal::TimedOut(before), _waker) => {
                (*lease).phase.reset(OVER);
                this.with(|core| core.note_timeout());
                let counts = this.counts();
                errors::timed_out(&Waited::over(pool, since, deadline, spent), counts, Some(before), now);
                Step::Raise
            }
            Turned::Refused(refusal, _waker) => {
                (*lease).phase.reset(OVER);
                errors::refused(pool, refusal);
                Step::Raise
            }
            // Woken, but not served: the giver has taken back what it gave. The place in the queue is still ours.
            Turned::NotYet(ticket) => {
                let again = turn.get(pool.py()).clone();
                again.get().begin(ticket);
                (*lease).wait.set(Some(wait));
                suspend(lease, again)
            }
        }
    }
}

/// An event loop in which somebody waits looks after a pool whose hooks are coroutine functions.
fn join(pool: &Bound<'_, Pool>, turn: &Bound<'_, Turn>) -> PyResult<()> {
    if !pool.get().works_in_tasks() {
        return Ok(());
    }
    let event_loop = turn.get().event_loop(pool.py());
    call_python(pool.py(), c"opool._crew", c"join", &[pool.as_any(), event_loop]).map(drop)
}

/// Somebody looks once in a while whether all who hold something wait: one timer a pool, not one a wait.
fn watch_for_deadlock(pool: &Bound<'_, Pool>, turn: &Bound<'_, Turn>, now: Nanos) -> PyResult<()> {
    let this = pool.get();
    if this.looks_for_deadlock.is_later(now) || this.clock().is_some() {
        return Ok(());
    }
    this.look_for_deadlock_later();
    let event_loop = turn.get().event_loop(pool.py());
    call_python(pool.py(), c"opool._task_holders", c"watch", &[pool.as_any(), event_loop]).map(drop)
}

/// For a task of the event loop that this thread runs.
pub(super) fn new_turn<'py>(pool: &Bound<'py, Pool>) -> PyResult<Bound<'py, Turn>> {
    let py = pool.py();
    // First: trio may be the guest of an event loop of asyncio, which runs as well then.
    if is_loaded(py, intern!(py, "trio")) {
        let event_loop = call_python(py, c"opool._event_loops", c"trio_here", &[])?;
        if !event_loop.is_none() {
            return Turn::new(pool, event_loop, false);
        }
    }
    let event_loop = running_loop(py)?;
    if event_loop.is_none() { Err(errors::no_event_loop()) } else { Turn::new(pool, event_loop, true) }
}

/// Whether a module of that name was imported.
fn is_loaded(_: Python<'_>, name: &Bound<'_, PyString>) -> bool {
    // SAFETY: attached. The dict of modules is borrowed for the call.
    unsafe { ffi::PyDict_Contains(ffi::PyImport_GetModuleDict(), name.as_ptr()) == 1 }
}

#[cfg(Py_3_10)]
unsafe extern "C" fn send(this: *mut PyObject, sent: *mut PyObject, result: *mut *mut PyObject) -> ffi::PySendResult {
    // SAFETY: called by the interpreter on a live object, with a place for the result.
    unsafe {
        match step(this.cast(), sent) {
            Step::Return(value) => {
                *result = value;
                ffi::PySendResult::PYGEN_RETURN
            }
            Step::Yield(value) => {
                *result = value;
                ffi::PySendResult::PYGEN_NEXT
            }
            Step::Raise => {
                *result = ptr::null_mut();
                ffi::PySendResult::PYGEN_ERROR
            }
        }
    }
}

/// Where the interpreter does not send: the result comes as the value of a `StopIteration`, and None as nothing.
unsafe extern "C" fn next(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live object.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        if (*lease).mode.get() == Mode::Exit {
            (*lease).mode.set(Mode::Enter);
            return ptr::null_mut();
        }
        send_value(this, ffi::Py_None())
    }
}

/// `send(value)`: what an event loop does that answers what was yielded to it.
unsafe extern "C" fn send_value(this: *mut PyObject, sent: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method, called with one argument.
    unsafe {
        match step(this.cast(), sent) {
            Step::Yield(value) => value,
            Step::Raise => ptr::null_mut(),
            Step::Return(value) => {
                // A lease has to be known to nobody but its owner. An object is known to the pool anyway, until it is back.
                match (*this.cast::<AsyncLease>()).mode.get() {
                    Mode::Lease => stop_iteration::raise_new(value),
                    _ => stop_iteration::raise(value),
                }
                decref(value);
                ptr::null_mut()
            }
        }
    }
}

/// `throw(type, value=None, traceback=None)` or `throw(value)`: what a task does when it is cancelled.
unsafe extern "C" fn throw(this: *mut PyObject, args: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method, called with a tuple.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        if (*lease).phase.get(Attached::assume()) == WAITING {
            let parking = (*(*lease).wait.as_ptr()).as_ref().map_or(ptr::null_mut(), |wait| wait.parking);
            if !parking.is_null() {
                return throw_on(lease, parking, args);
            }
            abandon(lease);
        }
        let count = ffi::PyTuple_GET_SIZE(args);
        if count == 0 {
            return errors::wrong_call(count);
        }
        let first = ffi::PyTuple_GET_ITEM(args, 0);
        let value = if count > 1 { ffi::PyTuple_GET_ITEM(args, 1) } else { ffi::Py_None() };
        if ffi::PyExceptionInstance_Check(first) != 0 {
            ffi::PyErr_SetObject(ffi::Py_TYPE(first).cast(), first);
        } else if ffi::PyExceptionClass_Check(first) != 0 {
            let value = if value == ffi::Py_None() { ptr::null_mut() } else { value };
            ffi::PyErr_SetObject(first, value);
        } else {
            let text = c"exceptions must be classes or instances deriving from BaseException".as_ptr();
            ffi::PyErr_SetString(ffi::PyExc_TypeError, text);
        }
        ptr::null_mut()
    }
}

/// As `throw`, to the coroutine that suspends the task.
unsafe fn throw_on(lease: *mut AsyncLease, parking: *mut PyObject, args: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `go_on`.
    unsafe {
        ffi::Py_INCREF(parking);
        let throw = ffi::PyObject_GetAttrString(parking, c"throw".as_ptr());
        let yielded = if throw.is_null() { throw } else { ffi::PyObject_CallObject(throw, args) };
        ffi::Py_XDECREF(throw);
        ffi::Py_DECREF(parking);
        if yielded.is_null() {
            let in_flight = Exception::take();
            abandon(lease);
            in_flight.put_back();
        }
        yielded
    }
}

/// `close()`: the coroutine that awaits it goes.
unsafe extern "C" fn close(this: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        if (*lease).phase.get(Attached::assume()) == WAITING {
            abandon(lease);
        }
        none()
    }
}

unsafe extern "C" fn repr(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter on a live object.
    unsafe {
        let lease: *mut AsyncLease = this.cast();
        let state = match (*lease).phase.get(Attached::assume()) {
            NEW => c"not awaited",
            WAITING => c"waiting",
            HELD => c"entered",
            _ => c"over",
        };
        let pool = if (*lease).pool.is_null() { ffi::Py_None() } else { (*lease).pool };
        let lender = if (*lease).pool.is_null() { None } else { Pool::from_raw(pool).lender() };
        let manager = lender.and_then(|lender| lender.manager(Python::assume_attached()));
        let pool = manager.as_ref().map_or(pool, Bound::as_ptr);
        ffi::PyUnicode_FromFormat(c"<opool.AsyncLease of %R, %s>".as_ptr(), pool, state.as_ptr())
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The type

const DOC: &CStr = c"What `Pool.lease_async` returns.

In an `async with` it is the object, from the moment that there is one until the
block is left. Awaited, it is a `Lease`, which is yours to release. It can be
used once, in one of the two ways.

Example:
    >>> import asyncio, opool
    >>> pool = opool.Pool([\"a\"])
    >>> async def main():
    ...     async with pool.lease_async() as obj:
    ...         print(obj)
    >>> asyncio.run(main())
    a
";

const ENTER_DOC: &CStr = c"Waits for an object, and returns it.";
const EXIT_DOC: &CStr = c"Gives the object back. An exception of the body passes through.";

/// Nobody makes one by hand. (There is a flag that says so, but only from CPython 3.10 on.)
unsafe extern "C" fn new(_: *mut ffi::PyTypeObject, _: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: attached, as every slot.
    unsafe {
        ffi::PyErr_SetString(ffi::PyExc_TypeError, c"an AsyncLease is made by Pool.lease_async".as_ptr());
        ptr::null_mut()
    }
}

fn make_type(py: Python<'_>) -> PyResult<Py<PyType>> {
    let methods = Box::leak(Box::new([
        method(c"send", ffi::PyMethodDefPointer { PyCFunction: send_value }, ffi::METH_O, c"See generators."),
        method(c"throw", ffi::PyMethodDefPointer { PyCFunction: throw }, ffi::METH_VARARGS, c"See generators."),
        method(c"close", ffi::PyMethodDefPointer { PyCFunction: close }, ffi::METH_NOARGS, c"See generators."),
        ffi::PyMethodDef::zeroed(),
    ]));
    let members = Box::leak(Box::new([
        ffi::PyMemberDef {
            name: c"_thread".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: offset_of!(AsyncLease, thread) as Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: c"The thread that asked.".as_ptr(),
        },
        ffi::PyMemberDef {
            name: c"_pool".as_ptr(),
            type_code: ffi::Py_T_OBJECT_EX,
            offset: offset_of!(AsyncLease, pool) as Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: c"Not there once it is over.".as_ptr(),
        },
        ffi::PyMemberDef {
            name: c"__vectorcalloffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: offset_of!(AsyncLease, vectorcall) as Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        },
        ffi::PyMemberDef::default(),
    ]));
    let mut slots = [
        slot(ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_new, new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_am_await, itself as *mut c_void),
        slot(ffi::Py_tp_iter, itself as *mut c_void),
        slot(ffi::Py_tp_iternext, next as *mut c_void),
        #[cfg(Py_3_10)]
        slot(ffi::Py_am_send, send as *mut c_void),
        slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
        slot(0, ptr::null_mut()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"opool.AsyncLease".as_ptr(),
        basicsize: size_of::<AsyncLease>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_HAVE_VECTORCALL) as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec is complete, and the tables that the type keeps pointers to are never freed.
    let made: Bound<'_, PyType> =
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec))?.cast_into_unchecked() };
    self_descriptor::install(&made, [("__aenter__", 0, ENTER_DOC), ("__aexit__", 3, EXIT_DOC)])?;
    Ok(made.unbind())
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let made = TYPE.get_or_try_init(py, || make_type(py))?;
    module.add("AsyncLease", made)
}
