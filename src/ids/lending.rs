//! Lending: ids that a lease holds, and that only the lease may free.

use super::errors::{Error, Refusal};
use super::manager::Ids;

impl Ids {
    /// As [`take`](Self::take), for a lease: only [`take_back`](Self::take_back) frees the id.
    pub fn lend(&mut self) -> Result<Option<i64>, Error> {
        let Some(id) = self.take()? else { return Ok(None) };
        if let Err(error) = self.lent.insert(self.position(id), self.end) {
            // It was given a moment ago. Should there be no memory to undo that either, it is given for good.
            let (Ok(()) | Err(_)) = self.undo_take(id);
            return Err(error);
        }
        self.watch();
        Ok(Some(id))
    }

    /// Undoes a [`lend`](Self::lend) whose id reached nobody.
    #[cold]
    pub fn undo_lend(&mut self, id: i64) -> Result<(), Error> {
        let lent = self.lent.remove(self.position(id));
        self.watch();
        if lent { self.undo_take(id) } else { Err(Error::NotAllocated) }
    }

    /// Frees an id that is lent. One that is lent no longer is left alone: it is whose it is.
    ///
    /// # Errors
    /// Without memory to note that it is free, it is given, and not lent any more.
    pub fn take_back(&mut self, id: i64) -> Result<(), Error> {
        let lent = self.lent.remove(self.position(id));
        self.watch();
        if lent { self.free(id) } else { Ok(()) }
    }

    /// Takes an id that is lent out of the range for good.
    pub fn exclude_lent(&mut self, id: i64) -> Result<(), Refusal> {
        if !self.lent.contains(self.position(id)) {
            return Err(Refusal::NotGiven(id));
        }
        self.take_back(id)?;
        self.exclude(&[(id, id)])
    }

    /// How many ids are lent.
    pub fn lent(&self) -> u64 {
        self.lent.len()
    }

    /// Somebody waits for an id, or nobody does: whether whoever frees one is to look.
    pub fn set_awaited(&mut self, awaited: bool) {
        self.lent.awaited = awaited;
        self.watch();
    }

    /// Whether whoever frees an id is to look who waits for it.
    pub fn is_awaited(&self) -> bool {
        self.lent.awaited
    }

    fn watch(&mut self) {
        self.watched = self.lent.len() > 0 || self.lent.awaited;
    }
}
