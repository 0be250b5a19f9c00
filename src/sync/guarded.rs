//! How the core's state is reached: the only place that chooses a lock.
//!
//! [`Guarded<T>`] comes in three builds, and the core is one text for all of them:
//!
//! | build | what serialises callers |
//! |---|---|
//! | extension for an interpreter with a GIL (`opool_gil`) | the GIL itself: no atomic operation at all |
//! | free-threaded extension, and plain Rust | a `parking_lot` mutex |
//! | `--cfg loom` | loom's mutex, so that the model checker sees the real code |
//!
//! The price of using the GIL is one rule, and it keeps the other two builds free of deadlocks as well: **a closure
//! given to [`Guarded::with`] never runs Python and never waits.** No allocation by the interpreter, no reference
//! count that may drop to zero, no user hook. Values that leave the state are returned, and dropped by the caller.
#![allow(unsafe_code)]

use std::marker::PhantomData;

/// Proof that the calling thread is attached to the interpreter, and stays so for `'a`.
///
/// In GIL builds this is what makes [`Guarded::with`] sound, so only [`Attached::assume`] can make one. The other
/// builds bring a lock of their own and need no proof: [`Attached::anywhere`].
#[derive(Clone, Copy)]
pub struct Attached<'a>(PhantomData<(&'a (), *const ())>);

impl Attached<'_> {
    /// Trusts the caller.
    ///
    /// # Safety
    /// The calling thread holds the GIL (or, on a free-threaded interpreter, has an attached thread state) and does
    /// not give it up while the value is alive.
    #[inline(always)]
    pub const unsafe fn assume() -> Self {
        Attached(PhantomData)
    }

    /// No interpreter is involved: the state is guarded by a real mutex.
    #[cfg(not(opool_gil))]
    #[inline(always)]
    pub const fn anywhere() -> Self {
        Attached(PhantomData)
    }
}

/// State that one thread at a time may see.
pub struct Guarded<T>(imp::Lock<T>);

impl<T> Guarded<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        Guarded(imp::Lock::new(value))
    }

    /// Runs `critical` with the state. It must not run Python, wait, or call this again.
    #[inline(always)]
    pub fn with<R>(&self, attached: Attached<'_>, critical: impl FnOnce(&mut T) -> R) -> R {
        self.0.with(attached, critical)
    }

    /// As [`with`](Self::with), but returns `None` at once if another thread is inside.
    pub fn try_with<R>(&self, attached: Attached<'_>, critical: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0.try_with(attached, critical)
    }
}

#[cfg(opool_gil)]
mod imp {
    use super::Attached;
    use std::cell::UnsafeCell;

    pub(super) struct Lock<T> {
        value: UnsafeCell<T>,
        #[cfg(debug_assertions)]
        entered: std::cell::Cell<bool>,
    }

    // SAFETY: every access goes through `with`, which asks for the proof that the caller holds the GIL. One thread at a time holds the GIL, and passing it on synchronises.
    unsafe impl<T: Send> Sync for Lock<T> {}

    impl<T> Lock<T> {
        pub(super) fn new(value: T) -> Self {
            Lock {
                value: UnsafeCell::new(value),
                #[cfg(debug_assertions)]
                entered: std::cell::Cell::new(false),
            }
        }

        #[inline(always)]
        pub(super) fn with<R>(&self, _: Attached<'_>, critical: impl FnOnce(&mut T) -> R) -> R {
            #[cfg(debug_assertions)]
            assert!(!self.entered.replace(true), "a critical section was entered again from inside itself");
            // SAFETY: the GIL is held from here to the end of `critical`, which runs no Python (module rule), so it
            // neither releases the GIL nor re-enters this function: no second reference exists.
            let result = critical(unsafe { &mut *self.value.get() });
            #[cfg(debug_assertions)]
            self.entered.set(false);
            result
        }

        /// No other thread can be inside: the caller holds the GIL.
        pub(super) fn try_with<R>(&self, attached: Attached<'_>, critical: impl FnOnce(&mut T) -> R) -> Option<R> {
            Some(self.with(attached, critical))
        }
    }
}

#[cfg(not(opool_gil))]
mod imp {
    use super::Attached;

    #[cfg(loom)]
    use loom::sync::{Mutex, MutexGuard};
    #[cfg(not(loom))]
    use parking_lot::{Mutex, MutexGuard};

    pub(super) struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub(super) fn new(value: T) -> Self {
            Lock(Mutex::new(value))
        }

        #[inline(always)]
        pub(super) fn with<R>(&self, _: Attached<'_>, critical: impl FnOnce(&mut T) -> R) -> R {
            critical(&mut self.lock())
        }

        pub(super) fn try_with<R>(&self, _: Attached<'_>, critical: impl FnOnce(&mut T) -> R) -> Option<R> {
            self.try_lock().map(|mut value| critical(&mut value))
        }

        #[cfg(loom)]
        fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("a model never panics under the lock")
        }

        #[cfg(loom)]
        fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }

        #[cfg(not(loom))]
        #[inline(always)]
        fn lock(&self) -> MutexGuard<'_, T> {
            self.0.try_lock().unwrap_or_else(|| self.lock_contended())
        }

        #[cfg(not(loom))]
        fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock()
        }

        /// Spins without touching the lock, for as long as a few dozen sections take, then waits for it.
        ///
        /// Trying again at once would slow both threads down: each try takes the cache lines of the lock, and of all that
        /// it guards, from the other core, which has to fetch them back.
        #[cfg(not(loom))]
        #[cold]
        fn lock_contended(&self) -> MutexGuard<'_, T> {
            let back = std::time::Instant::now() + std::time::Duration::from_micros(4);
            while std::time::Instant::now() < back {
                std::hint::spin_loop();
            }
            self.0.lock()
        }
    }
}
