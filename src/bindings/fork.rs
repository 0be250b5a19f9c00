//! What `os.fork` does to pools: only the forking thread exists in the child.
//!
//! The C library calls a hook in the child before `fork` returns there, so before any Python runs. It goes through all
//! pools at once: were a pool settled later, when it is used, or from a hook of `os.register_at_fork`, before which
//! those of others run, threads of the child (whose numbers may be those of the parent's dead ones) could hold objects
//! by then, and nobody could tell them from the dead.
//!
//! With a GIL there is no lock that a thread which is not there could hold. Without one, `os.fork` stops the world first
//! (CPython's `PyOS_BeforeFork`): every other thread is detached, or at a point where the interpreter may suspend it,
//! and a critical section has no such point. But `subprocess` forks without that when it may not use `vfork` or
//! `posix_spawn`; that child runs no Python before another program takes its place. So the hook never waits for a lock:
//! one that is taken means that there is nothing to settle.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;

use super::async_lease;
use super::lease::{ENTERED, FORKED};
use super::pool::Pool;
use super::waker::Waker;
use super::watch;
use crate::pool::Hold;
use crate::sync::{Attached, Guarded, this_thread};

/// Where the pools are that hold something or are waited for. A pool leaves the set when it is dropped.
static POOLS: LazyLock<Guarded<HashSet<Address>>> = LazyLock::new(|| Guarded::new(HashSet::new()));

#[derive(PartialEq, Eq, Hash, Clone, Copy)]
struct Address(*const Pool);

// SAFETY: it is only a number until the hook looks behind it, in the only thread of its process.
unsafe impl Send for Address {}

/// A pool's membership in the set.
#[derive(Default)]
pub(super) struct Membership(AtomicBool);

impl Membership {
    /// Puts the pool into the set, once. It does not move any more: it lives in its Python object.
    pub(super) fn join(&self, pool: &Pool) {
        if !self.0.load(Relaxed) {
            // SAFETY: the callers are methods of the pool, which are attached.
            POOLS.with(unsafe { Attached::assume() }, |pools| pools.insert(Address(pool)));
            self.0.store(true, Relaxed);
        }
    }

    pub(super) fn leave(&self, pool: *const Pool) {
        if self.0.load(Relaxed) {
            // SAFETY: Python objects die attached.
            POOLS.with(unsafe { Attached::assume() }, |pools| pools.remove(&Address(pool)));
        }
    }
}

/// Called by the C library in the child, in its only thread.
#[cfg(unix)]
extern "C" fn after_fork_in_child() {
    // SAFETY: asks, without needing anything. `os.fork` keeps the thread attached; whoever forks without being attached
    // may have done so in the middle of anything, and can only be about to run another program.
    if unsafe { ffi::PyGILState_Check() } == 0 {
        return;
    }
    // SAFETY: attached, as just found.
    let attached = unsafe { Attached::assume() };
    // None: not a fork of Python's (see the top).
    let (Some(()) | None) = POOLS.try_with(attached, |pools| {
        for &Address(pool) in pools.iter() {
            // SAFETY: a pool that dies leaves the set first, which it cannot do before this section is over.
            let (Some(()) | None) = settle(unsafe { &*pool }, attached);
        }
    });
}

/// Takes back what threads that do not exist in this process held, and forgets that they waited.
///
/// Their leases are over: should one still be reachable, it raises when it is used.
fn settle(pool: &Pool, attached: Attached<'_>) -> Option<()> {
    let forked = pool.core.try_with(attached, |core| {
        let survivor = this_thread();
        let runs_here = |waker: &Waker| waker.runs_in(survivor);
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
            let orphan = entered_by.unwrap_or(watch::holder(item, Hold::Acquired)) != survivor;
            if orphan && let Some(lease) = watch::async_lease(item) {
                // Here it ends, too.
                lease.phase.reset(async_lease::FORKED);
                item.holder = 0;
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
        waker.forget_ticket(this_thread());
    }
    // What used to wake the forgotten is forgotten too: dropping it might run Python.
    std::mem::forget(forked.wakers);
    // The objects in `forked.inherited` keep their references for ever: dropping one might close a socket that the parent uses.
    if let Some(lender) = pool.lender() {
        forked.borrowed.into_iter().try_for_each(|item| lender.take_back_in_child(item, attached))?;
    }
    for waker in forked.wake {
        if !waker.unpark() {
            // A task: that takes Python, which has to wait until the fork is over. Whoever uses the pool next does it.
            pool.manage();
            pool.core.try_with(attached, |core| core.wake_later(waker))?;
        }
    }
    Some(())
}

pub(super) fn register() -> PyResult<()> {
    // Not at the first use, which a fork may interrupt.
    LazyLock::force(&POOLS);
    #[cfg(unix)]
    // SAFETY: the function lives as long as the process; extension modules are never unloaded.
    if unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) } != 0 {
        return Err(PyMemoryError::new_err("no memory to watch for forks"));
    }
    Ok(())
}
