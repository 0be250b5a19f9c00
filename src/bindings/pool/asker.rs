//! Who asks the core: the calling thread or greenlet, and whether it waits already.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use pyo3::prelude::*;

use crate::bindings::objects::greenlet;
use crate::bindings::objects::item::{Core, HolderTag};
use crate::bindings::objects::pool::Pool;
use crate::pool::{Caller, Nanos, SlotId};
use crate::sync::this_thread;

thread_local! {
    /// How many waits this thread is in: a signal handler or a destructor may begin one inside another.
    static WAITS: Cell<u32> = const { Cell::new(0) };
    /// The same for each of its greenlets that waits, by its address.
    static WAITS_OF_GREENLETS: RefCell<BTreeMap<usize, u32>> = const { RefCell::new(BTreeMap::new()) };
}

/// Counts a wait of this thread, or of this greenlet, for as long as it lasts.
pub(crate) struct Waiting(usize);

impl Waiting {
    /// `who` is the caller's number ([`who`]).
    pub(crate) fn begin(who: usize) -> Self {
        if who == this_thread() {
            WAITS.set(WAITS.get() + 1);
        } else {
            WAITS_OF_GREENLETS.with_borrow_mut(|waits| *waits.entry(who).or_default() += 1);
        }
        Waiting(who)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.0 == this_thread() {
            WAITS.set(WAITS.get() - 1);
            return;
        }
        WAITS_OF_GREENLETS.with_borrow_mut(|waits| match waits.get_mut(&self.0) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(waits.remove(&self.0)),
        });
    }
}

/// The number that tells the caller from others: the address of the greenlet, if this thread runs greenlets, else the
/// thread's own.
pub(crate) fn who(pool: &Pool, py: Python<'_>) -> usize {
    match greenlet::current(py) {
        0 => this_thread(),
        greenlet => {
            pool.tell_greenlets_apart(py);
            greenlet
        }
    }
}

/// The calling thread or greenlet, now.
pub(crate) fn asker(pool: &Pool, py: Python<'_>) -> Caller {
    let me = who(pool, py);
    let nested = match me == this_thread() {
        true => WAITS.get() > 0,
        false => WAITS_OF_GREENLETS.with_borrow(|waits| waits.contains_key(&me)),
    };
    Caller { thread: me, now: pool.now(), nested, deadline: Nanos::MAX }
}

/// Notes the caller, whose number is `who`, as the holder of the slot, in the critical section that takes it.
pub(crate) fn held(slot: Option<SlotId>, core: &mut Core, who: usize) -> Option<SlotId> {
    let item = core.value_mut(slot?)?;
    item.holder = HolderTag::this_thread();
    item.greenlet = if who == this_thread() { 0 } else { who };
    slot
}
