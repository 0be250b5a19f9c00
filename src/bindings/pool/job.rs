//! One piece of background work: a hook that is called, and what its end means for the pool.

use std::ptr::NonNull;

use pyo3::exceptions::{PyTimeoutError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyNone, PyWeakrefReference};

use crate::bindings::args::timeout::to_seconds;
use crate::bindings::ffi::call::{attached, call, drop_reference, is_true};
use crate::bindings::ffi::interrupt::{background_failure, raise_later};
use crate::bindings::ffi::python_side;
use crate::bindings::ffi::values::{Message, call_method, int};
use crate::bindings::objects::item::{Item, drop_items};
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::errors;
use crate::bindings::pool::log::{tell_quietly, tell_rejected};
use crate::pool::{Attempt, Maintenance, Nanos, Report, SlotId, Task, Work};
use crate::sync::Guarded;

/// Work that was taken from the pool, and has to be ended once: [`Job::end`]. `pool/background.rs` runs it.
#[pyclass(frozen, module = "opool._opool")]
pub(crate) struct Job {
    work: Guarded<Option<Work<Item>>>,
    /// What is to be done: "create", "check", "reset", "dispose" or "report".
    #[pyo3(get)]
    name: &'static str,
    /// The hook to call, if it is not a report.
    #[pyo3(get)]
    pub(crate) hook: Option<Py<PyAny>>,
    /// The object in question, if there is one yet.
    #[pyo3(get)]
    pub(crate) obj: Option<Py<PyAny>>,
    /// For an object that is created when its pool is gone.
    pub(crate) dispose: Option<Py<PyAny>>,
    pool: Py<PyWeakrefReference>,
    /// The process that it was taken in: a hook may fork.
    process: u32,
}

/// How a job ended.
pub(crate) enum Outcome<'py> {
    /// The hook returned this.
    Returned(Bound<'py, PyAny>),
    /// The hook raised this.
    Raised(PyErr),
    /// The hook was interrupted from outside: what it did to the object is unknown.
    Interrupted,
    /// The hook was not called, and nobody will: the work is to be done again.
    NotBegun,
}

impl<'py> From<PyResult<Bound<'py, PyAny>>> for Outcome<'py> {
    fn from(result: PyResult<Bound<'py, PyAny>>) -> Self {
        match result {
            Ok(returned) => Outcome::Returned(returned),
            Err(error) => Outcome::Raised(error),
        }
    }
}

/// Whether a hook has returned a coroutine: a lambda around a coroutine function does, or the like.
pub(crate) fn is_coroutine(returned: &Bound<'_, PyAny>) -> bool {
    // SAFETY: attached, and alive.
    unsafe { ffi::PyCoro_CheckExact(returned.as_ptr()) != 0 }
}

/// The pool behind a weak reference, if it is alive.
pub(crate) fn upgrade<'py>(pool: &Bound<'py, PyWeakrefReference>) -> Option<Bound<'py, Pool>> {
    use pyo3::types::PyWeakrefMethods;
    pool.upgrade_as::<Pool>().ok().flatten()
}

impl Job {
    /// Nothing if the work is not to be done any more. Cannot fail: work that was taken must be ended.
    pub(crate) fn new(pool: &Bound<'_, Pool>, weak: Py<PyWeakrefReference>, work: Work<Item>) -> Option<Job> {
        let (this, py) = (pool.get(), pool.py());
        let hooks = this.hooks(py);
        let dispose = hooks.dispose.as_ref().map(|dispose| dispose.clone_ref(py));
        let (name, hook, obj) = match &work {
            Work::Make(_) => ("create", hooks.factory, None),
            Work::Maintain(task) => {
                let task = *task;
                // Once it is given up, the slot may be leased by others.
                let obj = this.with(py, |core| core.task_value(task).map(|item| item.object(py)))?;
                let (name, hook) = match task.kind {
                    Maintenance::Check => ("check", hooks.check),
                    Maintenance::Reset => ("reset", hooks.reset),
                };
                (name, hook, Some(obj))
            }
            Work::Dispose(item, _) => ("dispose", hooks.dispose, Some(item.object(py))),
            Work::Report(_) => ("report", None, None),
        };
        let (work, obj) = (Guarded::new(Some(work)), obj.map(Bound::unbind));
        Some(Job { work, name, hook, obj, dispose, pool: weak, process: std::process::id() })
    }

    /// Calls the hook.
    pub(crate) fn call<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match (&self.hook, &self.obj) {
            (Some(hook), Some(obj)) => call(hook.bind(py), &[obj.bind(py)]),
            (Some(hook), None) => call(hook.bind(py), &[]),
            (None, _) => Ok(PyNone::get(py).to_owned().into_any()),
        }
    }

    /// What is to be done with a coroutine that the hook has made, where no event loop can await it. What a factory makes
    /// would belong to an event loop that ends at once, so that is refused; everything else runs in one for itself.
    fn run_coroutine<'py>(&self, coroutine: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = coroutine.py();
        if self.obj.is_some() {
            return python_side::RUN_COROUTINE.call(py, &[&coroutine]);
        }
        call_method(&coroutine, c"close", &[])?;
        Err(PyTypeError::new_err(Message::of(
            "the factory returned a coroutine, but is no coroutine function: write it with async def",
        )))
    }

    /// Calls the hook, and awaits the coroutine that it may have made.
    pub(crate) fn call_and_await<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let returned = self.call(py)?;
        if is_coroutine(&returned) { self.run_coroutine(returned) } else { Ok(returned) }
    }

    /// Whether it was ended.
    pub(crate) fn is_ended(&self, py: Python<'_>) -> bool {
        self.work.with(attached(py), |work| work.is_none())
    }

    /// Whether it may be ended in this process: in a fork's child, an object in the making is the other process's.
    fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// Ends it, once, and tells the pool how. Returns the pool, if it is alive, for the caller to follow up.
    pub(crate) fn end<'py>(&self, py: Python<'py>, outcome: Outcome<'py>) -> Option<Bound<'py, Pool>> {
        let pool = upgrade(self.pool.bind(py));
        let work = self.work.with(attached(py), Option::take);
        let pool = match outcome {
            Outcome::NotBegun => pool.filter(|_| self.is_ours()),
            _ => pool,
        };
        match (work, &pool) {
            (Some(Work::Make(attempt)), Some(pool)) => end_create(pool, attempt, outcome),
            (Some(Work::Make(_)), None) => self.end_orphan(py, outcome),
            (Some(Work::Maintain(task)), Some(pool)) => end_care(pool, task, outcome),
            (Some(Work::Dispose(item, began)), pool) => self.end_dispose(py, pool.as_ref(), item, began, outcome),
            (Some(Work::Report(report)), Some(pool)) if matches!(outcome, Outcome::Returned(_)) => {
                write_report(pool, report);
            }
            (Some(Work::Maintain(_)), None) | (Some(Work::Report(_)), _) | (None, _) => {}
        }
        pool
    }

    /// The pool is gone: an object that was created all the same has no owner.
    fn end_orphan(&self, py: Python<'_>, outcome: Outcome<'_>) {
        if let (Outcome::Returned(object), Some(dispose)) = (outcome, &self.dispose)
            && !object.is_none()
        {
            raise_later(&object, call(dispose.bind(py), &[&object]));
        }
    }

    fn end_dispose(
        &self,
        py: Python<'_>,
        pool: Option<&Bound<'_, Pool>>,
        item: Item,
        began: Nanos,
        outcome: Outcome<'_>,
    ) {
        match (outcome, pool) {
            (Outcome::NotBegun, Some(pool)) => return pool.get().with(py, |core| core.requeue_disposal(item, began)),
            (Outcome::Raised(error), Some(pool)) => {
                tell_quietly(pool, &python_side::LOG_DISPOSE_FAILED, &[error.value(py).as_any()]);
            }
            _ => {}
        }
        // Not in a child: there the object is the other process's, and keeps its references for ever.
        if self.is_ours() {
            // SAFETY: attached, and the item is ours.
            unsafe { drop_items([item]) };
        }
        if let Some(pool) = pool {
            pool.get().with(py, |core| core.finish_disposal(began));
        }
    }
}

fn end_create(pool: &Bound<'_, Pool>, attempt: Attempt, outcome: Outcome<'_>) {
    let (this, py) = (pool.get(), pool.py());
    let now = this.now();
    let error = match outcome {
        Outcome::Returned(object) if !object.is_none() => {
            let Some(object) = NonNull::new(object.into_ptr()) else { return };
            let failing = this.with(py, |core| {
                core.finish_attempt(attempt, Item::new(object), now);
                core.failing(now).is_some()
            });
            // An object that came late, when its attempt was given up, says nothing about those that failed since.
            if !failing {
                this.set_last_error(py, None);
            }
            return;
        }
        Outcome::Returned(_) => PyTypeError::new_err(Message::of("the factory returned None instead of an object")),
        Outcome::Raised(error) => error,
        Outcome::Interrupted | Outcome::NotBegun => return this.with(py, |core| core.cancel_attempt(attempt, now)),
    };
    let error = error.into_value(py).into_any();
    this.set_last_error(py, Some(error.clone_ref(py)));
    let now = this.now();
    let reached = this.with(py, |core| {
        let waiting = core.counts().waiting;
        core.fail_attempt(attempt, now);
        core.counts().waiting < waiting
    });
    let reached = PyBool::new(py, reached).to_owned().into_any();
    tell_quietly(pool, &python_side::LOG_CREATE_FAILED, &[error.bind(py), &reached]);
    // SAFETY: attached. As in `Pool::set_last_error`.
    unsafe { drop_reference(error.into_ptr()) };
}

fn end_care(pool: &Bound<'_, Pool>, task: Task, outcome: Outcome<'_>) {
    let (this, py) = (pool.get(), pool.py());
    let unfit = || {
        let now = this.now();
        this.with(py, |core| core.finish_task(task, false, now));
    };
    let fit = match outcome {
        // None is what a function returns that would have raised.
        Outcome::Returned(answer) if task.kind == Maintenance::Reset || answer.is_none() => Ok(true),
        Outcome::Returned(answer) => match is_true(&answer) {
            Ok(fit) => Ok(fit),
            Err(error) => match background_failure(py, error) {
                Ok(error) => Err(error),
                Err(interrupt) => {
                    raise_later::<()>(pool.as_any(), Err(interrupt));
                    return unfit();
                }
            },
        },
        Outcome::Raised(error) => Err(error),
        Outcome::Interrupted => return unfit(),
        Outcome::NotBegun => return this.with(py, |core| core.requeue_task(task)),
    };
    let rejected = |why: &Bound<'_, PyAny>| raise_later(pool.as_any(), tell_rejected(pool, task.kind, why));
    match &fit {
        Ok(true) => {}
        Ok(false) => rejected(PyNone::get(py).as_any()),
        Err(error) => rejected(error.value(py).as_any()),
    }
    let (fit, now) = (fit.unwrap_or(false), this.now());
    this.with(py, |core| core.finish_task(task, fit, now));
}

fn write_report(pool: &Bound<'_, Pool>, report: Report) {
    let py = pool.py();
    let rules = pool.get().with(py, |core| *core.rules());
    let told = match report {
        Report::Leak(slot) => {
            int(py, SlotId::index(slot) as i64).map(|slot| tell_quietly(pool, &python_side::REPORT_LEAK, &[&slot]))
        }
        Report::GaveUpMaking => errors::create_timeout(py, rules.make_limit).map(|error| {
            tell_quietly(pool, &python_side::LOG_CREATE_FAILED, &[&error, PyBool::new(py, false).as_any()])
        }),
        Report::GaveUpTask(kind) => {
            let limit = to_seconds(rules.check_limit.unwrap_or(0));
            let error = PyTimeoutError::new_err(Message::of(format!("it took longer than check_timeout ({limit} s)")));
            tell_rejected(pool, kind, error.value(py).as_any())
        }
    };
    raise_later(pool.as_any(), told);
}
