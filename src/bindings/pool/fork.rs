//! What `os.fork` does to pools: only the forking thread exists in the child.
//!
//! The C library calls a hook in the child before `fork` returns there, so before any Python runs. It goes through all
//! pools at once: were a pool settled later, when it is used, or from a hook of `os.register_at_fork`, before which
//! those of others run, threads of the child (whose numbers may be those of the parent's dead ones) could hold objects
//! by then, and could not be told from the dead.
//!
//! With a GIL there is no lock that a thread which is not there could hold. Without one, `os.fork` stops the world
//! first (CPython's `PyOS_BeforeFork`): every other thread is detached, or at a point where the interpreter may suspend
//! it, and a critical section has no such point. But `subprocess` forks without that when it may not use `vfork` or
//! `posix_spawn`; that child runs no Python before another program takes its place. So the hook never waits for a lock:
//! one that is taken means that there is nothing to settle.
//!
//! Of the forking thread's tasks only the one that runs goes on in the child: an event loop cannot be used on both sides
//! of a fork. Which leases the others hold takes Python to find out, so that is done before the fork (`opool._forks`).

use std::collections::HashSet;
use std::sync::LazyLock;

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::values::Message;
use crate::bindings::objects::async_lease;
use crate::bindings::objects::item::HolderTag;
use crate::bindings::objects::lease::{ENTERED, FORKED};
use crate::bindings::objects::pool::Pool;
use crate::bindings::objects::registry::{Address, POOLS};
use crate::bindings::objects::waker::Waker;
use crate::pool::Hold;
use crate::sync::{Attached, Guarded, this_thread};

/// Called by the C library in the child, in its only thread.
#[cfg(unix)]
extern "C" fn after_fork_in_child() {
    // SAFETY: asks, without needing anything. `os.fork` keeps the thread attached; a thread that forks without being
    // attached may have done so in the middle of anything, and can only be about to run another program.
    if unsafe { ffi::PyGILState_Check() } == 0 {
        return;
    }
    // SAFETY: attached, as just found.
    let (py, attached) = unsafe { (Python::assume_attached(), Attached::assume()) };
    // None: not a fork of Python's (see the top).
    let suspended = SUSPENDED.try_with(attached, std::mem::take).unwrap_or_default();
    let (Some(()) | None) = POOLS.try_with(attached, |pools| {
        for &Address(pool) in pools.iter() {
            // SAFETY: a pool that dies leaves the set first, which it cannot do before this section is over.
            let (Some(()) | None) = settle(unsafe { &*(pool as *const Pool) }, py, attached, &suspended);
        }
    });
}

/// The leases of this thread that tasks hold which do not run now: what `opool._forks` finds before a fork. Their tasks
/// do not go on in the child. By address.
static SUSPENDED: LazyLock<Guarded<HashSet<usize>>> = LazyLock::new(|| Guarded::new(HashSet::new()));

pub(crate) fn note_suspended(py: Python<'_>, leases: &[Bound<'_, PyAny>]) {
    let noted = leases.iter().map(|lease| lease.as_ptr() as usize).collect();
    drop(SUSPENDED.with(attached(py), |suspended| std::mem::replace(suspended, noted)));
}

/// The leases that this thread has of any pool, each with the number of references to it besides this one.
pub(crate) fn leases_of_this_thread(py: Python<'_>) -> Vec<(Bound<'_, PyAny>, isize)> {
    let me = this_thread();
    let mut found = Vec::new();
    POOLS.with(attached(py), |pools| {
        for &Address(pool) in pools.iter() {
            // SAFETY: as above.
            let pool = unsafe { &*(pool as *const Pool) };
            // Without a GIL: one that another thread is using has nothing to say that would be true in a moment.
            let (Some(()) | None) = pool.core.try_with(attached(py), |core| {
                let mine = core.values().filter(|(_, item, hold, _)| item.thread(py, *hold) == me);
                found.extend(mine.filter_map(|(_, item, hold, _)| item.lease(py, hold)));
            });
        }
    });
    found
}

/// Takes back what threads that do not exist in this process held, and forgets that they waited. `None`: one of them
/// has a lock.
///
/// Their leases are over: should one still be reachable, it raises when it is used.
fn settle(pool: &Pool, py: Python<'_>, attached: Attached<'_>, suspended: &HashSet<usize>) -> Option<()> {
    let is_suspended = |lease: usize| suspended.contains(&lease);
    let forked = pool.core.try_with(attached, |core| {
        let survivor = this_thread();
        core.keep_only(survivor, Waker::survives_fork, |item, hold| {
            let lease = if hold == Hold::Leased { item.shell } else { std::ptr::null_mut() };
            // SAFETY: a leased slot's shell is null, or the one that served before (over since then), or the lease
            // itself, which is alive as long as it is not over.
            let entered_by = unsafe {
                match lease.as_ref() {
                    Some(lease) if lease.phase.get(attached) == ENTERED => Some(lease.holder),
                    _ => None,
                }
            };
            let suspended = match (item.async_lease(), item.thread_lease(py, hold)) {
                (Some(lease), _) => is_suspended(std::ptr::from_ref(lease) as usize),
                (None, Some(lease)) => is_suspended(lease as usize),
                (None, None) => false,
            };
            let orphan = suspended || entered_by.unwrap_or(item.thread(py, Hold::Acquired)) != survivor;
            if orphan && let Some(lease) = item.async_lease() {
                // Here it ends, too.
                lease.phase.reset(async_lease::FORKED);
                item.holder = HolderTag::NOBODY;
            }
            if orphan && !lease.is_null() {
                // SAFETY: as above. Here it ends: the slot forgets it, and the lease knows that it holds nothing.
                unsafe { (*lease).phase.reset(FORKED) };
                item.shell = std::ptr::null_mut();
            }
            orphan
        })
    })?;
    // A task may end here, and must not end a wait that is not there any more.
    for waker in &forked.wakers {
        waker.forget_ticket(py, attached);
    }
    // The wakers of the forgotten are forgotten too: dropping one might run Python.
    std::mem::forget(forked.wakers);
    // The objects in `forked.inherited` keep their references for ever: dropping one might close a socket that the
    // parent uses.
    if let Some(ids) = pool.id_source() {
        forked.borrowed.into_iter().try_for_each(|item| ids.take_back_in_child(item, attached))?;
    }
    for waker in forked.wake {
        if !waker.unpark() {
            // A task: that takes Python, which has to wait until the fork is over. The next use of the pool does it.
            pool.manage();
            pool.core.try_with(attached, |core| core.wake_later(waker))?;
        }
    }
    Some(())
}

pub(crate) fn register() -> PyResult<()> {
    // Not at the first use, which a fork may interrupt.
    LazyLock::force(&POOLS);
    LazyLock::force(&SUSPENDED);
    #[cfg(unix)]
    // SAFETY: the function lives as long as the process; extension modules are never unloaded.
    if unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) } != 0 {
        return Err(PyMemoryError::new_err(Message::of("no memory to watch for forks")));
    }
    Ok(())
}
