//! The freed ids: what is kept about them depends on the order in which they are taken again.

use std::collections::HashMap;

use super::block::{Narrow, Small, Wide};
use super::errors::Error;
use super::fifo::Fifo;
use super::lowest::Lowest;
use super::random::Random;

/// Which free id is taken next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The fresh ones ascending, then the one that was freed longest ago.
    Fifo,
    /// The lowest.
    Lowest,
    /// Any of them, each as likely as the others. The number is the seed.
    Random(u64),
}

/// Up to so many positions the queue lies on the heap: 256 KiB at most.
const SMALL: u64 = 1 << 16;

/// The freed positions. The first three are the same queue: 4 bytes an entry while all positions fit, else 8.
///
/// One flat list of variants, not an order that holds a queue: the quick path looks at one tag.
pub enum Freed {
    /// So few positions that the queue can never be large.
    Small(Fifo<Small>),
    /// Every position fits 32 bits.
    Narrow(Fifo<Narrow>),
    /// Some position does not.
    Wide(Fifo<Wide>),
    /// The lowest is taken first.
    Lowest(Lowest),
    /// Only the generator's state, and how many ids are allocated.
    Random(Random),
}

/// Does the same with whichever queue it is; with none, `$otherwise`.
macro_rules! queue {
    ($freed:expr, $fifo:ident => $done:expr, else $otherwise:expr) => {
        match $freed {
            Freed::Small($fifo) => $done,
            Freed::Narrow($fifo) => $done,
            Freed::Wide($fifo) => $done,
            Freed::Lowest(_) | Freed::Random(_) => $otherwise,
        }
    };
}
pub(super) use queue;

impl Freed {
    /// Nothing was freed yet, of the positions below `end`.
    pub fn new(order: Order, end: u64) -> Self {
        match order {
            Order::Lowest => Freed::Lowest(Lowest::default()),
            Order::Random(seed) => Freed::Random(Random::new(seed)),
            Order::Fifo if end <= SMALL => Freed::Small(Fifo::new(end)),
            Order::Fifo if end <= 1 << 32 => Freed::Narrow(Fifo::new(end)),
            Order::Fifo => Freed::Wide(Fifo::new(end)),
        }
    }

    /// Adds `position` to the queue as the newest.
    pub fn push(&mut self, position: u64) -> Result<(), Error> {
        queue!(self, fifo => fifo.push(position), else Ok(()))
    }

    /// The way back of a [`push`](Self::push).
    pub fn unpush(&mut self) {
        queue!(self, fifo => fifo.unpush(), else ());
    }

    /// Takes the oldest of the queue.
    pub fn pop(&mut self) -> Option<u64> {
        queue!(self, fifo => fifo.pop(), else None)
    }

    /// The way back of a [`pop`](Self::pop).
    pub fn unpop(&mut self, position: u64) -> Result<(), Error> {
        queue!(self, fifo => fifo.unpop(position), else Ok(()))
    }

    /// How long the queue is.
    pub fn queued(&self) -> u64 {
        queue!(self, fifo => fifo.len(), else 0)
    }

    /// Calls `each` with the queue's entries, oldest first.
    pub fn each(&self, each: impl FnMut(u64)) {
        queue!(self, fifo => fifo.iter().for_each(each), else ());
    }
}

/// Entries of the queue that no longer count: the id was taken by name, and finding its entry would take time linear in
/// the length of the queue.
///
/// Such an id may be in the queue several times. It is always the oldest entries that do not count, so a count suffices.
#[derive(Default)]
pub struct Stale {
    counts: HashMap<u64, u64>,
    total: u64,
}

impl Stale {
    /// How many entries do not count.
    #[inline(always)]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Makes room for `more` entries, so that adding them cannot fail.
    pub fn reserve(&mut self, more: u64) -> Result<(), Error> {
        let more = usize::try_from(more).map_err(|_| Error::OutOfMemory)?;
        Ok(self.counts.try_reserve(more)?)
    }

    /// From now on the oldest entry of `position` that counted does not.
    pub fn add(&mut self, position: u64) {
        *self.counts.entry(position).or_default() += 1;
        self.total += 1;
    }

    /// Whether this entry, the oldest of all, does not count. It is forgotten then.
    pub fn skips(&mut self, position: u64) -> bool {
        let Some(count) = self.counts.get_mut(&position) else { return false };
        *count -= 1;
        self.total -= 1;
        if *count == 0 {
            self.counts.remove(&position);
        }
        if self.total == 0 {
            self.counts = HashMap::new();
        }
        true
    }

    /// A copy, to go through the queue with.
    pub fn copied(&self) -> Result<Self, Error> {
        let mut copy = Stale::default();
        copy.counts.try_reserve(self.counts.len())?;
        copy.counts.extend(&self.counts);
        copy.total = self.total;
        Ok(copy)
    }
}
