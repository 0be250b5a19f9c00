//! Free ids that are taken by name or as a range: what becomes of their entries in the queue.

use std::ops::Range;

use super::errors::Error;
use super::freed::{Freed, Stale};
use super::manager::Ids;

impl Ids {
    /// Notes that the free positions of a range are allocated now: their bits are set, and `stale` has room for them.
    pub(super) fn claim(&mut self, run: Range<u64>) {
        let known = run.start..run.end.min(self.fresh).max(run.start);
        let beyond = known.end..run.end;
        // Beyond the watermark, what stands in a gap was reserved once, and is freed.
        let reserved: Vec<Range<u64>> = gaps_of(self, &beyond);
        if !beyond.is_empty() {
            self.lane = self.lane.min(beyond.start).max(self.fresh);
            self.gaps.insert(beyond);
        }
        let len = known.end - known.start;
        match &mut self.freed {
            Freed::Lowest(lowest) => lowest.len -= len,
            Freed::Random(random) => random.allocated += len,
            _ => known.chain(reserved.into_iter().flatten()).for_each(|position| self.stale.add(position)),
        }
        self.forget_stale();
    }

    /// Rebuilds the queue, for positions below `end`, from the entries that count and that `keep` keeps.
    pub(super) fn rebuild(&mut self, end: u64, mut keep: impl FnMut(u64) -> bool) -> Result<(), Error> {
        let mut queue = Freed::new(self.order(), end);
        let mut stale = self.stale.copied()?;
        let mut pushed = Ok(());
        self.freed.each(|position| {
            if !stale.skips(position) && keep(position) && pushed.is_ok() {
                pushed = queue.push(position);
            }
        });
        pushed?;
        (self.freed, self.stale) = (queue, Stale::default());
        Ok(())
    }

    /// Rebuilds the queue when more than half of its entries do not count. If that fails, nothing has changed.
    fn forget_stale(&mut self) {
        if self.stale.total() > 64 && self.stale.total() > self.freed.queued() / 2 {
            let (Ok(()) | Err(_)) = self.rebuild(self.end, |_| true);
        }
    }
}

/// The parts of a range that lie in gaps.
fn gaps_of(ids: &Ids, range: &Range<u64>) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let mut at = range.start;
    while let Some(gap) = ids.gaps.next(at).filter(|gap| gap.start < range.end && at < range.end) {
        found.push(gap.start.max(at)..gap.end.min(range.end));
        at = gap.end;
    }
    found
}
