//! What happens to an object that comes back when somebody waits, or when there is more to do: the slow half of the other
//! end of `lease.rs`.

use pyo3::ffi;
use pyo3::prelude::*;

use super::background::{follow_up, follow_up_quietly, hook_name, no_coroutine, tell};
use super::outside;
use super::pool::Pool;
use super::waiting::asker;
use super::waker::Waker;
use crate::pool::{Maintenance, Reason, SlotId};
use crate::sync::this_thread;

/// Gives a leased slot back where no exception may come out: in destructors, and when another is on its way. An object
/// that is to be reset goes to a background thread first.
pub(super) fn give_back(pool: &Bound<'_, Pool>, slot: SlotId) {
    if let Some(waker) = give_to_next(pool, slot) {
        waker.wake(pool);
    }
    if pool.get().is_managed() {
        follow_up_quietly(pool);
    }
}

/// The first half of that: whom the caller wakes.
pub(super) fn give_to_next(pool: &Bound<'_, Pool>, slot: SlotId) -> Option<Waker> {
    let this = pool.get();
    let asker = asker(this);
    this.with(|core| {
        if core.rules().resets && core.may_touch(slot) {
            core.reset_in_background(slot, asker.now);
            return None;
        }
        core.give_back(slot, asker)
    })
}

/// Gives a leased slot back, resets the object before if that was asked for, and lets whoever gets the object for good
/// run at once. False with the exception set if a signal handler raised meanwhile; the slot is given back even then.
///
/// The one who is woken needs the GIL. Were the giver to keep it, the other would wake, find it taken and sleep again,
/// and the object would lie idle until the giver blocks: two changes of threads more than it takes.
pub(super) fn give_back_and_make_way(pool: &Bound<'_, Pool>, slot: SlotId) -> bool {
    let this = pool.get();
    if this.async_hooks().contains(&"reset") {
        // Which takes an event loop: in the background.
        give_back(pool, slot);
        return true;
    }
    let reset = if this.is_managed() { reset(pool, slot) } else { Ok(true) };
    let asker = asker(this);
    let handed = this.with(|core| {
        if !matches!(reset, Ok(true)) {
            core.discard_leased(slot, Reason::NotReset, asker.now);
            return None;
        }
        let waker = core.give_back(slot, asker)?;
        Some((waker, !core.may_take_back()))
    });
    match handed {
        Some((Waker::Thread(parker), true)) if cfg!(opool_gil) => {
            // SAFETY: attached before and after, and nothing borrowed from the interpreter is used in between.
            unsafe {
                let thread = ffi::PyEval_SaveThread();
                parker.unpark();
                ffi::PyEval_RestoreThread(thread);
            }
        }
        Some((waker, _)) => waker.wake(pool),
        None => {}
    }
    // Asked again: another thread may have closed the pool since.
    if !this.is_managed() {
        return true;
    }
    let followed = follow_up(pool);
    match reset.map(|_| ()).and(followed) {
        Ok(()) => true,
        Err(error) => {
            error.restore(pool.py());
            false
        }
    }
}

/// Resets an object that its holder gives back. False if that failed; an error if it must come out.
fn reset(pool: &Bound<'_, Pool>, slot: SlotId) -> PyResult<bool> {
    let (this, py) = (pool.get(), pool.py());
    let Some(hook) = this.reset_hook(py) else { return Ok(true) };
    let object = this.with(|core| {
        let mine = core.may_touch(slot);
        let item = core.value_mut(slot).filter(|_| mine)?;
        // Whoever took it: it is this thread's while the hook runs, which may fork.
        item.holder = this_thread();
        // SAFETY: the slot is the caller's, and owns its object.
        Some(unsafe { Bound::from_borrowed_ptr(py, item.object.as_ptr()) })
    });
    let Some(object) = object else { return Ok(true) };
    match outside::call(&hook, &[&object]).and_then(no_coroutine) {
        Ok(_) => Ok(true),
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyException>(py) => {
            tell(pool, c"unfit", &[&hook_name(py, Maintenance::Reset), error.value(py).as_any()]);
            // Not dropped: PyO3 does not know that this thread is attached, and would keep what the error refers to.
            error.restore(py);
            // SAFETY: attached; it is the one that was just set.
            unsafe { ffi::PyErr_Clear() };
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Takes a leased object out for good: `lease.discard()`.
pub(super) fn discard(pool: &Bound<'_, Pool>, slot: SlotId) -> bool {
    let (this, py) = (pool.get(), pool.py());
    let now = this.now();
    let excluded = match this.lender() {
        // Not by way of `take_back`, which goes by the number: that may be in the range again by then, and somebody else's.
        Some(lender) => {
            let item = this.with(|core| core.retire(slot, now));
            item.map_or(Ok(()), |item| lender.exclude(item, py))
        }
        None => {
            this.with(|core| core.discard_leased(slot, Reason::Discarded, now));
            Ok(())
        }
    };
    this.manage();
    match excluded.and(follow_up(pool)) {
        Ok(()) => true,
        Err(error) => {
            error.restore(pool.py());
            false
        }
    }
}
