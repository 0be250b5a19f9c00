//! Lent ids: held by a lease, and freed only by the lease.

use super::errors::{Error, Refusal};
use super::manager::Ids;

impl Ids {
    /// As [`take`](Self::take), for a lease: the id is lent until [`take_back`](Self::take_back).
    pub fn lend(&mut self) -> Result<Option<i64>, Error> {
        let Some(id) = self.take()? else { return Ok(None) };
        if let Err(error) = self.lent.insert(self.position(id), self.end) {
            // The id was just taken. If there is no memory to undo that either, it stays allocated.
            let (Ok(()) | Err(_)) = self.undo_take(id);
            return Err(error);
        }
        self.update_quick_free();
        Ok(Some(id))
    }

    /// Undoes a [`lend`](Self::lend) whose id reached no caller.
    #[cold]
    pub fn undo_lend(&mut self, id: i64) -> Result<(), Error> {
        let lent = self.lent.remove(self.position(id));
        self.update_quick_free();
        if lent { self.undo_take(id) } else { Err(Error::NotAllocated) }
    }

    /// Frees an id that is lent. Nothing if it is not: then its lease is not the holder any more.
    ///
    /// # Errors
    /// Without memory to note that it is free, it stays allocated, and is not lent any more.
    pub fn take_back(&mut self, id: i64) -> Result<(), Error> {
        let lent = self.lent.remove(self.position(id));
        self.update_quick_free();
        if lent { self.free(id) } else { Ok(()) }
    }

    /// Excludes an id that is lent.
    pub fn exclude_lent(&mut self, id: i64) -> Result<(), Refusal> {
        if !self.lent.contains(self.position(id)) {
            return Err(Refusal::NotAllocated(id));
        }
        self.take_back(id)?;
        self.exclude(&[(id, id)])
    }

    /// How many ids are lent.
    pub fn lent(&self) -> u64 {
        self.lent.len()
    }

    /// Notes whether a caller waits for an id. If so, every id is freed by the slow path, which looks at the queue.
    pub fn set_awaited(&mut self, awaited: bool) {
        self.lent.awaited = awaited;
        self.update_quick_free();
    }

    /// Whether a caller waits for an id.
    pub fn is_awaited(&self) -> bool {
        self.lent.awaited
    }

    fn update_quick_free(&mut self) {
        self.slow_free = self.lent.len() > 0 || self.lent.awaited;
    }
}
