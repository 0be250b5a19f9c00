//! What happens beside the callers: threads or tasks that create objects, check them, and dispose of them.
//!
//! The core decides what is to be done (`src/pool/state/background.rs`). Every change is followed by a call of
//! [`follow_up`], which wakes or starts a thread if there is work. A thread is a [`Worker`]: it asks for work, does it,
//! and sleeps or ends when there is none. It refers to its pool weakly, so it keeps no pool alive, and it ends with its
//! pool.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use crate::bindings::ffi::call::{drop_reference, finalizing, is_true};
use crate::bindings::ffi::exception::keeping_exception;
use crate::bindings::ffi::interrupt::{Kept, background_failure, raise_later};
use crate::bindings::ffi::python_side;
use crate::bindings::objects::item::drop_items;
use crate::bindings::objects::pool::Pool;
use crate::bindings::pool::borrow::serve;
use crate::bindings::pool::job::{Job, Outcome, upgrade};
use crate::bindings::pool::sleep::Sleeper;
use crate::bindings::pool::wake::wake;
use crate::pool::{FollowUp, Nanos, Next};
use crate::sync::Parker;

/// The interpreter is about to shut down: no more background threads.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Does what a change of the pool entails: wakes waiters, drops what has left, and has somebody do the work that has
/// come up.
///
/// # Errors
/// If a thread had to be started and could not, or a signal handler raised meanwhile; then it is done all the same.
pub(crate) fn follow_up(pool: &Bound<'_, Pool>) -> PyResult<()> {
    let (this, py, mut kept) = (pool.get(), pool.py(), Kept::default());
    kept.keep(py, settle(pool));
    if let Some(clock) = this.clock() {
        if this.with(py, |core| core.has_work(clock.get().nanos())) {
            let run = kept.insist(py, || python_side::RUN_CLOCK_SOON.call(py, &[clock.bind(py).as_any()]));
            kept.keep(py, run);
        }
    } else if this.works_in_tasks() {
        let now = this.now();
        let (now, due) = this.with(py, |core| (core.has_work(now), core.due()));
        if now || due.is_some_and(|due| this.hooks_wake_at.is_later(due)) {
            let scheduled = kept.insist(py, || python_side::SCHEDULE_HOOKS.call(py, &[pool.as_any()]));
            kept.keep(py, scheduled);
        }
    } else if STOPPING.load(Relaxed) {
        work_here(pool, &mut kept);
    }
    kept.raise()
}

/// As `follow_up`, for a pool where a change may leave nothing to do.
pub(crate) fn follow_up_if_managed(pool: &Bound<'_, Pool>) -> PyResult<()> {
    if pool.get().is_managed() { follow_up(pool) } else { Ok(()) }
}

/// As `follow_up`, where no error could be reported: in destructors, and where another exception is set.
pub(crate) fn follow_up_quietly(pool: &Bound<'_, Pool>) {
    quietly(pool, follow_up);
}

/// Does something where no exception may come out. What signal handlers raise meanwhile comes out later.
pub(crate) fn quietly(pool: &Bound<'_, Pool>, act: impl FnOnce(&Bound<'_, Pool>) -> PyResult<()>) {
    keeping_exception(pool.py(), || raise_later(pool.as_any(), act(pool)));
}

/// The part of a follow-up that the caller does itself, or threads. An error does not cut it short: others wait for
/// what is left.
fn settle(pool: &Bound<'_, Pool>) -> PyResult<()> {
    let (this, py, mut kept) = (pool.get(), pool.py(), Kept::default());
    let works = this.clock().is_none() && !this.works_in_tasks() && this.with(py, |core| core.uses_background());
    loop {
        if let Some(ids) = this.id_source() {
            serve(pool, ids);
        }
        let threads = (works && !STOPPING.load(Relaxed)).then(|| this.now());
        let Some(step) = this.with(py, |core| core.follow_up(threads)) else { break };
        match step {
            FollowUp::Wake(waker) => {
                kept.keep(py, wake(pool, waker));
            }
            FollowUp::Drop(item) => match this.id_source() {
                Some(ids) => {
                    kept.keep(py, ids.take_back(py, item));
                }
                // SAFETY: attached, and the item is out of the pool.
                None => unsafe { drop_items([item]) },
            },
            // An item that is not given to `drop_items` keeps its references for ever.
            FollowUp::Leak(_) => {}
            FollowUp::Start => {
                let started = kept.insist(py, || start(pool));
                if !matches!(started, Ok(true)) {
                    this.with(py, |core| core.worker_not_started());
                }
                if kept.keep(py, started).is_none() {
                    break;
                }
            }
        }
    }
    kept.raise()
}

thread_local! {
    /// Whether this thread does background work, or is a background thread, which ends instead.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// Does what background threads would do. They end before the last functions of `atexit` are called: what those need of
/// a pool, and what they close, is created and disposed of by the caller.
fn work_here(pool: &Bound<'_, Pool>, kept: &mut Kept) {
    let (this, py) = (pool.get(), pool.py());
    if finalizing() || AT_WORK.replace(true) {
        return;
    }
    match PyWeakrefReference::new(pool.as_any()) {
        Ok(weak) => {
            let weak = weak.unbind();
            while let Some(work) = this.with(py, |core| core.take_work(this.now())) {
                if let Some(job) = Job::new(pool, weak.clone_ref(py), work) {
                    kept.keep(py, run(&job, py));
                }
            }
        }
        Err(error) => kept.add(py, error),
    }
    AT_WORK.set(false);
}

/// Starts a thread. False if the interpreter is about to shut down, and starts no threads any more.
fn start(pool: &Bound<'_, Pool>) -> PyResult<bool> {
    let py = pool.py();
    pool.get().join_registry(py);
    let worker = Bound::new(py, Worker { pool: PyWeakrefReference::new(pool.as_any())?.unbind() })?;
    is_true(&python_side::START_THREAD.call(py, &[worker.as_any(), pool.as_any()])?)
}

/// Before the interpreter shuts down: stops the worker threads of these pools. A thread that is inside a hook stays
/// there.
pub(crate) fn stop(py: Python<'_>, pools: &[Bound<'_, Pool>]) {
    STOPPING.store(true, Relaxed);
    for pool in pools {
        for waker in pool.get().with(py, |core| core.wake_all()) {
            waker.wake_worker(py);
        }
    }
}

/// The body of a background thread.
#[pyclass(frozen, module = "opool._opool", name = "_Worker")]
pub(crate) struct Worker {
    pool: Py<PyWeakrefReference>,
}

#[pymethods]
impl Worker {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let sleeper = match Sleeper::of_worker(py) {
            Ok(sleeper) => sleeper,
            Err(error) => {
                error.write_unraisable(py, None);
                Sleeper::Thread(Arc::new(Parker::new()))
            }
        };
        // A greenlet shares its thread with others, who may have to do what is left at the end.
        AT_WORK.set(AT_WORK.get() || !sleeper.is_greenlet());
        let (mut me, mut slept) = (None, false);
        while let Some(pool) = upgrade(self.pool.bind(py)) {
            let this = pool.get();
            let now = this.now();
            if STOPPING.load(Relaxed) {
                if me.is_some() {
                    this.with(py, |core| core.worker_ended());
                }
                break;
            }
            sleeper.begin(py);
            let waker = sleeper.waker();
            let next = this.with(py, |core| core.next_work(&mut me, waker, slept, now));
            slept = false;
            match next {
                Next::Do(work) => {
                    let job = Job::new(&pool, self.pool.clone_ref(py), work);
                    follow_up_quietly(&pool);
                    drop(pool);
                    if let Some(job) = job {
                        raise_later(self.pool.bind(py), run(&job, py));
                    }
                }
                Next::Sleep(limit) => {
                    follow_up_quietly(&pool);
                    drop(pool);
                    slept = true;
                    if let Err(error) = sleeper.sleep_idly(py, limit) {
                        // The greenlet was killed.
                        if let Some(pool) = upgrade(self.pool.bind(py)) {
                            pool.get().with(py, |core| core.worker_killed(me));
                            follow_up_quietly(&pool);
                        }
                        return Err(error);
                    }
                }
                Next::End => {
                    follow_up_quietly(&pool);
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The next job, for tasks or a test's clock.
pub(crate) fn next_job(pool: &Bound<'_, Pool>) -> PyResult<Option<Job>> {
    let (this, py) = (pool.get(), pool.py());
    let weak = PyWeakrefReference::new(pool.as_any())?.unbind();
    this.join_registry(py);
    let now = this.now();
    let work = this.with(py, |core| {
        if this.clock().is_some() {
            let _next = core.expire(now);
        }
        core.take_work(now)
    });
    let job = work.and_then(|work| Job::new(pool, weak, work));
    follow_up(pool).map(|()| job)
}

/// In how many nanoseconds there is something to do. The caller is going to look then.
pub(crate) fn until_work(pool: &Pool, py: Python<'_>) -> Option<Nanos> {
    // In one step: a change that brings it forward (`follow_up`) comes before, or finds when this one looks.
    let due = pool.with(py, |core| {
        let due = core.due();
        pool.hooks_wake_at.set(due.unwrap_or(Nanos::MAX));
        due
    });
    due.map(|due| due.saturating_sub(pool.now()))
}

/// Calls the hook of a job, and tells the pool how that ended.
///
/// # Errors
/// If a signal handler raised inside the hook, which runs in the main thread then.
pub(crate) fn run(job: &Job, py: Python<'_>) -> PyResult<()> {
    conclude(job, py, job.call_and_await(py))
}

/// Tells the pool how the hook of a job ended.
///
/// # Errors
/// As `run`.
pub(crate) fn conclude<'py>(job: &Job, py: Python<'py>, result: PyResult<Bound<'py, PyAny>>) -> PyResult<()> {
    let outcome = match result {
        Ok(returned) => Outcome::Returned(returned),
        Err(error) => match background_failure(py, error) {
            Ok(error) => Outcome::Raised(error),
            Err(interrupt) => {
                finish(job, py, Outcome::Interrupted);
                return Err(interrupt);
            }
        },
    };
    finish(job, py, outcome);
    Ok(())
}

/// Tells the pool how a job ended.
pub(crate) fn finish<'py>(job: &Job, py: Python<'py>, outcome: Outcome<'py>) {
    let done = matches!(outcome, Outcome::Returned(_) | Outcome::Raised(_));
    let Some(pool) = job.end(py, outcome) else { return };
    if done || !pool.get().works_in_tasks() {
        return follow_up_quietly(&pool);
    }
    // Perhaps its event loop ends: another one is asked first.
    quietly(&pool, |pool| {
        let (py, mut kept) = (pool.py(), Kept::default());
        kept.keep(py, settle(pool));
        let requeued = kept.insist(py, || python_side::REQUEUE_HOOKS.call(py, &[pool.as_any()]));
        kept.keep(py, requeued);
        kept.raise()
    });
}

/// A job that is dropped was not begun, and will not be.
impl Drop for Job {
    fn drop(&mut self) {
        // SAFETY: Python objects die attached, and so does what the background threads have of them.
        let py = unsafe { Python::assume_attached() };
        if !self.is_ended(py) && !finalizing() {
            finish(self, py, Outcome::NotBegun);
        }
        if let Some(obj) = self.obj.take() {
            // SAFETY: attached. It may be the last reference.
            unsafe { drop_reference(obj.into_ptr()) };
        }
    }
}
