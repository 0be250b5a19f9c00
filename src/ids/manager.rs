//! The state of the integer manager.

use std::ops::Range;

use super::bitmap::Bitmap;
use super::errors::Error;
use super::freed::{Freed, Order, Stale};
use super::lent::Lent;
use super::page::PAGE_BITS;
use super::spans::Spans;

/// How many ids a range may have: few enough that no position overflows.
pub(super) const MOST: u64 = 1 << 63;

/// Hands out the ids of a range, each to one holder at a time.
///
/// An id is *fresh* (never allocated), *allocated*, *freed* or *excluded*. The transitions:
///
/// ```text
/// fresh ──take, reserve──► allocated ──free──► freed
///   ▲                         │ ▲                │
///   └────────undo_take────────┤ └─take, reserve──┤
///                             └────undo_take─────┘
/// fresh, freed ──exclude──► excluded
/// ```
///
/// An allocated id may be *lent* to a lease (`lend`); then only the lease frees it (`take_back`).
///
/// The [`Order`] decides what `take` returns. Only `Order::Fifo` needs to tell fresh from freed ids; for the others fresh
/// is what lies beyond all that was allocated, or nothing at all.
///
/// Inside, an id is its *position*: its distance from `base`. Positions are what the bitmap and the queue hold, so
/// they stay small and unsigned wherever the range lies.
pub struct Ids {
    /// The greatest multiple of [`PAGE_BITS`] that is not above the first id: pages begin at round ids.
    pub(super) base: i64,
    /// The position of the first id.
    pub(super) first: u64,
    /// The watermark: the positions from here to `end` are fresh, but for the `gaps`.
    pub(super) fresh: u64,
    /// The positions from `fresh` to here are fresh without gaps: they can be taken one after the other.
    pub(super) lane: u64,
    pub(super) end: u64,
    pub(super) allocated: Bitmap,
    pub(super) freed: Freed,
    /// Entries of the queue that do not count.
    pub(super) stale: Stale,
    /// What is not fresh beyond the watermark: reserved once, or excluded.
    pub(super) gaps: Spans,
    /// The excluded ids.
    pub(super) excluded: Spans,
    pub(super) lent: Lent,
    /// Whether ids are freed by the slow path only: some are lent, or a caller waits for one.
    pub(super) slow_free: bool,
}

impl Default for Ids {
    /// No ids at all.
    fn default() -> Self {
        Ids::at(0, 0, 0, Order::Fifo)
    }
}

impl Ids {
    /// The `count` ids from `first` on, none of them allocated. Costs the same for any count.
    pub fn new(first: i64, count: u64, order: Order) -> Result<Self, Error> {
        if count > MOST || i128::from(first) + i128::from(count) > 1 << 63 {
            return Err(Error::OutOfReach);
        }
        let lead = first.rem_euclid(PAGE_BITS as i64);
        Ok(Ids::at(first - lead, lead as u64, lead as u64 + count, order))
    }

    fn at(base: i64, first: u64, end: u64, order: Order) -> Self {
        // The random order has no fresh ids: all of them are below the watermark.
        let fresh = if let Order::Random(_) = order { end } else { first };
        Ids {
            base,
            first,
            fresh,
            lane: if fresh == first { end } else { fresh },
            end,
            allocated: Bitmap::default(),
            freed: Freed::new(order, end),
            stale: Stale::default(),
            gaps: Spans::default(),
            excluded: Spans::default(),
            lent: Lent::default(),
            slow_free: false,
        }
    }

    /// Whether the id is allocated.
    #[inline(always)]
    pub fn is_allocated(&self, id: i64) -> bool {
        self.allocated.contains(self.position(id))
    }

    /// Whether the id lies in the range.
    pub fn has(&self, id: i64) -> bool {
        (self.first..self.end).contains(&self.position(id))
    }

    /// The range. The end may be 2⁶³, which is no id.
    pub fn range(&self) -> Range<i128> {
        self.wide(self.first)..self.wide(self.end)
    }

    /// The order, without its seed.
    pub fn order(&self) -> Order {
        match &self.freed {
            Freed::Lowest(_) => Order::Lowest,
            Freed::Random(random) => Order::Random(random.state()),
            _ => Order::Fifo,
        }
    }

    /// The ids from the watermark on: never allocated, unless they were reserved or excluded. The end may be 2⁶³.
    pub fn fresh(&self) -> Range<i128> {
        self.wide(self.watermark())..self.wide(self.end)
    }

    /// The watermark as the next take will find it: behind a gap that begins there.
    pub(super) fn watermark(&self) -> u64 {
        self.gaps.next(self.fresh).filter(|gap| gap.start <= self.fresh).map_or(self.fresh, |gap| gap.end)
    }

    /// How many ids are allocated.
    pub fn allocated_count(&self) -> u64 {
        self.end - self.first - self.excluded.len() - self.available()
    }

    /// How many ids could be taken.
    pub fn available(&self) -> u64 {
        let fresh = self.end - self.fresh - self.gaps.len();
        match &self.freed {
            Freed::Lowest(lowest) => fresh + lowest.len,
            Freed::Random(random) => self.end - self.first - self.excluded.len() - random.allocated,
            queue => fresh + queue.queued() - self.stale.total(),
        }
    }

    /// A position as a number that cannot overflow.
    fn wide(&self, position: u64) -> i128 {
        i128::from(self.base) + i128::from(position)
    }

    /// The id at a position.
    #[inline(always)]
    pub(super) fn id(&self, position: u64) -> i64 {
        self.base.wrapping_add_unsigned(position)
    }

    /// The position of an id. One outside the range gets a position outside it too.
    #[inline(always)]
    pub(super) fn position(&self, id: i64) -> u64 {
        id.wrapping_sub(self.base) as u64
    }
}
