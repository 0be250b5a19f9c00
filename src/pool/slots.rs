//! Slots: one for each pooled value, with what is known about it.

use super::time::Nanos;

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
    /// No value here: the slot is free for the next `add`.
    Vacant,
    /// Free to lease.
    Idle,
    /// Handed to a waiter that has not collected it yet.
    Handed,
    /// With the holder of a lease.
    Leased,
    /// With a caller who took the bare object and will `release` it.
    Acquired,
    /// In maintenance: a background thread checks or resets it, or is going to.
    InMaintenance,
}

/// Why an object is in maintenance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// It is checked before it is leased again.
    Check,
    /// It came back without its holder's help, and is reset.
    Reset,
}

/// What is done with a value that leaves the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposal {
    /// The dispose hook is called, if there is one.
    Hook,
    /// It is only dropped: it was disposed of already.
    Drop,
    /// Nothing, not even a drop: it belongs to another process.
    Leak,
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
    /// When what it does now began; 0 if unknown.
    pub(super) since: Nanos,
    /// When it exceeds its lifetime.
    pub(super) expires: Nanos,
    /// Whether its present holder was reported for keeping it too long.
    pub(super) reported: bool,
    /// The current task of its maintenance: the task's number, and why.
    pub(super) task: Option<(u64, Maintenance)>,
    stale: bool,
    disposal: Disposal,
}

impl Record {
    const NEW: Record =
        Record { since: 0, expires: Nanos::MAX, reported: false, task: None, stale: false, disposal: Disposal::Hook };
}

/// All slots ever made. Vacant ones are used again.
pub(super) struct Slots<T> {
    all: Vec<Slot<T>>,
    records: Vec<Record>,
    vacant: Vec<SlotId>,
    /// How many are stale.
    stale: usize,
    /// How many have a [`Disposal`] other than the hook.
    without_hook: usize,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Slots { all: Vec::new(), records: Vec::new(), vacant: Vec::new(), stale: 0, without_hook: 0 }
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

    /// Takes the value out. What is to be done with it says [`disposal`](Self::disposal), before.
    pub(super) fn remove(&mut self, id: SlotId) -> Option<T> {
        let record = self.record(id);
        let Record { stale, disposal, .. } = *record;
        (record.task, record.stale, record.disposal) = (None, false, Disposal::Hook);
        self.stale -= usize::from(stale);
        self.without_hook -= usize::from(disposal != Disposal::Hook);
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

    /// Notes that the value is to be replaced.
    pub(super) fn mark_stale(&mut self, id: SlotId) {
        let newly = !std::mem::replace(&mut self.record(id).stale, true);
        self.stale += usize::from(newly);
    }

    pub(super) fn is_stale(&self, id: SlotId) -> bool {
        self.records[id.index()].stale
    }

    /// How many values are to be replaced.
    pub(super) fn stale(&self) -> usize {
        self.stale
    }

    /// Settles what is to be done with the value when it leaves.
    pub(super) fn set_disposal(&mut self, id: SlotId, disposal: Disposal) {
        let before = std::mem::replace(&mut self.record(id).disposal, disposal);
        self.without_hook += usize::from(disposal != Disposal::Hook);
        self.without_hook -= usize::from(before != Disposal::Hook);
    }

    pub(super) fn disposal(&self, id: SlotId) -> Disposal {
        self.records[id.index()].disposal
    }

    /// How many values have a [`Disposal`] other than the hook.
    pub(super) fn without_hook(&self) -> usize {
        self.without_hook
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
