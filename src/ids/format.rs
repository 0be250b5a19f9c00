//! How the whole state is kept: `dump` and `load`.
//!
//! A header of 80 bytes, then the allocated ids as a Roaring bitmap, where a library of any language finds it, then what
//! only a manager needs. Numbers are little-endian. Distances are counted from the first id.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `opoolids` |
//! | 8 | 1 | the version of the format: 1 |
//! | 9 | 1 | the order: 0 fifo, 1 lowest, 2 random |
//! | 10 | 1 | bits of the Roaring bitmap: 32 if all ids of the range lie in 0 to 2³² − 1, else 64 |
//! | 11 | 5 | zeros |
//! | 16 | 8 | the first id, signed |
//! | 24 | 8 | how many ids the range has |
//! | 32 | 8 | fifo: the distance of the watermark, below which every id was allocated once; else 0 |
//! | 40 | 8 | random: the generator's state; else 0 |
//! | 48 | 8 | G: bytes of the Roaring bitmap |
//! | 56 | 8 | E: how many spans of ids are excluded |
//! | 64 | 8 | F: how many ids are in the queue (fifo; else 0) |
//! | 72 | 8 | zeros |
//! | 80 | G | the allocated ids: a Roaring bitmap; a negative id is written as id + 2⁶⁴ |
//! | 80 + G | 16 E | each span as its distance and its length: ascending, and neighbours do not touch |
//! | … | 4 F or 8 F | the distances of the ids in the queue, oldest first: 4 bytes if the range has at most 2³² ids |
//!
//! Of all that could be read, a state is written in one form only: managers are equal if their dumps are.

use std::ops::Range;

use super::bitmap::{Bitmap, Page};
use super::errors::{Error, Unreadable};
use super::freed::{Freed, Order};
use super::lowest::LINE_BITS;
use super::manager::Ids;
use super::page::{PAGE_BITS, PAGE_WORDS, window};
use super::roaring::{self, Numbered, Reader};
use super::sparse::Container;

const MAGIC: [u8; 8] = *b"opoolids";
const VERSION: u8 = 1;

impl Ids {
    /// The whole state as bytes. Fails only where there is no memory for them.
    pub fn dump(&self) -> Result<Vec<u8>, Error> {
        self.dumped().map_err(|_| Error::OutOfMemory)
    }

    fn dumped(&self) -> Result<Vec<u8>, Unreadable> {
        let count = self.end - self.first;
        let narrow = self.is_narrow();
        let mut allocated = Vec::new();
        roaring::write(&self.numbered()?, narrow, &mut allocated)?;
        let (order, watermark, state) = match self.order() {
            Order::Fifo => (0, self.watermark() - self.first, 0),
            Order::Lowest => (1, 0, 0),
            Order::Random(state) => (2, 0, state),
        };
        let freed = if let Order::Fifo = self.order() { self.freed_positions()? } else { Vec::new() };
        let width = if count <= 1 << 32 { 4 } else { 8 };
        let mut out = Vec::new();
        out.try_reserve_exact(80 + allocated.len() + 16 * self.excluded.spans() + width * freed.len())?;
        out.extend(MAGIC);
        out.extend([VERSION, order, if narrow { 32 } else { 64 }, 0, 0, 0, 0, 0]);
        out.extend(self.id(self.first).to_le_bytes());
        let sizes = [allocated.len() as u64, self.excluded.spans() as u64, freed.len() as u64, 0];
        [count, watermark, state].iter().chain(&sizes).for_each(|number| out.extend(number.to_le_bytes()));
        out.append(&mut allocated);
        for span in self.excluded.iter() {
            out.extend((span.start - self.first).to_le_bytes());
            out.extend((span.end - span.start).to_le_bytes());
        }
        for position in freed {
            out.extend_from_slice(&(position - self.first).to_le_bytes()[..width]);
        }
        Ok(out)
    }

    /// Whether 32 bits are enough for every id.
    fn is_narrow(&self) -> bool {
        let range = self.range();
        range.start >= 0 && range.end <= 1 << 32
    }

    /// The pages that have something set, by the numbers that Roaring gives them, ascending.
    fn numbered(&self) -> Result<Vec<Numbered<'_>>, Unreadable> {
        let before = self.base as u64 / PAGE_BITS;
        let mut pages = Vec::new();
        for (number, page) in self.allocated.pages_from(0).filter(|(_, page)| page.len() > 0) {
            pages.try_reserve(1)?;
            pages.push((number.wrapping_add(before) % (1 << 48), page));
        }
        // Negative ids come last.
        pages.sort_unstable_by_key(|&(number, _)| number);
        Ok(pages)
    }

    /// The manager that was dumped. Whatever the bytes are, they need no more memory than some hundred times their own
    /// length: a run of ids is a few bytes there, and one bit an id here.
    pub fn load(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut rest = Reader { bytes };
        if rest.array().is_ok_and(|magic: [u8; 8]| magic != MAGIC) {
            return Err(Unreadable::Broken("it does not begin as a dump does"));
        }
        let [version, order, width, zeros @ ..] = rest.array::<8>()?;
        if version != VERSION {
            return Err(Unreadable::Broken("it has a version of the format that is not known here"));
        }
        let first = rest.array().map(i64::from_le_bytes)?;
        let [count, watermark, state, allocated, excluded, freed, zero] = {
            let mut numbers = [0; 7];
            for number in &mut numbers {
                *number = rest.u64()?;
            }
            numbers
        };
        let order = match order {
            0 => Order::Fifo,
            1 => Order::Lowest,
            2 => Order::Random(state),
            _ => return Err(Unreadable::Broken("it has an order that is not known here")),
        };
        let needless = match order {
            Order::Fifo => state,
            Order::Lowest => state | watermark | freed,
            Order::Random(_) => watermark | freed,
        };
        if zero != 0 || zeros != [0; 5] || needless != 0 {
            return Err(Unreadable::Broken("something stands where zeros should"));
        }
        let mut ids = Ids::new(first, count, order).map_err(|_| Unreadable::Broken("its ids go beyond 2**63 - 1"))?;
        if width != if ids.is_narrow() { 32 } else { 64 } {
            return Err(Unreadable::Broken("the bits of its Roaring bitmap do not fit its range"));
        }
        if let Order::Fifo = order {
            if watermark > count {
                return Err(Unreadable::Broken("its watermark lies beyond its range"));
            }
            ids.fresh = ids.first + watermark;
        }
        let allocated = rest.take(usize::try_from(allocated).unwrap_or(usize::MAX))?;
        let allocated = ids.load_allocated(allocated, width == 32)?;
        ids.load_excluded(&mut rest, excluded)?;
        match order {
            Order::Fifo => ids.load_queue(&mut rest, freed, allocated)?,
            Order::Lowest => ids.find_lowest(),
            Order::Random(_) => {}
        }
        if let Freed::Random(random) = &mut ids.freed {
            random.allocated = allocated;
        }
        ids.lane = ids.fresh;
        rest.ended()?;
        Ok(ids)
    }

    /// Reads the allocated ids, and returns how many they are.
    fn load_allocated(&mut self, bytes: &[u8], narrow: bool) -> Result<u64, Unreadable> {
        let before = self.base as u64 / PAGE_BITS;
        let ids = self.first..self.end;
        let quick = !matches!(self.freed, Freed::Random(_));
        let mut sum = 0;
        roaring::read(bytes, narrow, |number, container| {
            let page = number.wrapping_sub(before) % (1 << 48);
            let begins = page * PAGE_BITS;
            if !fits(&container, begins, &ids) {
                return Err(Unreadable::Broken("an id that is out does not lie in the range"));
            }
            sum += u64::from(container.len());
            Ok(self.allocated.put(page, container, self.end, quick)?)
        })?;
        Ok(sum)
    }

    fn load_excluded(&mut self, rest: &mut Reader<'_>, count: u64) -> Result<(), Unreadable> {
        let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(16));
        let mut spans = Reader { bytes: rest.take(bytes.unwrap_or(usize::MAX))? };
        let mut from = self.first;
        for _ in 0..count {
            let (distance, len) = (spans.u64()?, spans.u64()?);
            let start = self.first.checked_add(distance);
            let end = start.and_then(|start| start.checked_add(len)).filter(|&end| end <= self.end);
            let (Some(start), Some(end)) = (start, end) else {
                return Err(Unreadable::Broken("an excluded id does not lie in the range"));
            };
            if start < from || start == end {
                return Err(Unreadable::Broken("its excluded spans do not ascend"));
            }
            if self.allocated.next(start).is_some_and(|id| id < end) {
                return Err(Unreadable::Broken("an id is both out and excluded"));
            }
            from = end + 1;
            self.excluded.insert(start..end);
            self.gaps.insert(start.max(self.fresh)..end.max(self.fresh));
        }
        Ok(())
    }

    fn load_queue(&mut self, rest: &mut Reader<'_>, count: u64, allocated: u64) -> Result<(), Unreadable> {
        let width = if self.end - self.first <= 1 << 32 { 4 } else { 8 };
        let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(width));
        let bytes = rest.take(bytes.unwrap_or(usize::MAX))?;
        let mut seen = Bitmap::default();
        let mut known = 0;
        for entry in bytes.chunks_exact(width) {
            let mut distance = [0; 8];
            distance[..width].copy_from_slice(entry);
            let position = self.first.checked_add(u64::from_le_bytes(distance)).filter(|&position| position < self.end);
            let position = position.ok_or(Unreadable::Broken("an id in the queue does not lie in the range"))?;
            if self.allocated.contains(position) || self.excluded.contains(position) || seen.contains(position) {
                return Err(Unreadable::Broken("an id in the queue stands there twice, is out, or is excluded"));
            }
            seen.insert(position, self.end)?;
            self.freed.push(position)?;
            if position < self.fresh {
                known += 1;
            } else {
                self.gaps.insert(position..position + 1);
            }
        }
        let mut beyond = 0;
        for span in self.allocated.spans(self.fresh, self.end) {
            beyond += span.end - span.start;
            self.gaps.insert(span);
        }
        if known + (allocated - beyond) + self.excluded.below(self.fresh) != self.fresh - self.first {
            return Err(Unreadable::Broken("an id below its watermark is neither out nor free"));
        }
        if self.watermark() != self.fresh {
            return Err(Unreadable::Broken("its watermark could be higher"));
        }
        Ok(())
    }

    /// Puts the watermark behind the pages that are used well enough, and notes what is free below it.
    ///
    /// The dump does not contain it: it makes no difference to what the order `lowest` takes.
    fn find_lowest(&mut self) {
        let mut reach = self.first;
        let mut empty = 64;
        for (number, page) in self.allocated.pages_from(0) {
            let begins = number * PAGE_BITS;
            let skipped = begins.saturating_sub(reach).div_ceil(PAGE_BITS);
            if skipped > empty {
                break;
            }
            empty = empty - skipped + 2;
            let last = (0..PAGE_WORDS).rev().find(|&index| page.word(index) != 0);
            if let Some(last) = last {
                let word = page.word(last);
                reach = reach.max(begins + 64 * last as u64 + 64 - u64::from(word.leading_zeros()));
            }
        }
        self.fresh = reach;
        let Freed::Lowest(lowest) = &mut self.freed else { return };
        let ids = self.first..self.fresh;
        let mut at = self.first - self.first % LINE_BITS;
        while at < self.fresh {
            for begins in (at..at + LINE_BITS).step_by(64) {
                let free = !self.allocated.word(begins) & !self.excluded.word(begins) & window(begins, &ids);
                if free != 0 {
                    lowest.note(begins);
                    lowest.len += u64::from(free.count_ones());
                }
            }
            at += LINE_BITS;
        }
        self.gaps.remove(0..self.fresh);
        self.allocated.spans(self.fresh, self.end).for_each(|span| self.gaps.insert(span));
    }
}

/// Whether all values of a page that begins at `begins` are ids.
fn fits(container: &Container, begins: u64, ids: &Range<u64>) -> bool {
    let above = ids.end.saturating_sub(begins);
    let page = Page::Far(container);
    let lowest = page.next(0).is_none_or(|low| begins + low >= ids.start);
    lowest && (above >= PAGE_BITS || page.next(above).is_none())
}
