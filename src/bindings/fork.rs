//! What `os.fork` does to pools: only the forking thread exists in the child.
//!
//! The interpreter calls a hook in the child before anything else runs there. It goes through all pools at once: were a
//! pool settled later, when it is used, threads of the child (whose numbers may be those of the parent's dead ones)
//! could hold objects by then, and nobody could tell them from the dead.
//!
//! No lock of ours is ever taken in the child by a thread that is not there. With a GIL there are no locks. Without one,
//! `os.fork` stops the world first (CPython's `PyOS_BeforeFork`): every other thread is detached or at a point where
//! the interpreter may suspend it, and a critical section has no such point.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::lease::{ENTERED, RELEASED};
use super::pool::Pool;
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

/// Called by the interpreter in the child, by the thread that forked.
#[pyfunction]
fn _after_fork_in_child() {
    // SAFETY: the interpreter calls this attached.
    POOLS.with(unsafe { Attached::assume() }, |pools| {
        for &Address(pool) in pools.iter() {
            // SAFETY: a pool that dies leaves the set first, which it cannot do before this section is over. (An
            // earlier hook may have started threads, and without a GIL they run.) Nobody comes here with a pool's
            // own lock in hand, so two sections in one cannot block each other.
            settle(unsafe { &*pool });
        }
    });
}

/// Takes back what threads that do not exist in this process held, and forgets that they waited.
///
/// Their leases are over: should one still be reachable, it raises when it is used.
fn settle(pool: &Pool) {
    // SAFETY: called by the hook only, which is attached.
    let attached = unsafe { Attached::assume() };
    let (forgotten, wake) = pool.core.with(attached, |core| {
        let survivor = this_thread();
        core.keep_only(survivor, |item, hold| {
            let lease = if hold == Hold::Leased { item.shell } else { std::ptr::null_mut() };
            // SAFETY: a leased slot's shell is null, or the one that served before (over since then), or the lease
            // itself, which is alive as long as it is not over.
            let entered_by = unsafe {
                match lease.as_ref() {
                    Some(lease) if lease.phase.get(attached) == ENTERED => Some(lease.holder),
                    _ => None,
                }
            };
            let orphan = entered_by.unwrap_or(item.holder) != survivor;
            if orphan && !lease.is_null() {
                // SAFETY: as above. Here it ends: the slot forgets it, and the lease knows that it holds nothing.
                unsafe { (*lease).phase.reset(RELEASED) };
                item.shell = std::ptr::null_mut();
            }
            orphan
        })
    });
    drop(forgotten);
    for parker in wake {
        parker.unpark();
    }
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let os = py.import("os")?;
    if os.hasattr("register_at_fork")? {
        let hooks = PyDict::new(py);
        hooks.set_item("after_in_child", wrap_pyfunction!(_after_fork_in_child, module)?)?;
        os.call_method("register_at_fork", (), Some(&hooks))?;
    }
    Ok(())
}
