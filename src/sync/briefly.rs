//! The mutex of the builds without a GIL, for critical sections that are over in some ten instructions.
//!
//! [`Guarded::with`](super::Guarded::with) promises that a section never waits and never runs foreign code. So the
//! lock need not know who waits for it: letting go is a plain store, where a lock that wakes sleepers needs a second
//! atomic exchange. A lease takes two sections, and those two exchanges would be a tenth of its time.

use std::cell::UnsafeCell;
use std::hint;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::thread;
use std::time::{Duration, Instant};

/// A value, and the flag that says whether somebody is at it.
pub(super) struct Mutex<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `with` gives the value to one thread at a time, and what it wrote is seen by the next (release, acquire).
unsafe impl<T: Send> Sync for Mutex<T> {}

/// How long a thread that came too late stays away.
///
/// Coming back sooner makes it worse for both. Each try takes the cache lines of the lock and of all it guards from the
/// other core, which has to fetch them back; left alone, the other thread does dozens of rounds in that time. A lock
/// that puts the loser to sleep, and has the system wake it, keeps it away for ten times as long.
const AWAY: Duration = Duration::from_micros(4);

/// After so many tries in vain the holder does not run: it has lost its core in the middle of the section.
const TRIES: u32 = 16;

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Mutex { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    #[inline(always)]
    pub(super) fn with<R>(&self, critical: impl FnOnce(&mut T) -> R) -> R {
        if self.taken.swap(true, Acquire) {
            self.wait();
        }
        let _open = Open(&self.taken);
        // SAFETY: whoever turns the flag from false to true, and nobody else, is here until it is false again.
        critical(unsafe { &mut *self.value.get() })
    }

    pub(super) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Returns when the flag is the caller's.
    #[cold]
    fn wait(&self) {
        let mut tries = 0_u32;
        loop {
            let back = Instant::now() + AWAY;
            while Instant::now() < back {
                hint::spin_loop();
            }
            if !self.taken.load(Relaxed) && !self.taken.swap(true, Acquire) {
                return;
            }
            tries += 1;
            match tries / TRIES {
                0 => {}
                1 => thread::yield_now(),
                // Yielding helps nobody who runs at a lower priority.
                _ => thread::sleep(Duration::from_micros(50)),
            }
        }
    }
}

/// Lets go at the end of the section, also by a panic.
struct Open<'a>(&'a AtomicBool);

impl Drop for Open<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_update_is_lost_with_more_threads_than_cores() {
        let sum = Mutex::new(0_u64);
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| (0..20_000).for_each(|_| sum.with(|sum| *sum += 1)));
            }
        });
        assert_eq!(sum.with(|sum| *sum), 16 * 20_000);
    }

    #[test]
    fn a_panic_lets_go() {
        let value = Mutex::new(1);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| value.with(|_| panic!("within"))));
        assert!(result.is_err());
        assert_eq!(value.with(|value| *value), 1);
    }
}
