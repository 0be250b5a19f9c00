//! Who asks the core: the calling thread, and whether it waits already.

use std::cell::Cell;

use crate::bindings::objects::item::{Core, HolderTag};
use crate::bindings::objects::pool::Pool;
use crate::pool::{Caller, Nanos, SlotId};
use crate::sync::this_thread;

thread_local! {
    /// How many waits this thread is in: a signal handler or a destructor may begin one inside another.
    static WAITS: Cell<u32> = const { Cell::new(0) };
}

/// Counts a wait of this thread for as long as it lasts.
pub(crate) struct Waiting;

impl Waiting {
    pub(crate) fn begin() -> Self {
        WAITS.set(WAITS.get() + 1);
        Waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITS.set(WAITS.get() - 1);
    }
}

/// The calling thread, now.
pub(crate) fn asker(pool: &Pool) -> Caller {
    Caller { thread: this_thread(), now: pool.now(), nested: WAITS.get() > 0, deadline: Nanos::MAX }
}

/// Notes this thread as the holder of the slot, in the critical section that takes it.
pub(crate) fn held(slot: Option<SlotId>, core: &mut Core) -> Option<SlotId> {
    let item = core.value_mut(slot?)?;
    item.holder = HolderTag::this_thread();
    slot
}
