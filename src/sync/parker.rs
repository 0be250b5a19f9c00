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

/// Nobody sleeps, nobody has called.
const EMPTY: u32 = 0;
/// The owner sleeps, or is about to.
const PARKED: u32 = 1;
/// Somebody has called.
const NOTIFIED: u32 = 2;

/// A wake word, and a bed.
///
/// A call that comes first is kept, so `unpark` before `park` is not lost. `unpark` asks the system for help only when
/// the owner really sleeps.
pub struct Parker {
    word: AtomicU32,
    bed: imp::Bed,
}

impl Parker {
    /// Nobody sleeps, nobody has called.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Parker { word: AtomicU32::new(EMPTY), bed: imp::Bed::new() }
    }

    /// Sleeps until [`unpark`](Self::unpark), a signal, or the end of `limit` (`None`: no limit).
    ///
    /// Only one thread may park on one parker.
    pub fn park(&self, limit: Option<Duration>) -> Woken {
        if self.word.compare_exchange(EMPTY, PARKED, Acquire, Acquire).is_ok() {
            self.bed.sleep(&self.word, limit);
        }
        // A call between the system's return and this line is seen here: the swap takes whatever is there.
        match self.word.swap(EMPTY, Acquire) {
            NOTIFIED => Woken::Notified,
            _ => Woken::Maybe,
        }
    }

    /// Wakes the sleeper, or the next one who would sleep.
    pub fn unpark(&self) {
        if self.word.swap(NOTIFIED, Release) == PARKED {
            self.bed.wake(&self.word);
        }
    }
}

#[cfg(all(target_os = "linux", not(loom)))]
mod imp {
    use super::{AtomicU32, Duration, PARKED};
    use std::ptr;

    /// The word is all that a futex needs.
    pub(super) struct Bed;

    impl Bed {
        pub(super) fn new() -> Self {
            Bed
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
    pub(super) struct Bed {
        making: Mutex<()>,
        bell: Condvar,
    }

    #[allow(clippy::unwrap_used)]
    impl Bed {
        pub(super) fn new() -> Self {
            Bed { making: Mutex::new(()), bell: Condvar::new() }
        }

        pub(super) fn sleep(&self, word: &AtomicU32, limit: Option<Duration>) {
            let making = self.making.lock().unwrap();
            if word.load(Acquire) != PARKED {
                return;
            }
            match limit {
                None => drop(self.bell.wait(making).unwrap()),
                Some(limit) => drop(self.bell.wait_timeout(making, limit).unwrap()),
            }
        }

        pub(super) fn wake(&self, _: &AtomicU32) {
            let _making = self.making.lock().unwrap();
            self.bell.notify_one();
        }
    }
}
