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

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::bindings::objects::async_lease;
use crate::bindings::objects::item::HolderTag;
use crate::bindings::objects::lease::{ENTERED, FORKED};
use crate::bindings::objects::pool::Pool;
use crate::bindings::objects::registry::{Address, POOLS};
use crate::bindings::objects::waker::Waker;
use crate::pool::Hold;
use crate::sync::{Attached, this_thread};

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
    let (Some(()) | None) = POOLS.try_with(attached, |pools| {
        for &Address(pool) in pools.iter() {
            // SAFETY: a pool that dies leaves the set first, which it cannot do before this section is over.
            let (Some(()) | None) = settle(unsafe { &*(pool as *const Pool) }, py, attached);
        }
    });
}

/// Takes back what threads that do not exist in this process held, and forgets that they waited. `None`: one of them
/// has a lock.
///
/// Their leases are over: should one still be reachable, it raises when it is used.
fn settle(pool: &Pool, py: Python<'_>, attached: Attached<'_>) -> Option<()> {
    let forked = pool.core.try_with(attached, |core| {
        let survivor = this_thread();
        let runs_here = |waker: &Waker| waker.runs_in(py, survivor);
        core.keep_only(survivor, runs_here, |item, hold| {
            let lease = if hold == Hold::Leased { item.shell } else { std::ptr::null_mut() };
            // SAFETY: a leased slot's shell is null, or the one that served before (over since then), or the lease
            // itself, which is alive as long as it is not over.
            let entered_by = unsafe {
                match lease.as_ref() {
                    Some(lease) if lease.phase.get(attached) == ENTERED => Some(lease.holder),
                    _ => None,
                }
            };
            let orphan = entered_by.unwrap_or(item.thread(py, Hold::Acquired)) != survivor;
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
    // A task of another thread may end here, and must not end a wait that is not there any more.
    for waker in &forked.wakers {
        waker.forget_ticket(py, attached, this_thread());
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
    std::sync::LazyLock::force(&POOLS);
    #[cfg(unix)]
    // SAFETY: the function lives as long as the process; extension modules are never unloaded.
    if unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) } != 0 {
        return Err(PyMemoryError::new_err("no memory to watch for forks"));
    }
    Ok(())
}
