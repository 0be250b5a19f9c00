//! A FIFO queue in blocks: growing never copies what is there, and a block that drains is freed.

use std::collections::VecDeque;

use super::block::Block;
use super::errors::Error;

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
    /// Empty, for at most so many entries that a single block is no longer than they are.
    pub fn new(most: u64) -> Self {
        let block_len = usize::try_from(most).map_or(B::LEN, |most| most.clamp(1, B::LEN));
        Fifo { blocks: VecDeque::new(), head: 0, tail: block_len, len: 0, block_len, spare: None }
    }

    /// How many entries there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Adds `position` as the newest if there is room for it.
    #[inline(always)]
    pub fn push_quickly(&mut self, position: u64) -> bool {
        if self.tail == self.block_len {
            return false;
        }
        let Some(block) = self.blocks.back_mut() else { return false };
        block.set(self.tail, position);
        self.tail += 1;
        self.len += 1;
        true
    }

    /// The oldest, if it lies where the last one did.
    #[inline(always)]
    pub fn peek(&self) -> Option<u64> {
        if self.len == 0 || self.head == self.block_len {
            return None;
        }
        self.blocks.front()?.get(self.head)
    }

    /// Takes what was [`peek`](Self::peek)ed at.
    #[inline(always)]
    pub fn skip(&mut self) {
        self.head += 1;
        self.len -= 1;
    }

    /// Adds `position` as the newest.
    pub fn push(&mut self, position: u64) -> Result<(), Error> {
        if self.tail == self.block_len {
            self.add_block()?;
        }
        self.push_quickly(position);
        Ok(())
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<u64> {
        if self.len == 0 {
            return None;
        }
        if self.head == self.block_len {
            self.drop_drained();
        }
        let position = self.peek()?;
        self.skip();
        Some(position)
    }

    /// Puts `position` before the oldest: the way back of a [`pop`](Self::pop).
    pub fn unpop(&mut self, position: u64) -> Result<(), Error> {
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

    /// Drops the newest: the way back of a [`push`](Self::push).
    pub fn unpush(&mut self) {
        if self.len == 0 {
            return;
        }
        if self.tail == 0 {
            self.spare = self.blocks.pop_back();
            self.tail = self.block_len;
        }
        self.tail -= 1;
        self.len -= 1;
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        let all = self.blocks.iter().flat_map(|block| (0..self.block_len).filter_map(|at| block.get(at)));
        all.skip(self.head).take(usize::try_from(self.len).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::block::{Narrow, Small, Wide};

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
    fn a_wide_queue_keeps_positions_of_64_bits_and_a_narrow_one_of_32() {
        let (mut wide, mut narrow) = (Fifo::<Wide>::new(u64::MAX), Fifo::<Narrow>::new(1 << 32));
        for position in [u64::MAX - 1, 0, 1 << 32] {
            wide.push(position).expect("memory");
        }
        assert!(wide.iter().eq([u64::MAX - 1, 0, 1 << 32]));
        narrow.push(u32::MAX.into()).expect("memory");
        assert_eq!((wide.pop(), narrow.pop()), (Some(u64::MAX - 1), Some(u32::MAX.into())));
    }

    #[test]
    fn pushes_are_undone_across_blocks_also_after_pops() {
        let mut fifo = Fifo::<Small>::new(1 << 20);
        let long = 3 * Small::LEN as u64;
        (0..100).for_each(|position| fifo.push(position).expect("memory"));
        (0..50).for_each(|position| assert_eq!(fifo.pop(), Some(position)));
        for _ in 0..2 {
            (100..long).for_each(|position| fifo.push(position).expect("memory"));
            (100..long).for_each(|_| fifo.unpush());
        }
        assert!(fifo.iter().eq(50..100));
        (50..100).for_each(|_| fifo.unpush());
        fifo.unpush();
        fifo.push(7).expect("memory");
        assert_eq!((fifo.pop(), fifo.pop(), fifo.len()), (Some(7), None, 0));
    }
}
