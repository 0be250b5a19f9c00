//! A set of positions as spans: however long a span is, it costs the same.

use std::collections::BTreeMap;
use std::ops::Range;

use super::page::window;

/// Spans that neither overlap nor touch, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// Where each of them ends, by where it starts.
    ends: BTreeMap<u64, u64>,
    len: u64,
}

impl Spans {
    /// How many positions there are.
    #[inline(always)]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many spans there are.
    pub fn spans(&self) -> usize {
        self.ends.len()
    }

    /// Adds the positions of a range, whether some of them are there already or not.
    pub fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        if let Some((&before, &its_end)) = self.ends.range(..start).next_back()
            && its_end >= start
        {
            start = before;
        }
        while let Some((&next, &its_end)) = self.ends.range(start..=end).next() {
            self.ends.remove(&next);
            self.len -= its_end - next;
            end = end.max(its_end);
        }
        self.ends.insert(start, end);
        self.len += end - start;
    }

    /// Removes the positions of a range.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some(span) = self.next(range.start).filter(|span| span.start < range.end) {
            self.ends.remove(&span.start);
            self.len -= span.end - span.start;
            self.insert(span.start..range.start);
            self.insert(range.end..span.end);
        }
    }

    /// The first span that reaches beyond `position`.
    pub fn next(&self, position: u64) -> Option<Range<u64>> {
        let before = self.ends.range(..=position).next_back().filter(|&(_, &end)| end > position);
        before.or_else(|| self.ends.range(position..).next()).map(|(&start, &end)| start..end)
    }

    /// Whether `position` is there.
    pub fn contains(&self, position: u64) -> bool {
        !self.is_empty() && self.next(position).is_some_and(|span| span.start <= position)
    }

    /// The spans, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.ends.iter().map(|(&start, &end)| start..end)
    }

    /// What lies in `range` between the spans, ascending.
    pub fn between(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let mut at = range.start;
        std::iter::from_fn(move || {
            while at < range.end {
                let from = at;
                let span = self.next(at).unwrap_or(range.end..range.end);
                at = span.end;
                if from < span.start {
                    return Some(from..span.start.min(range.end));
                }
            }
            None
        })
    }

    /// How many positions lie below `position`.
    pub fn below(&self, position: u64) -> u64 {
        self.ends.range(..position).map(|(&start, &end)| end.min(position) - start).sum()
    }

    /// Which of the 64 positions from `begins` on are there, as bits.
    pub fn word(&self, begins: u64) -> u64 {
        let mut word = 0;
        let mut at = begins;
        while !self.is_empty()
            && let Some(span) = self.next(at).filter(|span| span.start - begins.min(span.start) < 64)
        {
            word |= window(begins, &span);
            if span.end - begins >= 64 {
                break;
            }
            at = span.end;
        }
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn spans_are_a_set(ops in proptest::collection::vec((any::<bool>(), 0..300_u64, 0..80_u64), 1..40)) {
            let (mut spans, mut set) = (Spans::default(), BTreeSet::new());
            for (adds, start, len) in ops {
                if adds {
                    spans.insert(start..start + len);
                    set.extend(start..start + len);
                } else {
                    spans.remove(start..start + len);
                    set.retain(|position| !(start..start + len).contains(position));
                }
                prop_assert!(spans.iter().flatten().eq(set.iter().copied()));
                prop_assert_eq!(spans.len(), set.len() as u64);
                prop_assert_eq!(spans.below(start), set.range(..start).count() as u64);
                prop_assert!(spans.iter().zip(spans.iter().skip(1)).all(|(one, next)| one.end < next.start));
                prop_assert!(spans.between(start..350).flatten().eq((start..350).filter(|at| !set.contains(at))));
                for at in 0..350 {
                    prop_assert_eq!(spans.contains(at), set.contains(&at));
                }
                let word = spans.word(start);
                prop_assert!((0..64).all(|bit| (word >> bit & 1 == 1) == set.contains(&(start + bit))));
            }
        }
    }
}
