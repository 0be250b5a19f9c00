//! A small state that several threads may try to advance.

use super::guarded::Attached;
use super::primitives::AtomicU8;
use super::primitives::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// A small state that several threads may try to advance: one of them wins.
///
/// With a GIL, plain loads and stores decide that; without one it takes an atomic exchange.
pub struct Phase(AtomicU8);

impl Phase {
    /// Starts in `phase`.
    pub fn new(phase: u8) -> Self {
        Phase(AtomicU8::new(phase))
    }

    /// The phase at this moment.
    #[inline(always)]
    pub fn get(&self, _: Attached<'_>) -> u8 {
        self.0.load(Acquire)
    }

    /// Advances from `from` to `to`; false if it was not in `from`.
    #[inline(always)]
    pub fn advance(&self, _: Attached<'_>, from: u8, to: u8) -> bool {
        if cfg!(opool_gil) {
            let right = self.0.load(Relaxed) == from;
            if right {
                self.0.store(to, Relaxed);
            }
            right
        } else {
            self.0.compare_exchange(from, to, AcqRel, Acquire).is_ok()
        }
    }

    /// Sets `to`, and returns the phase before.
    #[inline(always)]
    pub fn replace(&self, _: Attached<'_>, to: u8) -> u8 {
        if cfg!(opool_gil) {
            let before = self.0.load(Relaxed);
            self.0.store(to, Relaxed);
            before
        } else {
            self.0.swap(to, AcqRel)
        }
    }

    /// As `replace`, by the only thread that may change it; others may read.
    #[inline(always)]
    pub fn replace_alone(&self, _: Attached<'_>, to: u8) -> u8 {
        let before = self.0.load(Relaxed);
        self.0.store(to, Release);
        before
    }

    /// As `replace`, for a value that no other thread can reach yet.
    #[inline(always)]
    pub fn reset(&self, to: u8) {
        self.0.store(to, Release);
    }
}
