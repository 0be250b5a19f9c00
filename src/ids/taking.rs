//! Taking the next id, and freeing one: what is called for every id.

use super::errors::Error;
use super::freed::{Freed, queue};
use super::manager::Ids;

impl Ids {
    /// Takes the next id if that needs only a bit, and a step of the watermark or of the queue. `None` says nothing: call
    /// [`take`](Self::take) then.
    #[inline(always)]
    pub fn take_quickly(&mut self) -> Option<i64> {
        let position = if self.fresh < self.lane {
            let position = self.fresh;
            self.allocated.insert_quickly(position)?;
            self.fresh += 1;
            position
        } else {
            if self.fresh < self.end || self.stale.total() != 0 {
                return None;
            }
            queue!(&mut self.freed, fifo => {
                let position = fifo.peek()?;
                self.allocated.insert_quickly(position)?;
                fifo.skip();
                position
            }, else return None)
        };
        Some(self.id(position))
    }

    /// Takes the next id; `None` if all of them are allocated.
    pub fn take(&mut self) -> Result<Option<i64>, Error> {
        if self.fresh < self.lane {
            self.allocated.insert(self.fresh, self.end)?;
            self.fresh += 1;
            Ok(Some(self.id(self.fresh - 1)))
        } else if self.fresh < self.end {
            self.take_beyond_the_lane()
        } else if let Freed::Lowest(_) | Freed::Random(_) = self.freed {
            self.take_in_order()
        } else {
            self.take_oldest()
        }
    }

    fn take_beyond_the_lane(&mut self) -> Result<Option<i64>, Error> {
        if let Freed::Lowest(lowest) = &self.freed
            && lowest.len > 0
        {
            return self.take_in_order();
        }
        self.open_lane();
        self.take()
    }

    /// Moves the watermark to the next fresh id, and the end of the lane to the next gap.
    pub(super) fn open_lane(&mut self) {
        while let Some(gap) = self.gaps.next(self.fresh) {
            if gap.start > self.fresh {
                self.lane = gap.start;
                return;
            }
            self.fresh = gap.end;
            self.gaps.remove(gap);
        }
        self.lane = self.end;
    }

    /// Takes the oldest entry of the queue that counts.
    fn take_oldest(&mut self) -> Result<Option<i64>, Error> {
        while let Some(position) = self.freed.pop() {
            if self.stale.total() != 0 && self.stale.skips(position) {
                continue;
            }
            if let Err(error) = self.allocated.insert(position, self.end) {
                self.freed.unpop(position)?;
                return Err(error);
            }
            return Ok(Some(self.id(position)));
        }
        Ok(None)
    }

    /// Undoes a [`take`](Self::take) whose id reached no caller: it is the next to be taken again.
    ///
    /// With other takes in between, a fresh id cannot be fresh again and becomes the oldest of the freed.
    #[cold]
    pub fn undo_take(&mut self, id: i64) -> Result<(), Error> {
        let position = self.position(id);
        if !self.allocated.contains(position) {
            return Err(Error::NotAllocated);
        }
        if self.lent.contains(position) {
            return Err(Error::Lent);
        }
        let queues = queue!(&self.freed, _fifo => true, else false);
        if queues && position + 1 == self.fresh {
            self.fresh = position;
        } else {
            self.freed.unpop(position)?;
            self.settle(position);
        }
        self.allocated.remove(position);
        Ok(())
    }

    /// Frees an id if that needs only a bit and an entry of the queue. False says nothing: call [`free`](Self::free) then.
    #[inline(always)]
    pub fn free_quickly(&mut self, id: i64) -> bool {
        if self.slow_free {
            return false;
        }
        let position = self.position(id);
        let Some(entry) = self.allocated.entry(position) else { return false };
        let pushed = queue!(&mut self.freed, fifo => fifo.push_quickly(position), else false);
        if pushed {
            entry.remove();
        }
        pushed
    }

    /// Frees an id.
    pub fn free(&mut self, id: i64) -> Result<(), Error> {
        let position = self.position(id);
        if !self.allocated.contains(position) {
            return Err(Error::NotAllocated);
        }
        if self.lent.contains(position) {
            return Err(Error::Lent);
        }
        self.freed.push(position)?;
        self.settle(position);
        self.allocated.remove(position);
        self.allocated.tidy(position);
        Ok(())
    }
}
