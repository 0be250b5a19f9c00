//! The orders without a queue: the lowest id, and any id.

use super::errors::Error;
use super::freed::Freed;
use super::lowest::LINE_BITS;
use super::manager::Ids;
use super::page::{bits, window};

impl Ids {
    /// Takes the lowest of the freed, or any free id; `None` when there is none.
    pub(super) fn take_in_order(&mut self) -> Result<Option<i64>, Error> {
        let lowest_first = matches!(self.freed, Freed::Lowest(_));
        let position = if lowest_first { self.lowest() } else { self.any() };
        let Some(position) = position else { return Ok(None) };
        if lowest_first {
            self.allocated.insert(position, self.end)?;
        } else {
            // Scattered as they are, they would all need pages of their own.
            self.allocated.insert_far(position)?;
        }
        match &mut self.freed {
            Freed::Lowest(lowest) => lowest.len -= 1,
            Freed::Random(random) => random.allocated += 1,
            _ => {}
        }
        Ok(Some(self.id(position)))
    }

    /// Notes that a position was freed, in the orders without a queue.
    pub(super) fn settle(&mut self, position: u64) {
        match &mut self.freed {
            Freed::Lowest(lowest) => {
                if position < self.fresh {
                    lowest.note(position);
                    lowest.len += 1;
                } else {
                    self.gaps.remove(position..position + 1);
                }
                // Closed: the next take has to look at what came back.
                self.lane = self.fresh;
            }
            Freed::Random(random) => random.allocated -= 1,
            _ => {}
        }
    }

    /// The lowest free position below the watermark.
    fn lowest(&mut self) -> Option<u64> {
        let Freed::Lowest(lowest) = &mut self.freed else { return None };
        if lowest.len == 0 {
            return None;
        }
        let ids = self.first..self.fresh;
        while let Some(line) = lowest.first() {
            for begins in (line..line + LINE_BITS).step_by(64) {
                let free = !self.allocated.word(begins) & !self.excluded.word(begins) & window(begins, &ids);
                if free != 0 {
                    return Some(begins + u64::from(free.trailing_zeros()));
                }
            }
            lowest.forget(line);
        }
        None
    }

    /// Any free position, each as likely as the others.
    ///
    /// While it takes few tries on average, a position is drawn until one is free; else the free ones are counted.
    fn any(&mut self) -> Option<u64> {
        let (all, free) = (self.end - self.first, self.available());
        let Freed::Random(random) = &mut self.freed else { return None };
        if free == 0 {
            return None;
        }
        let pieces = self.allocated.far_pages() + self.excluded.spans();
        if all / free <= 16 + pieces as u64 / 8 {
            loop {
                let position = self.first + random.below(all);
                if !self.allocated.contains(position) && !self.excluded.contains(position) {
                    return Some(position);
                }
            }
        }
        let mut nth = random.below(free);
        for piece in self.excluded.between(self.first..self.end) {
            match self.allocated.select_clear(piece, nth) {
                Ok(position) => return Some(position),
                Err(missing) => nth = missing,
            }
        }
        None
    }

    /// Calls `each` with the free positions below the watermark, ascending; those of the orders without a queue.
    pub(super) fn each_free(&self, mut each: impl FnMut(u64)) {
        let ids = self.first..self.fresh;
        let mut word = |begins: u64| {
            let free = !self.allocated.word(begins) & !self.excluded.word(begins) & window(begins, &ids);
            bits(free).for_each(|bit| each(begins + bit));
        };
        if let Freed::Lowest(lowest) = &self.freed {
            lowest.lines().for_each(|line| (line..line + LINE_BITS).step_by(64).for_each(&mut word));
            return;
        }
        for piece in self.excluded.between(ids.clone()) {
            let mut at = piece.start;
            while at < piece.end {
                let free = !self.allocated.word(at) & window(at - at % 64, &(at..piece.end));
                bits(free).for_each(|bit| each(at - at % 64 + bit));
                at = at - at % 64 + 64;
            }
        }
    }
}
