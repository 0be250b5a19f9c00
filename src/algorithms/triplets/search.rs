//! The walk of the two pointers, several rows at a time.

use super::Value;

/// The places of one triplet in the list, ascending.
pub type Hit = [usize; 3];

/// Rows that walk together. One row's steps wait for each other (load, add, compare, move); those of several rows do
/// not, and fill the time.
const ROWS: usize = 8;

/// A search under way.
///
/// A *row* is one value of the list with the two pointers to the right of it.
pub struct Search<V> {
    values: Vec<V>,
    next: usize,
    foretell: Option<Beginnings>,
    hits: [Vec<(usize, usize)>; ROWS],
}

impl<V: Value> Search<V> {
    /// Starts a search of `values`, which should be sorted; if they are not, the walk is the same, only slower.
    pub fn new(values: Vec<V>) -> Self {
        let tame = values.is_sorted() && values.iter().all(|value| value.is_tame());
        let foretell = tame.then(|| Beginnings::new(values.len()));
        Search { values, next: 0, foretell, hits: [const { Vec::new() }; ROWS] }
    }

    /// Walks about `steps` steps further, or until it has found about `enough` triplets more, and appends these to
    /// `found`. False once the search is over.
    pub fn advance(&mut self, steps: usize, enough: usize, found: &mut Vec<Hit>) -> bool {
        let enough = found.len().saturating_add(enough);
        let mut walked = 0_usize;
        while walked < steps && found.len() < enough {
            let mut rows = [Row::EMPTY; ROWS];
            for row in &mut rows {
                match self.next_row() {
                    Some(next) => *row = next,
                    None => break,
                }
            }
            if rows[0].gap() == 0 {
                return false;
            }
            walked = rows.iter().fold(walked, |sum, row| sum.saturating_add(row.gap()));
            self.walk(&mut rows);
            for (row, hits) in rows.iter().zip(&mut self.hits) {
                found.extend(hits.drain(..).map(|(left, right)| [row.at, left, right]));
            }
        }
        true
    }

    /// The next row in which there is a step to walk.
    fn next_row(&mut self) -> Option<Row> {
        while self.next + 2 < self.values.len() {
            let at = self.next;
            self.next += 1;
            let (left, right) = match &mut self.foretell {
                Some(beginnings) => beginnings.of(at, &self.values)?,
                None => (at + 1, self.values.len() - 1),
            };
            if left < right {
                return Some(Row { at, left, right });
            }
        }
        None
    }

    fn walk(&mut self, rows: &mut [Row; ROWS]) {
        // A step narrows a gap by two at most. So this many steps need no look at whether a row has ended.
        while let Some(gap @ 1..) = rows.iter().map(Row::gap).min() {
            for _ in 0..gap.div_ceil(2) {
                for (row, hits) in rows.iter_mut().zip(&mut self.hits) {
                    row.step(&self.values, hits);
                }
            }
        }
        for (row, hits) in rows.iter_mut().zip(&mut self.hits) {
            while row.gap() > 0 {
                row.step(&self.values, hits);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Row {
    at: usize,
    left: usize,
    right: usize,
}

impl Row {
    const EMPTY: Row = Row { at: 0, left: 0, right: 0 };

    fn gap(&self) -> usize {
        self.right.saturating_sub(self.left)
    }

    #[inline(always)]
    fn step<V: Value>(&mut self, values: &[V], hits: &mut Vec<(usize, usize)>) {
        let (left, right) = values[self.at].moves(values[self.left], values[self.right]);
        if left & right {
            hits.push((self.left, self.right));
        }
        // Arithmetic instead of branches: which pointer moves is a coin toss to the processor.
        self.left += usize::from(left);
        self.right -= usize::from(right);
    }
}

/// Where the pointers of a row stand after the steps that are sure to find nothing.
///
/// A row begins with a run of steps that all move the same pointer. When the values are sorted and sums keep their
/// order, the ends of both kinds of run only ever fall from row to row: following them costs a few steps a row.
struct Beginnings {
    left: usize,
    right: usize,
}

impl Beginnings {
    fn new(length: usize) -> Self {
        let last = length.saturating_sub(1);
        Beginnings { left: last, right: last }
    }

    /// The pointers of the row of `at`. None if neither this row nor any later one can have a triplet.
    fn of<V: Value>(&mut self, at: usize, values: &[V]) -> Option<(usize, usize)> {
        let value = values[at];
        let (first, last) = (at + 1, values.len() - 1);
        while self.right > first && value.moves(values[first], values[self.right]) == (false, true) {
            self.right -= 1;
        }
        while self.left > first && value.moves(values[self.left - 1], values[last]) != (true, false) {
            self.left -= 1;
        }
        (self.right > first).then_some((first.max(self.left), self.right))
    }
}
