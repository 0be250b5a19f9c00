//! Bare objects: taken with `acquire`, brought back with `release`.

use crate::pool::requests::NotAcquired;
use crate::pool::slots::{Hold, Identity, SlotId};

use super::State;

impl<T: Identity, W: Clone> State<T, W> {
    /// leased → acquired: the caller gets the bare object, and `release` will know it.
    pub fn acquire(&mut self, id: SlotId) {
        self.slots.get(id).hold = Hold::Acquired;
        self.acquired.insert(id, &mut self.slots);
    }

    /// idle → acquired, [`lease`](Self::lease) and [`acquire`](Self::acquire) in one step: if an object is ready and the
    /// place outside the table of acquired objects is free. Else nothing changes.
    #[inline(always)]
    pub fn acquire_quickly(&mut self) -> Option<SlotId> {
        if !self.acquired.has_room_outside() {
            return None;
        }
        let id = self.idle.pop_ready()?;
        self.slots.get(id).hold = Hold::Acquired;
        self.acquired.insert(id, &mut self.slots);
        self.statistics.leases += 1;
        Some(id)
    }

    /// acquired → idle if a return may take the quick path; else acquired → leased, and the slot, which is to be given
    /// back next.
    ///
    /// # Errors
    /// Nothing changes unless the object was acquired.
    pub fn release(&mut self, identity: usize) -> Result<Option<SlotId>, NotAcquired> {
        let Some(id) = self.acquired.remove(identity, &mut self.slots) else {
            return Err(self.why_not_acquired(identity));
        };
        if self.give_back_quickly(id) {
            return Ok(None);
        }
        self.slots.get(id).hold = Hold::Leased;
        Ok(Some(id))
    }

    /// acquired → idle, if a return may take the quick path and the object is the one acquired last. Else nothing changes.
    #[inline(always)]
    pub fn release_quickly(&mut self, identity: usize) -> bool {
        if !self.waiters.allows_quick_return() {
            return false;
        }
        let Some(id) = self.acquired.remove_last(identity, &self.slots) else { return false };
        self.give_back_quickly(id)
    }

    #[cold]
    fn why_not_acquired(&self, identity: usize) -> NotAcquired {
        let mut found = NotAcquired::Foreign;
        for (slot, _) in self.slots.iter() {
            if slot.value.as_ref().is_some_and(|value| value.identity() == identity) {
                match slot.hold {
                    Hold::Idle => return NotAcquired::Idle,
                    _ => found = NotAcquired::Leased,
                }
            }
        }
        found
    }
}
