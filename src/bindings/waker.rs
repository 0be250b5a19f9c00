//! What wakes those who wait: a thread in its bed, or a task in its event loop.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::Arc;

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use super::background::call_python;
use super::giving_back;
use super::pool::Pool;
use super::raw::Exception;
use crate::pool::{SlotId, Ticket};
use crate::sync::{Attached, Guarded, Parker, this_thread};

/// Wakes one waiter. Cloned and dropped by attached threads only, and dropped outside of critical sections.
#[derive(Clone)]
pub(super) enum Waker {
    Thread(Arc<Parker>),
    Task(TaskRef),
}

impl Waker {
    /// Wakes a thread. False for a task, which takes Python: `wake`.
    pub(super) fn unpark(&self) -> bool {
        match self {
            Waker::Thread(parker) => parker.unpark(),
            Waker::Task(_) => return false,
        }
        true
    }

    /// After a fork: the place in the queue is gone, unless the task runs in this thread.
    pub(super) fn forget_ticket(&self, survivor: usize) {
        // SAFETY: the callers are attached.
        let (attached, py) = unsafe { (Attached::assume(), Python::assume_attached()) };
        if let Waker::Task(task) = self
            && task.get(py).get().thread != survivor
        {
            // None: a thread that is not here was just looking, which means that it will never do anything.
            let (Some(_) | None) = task.get(py).get().state.try_with(attached, |state| state.ticket.take());
        }
    }

    /// Wakes whoever it is. What it was given goes to the next one, should its event loop be dead.
    pub(super) fn wake(&self, pool: &Bound<'_, Pool>) {
        if self.unpark() {
            return;
        }
        // SAFETY: attached; the exception is put back before anybody looks.
        let in_flight = unsafe { Exception::take() };
        // One after the other, however many of them are dead: not each from within the one before.
        let mut next = Some(self.clone());
        while let Some(waker) = next.take() {
            match &waker {
                Waker::Thread(parker) => parker.unpark(),
                Waker::Task(task) => {
                    let left = wake_task(task.get(pool.py()));
                    next = left.and_then(|slot| giving_back::give_to_next(pool, slot));
                }
            }
        }
        // SAFETY: as above.
        unsafe { in_flight.put_back() };
    }

    /// Whether it wakes this thread.
    pub(super) fn is(&self, parker: &Arc<Parker>) -> bool {
        matches!(self, Waker::Thread(mine) if Arc::ptr_eq(mine, parker))
    }

    /// Whether it wakes this task.
    pub(super) fn is_task(&self, turn: &Bound<'_, Turn>) -> bool {
        matches!(self, Waker::Task(task) if task.as_ptr() == turn.as_ptr())
    }

    /// Whether it wakes something that runs in this thread.
    pub(super) fn runs_in(&self, thread: usize) -> bool {
        // SAFETY: the callers are attached.
        let py = unsafe { Python::assume_attached() };
        matches!(self, Waker::Task(task) if task.get(py).get().thread == thread)
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Waker::Thread(_) => Ok(()),
            Waker::Task(task) => task.traverse(visit),
        }
    }
}

/// A reference to a [`Turn`] that knows that whoever has it is attached.
pub(super) struct TaskRef(NonNull<PyObject>);

// SAFETY: used by attached threads only; a `Turn` brings its own protection.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    pub(super) fn new(turn: &Bound<'_, Turn>) -> Self {
        // SAFETY: a `Bound` is never null, and the new reference is ours.
        unsafe {
            ffi::Py_INCREF(turn.as_ptr());
            TaskRef(NonNull::new_unchecked(turn.as_ptr()))
        }
    }

    pub(super) fn get<'py>(&self, _: Python<'py>) -> &Bound<'py, Turn> {
        // SAFETY: both are a pointer to a living `Turn`.
        unsafe { &*(&raw const self.0).cast::<Bound<'py, Turn>>() }
    }

    pub(super) fn as_ptr(&self) -> *mut PyObject {
        self.0.as_ptr()
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: a `Py` is a pointer that is not null; it is only looked at.
        visit.call(unsafe { &*(&raw const self.0).cast::<Py<PyAny>>() })
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        // SAFETY: attached, and alive.
        unsafe { ffi::Py_INCREF(self.0.as_ptr()) };
        TaskRef(self.0)
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // SAFETY: attached, outside of critical sections, as `Waker` demands.
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) };
    }
}

/// How far a wait has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Pending,
    /// Somebody has called; the task is to look.
    Woken,
    /// The task does not want to wait any more.
    Cancelled,
}

struct State {
    phase: Phase,
    /// What resumes the task, and the context to do it in.
    resume: Option<(Py<PyAny>, Py<PyAny>)>,
    /// Whoever finds the event loop dead has to end the wait, so the ticket is here and not with the task.
    ticket: Option<Ticket>,
    message: Option<Py<PyAny>>,
    /// The protocol of `asyncio.Future`: set when a task is about to wait for this.
    blocking: bool,
}

/// A task's turn in a queue: what it waits for, in the eyes of its event loop. Quacks like an `asyncio.Future`.
///
/// A real future would do. But it resumes its task with a callback of its own, which the event loop schedules; the turns
/// that have come in one step of the event loop share one callback here ([`Ready`]).
#[pyclass(frozen, module = "opool._opool")]
pub(super) struct Turn {
    /// Where it waits.
    pool: Py<Pool>,
    event_loop: Py<PyAny>,
    /// Whether the event loop is asyncio's, which takes this for a future.
    future: bool,
    thread: usize,
    state: Guarded<State>,
}

impl Turn {
    /// For a task of the event loop that this thread runs.
    pub(super) fn new<'py>(
        pool: &Bound<'py, Pool>,
        event_loop: Bound<'py, PyAny>,
        future: bool,
    ) -> PyResult<Bound<'py, Turn>> {
        let py = event_loop.py();
        let state = State { phase: Phase::Pending, resume: None, ticket: None, message: None, blocking: false };
        let (event_loop, thread, state) = (event_loop.unbind(), this_thread(), Guarded::new(state));
        Bound::new(py, Turn { pool: pool.clone().unbind(), event_loop, future, thread, state })
    }

    pub(super) fn is_a_future(&self) -> bool {
        self.future
    }

    pub(super) fn event_loop<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.event_loop.bind(py)
    }

    fn with<R>(&self, critical: impl FnOnce(&mut State) -> R) -> R {
        // SAFETY: the callers are attached.
        self.state.with(unsafe { Attached::assume() }, critical)
    }

    /// The place in the queue, for whoever ends the wait now.
    pub(super) fn take_ticket(&self) -> Option<Ticket> {
        self.with(|state| state.ticket.take())
    }

    /// The task is about to wait for its place in the queue.
    pub(super) fn begin(&self, ticket: Ticket) {
        self.with(|state| state.ticket = Some(ticket));
        self.again();
    }

    /// Resumes the task, in its event loop.
    fn resume(slf: &Bound<'_, Turn>) -> PyResult<()> {
        let resume = slf.get().with(|state| {
            if state.phase == Phase::Pending {
                state.phase = Phase::Woken;
            }
            state.resume.take()
        });
        let Some((callback, context)) = resume else { return Ok(()) };
        let py = slf.py();
        // SAFETY: attached, and it is a context: `add_done_callback` has checked it.
        unsafe {
            if ffi::PyContext_Enter(context.as_ptr()) != 0 {
                return Err(PyErr::fetch(py));
            }
        }
        let result = callback.bind(py).call1((slf,)).map(drop);
        // SAFETY: as above; an exception is kept.
        unsafe {
            if ffi::PyContext_Exit(context.as_ptr()) != 0 && result.is_ok() {
                return Err(PyErr::fetch(py));
            }
        }
        result
    }
}

#[pymethods]
impl Turn {
    #[getter(_asyncio_future_blocking)]
    fn get_blocking(&self) -> bool {
        self.with(|state| state.blocking)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.with(|state| state.blocking = blocking);
    }

    #[getter(_loop)]
    fn get_event_loop(&self) -> &Py<PyAny> {
        &self.event_loop
    }

    fn get_loop(&self) -> &Py<PyAny> {
        &self.event_loop
    }

    #[pyo3(signature = (callback, *, context = None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let context = match context {
            Some(context) => context,
            // SAFETY: attached; the reference is new.
            None => unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? },
        };
        // SAFETY: attached.
        if unsafe { ffi::PyContext_CheckExact(context.as_ptr()) } == 0 {
            return Err(PyRuntimeError::new_err("expected a contextvars.Context"));
        }
        let resume = Some((callback, context.unbind()));
        let (phase, before) = slf.get().with(|state| (state.phase, std::mem::replace(&mut state.resume, resume)));
        drop(before);
        if phase != Phase::Pending { Ready::push(slf) } else { Ok(()) }
    }

    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let mut message = msg;
        let cancelled = slf.get().with(|state| {
            let first = state.phase == Phase::Pending;
            if first {
                state.phase = Phase::Cancelled;
                std::mem::swap(&mut state.message, &mut message);
            }
            first
        });
        drop(message);
        if cancelled {
            Ready::push(slf)?;
        }
        Ok(cancelled)
    }

    fn done(&self) -> bool {
        self.with(|state| state.phase != Phase::Pending)
    }

    fn cancelled(&self) -> bool {
        self.with(|state| state.phase == Phase::Cancelled)
    }

    /// Nothing; but a task that was cancelled comes to know of that here.
    fn result(&self, py: Python<'_>) -> PyResult<()> {
        if self.with(|state| state.phase) != Phase::Cancelled {
            return Ok(());
        }
        let class = py.import(intern!(py, "asyncio"))?.getattr(intern!(py, "CancelledError"))?;
        let message = self.with(|state| state.message.take());
        let error = match message {
            Some(message) => class.call1((message,))?,
            None => class.call0()?,
        };
        Err(PyErr::from_value(error))
    }

    /// The task is about to wait.
    #[pyo3(name = "_again")]
    fn again(&self) {
        self.with(|state| {
            state.blocking = true;
            if state.phase == Phase::Woken {
                state.phase = Phase::Pending;
            }
        });
    }

    /// Called by the event loop: resumes the task.
    #[pyo3(name = "_resume")]
    fn py_resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        Turn::resume(slf)
    }

    /// The task is resumed by somebody else.
    fn forget(&self) {
        drop(self.with(|state| state.resume.take()));
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.pool)?;
        visit.call(&self.event_loop)?;
        self.with(|state| {
            visit.call(&state.message)?;
            state.resume.iter().try_for_each(|(callback, context)| {
                visit.call(callback)?;
                visit.call(context)
            })
        })
    }

    fn __clear__(&self) {
        drop(self.with(|state| (state.resume.take(), state.message.take())));
    }
}

/// The turn of a task has come. Returns what it was given, if nobody runs its event loop.
fn wake_task(turn: &Bound<'_, Turn>) -> Option<SlotId> {
    let py = turn.py();
    let event_loop = turn.get().event_loop.bind(py);
    let here = this_thread() == turn.get().thread
        && loop_here(py, turn.get().future).is_ok_and(|running| running.is(event_loop));
    if here {
        return if twice(turn, || Ready::push(turn)) { None } else { leave_queue(turn) };
    }
    let alive = event_loop.call_method0(intern!(py, "is_running")).and_then(|alive| alive.is_truthy());
    // Called in any case: should somebody run that loop later, the task finds itself without a ticket, and queues again.
    let called = twice(turn, || Ready::call(turn, intern!(py, "call_soon_threadsafe")).map(drop));
    if alive.unwrap_or(false) && called { None } else { leave_queue(turn) }
}

/// Calls an event loop, and once more if that fails: a signal handler may have raised in there, and nobody else would ever
/// resume the task. False if it is in vain.
fn twice(turn: &Bound<'_, Turn>, call: impl Fn() -> PyResult<()>) -> bool {
    let Err(error) = call() else { return true };
    let (well, py) = (call().is_ok(), turn.py());
    // A moment without memory is over, and nobody's business; what a handler raised would be lost here.
    if well && !error.is_instance_of::<PyMemoryError>(py) {
        error.write_unraisable(py, Some(turn.get().pool.bind(py)));
    }
    well
}

/// Ends the wait in place of the task. Returns what it was given.
fn leave_queue(turn: &Bound<'_, Turn>) -> Option<SlotId> {
    let ticket = turn.get().take_ticket()?;
    let pool = turn.get().pool.bind(turn.py()).get();
    let now = pool.now();
    let (slot, _waker) = pool.with(|core| core.cancel(ticket, now));
    slot
}

/// Calls tasks when their turns have come, in the next step of an event loop: all of them that this thread wakes until
/// then. A closed event loop drops it uncalled; then what they were given goes to the next.
#[pyclass(frozen, module = "opool._opool")]
pub(super) struct Ready(Arc<Turns>);

/// Nothing once they are called, or never will be.
type Turns = Guarded<Option<Vec<TaskRef>>>;

thread_local! {
    /// For each event loop that this thread runs: whom it is going to call. Mostly it is one; with two that take turns,
    /// two. The turns die with their [`Ready`], so nothing of Python's is left when the thread ends.
    static READY: RefCell<Vec<(TaskLoop, Arc<Turns>)>> = const { RefCell::new(Vec::new()) };
}

/// The address of an event loop. Only compared: as long as there are turns, they keep it alive.
#[derive(Clone, Copy, PartialEq, Eq)]
struct TaskLoop(*mut PyObject);

fn with_turns<R>(turns: &Turns, critical: impl FnOnce(&mut Option<Vec<TaskRef>>) -> R) -> R {
    // SAFETY: the callers are attached.
    turns.with(unsafe { Attached::assume() }, critical)
}

impl Ready {
    /// The task of `turn` is to be resumed: by the callback that is scheduled already, or by a new one.
    fn push(turn: &Bound<'_, Turn>) -> PyResult<()> {
        let py = turn.py();
        let here = TaskLoop(turn.get().event_loop.as_ptr());
        let scheduled = READY.with_borrow(|ready| {
            let (_, turns) = ready.iter().find(|(whose, _)| *whose == here)?;
            with_turns(turns, |turns| turns.as_mut().map(|turns| turns.push(TaskRef::new(turn))))
        });
        if scheduled.is_some() {
            return Ok(());
        }
        let turns = Ready::call(turn, intern!(py, "call_soon"))?;
        READY.with_borrow_mut(|ready| {
            ready.retain(|(_, turns)| with_turns(turns, |turns| turns.is_some()));
            ready.push((here, turns));
        });
        Ok(())
    }

    /// Schedules a callback in the event loop of `turn`, by the method of that name.
    fn call(turn: &Bound<'_, Turn>, method: &Bound<'_, PyString>) -> PyResult<Arc<Turns>> {
        let turns = Arc::new(Guarded::new(Some(vec![TaskRef::new(turn)])));
        let ready = Bound::new(turn.py(), Ready(Arc::clone(&turns)))?;
        let called = turn.get().event_loop.bind(turn.py()).call_method1(method, (&ready,));
        if called.is_err() {
            // The caller sees to the turn.
            drop(ready.get().take());
        }
        called.map(|_| turns)
    }

    fn take(&self) -> Vec<TaskRef> {
        with_turns(&self.0, Option::take).unwrap_or_default()
    }
}

#[pymethods]
impl Ready {
    /// Resumes those who are there now. Whoever comes meanwhile waits for the next step, so that the event loop gets on.
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let mut turns = self.take().into_iter();
        while let Some(turn) = turns.next() {
            if let Err(error) = Turn::resume(turn.get(py)) {
                // Ctrl-C, or the like: the others have their turn all the same.
                for turn in turns {
                    Ready::push(turn.get(py))?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        with_turns(&self.0, |turns| turns.iter().flatten().try_for_each(|turn| turn.traverse(&visit)))
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        let turns = self.take();
        if turns.is_empty() {
            return;
        }
        // SAFETY: Python objects die attached; the exception is put back before anybody looks.
        let (py, in_flight) = unsafe { (Python::assume_attached(), Exception::take()) };
        for turn in turns {
            let turn = turn.get(py);
            if let Some(slot) = leave_queue(turn) {
                giving_back::give_back(turn.get().pool.bind(py), slot);
            }
        }
        // SAFETY: as above.
        unsafe { in_flight.put_back() };
    }
}

/// The event loop that this thread runs, or None: asyncio's, or what stands for trio's.
fn loop_here(py: Python<'_>, asyncio: bool) -> PyResult<Bound<'_, PyAny>> {
    if asyncio { running_loop(py) } else { call_python(py, c"opool._event_loops", c"running_trio_loop", &[]) }
}

/// The event loop of asyncio that this thread runs, or None.
pub(super) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let get = match GET.get(py) {
        Some(get) => get,
        // Without its module no event loop can run.
        None if !is_loaded(py, intern!(py, "asyncio")) => return Ok(py.None().into_bound(py)),
        None => {
            let find = || Ok::<_, PyErr>(py.import("asyncio")?.getattr("_get_running_loop")?.unbind());
            GET.get_or_try_init(py, find)?
        }
    };
    get.bind(py).call0()
}

/// Whether a module of that name has been imported.
pub(super) fn is_loaded(_: Python<'_>, name: &Bound<'_, PyString>) -> bool {
    // SAFETY: attached. The dict of modules is borrowed for the call.
    unsafe { ffi::PyDict_Contains(ffi::PyImport_GetModuleDict(), name.as_ptr()) == 1 }
}
