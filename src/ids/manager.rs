//! Which id comes next, and which ones are out.

use std::collections::TryReserveError;
use std::fmt;
use std::ops::Range;

use super::bitmap::{Bitmap, PAGE_BITS};
use super::fifo::Freed;

/// Why an operation changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The id is not given out at the moment.
    NotAllocated,
    /// Ids reach from −2⁶³ to 2⁶³ − 1.
    OutOfReach,
    /// The system has no memory for the next page or block.
    OutOfMemory,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::NotAllocated => "the id is not allocated",
            Error::OutOfReach => "ids reach from -2**63 to 2**63 - 1",
            Error::OutOfMemory => "out of memory",
        })
    }
}

impl std::error::Error for Error {}

impl From<TryReserveError> for Error {
    fn from(_: TryReserveError) -> Self {
        Error::OutOfMemory
    }
}

/// Hands out the ids of a range, each to one holder at a time.
///
/// An id is *fresh* (never given), *allocated* or *freed*, and these are all the ways between them:
///
/// ```text
/// fresh ──take──► allocated ──free──► freed
///   ▲                │  ▲               │
///   └────untake──────┤  └─────take──────┤
///                    └─────untake───────┘
/// ```
///
/// `take` gives the fresh ids ascending, and only then the freed ones in the order they were freed.
///
/// Inside, an id is its *position*: its distance from `base`. Positions are what the bitmap and the queue hold, so
/// they stay small and unsigned wherever the range lies.
pub struct Ids {
    /// The greatest multiple of [`PAGE_BITS`] that is not above the first id: pages begin at round ids.
    base: i64,
    /// The watermark: the positions from here to `end` are fresh.
    fresh: u64,
    end: u64,
    allocated: Bitmap,
    freed: Freed,
}

impl Default for Ids {
    /// No ids at all.
    fn default() -> Self {
        Ids { base: 0, fresh: 0, end: 0, allocated: Bitmap::default(), freed: Freed::new(0) }
    }
}

impl Ids {
    /// The `count` ids from `first` on, all of them fresh. Costs the same for any count.
    pub fn new(first: i64, count: u64) -> Result<Self, Error> {
        if i128::from(first) + i128::from(count) > 1 << 63 {
            return Err(Error::OutOfReach);
        }
        let lead = first.rem_euclid(PAGE_BITS as i64);
        let fresh = lead as u64;
        let end = fresh.checked_add(count).ok_or(Error::OutOfReach)?;
        Ok(Ids { base: first - lead, fresh, end, allocated: Bitmap::default(), freed: Freed::new(end) })
    }

    /// Gives the next id, or `None` when all of them are out.
    #[inline(always)]
    pub fn take(&mut self) -> Result<Option<i64>, Error> {
        let position = if self.fresh < self.end {
            let position = self.fresh;
            self.allocated.reach(position, self.end)?;
            self.fresh += 1;
            position
        } else {
            match self.freed.pop() {
                Some(position) => position,
                None => return Ok(None),
            }
        };
        self.allocated.insert(position);
        Ok(Some(self.id(position)))
    }

    /// Undoes a [`take`](Self::take) whose id reached nobody: it is the next to be given again.
    ///
    /// With other takes in between, a fresh id cannot be fresh again and becomes the oldest of the freed.
    #[cold]
    pub fn untake(&mut self, id: i64) -> Result<(), Error> {
        let position = self.position(id);
        let entry = self.allocated.entry(position).ok_or(Error::NotAllocated)?;
        if position + 1 == self.fresh {
            self.fresh = position;
        } else {
            self.freed.unpop(position)?;
        }
        entry.remove();
        Ok(())
    }

    /// Takes an id back.
    #[inline(always)]
    pub fn free(&mut self, id: i64) -> Result<(), Error> {
        let position = self.position(id);
        let entry = self.allocated.entry(position).ok_or(Error::NotAllocated)?;
        self.freed.push(position)?;
        entry.remove();
        Ok(())
    }

    /// Whether the id is out.
    #[inline(always)]
    pub fn is_allocated(&self, id: i64) -> bool {
        self.allocated.contains(self.position(id))
    }

    /// The ids that were never given. The end may be 2⁶³, which is no id.
    pub fn fresh(&self) -> Range<i128> {
        let base = i128::from(self.base);
        base + i128::from(self.fresh)..base + i128::from(self.end)
    }

    /// A copy of the ids that came back, oldest first.
    pub fn freed(&self) -> Result<impl Iterator<Item = i64> + use<>, Error> {
        let base = self.base;
        Ok(self.freed.positions()?.into_iter().map(move |position| base.wrapping_add_unsigned(position)))
    }

    /// A copy of the ids that are out, ascending.
    pub fn allocated(&self) -> Result<impl Iterator<Item = i64> + use<>, Error> {
        let base = self.base;
        Ok(self.allocated.positions()?.map(move |position| base.wrapping_add_unsigned(position)))
    }

    /// The id at a position.
    #[inline(always)]
    fn id(&self, position: u64) -> i64 {
        self.base.wrapping_add_unsigned(position)
    }

    /// The position of an id. One outside the range gets a position outside it too.
    #[inline(always)]
    fn position(&self, id: i64) -> u64 {
        id.wrapping_sub(self.base) as u64
    }
}
