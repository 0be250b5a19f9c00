//! What happens to an object that is released when somebody waits, or when there is more to do: the slow half of the
//! other end of `lease/hot.rs`.

use pyo3::prelude::*;

use crate::bindings::ffi::call::{attached, call};
use crate::bindings::ffi::exception::{OrRaised, Raises, forget, keeping_exception};
use crate::bindings::ffi::interrupt::{Kept, failure};
use crate::bindings::ffi::values::call_method;
use crate::bindings::objects::item::HolderTag;
use crate::bindings::objects::pool::Pool;
use crate::bindings::objects::ready::Ready;
use crate::bindings::pool::asker::asker;
use crate::bindings::pool::background::{follow_up, follow_up_if_managed, quietly};
use crate::bindings::pool::job::is_coroutine;
use crate::bindings::pool::log::tell_rejected;
use crate::bindings::pool::wake::{give_to_next, leave_queue, wake};
use crate::pool::{Maintenance, Reason, SlotId};

/// Gives a leased slot back; an object that is to be reset goes to the background first.
///
/// # Errors
/// If a thread had to be started and could not, or a signal handler raised meanwhile. The slot is given back.
pub(crate) fn give_back(pool: &Bound<'_, Pool>, slot: SlotId) -> PyResult<()> {
    let (py, mut kept) = (pool.py(), Kept::default());
    if let Some(waker) = give_to_next(pool, slot) {
        kept.keep(py, wake(pool, waker));
    }
    kept.keep(py, follow_up_if_managed(pool));
    kept.raise()
}

/// As `give_back`, where no exception may come out: in destructors, and when another one is set.
pub(crate) fn give_back_quietly(pool: &Bound<'_, Pool>, slot: SlotId) {
    quietly(pool, |pool| give_back(pool, slot));
}

/// Gives a leased slot back, resets the object before if that was asked for, and yields the GIL to a thread that gets
/// the object for good. The slot is given back even if a signal handler raises meanwhile.
pub(crate) fn give_back_and_yield_gil<'py>(pool: &Bound<'py, Pool>, slot: SlotId) -> Raises<'py> {
    let (this, py, mut kept) = (pool.get(), pool.py(), Kept::default());
    if this.resets_in_background() {
        return give_back(pool, slot).or_raised(py);
    }
    let well = !this.is_managed() || kept.keep(py, reset(pool, slot)) == Some(true);
    if well && this.resets_in_background() {
        // It has just made a coroutine. Called again, its coroutine is awaited.
        return give_back(pool, slot).or_raised(py);
    }
    let asker = asker(this, py);
    let handed = this.with(py, |core| {
        if !well {
            core.discard_leased(slot, Reason::NotReset, asker.now);
            return None;
        }
        let waker = core.give_back(slot, asker)?;
        Some((waker, !core.may_take_back()))
    });
    if let Some((waker, for_good)) = handed
        && !(for_good && waker.unpark_without_gil(py))
    {
        kept.keep(py, wake(pool, waker));
    }
    // Asked again: another thread may have closed the pool since.
    kept.keep(py, follow_up_if_managed(pool));
    kept.raise().or_raised(py)
}

/// Resets an object that its holder gives back. False if that failed; an error if something struck from outside.
fn reset(pool: &Bound<'_, Pool>, slot: SlotId) -> PyResult<bool> {
    let (this, py) = (pool.get(), pool.py());
    let Some(hook) = this.reset_hook(py) else { return Ok(true) };
    let object = this.with(py, |core| {
        let mine = core.may_touch(slot);
        let item = core.value_mut(slot).filter(|_| mine)?;
        // Whatever thread took it: it is this thread's while the hook runs, which may fork.
        item.holder = HolderTag::this_thread();
        Some(item.object(py))
    });
    let Some(object) = object else { return Ok(true) };
    let error = match call(&hook, &[&object]) {
        Ok(returned) if is_coroutine(&returned) => {
            this.note_reset_by_coroutine();
            return call_method(&returned, c"close", &[]).map(|_| true);
        }
        Ok(_) => return Ok(true),
        // What struck the hook from outside is no failure of the hook's; but how far it has come is unknown.
        Err(error) => failure(py, error)?,
    };
    let told = tell_rejected(pool, Maintenance::Reset, error.value(py).as_any());
    forget(py, error);
    told.map(|()| false)
}

/// Takes a leased object out for good: `lease.discard()`.
pub(crate) fn discard<'py>(pool: &Bound<'py, Pool>, slot: SlotId) -> Raises<'py> {
    let (this, py, mut kept) = (pool.get(), pool.py(), Kept::default());
    let now = this.now();
    let excluded = match this.id_source() {
        // Not by way of `take_back`, which goes by the number: that may be in the range again by then, and leased.
        Some(ids) => {
            let item = this.with(py, |core| core.retire(slot, now));
            item.map_or(Ok(()), |item| ids.exclude(py, item))
        }
        None => {
            this.with(py, |core| core.discard_leased(slot, Reason::Discarded, now));
            Ok(())
        }
    };
    this.manage();
    kept.keep(py, excluded);
    kept.keep(py, follow_up(pool));
    kept.raise().or_raised(py)
}

/// An event loop was closed before it called this: what its tasks were given goes to other waiters.
impl Drop for Ready {
    fn drop(&mut self) {
        // SAFETY: Python objects die attached.
        let py = unsafe { Python::assume_attached() };
        let futures = self.take(attached(py));
        if futures.is_empty() {
            return;
        }
        keeping_exception(py, || {
            for future in futures {
                let future = future.get(py).get();
                let Some(ticket) = future.take_ticket(py) else { continue };
                // SAFETY: a `PoolFuture` is made with a pool.
                let pool = unsafe { future.pool(py).cast_unchecked::<Pool>() };
                if let Some(slot) = leave_queue(pool, ticket) {
                    give_back_quietly(pool, slot);
                }
            }
        });
    }
}
