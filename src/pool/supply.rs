//! Attempts to make an object: how many at a time, and what happens after a failure.
//!
//! An attempt is made outside and belongs to no waiter: its object goes to the first waiter at that moment. After a
//! failure the next attempt is delayed, twice as long each time (exponential backoff with jitter), and there is only one
//! at a time, a probe, until one succeeds.

use super::time::Nanos;

/// An attempt to make an object. It ends once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt(u64);

const MILLISECOND: Nanos = 1_000_000;
/// The longest delay of the first attempt after a failure, and of any attempt.
const FIRST_PAUSE: Nanos = 100 * MILLISECOND;
const LONGEST_PAUSE: Nanos = 5_000 * MILLISECOND;
/// How many attempts may be under way at the same time: more could overload what makes the objects.
const AT_ONCE: usize = 4;
/// An attempt or check that takes longer probably hangs. Such an attempt no longer counts for [`AT_ONCE`].
pub(super) const PROMPT_FOR: Nanos = 1_000 * MILLISECOND;
/// An attempt that takes even longer no longer serves a waiter alone: another one begins.
const ALONE_FOR: Nanos = 5_000 * MILLISECOND;
/// After so many failures in a row, callers of an empty pool are refused instead of queued.
const TRIPPED: u32 = 3;

struct UnderWay {
    attempt: Attempt,
    began: Nanos,
    /// Its object is to be replaced, because it began before a `reload`.
    stale: bool,
    /// A waiter it was expected to serve has left the queue.
    abandoned: bool,
}

impl UnderWay {
    fn is_prompt(&self, now: Nanos) -> bool {
        now.saturating_sub(self.began) < PROMPT_FOR
    }
}

/// What is known about making objects while it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failing {
    /// How many attempts failed in a row.
    pub in_a_row: u32,
    /// Whether the latest of them was given up, so that there is no error to say why.
    pub gave_up: bool,
    /// How long until the next may begin.
    pub pause: Nanos,
}

/// How an attempt ended that had not been given up.
pub(super) struct Ended {
    pub(super) took: Nanos,
    pub(super) stale: bool,
}

pub(super) struct Supply {
    latest: u64,
    under_way: Vec<UnderWay>,
    failures: u32,
    /// Whether the latest failure was an attempt that took too long.
    gave_up: bool,
    retry_at: Nanos,
    failed_at: Nanos,
    /// Whether a caller found nothing and did not wait, and no attempt has begun since.
    demand: bool,
    random: u64,
}

impl Supply {
    pub(super) fn new() -> Self {
        let random = 0x9E37_79B9_7F4A_7C15;
        Supply {
            latest: 0,
            under_way: Vec::new(),
            failures: 0,
            gave_up: false,
            retry_at: 0,
            failed_at: 0,
            demand: false,
            random,
        }
    }

    /// Chooses where the random numbers begin.
    pub(super) fn seed(&mut self, seed: u64) {
        self.random = seed | 1;
    }

    /// How many attempts are under way.
    pub(super) fn making(&self) -> usize {
        self.under_way.len()
    }

    /// Whether the latest attempt failed.
    pub(super) fn failing(&self) -> bool {
        self.failures > 0
    }

    /// More about that.
    pub(super) fn failure(&self, now: Nanos) -> Option<Failing> {
        let (in_a_row, gave_up, pause) = (self.failures, self.gave_up, self.retry_at.saturating_sub(now));
        self.failing().then_some(Failing { in_a_row, gave_up, pause })
    }

    /// Whether the latest attempt failed recently. An old failure says nothing about the next attempt: perhaps nothing has
    /// made the pool try again since.
    pub(super) fn failed_lately(&self, now: Nanos) -> bool {
        self.failing() && now < self.retry_at.saturating_add(LONGEST_PAUSE)
    }

    /// Whether so many attempts failed in a row that callers are refused.
    pub(super) fn tripped(&self) -> bool {
        self.failures >= TRIPPED
    }

    /// When the next attempt after a failure may begin.
    pub(super) fn retry_at(&self) -> Option<Nanos> {
        self.failing().then_some(self.retry_at)
    }

    /// How many of them waiters may count on. Not one that takes long and was abandoned: the next waiter gets an attempt of
    /// its own. Nor one that takes very long: another begins beside it.
    pub(super) fn promising(&self, now: Nanos) -> usize {
        let promises = |attempt: &&UnderWay| match attempt.abandoned {
            true => attempt.is_prompt(now),
            false => now.saturating_sub(attempt.began) < ALONE_FOR,
        };
        self.under_way.iter().filter(promises).count()
    }

    /// How many of them were not abandoned.
    pub(super) fn awaited(&self) -> usize {
        self.under_way.iter().filter(|attempt| !attempt.abandoned).count()
    }

    /// A waiter has left the queue: the oldest attempt is abandoned.
    pub(super) fn abandon_oldest(&mut self) {
        let oldest = self.under_way.iter_mut().filter(|attempt| !attempt.abandoned).min_by_key(|attempt| attempt.began);
        if let Some(attempt) = oldest {
            attempt.abandoned = true;
        }
    }

    /// How many attempts may begin now.
    pub(super) fn may_begin(&self, now: Nanos) -> usize {
        if self.failing() {
            return usize::from(now >= self.retry_at && self.under_way.is_empty());
        }
        let busy = self.under_way.iter().filter(|attempt| attempt.is_prompt(now)).count();
        AT_ONCE.saturating_sub(busy)
    }

    /// A caller found nothing and does not wait: the next attempt is for the next caller.
    pub(super) fn note_demand(&mut self) {
        self.demand = true;
    }

    /// Whether an attempt is wanted only for that.
    pub(super) fn has_unmet_demand(&self) -> bool {
        self.demand && self.under_way.is_empty()
    }

    pub(super) fn begin(&mut self, now: Nanos) -> Attempt {
        self.demand = false;
        self.latest += 1;
        let attempt = Attempt(self.latest);
        self.under_way.push(UnderWay { attempt, began: now, stale: false, abandoned: false });
        attempt
    }

    /// Ends an attempt; `None` if it was given up before.
    pub(super) fn end(&mut self, attempt: Attempt, now: Nanos, succeeded: bool) -> Option<Ended> {
        let index = self.under_way.iter().position(|other| other.attempt == attempt)?;
        let UnderWay { began, stale, .. } = self.under_way.swap_remove(index);
        if succeeded {
            self.failures = 0;
        } else {
            self.gave_up = false;
            // Attempts that were under way when another failed count as the same failure.
            if !self.failing() || began > self.failed_at {
                self.fail(now);
            }
        }
        Some(Ended { took: now.saturating_sub(began), stale })
    }

    /// Ends an attempt that was cancelled from outside, which says nothing about the next. False if it was given up before.
    pub(super) fn cancel(&mut self, attempt: Attempt) -> bool {
        let index = self.under_way.iter().position(|other| other.attempt == attempt);
        index.map(|index| self.under_way.swap_remove(index)).is_some()
    }

    /// Gives up those that have taken longer than `limit`, as one failure; returns how many.
    pub(super) fn give_up(&mut self, now: Nanos, limit: Nanos) -> usize {
        let before = self.under_way.len();
        self.under_way.retain(|attempt| now.saturating_sub(attempt.began) < limit);
        let given_up = before - self.under_way.len();
        if given_up > 0 {
            self.gave_up = true;
            self.fail(now);
        }
        given_up
    }

    /// Forgets the latest `count` attempts, which have no room any more. Their objects are used if there is room then.
    pub(super) fn forget(&mut self, count: usize) {
        self.under_way.sort_by_key(|attempt| attempt.attempt.0);
        self.under_way.truncate(self.under_way.len().saturating_sub(count));
    }

    /// When time alone changes something: an attempt no longer counts, is to be given up, or may begin.
    pub(super) fn due(&self, now: Nanos, limit: Option<Nanos>) -> Nanos {
        let of = |attempt: &UnderWay| {
            let over = limit.map_or(Nanos::MAX, |limit| attempt.began.saturating_add(limit));
            let slow = [PROMPT_FOR, ALONE_FOR].map(|patience| attempt.began.saturating_add(patience));
            slow.into_iter().find(|&at| at > now).unwrap_or(Nanos::MAX).min(over)
        };
        let forgotten = self.retry_at().map(|at| at.saturating_add(LONGEST_PAUSE));
        let retry = self.retry_at().into_iter().chain(forgotten).find(|&at| at > now).unwrap_or(Nanos::MAX);
        self.under_way.iter().map(of).min().unwrap_or(Nanos::MAX).min(retry)
    }

    /// Marks the attempts under way: their objects are to be replaced.
    pub(super) fn make_stale(&mut self) {
        self.under_way.iter_mut().for_each(|attempt| attempt.stale = true);
    }

    /// Forgets attempts and failures, which are another process's.
    pub(super) fn start_anew(&mut self) {
        self.under_way.clear();
        self.failures = 0;
    }

    fn fail(&mut self, now: Nanos) {
        let doubled = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
        // Jitter: at least half of it. Pools that fail together do not try again together.
        let pause = doubled as f64 * (1.0 - 0.5 * self.random());
        self.retry_at = now.saturating_add(pause as Nanos);
    }

    /// A number from 0 to 1: xorshift64* (Marsaglia 2003; Vigna 2016).
    pub(super) fn random(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails as soon as it may, `times` times, from `now` on; returns the pauses.
    fn pauses(supply: &mut Supply, mut now: Nanos, times: usize) -> Vec<Nanos> {
        let mut pauses = Vec::new();
        for _ in 0..times {
            let attempt = supply.begin(now);
            assert!(supply.end(attempt, now, false).is_some());
            let retry = supply.retry_at().expect("it failed");
            pauses.push(retry - now);
            now = retry;
        }
        pauses
    }

    #[test]
    fn a_pause_is_twice_as_long_each_time_up_to_a_limit_and_shorter_at_random() {
        let mut supply = Supply::new();
        supply.seed(7);
        let mut longest = FIRST_PAUSE;
        let pauses = pauses(&mut supply, 0, 40);
        for pause in &pauses {
            assert!((longest / 2..=longest).contains(pause), "{pause} of {longest}");
            longest = (longest * 2).min(LONGEST_PAUSE);
        }
        let late: std::collections::BTreeSet<_> = pauses[10..].iter().collect();
        assert!(late.len() > 20, "pools that fail together would try again together");
    }

    #[test]
    fn after_a_failure_one_at_a_time_may_try_and_a_success_opens_the_gate() {
        let mut supply = Supply::new();
        assert_eq!(supply.may_begin(0), AT_ONCE);
        pauses(&mut supply, 0, TRIPPED as usize - 1);
        assert!(!supply.tripped());
        let now = supply.retry_at().expect("it failed");
        assert_eq!((supply.may_begin(now - 1), supply.may_begin(now)), (0, 1));
        let probe = supply.begin(now);
        assert_eq!(supply.may_begin(now), 0, "one probe at a time");
        assert!(supply.end(probe, now, false).is_some());
        assert!(supply.tripped());
        let now = supply.retry_at().expect("it failed");
        let probe = supply.begin(now);
        assert!(supply.end(probe, now, true).is_some());
        assert_eq!((supply.tripped(), supply.failing(), supply.may_begin(now)), (false, false, AT_ONCE));
    }

    #[test]
    fn a_failure_of_long_ago_says_nothing() {
        let mut supply = Supply::new();
        pauses(&mut supply, 0, 1);
        let retry = supply.retry_at().expect("it failed");
        assert_eq!((supply.due(0, None), supply.due(retry, None)), (retry, retry + LONGEST_PAUSE));
        assert!(supply.failed_lately(retry + LONGEST_PAUSE - 1));
        assert!(!supply.failed_lately(retry + LONGEST_PAUSE));
        assert_eq!(supply.due(retry + LONGEST_PAUSE, None), Nanos::MAX);
    }

    #[test]
    fn attempts_that_hang_no_longer_count_and_are_given_up_as_one_failure() {
        let mut supply = Supply::new();
        let attempts: Vec<_> = (0..AT_ONCE).map(|_| supply.begin(0)).collect();
        assert_eq!((supply.may_begin(PROMPT_FOR - 1), supply.may_begin(PROMPT_FOR)), (0, AT_ONCE));
        supply.abandon_oldest();
        assert_eq!((supply.promising(0), supply.promising(PROMPT_FOR)), (AT_ONCE, AT_ONCE - 1));
        assert_eq!(supply.give_up(2 * PROMPT_FOR, 2 * PROMPT_FOR), AT_ONCE);
        assert_eq!(supply.failures, 1);
        assert!(attempts.into_iter().all(|attempt| supply.end(attempt, 2 * PROMPT_FOR, true).is_none()));
        assert!(supply.failing(), "what comes too late is no success");
    }
}
