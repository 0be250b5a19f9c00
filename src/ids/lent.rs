//! Which of the allocated ids are lent: held by a lease, so that only the lease may free them.

use super::bitmap::Bitmap;
use super::errors::Error;

/// Which of the allocated ids are lent, and whether a caller waits for one.
#[derive(Default)]
pub(super) struct Lent {
    positions: Bitmap,
    len: u64,
    pub(super) awaited: bool,
}

impl Lent {
    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn contains(&self, position: u64) -> bool {
        self.len > 0 && self.positions.contains(position)
    }

    pub(super) fn insert(&mut self, position: u64, end: u64) -> Result<(), Error> {
        self.positions.insert(position, end)?;
        self.len += 1;
        Ok(())
    }

    /// The range ends elsewhere; nothing beyond the new end is lent.
    pub(super) fn set_end(&mut self, end: u64) -> Result<(), Error> {
        self.positions.set_end(end)
    }

    /// False if it is not there.
    pub(super) fn remove(&mut self, position: u64) -> bool {
        let there = self.contains(position);
        if there {
            self.positions.remove(position);
            self.positions.tidy(position);
            self.len -= 1;
        }
        there
    }
}
