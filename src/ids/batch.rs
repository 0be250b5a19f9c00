//! Many ids at once: all of them, or none and nothing changes.

use std::ops::Range;

use super::errors::{Error, Refusal};
use super::freed::Freed;
use super::manager::Ids;

/// Where ids are written to.
pub trait Sink {
    /// Writes the id at a place.
    fn put(&mut self, place: usize, id: i64);

    /// What was written there.
    fn get(&self, place: usize) -> i64;
}

impl Sink for [i64] {
    #[inline(always)]
    fn put(&mut self, place: usize, id: i64) {
        if let Some(slot) = self.get_mut(place) {
            *slot = id;
        }
    }

    fn get(&self, place: usize) -> i64 {
        self.get(place).copied().unwrap_or_default()
    }
}

impl Ids {
    /// Takes `count` ids in the usual order, and writes them to the places from 0 on; false if there are not so many.
    pub fn take_many(&mut self, count: usize, sink: &mut (impl Sink + ?Sized)) -> Result<bool, Error> {
        if count as u64 > self.available() {
            return Ok(false);
        }
        let mut place = 0;
        while place < count {
            let taken = match self.take_run(count - place) {
                Ok(Some(run)) => {
                    let first = self.id(run.start);
                    let len = (run.end - run.start) as usize;
                    (0..len).for_each(|i| sink.put(place + i, first.wrapping_add(i as i64)));
                    Ok(len)
                }
                Ok(None) => self.take().map(|id| id.map_or(0, |id| (sink.put(place, id), 1).1)),
                Err(error) => Err(error),
            };
            match taken {
                Ok(0) | Err(_) => {
                    for place in (0..place).rev() {
                        let (Ok(()) | Err(_)) = self.undo_take(sink.get(place));
                    }
                    return taken.map(|_| false);
                }
                Ok(len) => place += len,
            }
        }
        Ok(true)
    }

    /// Takes what it can of the lane, at most `count`; `None` if it is closed.
    fn take_run(&mut self, count: usize) -> Result<Option<Range<u64>>, Error> {
        let end = self.lane.min(self.fresh.saturating_add(count as u64));
        if end <= self.fresh {
            return Ok(None);
        }
        let run = self.fresh..end;
        self.allocated.fill(run.clone(), self.end)?;
        self.fresh = end;
        Ok(Some(run))
    }

    /// Takes `count` neighbouring ids, and returns the first; `None` where no so many are free.
    ///
    /// With a queue, fresh ids are taken first, as always; then the lowest free ones, wherever they are in the queue.
    pub fn take_range(&mut self, count: u64) -> Result<Option<i64>, Error> {
        if count == 0 || count > self.available() {
            return Ok(None);
        }
        let queues = !matches!(self.freed, Freed::Lowest(_) | Freed::Random(_));
        if queues {
            self.open_lane();
            if self.lane - self.fresh >= count {
                let begins = self.fresh;
                self.allocated.fill(begins..begins + count, self.end)?;
                self.fresh += count;
                return Ok(Some(self.id(begins)));
            }
        }
        let Some(begins) = self.find(count) else { return Ok(None) };
        let run = begins..begins + count;
        if queues {
            self.stale.reserve(count)?;
        }
        self.allocated.fill(run.clone(), self.end)?;
        self.claim(run);
        Ok(Some(self.id(begins)))
    }

    /// Where `count` neighbours begin that are free.
    fn find(&mut self, count: u64) -> Option<u64> {
        let (first, all) = (self.first, self.end - self.first);
        let from = match &mut self.freed {
            Freed::Lowest(lowest) => lowest.first().unwrap_or(self.fresh).clamp(first, self.fresh),
            Freed::Random(random) => first + random.below(all),
            _ => first,
        };
        let search =
            |range: Range<u64>| self.excluded.between(range).find_map(|piece| self.allocated.find_clear(piece, count));
        let again = || search(first..from.saturating_add(count).min(self.end));
        search(from..self.end).or_else(|| if from == first { None } else { again() })
    }

    /// Frees all ids, in this order.
    pub fn free_many(&mut self, ids: impl Iterator<Item = i64> + Clone) -> Result<(), Refusal> {
        let mut done = 0;
        let mut fault = None;
        for id in ids.clone() {
            if self.free_quickly(id) {
                done += 1;
                continue;
            }
            let position = self.position(id);
            if !self.allocated.contains(position) {
                let repeated = ids.clone().take(done).any(|before| before == id);
                fault = Some(if repeated { Refusal::Repeated(id) } else { Refusal::NotAllocated(id) });
                break;
            }
            if self.lent.contains(position) {
                fault = Some(Refusal::Lent(id));
                break;
            }
            if let Err(error) = self.freed.push(position) {
                fault = Some(error.into());
                break;
            }
            self.allocated.remove(position);
            done += 1;
        }
        if let Some(error) = fault {
            for id in ids.take(done) {
                // It was set a moment ago, so this needs no memory.
                let (Ok(()) | Err(_)) = self.allocated.insert_far(self.position(id));
                self.freed.unpush();
            }
            return Err(error);
        }
        if self.allocated.far_pages() == 0 && !matches!(self.freed, Freed::Lowest(_) | Freed::Random(_)) {
            return Ok(());
        }
        for id in ids {
            let position = self.position(id);
            self.settle(position);
            self.allocated.tidy(position);
        }
        Ok(())
    }
}
