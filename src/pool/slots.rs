//! Slots: one for each pooled value, with what is known about it.

use super::{Care, Nanos};

/// A pooled value that can be recognised when it comes back bare (by [`State::release`](super::State::release)).
pub trait Identity {
    /// Equal for two values exactly when they are the same object.
    fn identity(&self) -> usize;
}

/// The number of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct SlotId(u32);

impl SlotId {
    /// No slot.
    pub const NONE: SlotId = SlotId(u32::MAX);

    pub(super) fn new(index: usize) -> Self {
        SlotId(u32::try_from(index).expect("a pool holds fewer than 2**32 objects"))
    }

    /// Which of all slots.
    #[inline(always)]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a slot's value is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// No value here: the slot waits for the next `add`.
    Vacant,
    /// In the ring, free to take.
    Idle,
    /// Given to a waiter who has not picked it up yet.
    Handed,
    /// With the holder of a lease.
    Leased,
    /// With somebody who took the bare object and will `release` it.
    Acquired,
    /// In the hands of a background thread, which looks after it.
    Tended,
}

pub(super) struct Slot<T> {
    /// `None` exactly while `hold` is `Vacant`.
    pub(super) value: Option<T>,
    pub(super) hold: Hold,
    /// Next slot with the same value, while `Acquired` (see `acquired.rs`).
    pub(super) same: SlotId,
}

/// What else is known about a slot's value: apart, because the fast path never needs it.
#[derive(Clone, Copy)]
pub(super) struct Record {
    /// When what it does now began; 0 if nobody looked.
    pub(super) since: Nanos,
    /// When it will be too old.
    pub(super) expires: Nanos,
    /// Whether it is to be replaced.
    pub(super) stale: bool,
    /// Whether its present holder was reported for keeping it too long.
    pub(super) reported: bool,
    /// The task that tends to it: its number, and what it is about.
    pub(super) job: Option<(u64, Care)>,
    /// What to do with it in the end.
    pub(super) farewell: Farewell,
}

/// What to do with a value that left the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Dispose of it.
    Dispose,
    /// Somebody has disposed of it already: only drop it.
    Drop,
    /// Never touch it again, not even to drop it: it is another process's.
    Leak,
}

impl Record {
    const NEW: Record =
        Record { since: 0, expires: Nanos::MAX, stale: false, reported: false, job: None, farewell: Farewell::Dispose };
}

/// All slots ever made. Vacant ones are used again.
pub(super) struct Slots<T> {
    all: Vec<Slot<T>>,
    records: Vec<Record>,
    vacant: Vec<SlotId>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Slots { all: Vec::new(), records: Vec::new(), vacant: Vec::new() }
    }

    /// How many slots there are, vacant ones included.
    pub(super) fn capacity(&self) -> usize {
        self.all.len()
    }

    /// How many hold a value.
    pub(super) fn len(&self) -> usize {
        self.all.len() - self.vacant.len()
    }

    pub(super) fn insert(&mut self, value: T) -> SlotId {
        let slot = Slot { value: Some(value), hold: Hold::Handed, same: SlotId::NONE };
        if let Some(id) = self.vacant.pop() {
            self.all[id.index()] = slot;
            self.records[id.index()] = Record::NEW;
            return id;
        }
        let id = SlotId::new(self.all.len());
        self.all.push(slot);
        self.records.push(Record::NEW);
        id
    }

    pub(super) fn remove(&mut self, id: SlotId) -> Option<T> {
        let slot = self.get(id);
        slot.hold = Hold::Vacant;
        let value = slot.value.take();
        self.vacant.push(id);
        value
    }

    #[inline(always)]
    pub(super) fn get(&mut self, id: SlotId) -> &mut Slot<T> {
        &mut self.all[id.index()]
    }

    pub(super) fn record(&mut self, id: SlotId) -> &mut Record {
        &mut self.records[id.index()]
    }

    /// `None` for a vacant slot, and for `SlotId::NONE`.
    #[inline(always)]
    pub(super) fn value(&self, id: SlotId) -> Option<&T> {
        self.all.get(id.index())?.value.as_ref()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SlotId> + use<T> {
        (0..self.all.len()).map(SlotId::new)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Slot<T>, &Record)> {
        self.all.iter().zip(&self.records)
    }
}
