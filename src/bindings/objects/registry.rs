//! The pools that a fork concerns: those that hold something or are waited for.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::sync::{Attached, Guarded};

/// The address of a pool. A pool leaves the set before it is dropped.
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
pub(crate) struct Address(pub(crate) usize);

/// The set. Made when the extension is imported, not at the first use, which a fork may interrupt.
pub(crate) static POOLS: LazyLock<Guarded<HashSet<Address>>> = LazyLock::new(|| Guarded::new(HashSet::new()));

/// A pool's membership in the set.
#[derive(Default)]
pub(crate) struct Membership(AtomicBool);

impl Membership {
    /// Puts the pool into the set, once. It does not move any more: it lives in its Python object.
    pub(crate) fn join(&self, attached: Attached<'_>, pool: Address) {
        if !self.0.load(Relaxed) {
            POOLS.with(attached, |pools| pools.insert(pool));
            self.0.store(true, Relaxed);
        }
    }

    pub(crate) fn leave(&self, attached: Attached<'_>, pool: Address) {
        if self.0.load(Relaxed) {
            POOLS.with(attached, |pools| pools.remove(&pool));
        }
    }
}
