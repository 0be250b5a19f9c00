//! One thread's place to sleep until somebody wakes it.

use std::time::Duration;

/// Why [`Parker::park`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// [`Parker::unpark`] was called.
    Notified,
    /// A signal arrived, the time was up, or the system woke the thread for no reason: look again.
    Maybe,
}

/// A wake word: empty, parked or notified.
///
/// A wake that comes first is kept, so `unpark` before `park` is not lost. `unpark` asks the system for help only
/// when the thread really sleeps.
pub struct Parker(imp::Word);

impl Parker {
    /// Nobody sleeps, nobody has called.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Parker(imp::Word::new())
    }

    /// Sleeps until [`unpark`](Self::unpark), a signal, or the end of `limit` (`None`: no limit).
    ///
    /// Only one thread may park on one parker.
    pub fn park(&self, limit: Option<Duration>) -> Woken {
        self.0.park(limit)
    }

    /// Wakes the sleeper, or the next one who would sleep.
    pub fn unpark(&self) {
        self.0.unpark();
    }
}

#[cfg(all(target_os = "linux", not(loom)))]
mod imp {
    use super::Woken;
    use std::ptr;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    use std::time::Duration;

    const EMPTY: u32 = 0;
    const PARKED: u32 = 1;
    const NOTIFIED: u32 = 2;

    pub(super) struct Word(AtomicU32);

    impl Word {
        pub(super) fn new() -> Self {
            Word(AtomicU32::new(EMPTY))
        }

        pub(super) fn park(&self, limit: Option<Duration>) -> Woken {
            if self.0.compare_exchange(EMPTY, PARKED, Acquire, Acquire).is_ok() {
                self.sleep(limit);
            }
            // Whoever notified between the system's return and this line is seen here: the swap takes what is there.
            match self.0.swap(EMPTY, Acquire) {
                NOTIFIED => Woken::Notified,
                _ => Woken::Maybe,
            }
        }

        pub(super) fn unpark(&self) {
            if self.0.swap(NOTIFIED, Release) == PARKED {
                // SAFETY: a wake takes only the address of the word, which `&self` keeps alive.
                unsafe {
                    libc::syscall(libc::SYS_futex, self.0.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1);
                }
            }
        }

        /// Returns at once if the word is no longer `PARKED`: the system compares and sleeps in one step.
        fn sleep(&self, limit: Option<Duration>) {
            debug_assert_ne!(self.0.load(Relaxed), EMPTY);
            let time = limit.map(|limit| libc::timespec {
                tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: limit.subsec_nanos() as _,
            });
            let time = time.as_ref().map_or(ptr::null(), ptr::from_ref);
            // SAFETY: the word and the time outlive the call; the time is a valid relative timespec or null.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    self.0.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    PARKED,
                    time,
                );
            }
        }
    }
}

#[cfg(any(not(target_os = "linux"), loom))]
mod imp {
    use super::Woken;
    #[cfg(loom)]
    use loom::sync::{Condvar, Mutex};
    #[cfg(not(loom))]
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    pub(super) struct Word {
        notified: Mutex<bool>,
        called: Condvar,
    }

    // Nothing can panic while the mutex is held, so it is never poisoned.
    #[allow(clippy::unwrap_used)]
    impl Word {
        pub(super) fn new() -> Self {
            Word { notified: Mutex::new(false), called: Condvar::new() }
        }

        pub(super) fn park(&self, limit: Option<Duration>) -> Woken {
            let mut notified = self.notified.lock().unwrap();
            if !*notified {
                notified = match limit {
                    None => self.called.wait(notified).unwrap(),
                    Some(limit) => self.called.wait_timeout(notified, limit).unwrap().0,
                };
            }
            if std::mem::take(&mut *notified) { Woken::Notified } else { Woken::Maybe }
        }

        pub(super) fn unpark(&self) {
            *self.notified.lock().unwrap() = true;
            self.called.notify_one();
        }
    }
}
