//! Where the entries of the queue lie.
//!
//! A large queue maps its blocks, instead of allocating them, to keep one promise: the memory of what drains is returned
//! to the system. An allocator keeps small pieces below something that is still in use, which here would be all of them.

use memmap2::MmapMut;

use super::errors::Error;
use super::page::zeroed;

/// Room for a fixed number of positions.
pub trait Block: Sized {
    /// How many positions a block holds at most.
    const LEN: usize;

    /// Room for `len` positions.
    fn new(len: usize) -> Result<Self, Error>;

    /// The position at `at`.
    fn get(&self, at: usize) -> Option<u64>;

    /// Writes the position at `at`.
    fn set(&mut self, at: usize, position: u64);
}

/// 4 bytes a position, on the heap.
pub struct Small(Box<[u32]>);

/// 4 bytes a position, straight from the system.
pub struct Narrow(MmapMut);

/// 8 bytes a position, straight from the system.
pub struct Wide(MmapMut);

impl Block for Small {
    const LEN: usize = 8192;

    fn new(len: usize) -> Result<Self, Error> {
        zeroed(len).map(Small)
    }

    #[inline(always)]
    fn get(&self, at: usize) -> Option<u64> {
        self.0.get(at).map(|&entry| entry.into())
    }

    #[inline(always)]
    fn set(&mut self, at: usize, position: u64) {
        if let Some(entry) = self.0.get_mut(at) {
            *entry = position as u32;
        }
    }
}

impl Block for Narrow {
    const LEN: usize = MAPPED / size_of::<u32>();

    fn new(len: usize) -> Result<Self, Error> {
        mapped(len * size_of::<u32>()).map(Narrow)
    }

    #[inline(always)]
    fn get(&self, at: usize) -> Option<u64> {
        self.0.as_chunks().0.get(at).map(|&entry| u32::from_ne_bytes(entry).into())
    }

    #[inline(always)]
    fn set(&mut self, at: usize, position: u64) {
        if let Some(entry) = self.0.as_chunks_mut().0.get_mut(at) {
            *entry = (position as u32).to_ne_bytes();
        }
    }
}

impl Block for Wide {
    const LEN: usize = MAPPED / size_of::<u64>();

    fn new(len: usize) -> Result<Self, Error> {
        mapped(len * size_of::<u64>()).map(Wide)
    }

    #[inline(always)]
    fn get(&self, at: usize) -> Option<u64> {
        self.0.as_chunks().0.get(at).map(|&entry| u64::from_ne_bytes(entry))
    }

    #[inline(always)]
    fn set(&mut self, at: usize, position: u64) {
        if let Some(entry) = self.0.as_chunks_mut().0.get_mut(at) {
            *entry = position.to_ne_bytes();
        }
    }
}

/// Bytes of a block from the system. Memory comes page by page as it is written, so the size costs an idle queue
/// nothing; and 10^9 entries are 4,000 mappings, where Linux allows a process 65,530.
const MAPPED: usize = 1 << 20;

fn mapped(bytes: usize) -> Result<MmapMut, Error> {
    MmapMut::map_anon(bytes).map_err(|_| Error::OutOfMemory)
}
