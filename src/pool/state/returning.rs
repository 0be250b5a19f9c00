//! Objects that come back, or leave from the hands of their holder.

use crate::pool::requests::Caller;
use crate::pool::slots::{Hold, Identity, Maintenance, SlotId};
use crate::pool::statistics::Reason;
use crate::pool::time::Nanos;

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// leased → idle, if nobody waits and nothing else asks for the slow path. Else nothing changes, and
    /// [`give_back`](Self::give_back) is to be called.
    #[inline(always)]
    pub fn give_back_quickly(&mut self, id: SlotId) -> bool {
        if !self.waiters.allows_quick_return() {
            return false;
        }
        self.slots.get(id).hold = Hold::Idle;
        self.idle.push_ready(id);
        true
    }

    /// leased → idle, or handed to the first waiter, whom the caller wakes, or vacant.
    pub fn give_back(&mut self, id: SlotId, caller: Caller) -> Option<W> {
        debug_assert_eq!(self.slots.get(id).hold, Hold::Leased);
        self.note_end_of_lease(id, caller.now);
        if let Some(reason) = self.reason_to_discard(id, caller.now) {
            self.leave(id, reason, caller.now);
            return None;
        }
        let in_slice = self.slices.go_on(caller.thread, caller.now);
        let wake = self.pass_on(id, caller.now);
        if !in_slice {
            self.slices.make_final();
        }
        wake
    }

    /// Whether the latest hand-over may still be taken back.
    pub fn may_take_back(&self) -> bool {
        self.slices.may_take_back()
    }

    /// leased → in maintenance: an object that came back without its holder's help is reset in the background.
    pub fn reset_in_background(&mut self, id: SlotId, now: Nanos) {
        debug_assert_eq!(self.slots.get(id).hold, Hold::Leased);
        self.note_end_of_lease(id, now);
        self.begin_task(id, Maintenance::Reset, now);
    }

    /// leased → vacant: the object is discarded, and another one made if it is needed.
    pub fn discard_leased(&mut self, id: SlotId, reason: Reason, now: Nanos) {
        debug_assert_eq!(self.slots.get(id).hold, Hold::Leased);
        self.note_end_of_lease(id, now);
        self.leave(id, reason, now);
    }

    fn leave(&mut self, id: SlotId, reason: Reason, now: Nanos) {
        self.discard(id, reason);
        self.start_needed_work(now);
        self.update_return_path();
    }

    /// leased → vacant: the value is the caller's.
    pub fn retire(&mut self, id: SlotId, now: Nanos) -> Option<T> {
        debug_assert_eq!(self.slots.get(id).hold, Hold::Leased);
        let value = self.remove(id, Reason::Discarded);
        self.start_needed_work(now);
        self.update_return_path();
        value
    }
}
