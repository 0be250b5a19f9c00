//! The acquired objects: finds the slot of a bare object that is brought back with `release`.

use super::slots::{Identity, SlotId, Slots};

/// An open-addressed table from an object's identity to its slot, with room for every slot reserved beforehand.
///
/// The same object may be in the pool several times. Its acquired slots then form a chain (`Slot::same`) behind one
/// entry, so that a pool of a thousand equal tokens is no slower than a pool of one.
///
/// The object acquired last is mostly released first, so its slot is kept outside the table.
pub(super) struct Acquired {
    last: SlotId,
    table: Box<[SlotId]>,
    shift: u32,
}

/// 2**64 divided by the golden ratio: the multiplier of Fibonacci hashing (Knuth, TAOCP vol. 3, 6.4).
const FIBONACCI: u64 = 0x9E37_79B9_7F4A_7C15;

impl Acquired {
    pub(super) fn new() -> Self {
        Acquired { last: SlotId::NONE, table: Box::new([SlotId::NONE; 16]), shift: 64 - 4 }
    }

    /// Makes room: the table is at most half full even when all `slots` are acquired.
    pub(super) fn reserve<T: Identity>(&mut self, slots: &mut Slots<T>) {
        let wanted = (slots.capacity() * 2).next_power_of_two();
        if wanted <= self.table.len() {
            return;
        }
        let old = std::mem::replace(&mut self.table, vec![SlotId::NONE; wanted].into_boxed_slice());
        self.shift = 64 - wanted.trailing_zeros();
        for slot in old.into_iter().filter(|&slot| slot != SlotId::NONE) {
            let place = self.place(identity(slots, slot), slots);
            self.table[place] = slot;
        }
    }

    /// Whether `insert` will not touch the table.
    #[inline(always)]
    pub(super) fn has_room_outside(&self) -> bool {
        self.last == SlotId::NONE
    }

    #[inline(always)]
    pub(super) fn insert<T: Identity>(&mut self, slot: SlotId, slots: &mut Slots<T>) {
        let before = std::mem::replace(&mut self.last, slot);
        if before != SlotId::NONE {
            self.insert_in_table(before, slots);
        }
    }

    /// Removes a slot of the object, if it is the one acquired last.
    #[inline(always)]
    pub(super) fn remove_last<T: Identity>(&mut self, key: usize, slots: &Slots<T>) -> Option<SlotId> {
        let last = self.last;
        slots.value(last).filter(|value| value.identity() == key)?;
        self.last = SlotId::NONE;
        Some(last)
    }

    /// Removes a slot of the object.
    pub(super) fn remove<T: Identity>(&mut self, key: usize, slots: &mut Slots<T>) -> Option<SlotId> {
        self.remove_last(key, slots).or_else(|| self.remove_from_table(key, slots))
    }

    /// Removes this very slot, wherever it is in its chain.
    pub(super) fn remove_slot<T: Identity>(&mut self, slot: SlotId, slots: &mut Slots<T>) {
        let key = identity(slots, slot);
        let mut passed = Vec::new();
        while let Some(found) = self.remove(key, slots) {
            if found == slot {
                break;
            }
            passed.push(found);
        }
        for other in passed {
            self.insert(other, slots);
        }
    }

    fn insert_in_table<T: Identity>(&mut self, slot: SlotId, slots: &mut Slots<T>) {
        let place = self.place(identity(slots, slot), slots);
        let chain = std::mem::replace(&mut self.table[place], slot);
        slots.get(slot).same = chain;
    }

    fn remove_from_table<T: Identity>(&mut self, key: usize, slots: &mut Slots<T>) -> Option<SlotId> {
        let place = self.place(key, slots);
        let slot = self.table[place];
        if slot == SlotId::NONE {
            return None;
        }
        match slots.get(slot).same {
            SlotId::NONE => self.close_gap(place, slots),
            chain => self.table[place] = chain,
        }
        Some(slot)
    }

    /// Where the object's entry is, or where it would be.
    fn place<T: Identity>(&self, key: usize, slots: &Slots<T>) -> usize {
        let mask = self.table.len() - 1;
        let mut place = self.home(key);
        loop {
            let slot = self.table[place & mask];
            if slot == SlotId::NONE || identity(slots, slot) == key {
                return place & mask;
            }
            place += 1;
        }
    }

    fn home(&self, key: usize) -> usize {
        ((key as u64).wrapping_mul(FIBONACCI) >> self.shift) as usize
    }

    /// Empties `gap` and moves later entries of the same run forward, so that every search still finds them.
    fn close_gap<T: Identity>(&mut self, mut gap: usize, slots: &Slots<T>) {
        let mask = self.table.len() - 1;
        let mut next = (gap + 1) & mask;
        while self.table[next] != SlotId::NONE {
            let home = self.home(identity(slots, self.table[next]));
            // The entry may move into the gap unless its home lies between the gap and itself.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(gap) & mask) {
                self.table[gap] = self.table[next];
                gap = next;
            }
            next = (next + 1) & mask;
        }
        self.table[gap] = SlotId::NONE;
    }
}

#[inline(always)]
fn identity<T: Identity>(slots: &Slots<T>, slot: SlotId) -> usize {
    slots.value(slot).map_or(0, Identity::identity)
}
