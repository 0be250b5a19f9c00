//! What `os.fork` does to pools: only the forking thread exists in the child.
//!
//! Nothing is touched in the hook that the interpreter calls: it counts. A pool compares the count with its own before
//! it queues, hands over or counts, and settles then what other threads of the parent left behind. The fast paths need
//! not look: an idle object is free in either process, and to give one back while ghosts wait is a slow path.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use pyo3::prelude::*;

use super::lease::RELEASED;
use super::pool::Pool;
use crate::pool::Hold;
use crate::sync::{Attached, this_thread};

/// How many forks lie between the first process and this one.
static FORKS: AtomicU32 = AtomicU32::new(0);

pub(super) fn process() -> u32 {
    FORKS.load(Relaxed)
}

/// Called by the interpreter in the child.
#[pyfunction]
fn _after_fork_in_child() {
    FORKS.fetch_add(1, Relaxed);
}

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let hook = wrap_pyfunction!(_after_fork_in_child, module)?;
    let os = module.py().import("os")?;
    if os.hasattr("register_at_fork")? {
        let arguments = pyo3::types::PyDict::new(module.py());
        arguments.set_item("after_in_child", hook)?;
        os.call_method("register_at_fork", (), Some(&arguments))?;
    }
    Ok(())
}

/// Takes back what threads that do not exist in this process held, and forgets that they waited.
///
/// Their leases are over: should one still be reachable, it raises when it is used.
pub(super) fn settle(pool: &Pool) {
    // SAFETY: the callers are methods of the pool and of its leases, which are attached.
    let attached = unsafe { Attached::assume() };
    let (forgotten, wake) = pool.core.with(attached, |core| {
        core.after_fork(process(), this_thread(), |item, hold| {
            if hold == Hold::Leased && !item.shell.is_null() {
                // SAFETY: a leased slot's shell is alive as long as the lease is not over. Here it ends: the slot
                // forgets it, and the lease knows that it no longer holds anything.
                unsafe { (*item.shell).phase.reset(RELEASED) };
                item.shell = std::ptr::null_mut();
            }
        })
    });
    drop(forgotten);
    for parker in wake {
        parker.unpark();
    }
}
