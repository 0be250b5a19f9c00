//! The walk of the two pointers.

use super::{STRIDE, Value};

/// Where the pointers of a row were when they made a hit.
pub type Ends = (usize, usize);

/// One value of the list, with the two pointers to the right of it.
#[derive(Clone, Copy)]
pub struct Row<V> {
    pub value: V,
    /// The place of the value.
    pub at: usize,
    pub left: usize,
    pub right: usize,
}

/// Walks several rows to their ends, all at once.
///
/// One row's steps wait for each other: load, add, compare, move. Those of several rows do not, and fill the time.
/// With `strides`, allowed only if no value occurs twice, the pointers move several values at a time.
pub fn walk<V: Value, const N: usize>(rows: &mut [Row<V>; N], values: &[V], hits: &mut [Vec<Ends>; N], strides: bool) {
    // Steps and strides narrow a gap by two values, or by two strides, at most. So for as many of them as fit into the
    // narrowest gap, nobody has to look whether a row has ended.
    if strides {
        while let Some(gap @ WIDE..) = rows.iter().map(Row::gap).min() {
            for _ in 0..gap / WIDE {
                rows.iter_mut().zip(&mut *hits).for_each(|(row, hits)| row.stride(values, hits));
            }
        }
    }
    while let Some(gap @ 1..) = rows.iter().map(Row::gap).min() {
        for _ in 0..gap.div_ceil(2) {
            rows.iter_mut().zip(&mut *hits).for_each(|(row, hits)| row.step(values, hits));
        }
    }
    for (row, hits) in rows.iter_mut().zip(hits) {
        while strides && row.gap() >= WIDE {
            row.stride(values, hits);
        }
        while row.gap() > 0 {
            row.step(values, hits);
        }
    }
}

/// A gap in which two strides do not meet.
const WIDE: usize = 2 * STRIDE;

impl<V: Value> Row<V> {
    /// The steps left, at most; 0 if the row has ended.
    pub fn gap(&self) -> usize {
        self.right.saturating_sub(self.left)
    }

    #[inline(always)]
    fn step(&mut self, values: &[V], hits: &mut Vec<Ends>) {
        let (left, right) = self.value.moves(values[self.left], values[self.right]);
        if left & right {
            note(hits, (self.left, self.right));
        }
        // Arithmetic instead of branches: which pointer moves is a coin toss to the processor.
        self.left += usize::from(left);
        self.right -= usize::from(right);
    }

    /// As many steps as it takes to get past one of two strides, or past both.
    ///
    /// The inner ends of the strides decide which: no value in the stride that is passed can make a hit with one
    /// beyond the other. Each pair of strides is looked at once, so each hit is found once, and in order.
    #[inline(always)]
    fn stride(&mut self, values: &[V], hits: &mut Vec<Ends>) {
        let Some(lefts) = values[self.left..].first_chunk::<STRIDE>() else { return };
        let Some(rights) = values[..=self.right].last_chunk::<STRIDE>() else { return };
        if self.value.touch(lefts, rights) {
            self.note_touches(values, hits);
        }
        let (left, right) = self.value.moves(lefts[STRIDE - 1], rights[0]);
        self.left += usize::from(left) * STRIDE;
        self.right -= usize::from(right) * STRIDE;
    }

    #[cold]
    #[inline(never)]
    fn note_touches(&self, values: &[V], hits: &mut Vec<Ends>) {
        for left in self.left..self.left + STRIDE {
            for right in self.right + 1 - STRIDE..=self.right {
                if self.value.moves(values[left], values[right]) == (true, true) {
                    hits.push((left, right));
                }
            }
        }
    }
}

/// Kept out of the loop: there, registers are worth more than hits are frequent.
#[cold]
#[inline(never)]
fn note(hits: &mut Vec<Ends>, ends: Ends) {
    hits.push(ends);
}
