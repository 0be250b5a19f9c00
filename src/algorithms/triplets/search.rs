//! All rows of a list, in order.

use super::Value;
use super::row::{Ends, Row, walk};

/// The places of one triplet in the list, ascending.
pub type Hit = [usize; 3];

/// Rows that walk together; more do not fit into the registers.
const ROWS: usize = 6;

/// A search under way.
pub struct Search<V> {
    values: Vec<V>,
    next: usize,
    foretell: Option<Beginnings>,
    distinct: bool,
    /// Strides pay while few of them have a hit in them.
    sparse: bool,
    hits: [Vec<Ends>; ROWS],
}

impl<V: Value> Search<V> {
    /// Starts a search of `values`, which should be sorted; if they are not, the walk is the same, only slower.
    pub fn new(values: Vec<V>) -> Self {
        let tame = values.is_sorted() && values.iter().all(|value| value.is_tame());
        let foretell = tame.then(|| Beginnings::new(values.len()));
        let distinct = values.is_sorted_by(|one, next| one < next);
        Search { values, next: 0, foretell, distinct, sparse: true, hits: [const { Vec::new() }; ROWS] }
    }

    /// Walks about `steps` steps further, or until it has found about `enough` triplets more, and appends these to
    /// `found`. False once the search is over.
    pub fn advance(&mut self, steps: usize, enough: usize, found: &mut Vec<Hit>) -> bool {
        let enough = found.len().saturating_add(enough);
        let mut walked = 0_usize;
        while walked < steps && found.len() < enough {
            let Some(first) = self.next_row() else { return false };
            let mut rows = [first; ROWS];
            for row in &mut rows[1..] {
                *row = self.next_row().unwrap_or(Row { right: 0, ..first });
            }
            let gaps = rows.iter().fold(0_usize, |sum, row| sum.saturating_add(row.gap()));
            let before = found.len();
            walk(&mut rows, &self.values, &mut self.hits, V::STRIDES && self.distinct && self.sparse);
            for (row, hits) in rows.iter().zip(&mut self.hits) {
                found.extend(hits.drain(..).map(|(left, right)| [row.at, left, right]));
            }
            self.sparse = found.len() - before < gaps / 16;
            walked = walked.saturating_add(gaps);
        }
        true
    }

    /// The next row in which there is a step to walk.
    fn next_row(&mut self) -> Option<Row<V>> {
        while self.next + 2 < self.values.len() {
            let at = self.next;
            self.next += 1;
            let (left, right) = match &mut self.foretell {
                Some(beginnings) => beginnings.of(at, &self.values)?,
                None => (at + 1, self.values.len() - 1),
            };
            if left < right {
                return Some(Row { value: self.values[at], at, left, right });
            }
        }
        None
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
