//! Ids that are taken by name, ids that are excluded, and the end of the range.

use super::errors::{Error, Refusal};
use super::freed::Freed;
use super::manager::{Ids, MOST};

impl Ids {
    /// Takes this very id; false if it is allocated already.
    pub fn reserve(&mut self, id: i64) -> Result<bool, Refusal> {
        let position = self.position(id);
        if !self.has(id) {
            return Err(Refusal::NotInRange(id));
        }
        if self.excluded.contains(position) {
            return Err(Refusal::Excluded(id));
        }
        if self.allocated.contains(position) {
            return Ok(false);
        }
        self.stale.reserve(1)?;
        self.allocated.insert_far(position)?;
        self.claim(position..position + 1);
        Ok(true)
    }

    /// Removes ids from the range for good, as if they had never been there: `spans` of ids, both ends included. Those
    /// that are excluded already may be named again.
    pub fn exclude(&mut self, spans: &[(i64, i64)]) -> Result<(), Refusal> {
        let mut excluded = self.excluded.clone();
        for &(from, to) in spans {
            for id in [from, to] {
                if !self.has(id) {
                    return Err(Refusal::NotInRange(id));
                }
            }
            if let Some(id) = self.next_allocated(from).filter(|&id| id <= to) {
                return Err(Refusal::Allocated(id));
            }
            excluded.insert(self.position(from)..self.position(to) + 1);
        }
        if !matches!(self.freed, Freed::Lowest(_) | Freed::Random(_)) {
            // First, because it is what may fail. Nothing that is freed may be excluded.
            self.rebuild(self.end, |position| !excluded.contains(position))?;
        }
        let known = excluded.below(self.fresh) - self.excluded.below(self.fresh);
        if let Freed::Lowest(lowest) = &mut self.freed {
            lowest.len -= known;
        }
        self.excluded = excluded;
        for &(from, to) in spans {
            let beyond = self.position(from).max(self.fresh)..(self.position(to) + 1).max(self.fresh);
            self.gaps.insert(beyond);
        }
        self.lane = self.fresh;
        Ok(())
    }

    /// Moves the end of the range: `count` is how many ids there are from the first one on.
    ///
    /// Ids beyond a new end must not be allocated. If the range grows again, they are fresh.
    pub fn resize(&mut self, count: u64) -> Result<(), Refusal> {
        if count > MOST || self.range().start + i128::from(count) > 1 << 63 {
            return Err(Error::OutOfReach.into());
        }
        let end = self.first + count;
        if let Some(position) = self.allocated.next(end) {
            return Err(Refusal::Allocated(self.id(position)));
        }
        match &self.freed {
            Freed::Lowest(_) | Freed::Random(_) => {}
            _ => self.rebuild(end, |position| position < end)?,
        }
        self.allocated.set_end(end)?;
        self.lent.set_end(end)?;
        self.gaps.remove(end..u64::MAX);
        if let Freed::Lowest(lowest) = &mut self.freed {
            // What is cut off below the watermark was free or excluded: nothing is out there.
            let cut = self.fresh.saturating_sub(end);
            lowest.len -= cut - (self.excluded.below(self.fresh) - self.excluded.below(end.min(self.fresh)));
            lowest.cut(end);
        }
        self.excluded.remove(end..u64::MAX);
        self.end = end;
        self.fresh = if let Freed::Random(_) = self.freed { end } else { self.fresh.min(end) };
        self.lane = self.fresh;
        Ok(())
    }
}
