//! First in, first out, in blocks: growing never copies what is there, and what drains gives its memory back.

use std::collections::VecDeque;

use super::Error;
use super::bitmap::{copied, zeroed};

/// Entries of a block, unless the whole queue can be smaller than that.
const BLOCK_LEN: u64 = 8192;

/// The positions that came back, oldest first: 4 bytes each while all of them fit, else 8.
pub enum Freed {
    /// Every position fits 32 bits.
    Narrow(Fifo<u32>),
    /// Some position does not.
    Wide(Fifo<u64>),
}

impl Freed {
    /// Empty, for positions below `end`.
    pub fn new(end: u64) -> Self {
        if end <= 1 << 32 { Freed::Narrow(Fifo::new(end)) } else { Freed::Wide(Fifo::new(end)) }
    }

    /// Adds `position` as the newest.
    #[inline(always)]
    pub fn push(&mut self, position: u64) -> Result<(), Error> {
        match self {
            // Lossless: a narrow queue is for positions of 32 bits.
            Freed::Narrow(fifo) => fifo.push(position as u32),
            Freed::Wide(fifo) => fifo.push(position),
        }
    }

    /// Takes the oldest.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<u64> {
        match self {
            Freed::Narrow(fifo) => fifo.pop().map(u64::from),
            Freed::Wide(fifo) => fifo.pop(),
        }
    }

    /// Puts `position` before the oldest: the way back of a [`pop`](Self::pop).
    pub fn unpop(&mut self, position: u64) {
        match self {
            Freed::Narrow(fifo) => fifo.unpop(position as u32),
            Freed::Wide(fifo) => fifo.unpop(position),
        }
    }

    /// All of them, oldest first.
    pub fn into_positions(self) -> Box<dyn Iterator<Item = u64>> {
        match self {
            Freed::Narrow(fifo) => Box::new(fifo.into_entries().map(u64::from)),
            Freed::Wide(fifo) => Box::new(fifo.into_entries()),
        }
    }

    /// A copy, unless there is no memory for it.
    pub fn try_clone(&self) -> Result<Self, Error> {
        Ok(match self {
            Freed::Narrow(fifo) => Freed::Narrow(fifo.try_clone()?),
            Freed::Wide(fifo) => Freed::Wide(fifo.try_clone()?),
        })
    }
}

/// A queue in blocks of one length.
///
/// The oldest entry is `blocks.front()[head]`, the next one to write is `blocks.back()[tail]`. A block that drains is
/// dropped by the pop *after* the one that emptied it. So there is always room to undo a pop, and a queue that is
/// empty holds one block at most.
pub struct Fifo<T> {
    blocks: VecDeque<Box<[T]>>,
    head: usize,
    tail: usize,
    len: u64,
    block_len: usize,
    /// The block that drained last: a queue that neither grows nor shrinks asks the system for nothing.
    spare: Option<Box<[T]>>,
}

impl<T: Copy + Default> Fifo<T> {
    fn new(most: u64) -> Self {
        let block_len = most.clamp(1, BLOCK_LEN) as usize;
        Fifo { blocks: VecDeque::new(), head: 0, tail: block_len, len: 0, block_len, spare: None }
    }

    #[inline(always)]
    fn push(&mut self, entry: T) -> Result<(), Error> {
        if self.tail == self.block_len {
            self.add_block()?;
        }
        if let Some(slot) = self.blocks.back_mut().and_then(|block| block.get_mut(self.tail)) {
            *slot = entry;
            self.tail += 1;
            self.len += 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        if self.head == self.block_len {
            self.drop_drained();
        }
        let entry = *self.blocks.front()?.get(self.head)?;
        self.head += 1;
        self.len -= 1;
        Some(entry)
    }

    fn unpop(&mut self, entry: T) {
        if self.head == 0 {
            // Only several undone pops at once, of several threads, come as far back as this.
            let block = self.spare.take().unwrap_or_else(|| vec![T::default(); self.block_len].into_boxed_slice());
            self.blocks.push_front(block);
            self.head = self.block_len;
        }
        self.head -= 1;
        if let Some(slot) = self.blocks.front_mut().and_then(|block| block.get_mut(self.head)) {
            *slot = entry;
            self.len += 1;
        }
    }

    #[cold]
    fn add_block(&mut self) -> Result<(), Error> {
        self.blocks.try_reserve(1)?;
        let block = match self.spare.take() {
            Some(block) => block,
            None => zeroed(self.block_len)?,
        };
        self.blocks.push_back(block);
        self.tail = 0;
        Ok(())
    }

    #[cold]
    fn drop_drained(&mut self) {
        self.spare = self.blocks.pop_front();
        self.head = 0;
        // The list of the blocks shrinks too: after 10^9 frees it alone is 2 MiB.
        if self.blocks.capacity() > 16 * (self.blocks.len() + 4) {
            self.blocks.shrink_to(2 * self.blocks.len());
        }
    }

    fn into_entries(self) -> impl Iterator<Item = T> {
        let entries = self.blocks.into_iter().flatten();
        entries.skip(self.head).take(self.len as usize)
    }

    fn try_clone(&self) -> Result<Self, Error> {
        let mut blocks = VecDeque::new();
        blocks.try_reserve_exact(self.blocks.len())?;
        for block in &self.blocks {
            blocks.push_back(copied(block)?);
        }
        Ok(Fifo { blocks, spare: None, ..*self })
    }
}
