//! What happens beside the callers: threads that make objects, look after them, and dispose of them.
//!
//! What is to be done the core decides (`src/pool/background.rs`). Whoever has changed something calls [`follow_up`], which
//! wakes or starts a thread if there is work. A thread is a [`Worker`]: it asks for work, does it, and sleeps or ends
//! when there is none. It refers to its pool weakly, so it keeps no pool alive, and it ends with its pool.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use pyo3::PyTraverseError;
use pyo3::exceptions::{PyRuntimeError, PyTimeoutError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::PyVisit;
use pyo3::types::{PyInt, PyNone, PyString, PyWeakrefReference};

use super::errors;
use super::hooks::Hooks;
use super::outside;
use super::pool::{Item, Pool, drop_items};
use super::raw::Exception;
use super::waker::Waker;
use crate::pool::{Attempt, FollowUp, Maintenance, Nanos, Next, Report, SlotId, Task, Work};
use crate::sync::{Attached, Guarded, Parker};

/// The interpreter is about to go down: no more work.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Calls a function of the Python side. Without memory this raises; most of PyO3 would panic.
pub(super) fn call_python<'py>(
    py: Python<'py>,
    module: &CStr,
    name: &CStr,
    arguments: &[&Bound<'py, PyAny>],
) -> PyResult<Bound<'py, PyAny>> {
    outside::call(&python_function(py, module, name)?, arguments)
}

/// A function of the Python side.
pub(super) fn python_function<'py>(py: Python<'py>, module: &CStr, name: &CStr) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached; both are C strings.
    unsafe {
        let module = Bound::from_owned_ptr_or_err(py, ffi::PyImport_ImportModule(module.as_ptr()))?;
        Bound::from_owned_ptr_or_err(py, ffi::PyObject_GetAttrString(module.as_ptr(), name.as_ptr()))
    }
}

/// When something is to happen.
pub(super) struct Moment(AtomicU64);

impl Moment {
    pub(super) fn at(at: Nanos) -> Moment {
        Moment(AtomicU64::new(at))
    }

    pub(super) fn is_later(&self, than: Nanos) -> bool {
        self.0.load(Relaxed) > than
    }

    pub(super) fn set(&self, at: Nanos) {
        self.0.store(at, Relaxed);
    }
}

/// Does what a change of the pool entails: wakes those who are to be woken, drops what has left, and sees to it that
/// somebody does the work that has come up.
///
/// # Errors
/// If a thread had to be started and could not, or a signal handler raised meanwhile.
pub(super) fn follow_up(pool: &Bound<'_, Pool>) -> PyResult<()> {
    settle(pool)?;
    let this = pool.get();
    if let Some(clock) = this.clock() {
        if this.with(|core| core.has_work(clock.get().nanos())) {
            call_python(pool.py(), c"opool._event_loops", c"work_soon", &[clock.bind(pool.py()).as_any()])?;
        }
    } else if this.works_in_tasks() {
        let now = this.now();
        let (now, due) = this.with(|core| (core.has_work(now), core.due()));
        if now || due.is_some_and(|due| this.looks_at.is_later(due)) {
            call_python(pool.py(), c"opool._crew", c"work", &[pool.as_any()])?;
        }
    } else if STOPPING.load(Relaxed) {
        do_it_here(pool);
    }
    Ok(())
}

/// The part of that which is done by the caller, or by threads.
fn settle(pool: &Bound<'_, Pool>) -> PyResult<()> {
    let this = pool.get();
    let works = this.clock().is_none() && !this.works_in_tasks() && this.with(|core| core.uses_background());
    loop {
        if let Some(lender) = this.lender() {
            lender.serve(pool);
        }
        let threads = (works && !STOPPING.load(Relaxed)).then(|| this.now());
        let Some(step) = this.with(|core| core.follow_up(threads)) else { break };
        match step {
            FollowUp::Wake(waker) => waker.wake(pool),
            FollowUp::Drop(item) => match this.lender() {
                Some(lender) => lender.take_back(item, pool.py())?,
                // SAFETY: attached, and the item is out of the pool.
                None => unsafe { drop_items([item]) },
            },
            // An item that is not given to `drop_items` keeps its references for ever.
            FollowUp::Leak(_) => {}
            FollowUp::Start => match start(pool) {
                Ok(true) => {}
                failed => {
                    this.with(|core| core.worker_not_started());
                    failed?;
                }
            },
        }
    }
    Ok(())
}

thread_local! {
    /// Whether this thread does background work, or is a background thread, which goes home instead.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Does what background threads would do. They end before the last functions of `atexit` are called: what those need of
/// a pool, and what they close, is made and disposed of by whoever asks.
fn do_it_here(pool: &Bound<'_, Pool>) {
    let (this, py) = (pool.get(), pool.py());
    if errors::finalizing() || AT_WORK.replace(true) {
        return;
    }
    match PyWeakrefReference::new(pool.as_any()) {
        Ok(home) => {
            let home = home.unbind();
            while let Some(work) = this.with(|core| core.take_work(this.now())) {
                if let Some(job) = Job::new(pool, home.clone_ref(py), work) {
                    job.run(py);
                }
            }
        }
        Err(error) => error.write_unraisable(py, Some(pool.as_any())),
    }
    AT_WORK.set(false);
}

/// As `follow_up`, where nobody could be told of an error: in destructors, and where another exception is on its way.
pub(super) fn follow_up_quietly(pool: &Bound<'_, Pool>) {
    // SAFETY: attached; the exception is put back before anybody looks.
    unsafe {
        let in_flight = Exception::take();
        if let Err(error) = follow_up(pool) {
            error.write_unraisable(pool.py(), Some(pool.as_any()));
        }
        in_flight.put_back();
    }
}

/// False if the interpreter is about to go down, and has no threads to give any more.
fn start(pool: &Bound<'_, Pool>) -> PyResult<bool> {
    let py = pool.py();
    pool.get().membership.join(pool.get());
    let worker = Bound::new(py, Worker { pool: PyWeakrefReference::new(pool.as_any())?.unbind() })?;
    outside::is_true(&call_python(py, c"opool._background", c"start", &[worker.as_any(), pool.as_any()])?)
}

/// Before the interpreter goes down: sends the threads home. One that is inside a hook stays there.
#[pyfunction]
pub(super) fn _stop_background(pools: Vec<Bound<'_, Pool>>) {
    STOPPING.store(true, Relaxed);
    for pool in pools {
        for waker in pool.get().with(|core| core.wake_all()) {
            waker.unpark();
        }
    }
}

/// The body of a background thread.
#[pyclass(frozen, module = "opool._opool")]
pub(super) struct Worker {
    pool: Py<PyWeakrefReference>,
}

#[pymethods]
impl Worker {
    fn __call__(&self, py: Python<'_>) {
        AT_WORK.set(true);
        let parker = Arc::new(Parker::new());
        let (mut me, mut slept) = (None, false);
        while let Some(pool) = upgrade(self.pool.bind(py)) {
            let this = pool.get();
            let now = this.now();
            if STOPPING.load(Relaxed) {
                if me.is_some() {
                    this.with(|core| core.worker_ended());
                }
                break;
            }
            let next = this.with(|core| core.next_work(&mut me, Waker::Thread(Arc::clone(&parker)), slept, now));
            slept = false;
            match next {
                Next::Do(work) => {
                    let job = Job::new(&pool, self.pool.clone_ref(py), work);
                    follow_up_quietly(&pool);
                    drop(pool);
                    if let Some(job) = job {
                        job.run(py);
                    }
                }
                Next::Sleep(limit) => {
                    follow_up_quietly(&pool);
                    drop(pool);
                    slept = true;
                    py.detach(|| parker.park(Some(Duration::from_nanos(limit))));
                }
                Next::End => {
                    follow_up_quietly(&pool);
                    break;
                }
            }
        }
    }
}

fn upgrade<'py>(pool: &Bound<'py, PyWeakrefReference>) -> Option<Bound<'py, Pool>> {
    use pyo3::types::PyWeakrefMethods;
    pool.upgrade_as::<Pool>().ok().flatten()
}

/// What a hook has returned. A coroutine is none of that: a lambda around a coroutine function made it, or the like, and
/// nobody would await it.
pub(super) fn no_coroutine(returned: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: attached, and alive.
    if unsafe { ffi::PyCoro_CheckExact(returned.as_ptr()) } == 0 {
        return Ok(returned);
    }
    returned.call_method0("close")?;
    Err(PyTypeError::new_err("the hook returned a coroutine, but is no coroutine function: write it with async def"))
}

/// What is to be finished.
enum Kind {
    Make(Attempt),
    Maintain(Task),
    Dispose(Item, Nanos),
    Report(Report),
}

/// A piece of background work: a hook that is to be called, and told of how that ended.
#[pyclass(frozen, module = "opool._opool")]
pub(super) struct Job {
    kind: Guarded<Option<Kind>>,
    /// What is to be done: "create", "check", "reset", "dispose" or "report".
    #[pyo3(get)]
    name: &'static str,
    /// The object in question, if there is one yet.
    #[pyo3(get)]
    obj: Option<Py<PyAny>>,
    hooks: Hooks,
    pool: Py<PyWeakrefReference>,
    /// The process that it was begun in: a hook may fork.
    process: u32,
}

impl Job {
    /// Nothing if the work is not to be done any more. Cannot fail: work that was taken must be finished.
    pub(super) fn new(pool: &Bound<'_, Pool>, home: Py<PyWeakrefReference>, work: Work<Item>) -> Option<Job> {
        let py = pool.py();
        // SAFETY: the item, or the slot, owns its object.
        let object = |item: &Item| unsafe { Bound::from_borrowed_ptr(py, item.object.as_ptr()).unbind() };
        let (name, obj, kind) = match work {
            Work::Make(attempt) => ("create", None, Kind::Make(attempt)),
            Work::Maintain(task) => {
                let name = if task.kind == Maintenance::Check { "check" } else { "reset" };
                // Once it is given up, the slot may be somebody else's.
                let obj = pool.get().with(|core| core.task_value(task).map(|item| object(item)))?;
                (name, Some(obj), Kind::Maintain(task))
            }
            Work::Dispose(item, began) => ("dispose", Some(object(&item)), Kind::Dispose(item, began)),
            Work::Report(report) => ("report", None, Kind::Report(report)),
        };
        let hooks = pool.get().hooks(py);
        Some(Job { kind: Guarded::new(Some(kind)), name, obj, hooks, pool: home, process: std::process::id() })
    }

    /// The work, once.
    fn take(&self) -> Option<Kind> {
        // SAFETY: the callers are attached.
        self.kind.with(unsafe { Attached::assume() }, Option::take)
    }

    /// Calls the hook, and tells the pool how that ended.
    pub(super) fn run(&self, py: Python<'_>) {
        let result = match self.hook(py) {
            Some(hook) => match &self.obj {
                Some(obj) => outside::call(&hook, &[obj.bind(py)]),
                None => outside::call(&hook, &[]),
            },
            None => Ok(PyNone::get(py).to_owned().into_any()),
        };
        self.end(py, result);
    }

    fn end(&self, py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) {
        let pool = upgrade(self.pool.bind(py));
        let result = result.and_then(no_coroutine);
        match (self.take(), &pool) {
            (Some(Kind::Make(attempt)), _) => self.end_making(py, pool.as_ref(), attempt, result),
            (Some(Kind::Maintain(task)), Some(pool)) => {
                // None is what a function returns that would have raised.
                let fit = result.and_then(|answer| {
                    Ok(task.kind == Maintenance::Reset || answer.is_none() || outside::is_true(&answer)?)
                });
                let hook = hook_name(py, task.kind);
                match &fit {
                    Ok(true) => {}
                    Ok(false) => tell(pool, c"unfit", &[&hook, PyNone::get(py).as_any()]),
                    Err(error) => tell(pool, c"unfit", &[&hook, error.value(py).as_any()]),
                }
                let (fit, now) = (fit.unwrap_or(false), pool.get().now());
                pool.get().with(|core| core.finish_task(task, fit, now));
            }
            (Some(Kind::Dispose(item, began)), _) => {
                if let (Err(error), Some(pool)) = (result, &pool) {
                    tell(pool, c"not_disposed", &[error.value(py).as_any()]);
                }
                // Not in a child: there the object is the other process's.
                if self.process == std::process::id() {
                    // SAFETY: attached, and the item is ours.
                    unsafe { drop_items([item]) };
                }
                if let Some(pool) = &pool {
                    pool.get().with(|core| core.finish_disposal(began));
                }
            }
            (Some(Kind::Report(report)), Some(pool)) => tell_report(pool, report),
            _ => {}
        }
        if let Some(pool) = &pool {
            follow_up_quietly(pool);
        }
    }

    fn end_making(
        &self,
        py: Python<'_>,
        pool: Option<&Bound<'_, Pool>>,
        attempt: Attempt,
        result: PyResult<Bound<'_, PyAny>>,
    ) {
        let result = result.and_then(|object| {
            if object.is_none() {
                return Err(PyTypeError::new_err("the factory returned None instead of an object"));
            }
            Ok(object)
        });
        match (result, pool) {
            (Ok(object), Some(pool)) => {
                let Some(object) = NonNull::new(object.into_ptr()) else { return };
                let (item, now) = (Item { object, shell: ptr::null_mut(), holder: 0 }, pool.get().now());
                let failing = pool.get().with(|core| {
                    core.finish_attempt(attempt, item, now);
                    core.failing(now).is_some()
                });
                // What was given up and came late says nothing about those that failed since.
                if !failing {
                    pool.get().set_last_error(py, None);
                }
            }
            // The pool is gone: the object is nobody's.
            (Ok(object), None) => {
                if let Some(Err(error)) =
                    self.hooks.dispose.as_ref().map(|dispose| outside::call(dispose.bind(py), &[&object]))
                {
                    error.write_unraisable(py, Some(&object));
                }
            }
            (Err(error), Some(pool)) => {
                tell(pool, c"not_created", &[error.value(py).as_any()]);
                pool.get().set_last_error(py, Some(error.into_value(py).into_any()));
                let now = pool.get().now();
                pool.get().with(|core| core.fail_attempt(attempt, now));
            }
            (Err(_), None) => {}
        }
    }

    fn hook<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let hook = match self.name {
            "create" => &self.hooks.factory,
            "check" => &self.hooks.check,
            "reset" => &self.hooks.reset,
            "dispose" => &self.hooks.dispose,
            _ => &None,
        };
        hook.as_ref().map(|hook| hook.bind(py).clone())
    }
}

#[pymethods]
impl Job {
    /// The hook that is to be called, if it is not a report.
    #[getter(hook)]
    fn get_hook<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.hook(py)
    }

    /// Calls the hook, and tells the pool how that ended.
    #[pyo3(name = "run")]
    fn py_run(&self, py: Python<'_>) {
        self.run(py);
    }

    /// The hook, called by somebody else, has returned `result`.
    fn finish(&self, py: Python<'_>, result: Bound<'_, PyAny>) -> PyResult<()> {
        self.not_finished()?;
        self.end(py, Ok(result));
        Ok(())
    }

    /// The hook, called by somebody else, has raised `error`.
    fn fail(&self, py: Python<'_>, error: Bound<'_, PyAny>) -> PyResult<()> {
        self.not_finished()?;
        self.end(py, Err(PyErr::from_value(error)));
        Ok(())
    }

    /// The hook, called by somebody else, was broken off from outside. What it did to the object nobody knows.
    fn break_off(&self, py: Python<'_>) {
        let kind = self.take();
        let Some(pool) = upgrade(self.pool.bind(py)) else { return };
        let this = pool.get();
        let now = this.now();
        match kind {
            Some(Kind::Make(attempt)) => this.with(|core| core.cancel_attempt(attempt, now)),
            Some(Kind::Maintain(task)) => this.with(|core| core.finish_task(task, false, now)),
            Some(Kind::Dispose(item, began)) => {
                if self.process == std::process::id() {
                    // SAFETY: attached, and the item is ours.
                    unsafe { drop_items([item]) };
                }
                this.with(|core| core.finish_disposal(began));
            }
            Some(Kind::Report(_)) | None => {}
        }
        not_done(&pool);
    }

    // A test's clock keeps the job in its frame, and the traceback of a hook's error keeps the frame. What the others in
    // such a cycle do to be cleared is enough.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.obj)?;
        self.hooks.traverse(&visit)
    }
}

impl Job {
    fn not_finished(&self) -> PyResult<()> {
        // SAFETY: a method, called attached.
        match self.kind.with(unsafe { Attached::assume() }, |kind| kind.is_some()) {
            true => Ok(()),
            false => Err(PyRuntimeError::new_err("this job is finished already")),
        }
    }
}

impl Job {
    /// Nobody has begun it, and nobody will: it is to be done again.
    fn put_back(&self, kind: Kind) {
        // SAFETY: Python objects die attached.
        let py = unsafe { Python::assume_attached() };
        // In a child it is the other process's.
        let pool = upgrade(self.pool.bind(py)).filter(|_| self.process == std::process::id());
        match (kind, pool) {
            (Kind::Dispose(item, _), None) if self.process == std::process::id() => {
                // SAFETY: as above, and the item is ours.
                unsafe { drop_items([item]) };
            }
            (_, None) | (Kind::Report(_), _) => {}
            (kind, Some(pool)) => {
                let this = pool.get();
                let now = this.now();
                this.with(|core| match kind {
                    Kind::Make(attempt) => core.cancel_attempt(attempt, now),
                    Kind::Maintain(task) => core.requeue_task(task),
                    Kind::Dispose(item, began) => core.requeue_disposal(item, began),
                    Kind::Report(_) => {}
                });
                not_done(&pool);
            }
        }
    }
}

/// What follows from a job that was not done, perhaps because its event loop ends.
fn not_done(pool: &Bound<'_, Pool>) {
    if !pool.get().works_in_tasks() {
        return follow_up_quietly(pool);
    }
    // SAFETY: attached; the exception is put back before anybody looks.
    unsafe {
        let in_flight = Exception::take();
        let told = settle(pool).and_then(|()| call_python(pool.py(), c"opool._crew", c"lost", &[pool.as_any()]));
        if let Err(error) = told {
            error.write_unraisable(pool.py(), Some(pool.as_any()));
        }
        in_flight.put_back();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(kind) = self.take()
            && !errors::finalizing()
        {
            self.put_back(kind);
        }
        if let Some(obj) = self.obj.take() {
            // SAFETY: Python objects die attached, and so does what the background threads have of them. It may be the
            // last reference.
            unsafe { outside::drop_reference(obj.into_ptr()) };
        }
    }
}

/// Tells the Python side, which writes it into the log. What goes wrong there is nobody's to handle.
pub(super) fn tell(pool: &Bound<'_, Pool>, what: &CStr, more: &[&Bound<'_, PyAny>]) {
    let mut arguments = vec![pool.as_any()];
    arguments.extend(more);
    if let Err(error) = call_python(pool.py(), c"opool._background", what, &arguments) {
        error.write_unraisable(pool.py(), Some(pool.as_any()));
    }
}

/// What a log calls this kind of maintenance.
pub(super) fn hook_name(py: Python<'_>, kind: Maintenance) -> Bound<'_, PyAny> {
    PyString::intern(py, if kind == Maintenance::Check { "check" } else { "reset" }).into_any()
}

fn tell_report(pool: &Bound<'_, Pool>, report: Report) {
    let py = pool.py();
    let rules = pool.get().with(|core| *core.rules());
    match report {
        Report::Leak(slot) => tell(pool, c"leak", &[PyInt::new(py, SlotId::index(slot)).as_any()]),
        Report::GaveUpMaking => match errors::gave_up(py, rules.make_limit) {
            Ok(error) => tell(pool, c"not_created", &[&error]),
            Err(error) => error.write_unraisable(py, Some(pool.as_any())),
        },
        Report::GaveUpTask(kind) => {
            let limit = rules.check_limit.unwrap_or(0) as f64 / 1e9;
            let error = PyTimeoutError::new_err(format!("it took longer than check_timeout ({limit} s)"));
            tell(pool, c"unfit", &[&hook_name(py, kind), error.value(py).as_any()]);
        }
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<super::clock::Clock>()?;
    module.add_class::<Job>()?;
    module.add_function(wrap_pyfunction!(_stop_background, module)?)?;
    Ok(())
}
