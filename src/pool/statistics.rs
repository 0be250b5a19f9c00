//! What a pool counts and measures.

use super::time::Nanos;

/// How many objects there are, and what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// All objects: `idle` + `leased`.
    pub size: usize,
    /// Free to lease.
    pub idle: usize,
    /// Not idle: with the holder of a lease or of the bare object, on the way to a waiter, or in maintenance.
    pub leased: usize,
    /// Waiting callers.
    pub waiting: usize,
    /// Being made, and not in `size` yet.
    pub creating: usize,
    /// Of `leased`: those in maintenance.
    pub checking: usize,
}

/// Why an object left the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its holder discarded it, or kept it for good.
    Discarded,
    /// Its check failed.
    Unfit,
    /// Its reset failed.
    NotReset,
    /// It was idle for too long.
    Idle,
    /// It exceeded its lifetime.
    Lifetime,
    /// It was replaced by `reload`.
    Reloaded,
    /// There were too many.
    Surplus,
    /// The pool was closed, or dropped.
    Closed,
    /// It belongs to the process that this one was forked from.
    Forked,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 9] = [
        Reason::Discarded,
        Reason::Unfit,
        Reason::NotReset,
        Reason::Idle,
        Reason::Lifetime,
        Reason::Reloaded,
        Reason::Surplus,
        Reason::Closed,
        Reason::Forked,
    ];
}

/// The upper bounds of the buckets of a [`Histogram`], in nanoseconds; above them there is one more.
///
/// Those of OpenTelemetry's semantic conventions for `db.client.connection.*`, with two finer ones below.
pub const BOUNDS: [Nanos; 11] = [
    10_000,
    100_000,
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How often it took no longer than the bound of the same index (and longer than the one before).
    pub buckets: [u64; BOUNDS.len() + 1],
    /// How long it took in all.
    pub sum: Nanos,
}

impl Histogram {
    pub(super) fn note(&mut self, took: Nanos) {
        let bucket = BOUNDS.iter().position(|&bound| took <= bound).unwrap_or(BOUNDS.len());
        self.buckets[bucket] += 1;
        self.sum = self.sum.saturating_add(took);
    }
}

/// What has happened since the pool was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Objects that came in: added, or made.
    pub created: u64,
    /// Objects that left, by [`Reason`].
    pub retired: [u64; Reason::ALL.len()],
    /// Attempts to make one that failed or were given up.
    pub failed: u64,
    /// How often an object was leased.
    pub leases: u64,
    /// Waits that ended without an object, because the deadline passed or nothing could come any more.
    pub timeouts: u64,
    /// Callers that were not let into the queue.
    pub refused: u64,
    /// From joining the queue to leaving it, for whatever reason.
    pub wait: Histogram,
    /// From the beginning of an attempt until its object is there; attempts that were given up do not count.
    pub create: Histogram,
    /// From the beginning to the end of a lease, if the rules ask for that.
    pub hold: Histogram,
}

/// How long the pool was doing what waiters wait for, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Making an object.
    pub creating: Nanos,
    /// Checking one, and making none.
    pub checking: Nanos,
}

/// Adds up [`Spent`] at each change.
#[derive(Default)]
pub(super) struct Stopwatch {
    spent: Spent,
    since: Nanos,
    making: bool,
    checking: bool,
}

impl Stopwatch {
    /// Up to now. Called before anything changes, with what has been going on.
    pub(super) fn read(&mut self, now: Nanos, making: bool, checking: bool) -> Spent {
        let passed = now.saturating_sub(self.since);
        if self.making {
            self.spent.creating += passed;
        } else if self.checking {
            self.spent.checking += passed;
        }
        (self.since, self.making, self.checking) = (now.max(self.since), making, checking);
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_includes_its_bound_and_the_last_one_everything_above() {
        let mut histogram = Histogram::default();
        for took in [0, BOUNDS[0], BOUNDS[0] + 1, BOUNDS[10], BOUNDS[10] + 1, Nanos::MAX] {
            histogram.note(took);
        }
        assert_eq!((histogram.buckets[0], histogram.buckets[1]), (2, 1));
        assert_eq!((histogram.buckets[10], histogram.buckets[11]), (1, 2));
        assert_eq!(histogram.sum, Nanos::MAX, "the sum stays at its limit");
    }

    #[test]
    fn the_stopwatch_counts_making_before_checking_and_no_time_twice() {
        let mut watch = Stopwatch::default();
        watch.read(10, true, true);
        watch.read(15, false, true);
        watch.read(22, false, false);
        let spent = Spent { creating: 5, checking: 7 };
        assert_eq!(watch.read(30, false, false), spent);
        assert_eq!(watch.read(29, true, false), spent, "another thread read the clock a little earlier");
        assert_eq!(watch.read(31, true, false).creating, 6);
    }
}
