//! Atomics, mutex and condition variable: the standard library's, or loom's in a model check.

#[cfg(loom)]
pub(super) use loom::sync::{
    Condvar, Mutex,
    atomic::{AtomicU8, AtomicU32, Ordering},
};
#[cfg(not(loom))]
pub(super) use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
#[cfg(not(any(loom, target_os = "linux")))]
pub(super) use std::sync::{Condvar, Mutex};
