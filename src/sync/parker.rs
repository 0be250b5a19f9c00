//! What one thread sleeps on until another wakes it.
#![allow(unsafe_code)]

use std::time::Duration;

use super::primitives::AtomicU32;
use super::primitives::Ordering::{Acquire, Release};

/// Why [`Parker::park`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// [`Parker::unpark`] was called.
    Notified,
    /// A signal arrived, the time was up, or the system woke the thread for no reason: look again.
    Maybe,
}

/// The owner does not sleep, and no wake-up is pending.
const EMPTY: u32 = 0;
/// The owner sleeps, or is about to.
const PARKED: u32 = 1;
/// A wake-up is pending.
const NOTIFIED: u32 = 2;

/// A word that says whether its owner sleeps, and what the owner sleeps on.
///
/// A wake-up that comes first is kept, so `unpark` before `park` is not lost. `unpark` makes a system call only if the
/// owner really sleeps.
pub struct Parker {
    word: AtomicU32,
    sleeper: imp::Sleeper,
}

impl Parker {
    /// Awake, with no wake-up pending.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Parker { word: AtomicU32::new(EMPTY), sleeper: imp::Sleeper::new() }
    }

    /// Sleeps until [`unpark`](Self::unpark), a signal, or the end of `limit` (`None`: no limit).
    ///
    /// Only one thread may park on one parker.
    pub fn park(&self, limit: Option<Duration>) -> Woken {
        if self.word.compare_exchange(EMPTY, PARKED, Acquire, Acquire).is_ok() {
            self.sleeper.sleep(&self.word, limit);
        }
        // A wake-up between the system's return and this line is seen here: the swap takes whatever is there.
        match self.word.swap(EMPTY, Acquire) {
            NOTIFIED => Woken::Notified,
            _ => Woken::Maybe,
        }
    }

    /// Wakes the owner; if it does not sleep, its next `park` returns at once.
    pub fn unpark(&self) {
        if self.word.swap(NOTIFIED, Release) == PARKED {
            self.sleeper.wake(&self.word);
        }
    }
}

#[cfg(all(target_os = "linux", not(loom)))]
mod imp {
    use super::{AtomicU32, Duration, PARKED};
    use std::ptr;

    /// The word is all that a futex needs.
    pub(super) struct Sleeper;

    impl Sleeper {
        pub(super) fn new() -> Self {
            Sleeper
        }

        /// Returns at once if the word is no longer `PARKED`: the system compares and sleeps in one step.
        pub(super) fn sleep(&self, word: &AtomicU32, limit: Option<Duration>) {
            let limit = limit.map(|limit| libc::timespec {
                tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: limit.subsec_nanos() as _,
            });
            let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
            let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: the word and the limit outlive the call; the limit is a valid relative time or null.
            unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, PARKED, limit) };
        }

        pub(super) fn wake(&self, word: &AtomicU32) {
            let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: a wake takes only the address of the word, which `word` keeps alive.
            unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 1) };
        }
    }
}

#[cfg(any(not(target_os = "linux"), loom))]
mod imp {
    use super::super::primitives::{Condvar, Mutex};
    use super::{Acquire, AtomicU32, Duration, PARKED};

    /// What a futex does, with a mutex around "compare and sleep". Nothing can panic while it is held.
    pub(super) struct Sleeper {
        mutex: Mutex<()>,
        condition: Condvar,
    }

    #[allow(clippy::unwrap_used)]
    impl Sleeper {
        pub(super) fn new() -> Self {
            Sleeper { mutex: Mutex::new(()), condition: Condvar::new() }
        }

        pub(super) fn sleep(&self, word: &AtomicU32, limit: Option<Duration>) {
            let guard = self.mutex.lock().unwrap();
            if word.load(Acquire) != PARKED {
                return;
            }
            match limit {
                None => drop(self.condition.wait(guard).unwrap()),
                Some(limit) => drop(self.condition.wait_timeout(guard, limit).unwrap()),
            }
        }

        pub(super) fn wake(&self, _: &AtomicU32) {
            let _guard = self.mutex.lock().unwrap();
            self.condition.notify_one();
        }
    }
}
