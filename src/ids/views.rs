//! What the manager shows of itself.

use std::ops::Range;

use super::errors::Error;
use super::freed::Freed;
use super::manager::Ids;

impl Ids {
    /// A copy of the ids that are free below the watermark, in the order in which they will be taken; ascending in the
    /// random order.
    pub fn freed(&self) -> Result<impl Iterator<Item = i64> + use<>, Error> {
        let base = self.base;
        Ok(self.freed_positions()?.into_iter().map(move |position| base.wrapping_add_unsigned(position)))
    }

    pub(super) fn freed_positions(&self) -> Result<Vec<u64>, Error> {
        let mut positions = Vec::new();
        let len = self.available() - (self.end - self.fresh - self.gaps.len());
        positions.try_reserve_exact(usize::try_from(len).map_err(|_| Error::OutOfMemory)?)?;
        if let Freed::Lowest(_) | Freed::Random(_) = self.freed {
            self.each_free(|position| positions.push(position));
        } else if self.stale.total() == 0 {
            self.freed.each(|position| positions.push(position));
        } else {
            let mut stale = self.stale.copied()?;
            self.freed.each(|position| {
                if !stale.skips(position) {
                    positions.push(position);
                }
            });
        }
        Ok(positions)
    }

    /// A copy of the allocated ids, ascending.
    pub fn allocated(&self) -> Result<impl Iterator<Item = i64> + use<>, Error> {
        let base = self.base;
        Ok(self.allocated.positions()?.map(move |position| base.wrapping_add_unsigned(position)))
    }

    /// The lowest allocated id that is not below `from`.
    pub fn next_allocated(&self, from: i64) -> Option<i64> {
        let from = if from < self.id(self.first) { self.first } else { self.position(from) };
        self.allocated.next(from).map(|position| self.id(position))
    }

    /// The spans of excluded ids, ascending.
    pub fn excluded(&self) -> Vec<Range<i128>> {
        let wide = |position: u64| i128::from(self.base) + i128::from(position);
        self.excluded.iter().map(|span| wide(span.start)..wide(span.end)).collect()
    }
}
