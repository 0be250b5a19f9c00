//! First in, first out, in blocks: growing never copies what is there, and what drains gives its memory back.

use std::collections::VecDeque;

use super::Error;
use super::block::{Block, Narrow, Small, Wide};

/// Up to so many positions the queue lies on the heap: 256 KiB at most.
const SMALL: u64 = 1 << 16;

/// The positions that came back, oldest first: 4 bytes each while all of them fit, else 8.
pub enum Freed {
    /// So few positions that the queue can never be large.
    Small(Fifo<Small>),
    /// Every position fits 32 bits.
    Narrow(Fifo<Narrow>),
    /// Some position does not.
    Wide(Fifo<Wide>),
}

impl Freed {
    /// Empty, for positions below `end`.
    pub fn new(end: u64) -> Self {
        if end <= SMALL {
            Freed::Small(Fifo::new(end))
        } else if end <= 1 << 32 {
            Freed::Narrow(Fifo::new(end))
        } else {
            Freed::Wide(Fifo::new(end))
        }
    }

    /// Adds `position` as the newest.
    #[inline(always)]
    pub fn push(&mut self, position: u64) -> Result<(), Error> {
        match self {
            Freed::Small(fifo) => fifo.push(position),
            Freed::Narrow(fifo) => fifo.push(position),
            Freed::Wide(fifo) => fifo.push(position),
        }
    }

    /// Takes the oldest.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<u64> {
        match self {
            Freed::Small(fifo) => fifo.pop(),
            Freed::Narrow(fifo) => fifo.pop(),
            Freed::Wide(fifo) => fifo.pop(),
        }
    }

    /// Puts `position` before the oldest: the way back of a [`pop`](Self::pop).
    pub fn unpop(&mut self, position: u64) -> Result<(), Error> {
        match self {
            Freed::Small(fifo) => fifo.unpop(position),
            Freed::Narrow(fifo) => fifo.unpop(position),
            Freed::Wide(fifo) => fifo.unpop(position),
        }
    }

    /// A copy of all of them, oldest first.
    pub fn positions(&self) -> Result<Vec<u64>, Error> {
        match self {
            Freed::Small(fifo) => fifo.positions(),
            Freed::Narrow(fifo) => fifo.positions(),
            Freed::Wide(fifo) => fifo.positions(),
        }
    }
}

/// A queue in blocks of one length.
///
/// The oldest entry is `blocks.front()[head]`, the next one to write is `blocks.back()[tail]`. A block that drains is
/// dropped by the pop *after* the one that emptied it, so there is room to undo a pop.
pub struct Fifo<B> {
    blocks: VecDeque<B>,
    head: usize,
    tail: usize,
    len: u64,
    block_len: usize,
    /// The block that drained last: a queue that neither grows nor shrinks asks the system for nothing.
    spare: Option<B>,
}

impl<B: Block> Fifo<B> {
    fn new(most: u64) -> Self {
        let block_len = usize::try_from(most).map_or(B::LEN, |most| most.clamp(1, B::LEN));
        Fifo { blocks: VecDeque::new(), head: 0, tail: block_len, len: 0, block_len, spare: None }
    }

    #[inline(always)]
    fn push(&mut self, position: u64) -> Result<(), Error> {
        if self.tail == self.block_len {
            self.add_block()?;
        }
        if let Some(block) = self.blocks.back_mut() {
            block.set(self.tail, position);
            self.tail += 1;
            self.len += 1;
        }
        Ok(())
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        if self.head == self.block_len {
            self.drop_drained();
        }
        let position = self.blocks.front()?.get(self.head)?;
        self.head += 1;
        self.len -= 1;
        Some(position)
    }

    fn unpop(&mut self, position: u64) -> Result<(), Error> {
        if self.head == 0 {
            // Only several undone pops at once, of several threads, come as far back as this.
            let block = self.block()?;
            self.blocks.push_front(block);
            self.head = self.block_len;
        }
        if let Some(block) = self.blocks.front_mut() {
            self.head -= 1;
            block.set(self.head, position);
            self.len += 1;
        }
        Ok(())
    }

    #[cold]
    fn add_block(&mut self) -> Result<(), Error> {
        let block = self.block()?;
        self.blocks.push_back(block);
        self.tail = 0;
        Ok(())
    }

    /// A block, and room for it in the list.
    fn block(&mut self) -> Result<B, Error> {
        self.blocks.try_reserve(1)?;
        self.spare.take().map_or_else(|| B::new(self.block_len), Ok)
    }

    #[cold]
    fn drop_drained(&mut self) {
        self.spare = self.blocks.pop_front();
        self.head = 0;
    }

    fn positions(&self) -> Result<Vec<u64>, Error> {
        let len = usize::try_from(self.len).map_err(|_| Error::OutOfMemory)?;
        let mut positions = Vec::new();
        positions.try_reserve_exact(len)?;
        let all = self.blocks.iter().flat_map(|block| (0..self.block_len).filter_map(|at| block.get(at)));
        positions.extend(all.skip(self.head).take(len));
        Ok(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Grows to four blocks and drains, with every third pop undone once.
    fn keeps_the_order_and_drops_what_drained<B: Block>() {
        let most = 4 * B::LEN as u64;
        let mut fifo = Fifo::<B>::new(most);
        for round in 0..2 {
            for position in 0..most {
                fifo.push(position).expect("memory");
            }
            assert!(fifo.blocks.len() <= 5, "round {round}");
            for position in 0..most {
                assert_eq!(fifo.pop(), Some(position));
                if position % 3 == 0 {
                    fifo.unpop(position).expect("memory");
                    assert_eq!(fifo.pop(), Some(position));
                }
            }
            assert_eq!((fifo.pop(), fifo.len, fifo.blocks.len()), (None, 0, 1), "round {round}");
        }
    }

    #[test]
    fn every_kind_of_block_keeps_the_order_and_is_dropped_when_it_drained() {
        keeps_the_order_and_drops_what_drained::<Small>();
        keeps_the_order_and_drops_what_drained::<Narrow>();
        keeps_the_order_and_drops_what_drained::<Wide>();
    }

    #[test]
    fn a_wide_queue_keeps_positions_of_64_bits() {
        let mut freed = Freed::new(u64::MAX);
        for position in [u64::MAX - 1, 0, 1 << 32] {
            freed.push(position).expect("memory");
        }
        assert_eq!(freed.positions(), Ok(vec![u64::MAX - 1, 0, 1 << 32]));
        assert_eq!(freed.pop(), Some(u64::MAX - 1));
    }

    #[test]
    fn a_narrow_queue_keeps_positions_of_32_bits() {
        let mut freed = Freed::new(1 << 32);
        freed.push(u32::MAX.into()).expect("memory");
        assert_eq!(freed.pop(), Some(u32::MAX.into()));
    }
}
