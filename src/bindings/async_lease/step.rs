//! `pool.lease_async()`: what an `async with` or an `await` makes of a lease.
//!
//! An `AsyncLease` is its own awaitable, its own iterator, and what `async with` finds when it looks for `__aenter__` and
//! `__aexit__` (`self_descriptor.rs`). So an object that is free costs no allocation and no suspension. If none is free,
//! the task waits (`async_wait.rs`) for its turn (`waker.rs`), in the same queue as the threads.
//!
//! What it owns: its pool, until it is over; while it waits, its turn, which has the ticket; while it is inside its
//! `async with`, the slot. The slot knows it then by `Item::holder`.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

use pyo3::ffi::{self, Py_ssize_t, PyObject};

use crate::bindings::args::timeout::{self as timeouts, Wait};
use crate::bindings::async_lease::wait::{Waiting, begin, go_on};
use crate::bindings::classes::async_lease::async_lease_type;
use crate::bindings::ffi::raw::{Exception, discard};
use crate::bindings::ffi::refcount::{decref, incref, is_unique};
use crate::bindings::ffi::stop_iteration;
use crate::bindings::lease::hot::{self as lease, none};
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::errors;
use crate::bindings::pool::give_back as giving_back;
use crate::bindings::pool::holders::TASK;
use crate::pool::SlotId;
use crate::sync::{Attached, Phase, this_thread};

/// Nothing was asked for yet.
pub(crate) const NEW: u8 = 0;
/// In the queue, or about to collect.
pub(crate) const WAITING: u8 = 1;
/// Inside its `async with`.
pub(crate) const HELD: u8 = 2;
/// Over.
pub(crate) const OVER: u8 = 3;
/// Over as well: a fork has left its holder behind, in the other process.
pub(crate) const FORKED: u8 = 4;

/// What awaiting it does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Asks for an object, and gives a `Lease`.
    Lease,
    /// Asks for an object, and gives it: `__aenter__`.
    Enter,
    /// Nothing any more: `__aexit__`.
    Exit,
}

/// `opool.AsyncLease`.
#[repr(C)]
pub(crate) struct AsyncLease {
    head: PyObject,
    /// [`call`], where CPython's vectorcall protocol looks for it.
    pub(crate) vectorcall: Option<ffi::vectorcallfunc>,
    /// Owned. Null once it is over.
    pub(crate) pool: *mut PyObject,
    /// While `HELD`.
    slot: SlotId,
    pub(crate) phase: Phase,
    pub(crate) mode: Cell<Mode>,
    /// The thread that asked.
    pub(crate) thread: usize,
    /// Seconds; NaN is the pool's own timeout.
    pub(crate) timeout: f64,
    pub(crate) wait: Cell<Option<Box<Waiting>>>,
    /// Whether somebody is at it: see [`alone`].
    busy: AtomicBool,
}

// ---------------------------------------------------------------------------------------------------------------------
// Birth and death

/// `Pool.lease_async(timeout=...)`, METH_FASTCALL | METH_KEYWORDS.
pub(crate) unsafe extern "C" fn lease_async(
    this: *mut PyObject,
    args: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the interpreter calls this as a method of `Pool`, attached, with `count` + len(names) arguments.
    unsafe {
        let mut timeout = f64::NAN;
        if count != 0 || !names.is_null() {
            match timeouts::parse(args, count, names) {
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
        (&raw mut (*new).busy).write(AtomicBool::new(false));
        ffi::PyObject_GC_Track(new.cast());
        new
    }
}

pub(crate) unsafe extern "C" fn dealloc(this: *mut PyObject) {
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
pub(crate) unsafe extern "C" fn clear(this: *mut PyObject) -> c_int {
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

pub(crate) unsafe extern "C" fn traverse(this: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
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
pub(crate) unsafe fn abandon(lease: *mut AsyncLease) {
    // SAFETY: the caller has a live object.
    unsafe {
        match (*lease).phase.replace(Attached::assume(), OVER) {
            WAITING => stop_waiting(lease),
            HELD => {
                stop_iteration::forget();
                let this = (*lease).pool;
                let pool = Pool::bound(&this);
                forget_holder(pool.get(), (*lease).slot);
                giving_back::give_back(pool, (*lease).slot);
            }
            _ => return,
        }
        leave_pool(lease);
    }
}

/// The slot knows no async lease: it is in the hands of this thread.
pub(crate) fn forget_holder(pool: &Pool, slot: SlotId) {
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
                giving_back::give_back(pool, slot);
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

/// One step of an `await`.
pub(crate) enum Step {
    /// The result.
    Return(*mut PyObject),
    /// Suspend, with this for the event loop.
    Yield(*mut PyObject),
    /// The exception is set.
    Raise,
}

/// One step, if nobody else is at it. With a GIL nobody is, but where the slow way runs Python.
#[inline(always)]
pub(crate) unsafe fn step(lease: *mut AsyncLease, sent: *mut PyObject) -> Step {
    // SAFETY: as in `advance`.
    unsafe { if cfg!(opool_gil) { advance(lease, sent) } else { alone(lease, || advance(lease, sent), Step::Raise) } }
}

/// Does something that no two threads may do to one lease at the same time: two tasks that await it, or one that awaits
/// it and one that throws into it. The second gets the error, and `otherwise`.
pub(crate) unsafe fn alone<R>(lease: *mut AsyncLease, act: impl FnOnce() -> R, otherwise: R) -> R {
    // SAFETY: the caller has a live object, and is attached.
    unsafe {
        if (*lease).busy.swap(true, Acquire) {
            errors::used_twice();
            return otherwise;
        }
        let done = act();
        (*lease).busy.store(false, Release);
        done
    }
}

#[inline(always)]
unsafe fn advance(lease: *mut AsyncLease, sent: *mut PyObject) -> Step {
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
        if cfg!(opool_gil) { alone(lease, || step_slowly(lease, sent), Step::Raise) } else { step_slowly(lease, sent) }
    }
}

/// The slot is this lease's: the result of the `await`.
pub(crate) unsafe fn take(lease: *mut AsyncLease, slot: SlotId) -> Step {
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
