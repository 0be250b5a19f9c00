//! What a forked child must not inherit.
//!
//! Locks of open files (OFD locks) belong to parent and child alike: a child that lives on would keep its dead parent's
//! locks, and could release a living one's. The child therefore closes the descriptors that are registered here, and
//! counts a new generation, by which everything else sees that it belongs to another process.
//!
//! And it must not inherit a database library in the middle of a call: a mutex that is locked there stays locked for ever in
//! the child. So a fork waits until no thread is inside (see `inside`), for as long as a transaction takes.

use std::cell::Cell;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const SLOTS: usize = 1_024;
static DESCRIPTORS: [AtomicI32; SLOTS] = [const { AtomicI32::new(-1) }; SLOTS];
static GENERATION: AtomicU64 = AtomicU64::new(1);
static INSTALLED: Once = Once::new();

/// How many forks lie between the first process and this one, plus one.
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Acquire)
}

static FORKING: AtomicBool = AtomicBool::new(false);
static INSIDE: AtomicI32 = AtomicI32::new(0);
const PAUSE: Duration = Duration::from_micros(50);

/// A transaction waits for other programs for ten seconds at most; a fork does not wait for longer than that.
const PATIENCE: Duration = Duration::from_secs(12);

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// This thread is inside the database library: no fork happens until it is dropped. Never held while waiting for another
/// process's lock or for Python.
pub struct Inside(());

/// Enters; waits for a fork that is going on.
pub fn inside() -> Inside {
    let depth = DEPTH.get();
    DEPTH.set(depth + 1);
    if depth > 0 {
        return Inside(());
    }
    loop {
        INSIDE.fetch_add(1, Ordering::SeqCst);
        if !FORKING.load(Ordering::SeqCst) {
            break;
        }
        INSIDE.fetch_sub(1, Ordering::SeqCst);
        std::thread::sleep(PAUSE);
    }
    Inside(())
}

impl Drop for Inside {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

extern "C" fn before_fork() {
    FORKING.store(true, Ordering::SeqCst);
    let begin = Instant::now();
    while INSIDE.load(Ordering::SeqCst) > 0 && begin.elapsed() < PATIENCE {
        std::thread::sleep(PAUSE);
    }
}

extern "C" fn in_parent() {
    FORKING.store(false, Ordering::SeqCst);
}

extern "C" fn in_child() {
    INSIDE.store(0, Ordering::SeqCst);
    FORKING.store(false, Ordering::SeqCst);
    GENERATION.fetch_add(1, Ordering::AcqRel);
    for slot in &DESCRIPTORS {
        let fd = slot.swap(-1, Ordering::AcqRel);
        if fd >= 0 {
            // SAFETY: close is async-signal-safe, and the owner of `fd` is of an older generation: it never uses or
            // closes it again in this process.
            #[allow(unsafe_code)]
            unsafe {
                libc::close(fd);
            }
        }
    }
}

/// Has forks counted from now on.
pub fn install() {
    INSTALLED.call_once(|| {
        // SAFETY: the handlers only touch atomics, sleep, and call close.
        #[allow(unsafe_code)]
        unsafe {
            libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child));
        }
    });
}

/// A file descriptor that a forked child closes. Close it by dropping this, nothing else.
#[derive(Debug)]
pub struct ClosedInChild {
    fd: i32,
    slot: usize,
    generation: u64,
}

impl ClosedInChild {
    /// Takes over `fd`. None if there are too many already; `fd` is closed then.
    pub fn new(fd: i32) -> Option<Self> {
        install();
        for (slot, place) in DESCRIPTORS.iter().enumerate() {
            if place.compare_exchange(-1, fd, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Some(ClosedInChild { fd, slot, generation: generation() });
            }
        }
        // SAFETY: `fd` was handed over and nobody else has it.
        #[allow(unsafe_code)]
        unsafe {
            libc::close(fd);
        }
        None
    }

    pub fn fd(&self) -> i32 {
        self.fd
    }
}

impl Drop for ClosedInChild {
    fn drop(&mut self) {
        if self.generation == generation() {
            DESCRIPTORS[self.slot].store(-1, Ordering::Release);
            // SAFETY: the descriptor is ours until here.
            #[allow(unsafe_code)]
            unsafe {
                libc::close(self.fd);
            }
        }
    }
}

/// A value that every process makes for itself: a forked child starts with a fresh one, since the parent's may have been
/// locked by a thread that the child does not have.
pub struct PerProcess<T: 'static> {
    current: AtomicPtr<(u64, T)>,
}

impl<T: Default + Sync> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(clippy::new_without_default)] // made in statics only
impl<T: Default + Sync> PerProcess<T> {
    pub const fn new() -> Self {
        PerProcess { current: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// This process's value.
    pub fn get(&'static self) -> &'static T {
        let now = generation();
        let mut seen = self.current.load(Ordering::Acquire);
        loop {
            // SAFETY: the pointer is null or comes from `Box::leak` below, and is never freed.
            #[allow(unsafe_code)]
            if let Some((generation, value)) = unsafe { seen.as_ref() }
                && *generation == now
            {
                return value;
            }
            let fresh: *mut (u64, T) = Box::leak(Box::new((now, T::default())));
            match self.current.compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => seen = fresh,
                Err(other) => {
                    // SAFETY: nobody else has seen `fresh`.
                    #[allow(unsafe_code)]
                    drop(unsafe { Box::from_raw(fresh) });
                    seen = other;
                }
            }
        }
    }
}
