//! What a slot of a pool holds, and who has it while it is out.

use std::ptr::{self, NonNull};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::drop::discard;
use crate::bindings::ffi::refcount::try_incref;
use crate::bindings::objects::async_lease::AsyncLease;
use crate::bindings::objects::lease::{ENTERED, Lease, RELEASED};
use crate::bindings::objects::waker::Waker;
use crate::pool::{Hold, Identity, State};
use crate::sync::this_thread;

/// The state of a pool of Python objects.
pub(crate) type Core = State<Item, Waker>;

/// A pooled object and the lease that served it last. `lease/hot.rs` says who owns them.
pub(crate) struct Item {
    pub(crate) object: NonNull<PyObject>,
    pub(crate) shell: *mut Lease,
    /// Who took it. Means something only while it is out, and until its lease is entered.
    pub(crate) holder: HolderTag,
    /// The greenlet that took it, by its address, in a thread that has a hub of gevent; else 0. Written by slow paths
    /// only: a pool that has seen a greenlet has no other (`Pool::tell_greenlets_apart`).
    pub(crate) greenlet: usize,
}

// SAFETY: the pointers are used by attached threads only; the objects behind them bring their own protection.
unsafe impl Send for Item {}

impl Identity for Item {
    #[inline(always)]
    fn identity(&self) -> usize {
        self.object.as_ptr() as usize
    }
}

impl Item {
    /// An object that comes into a pool. The item owns the reference.
    pub(crate) fn new(object: NonNull<PyObject>) -> Item {
        Item { object, shell: ptr::null_mut(), holder: HolderTag::NOBODY, greenlet: 0 }
    }

    /// A reference to the object of a slot that the caller holds, or in a critical section.
    pub(crate) fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: the slot owns its object.
        unsafe { Bound::from_borrowed_ptr(py, self.object.as_ptr()) }
    }

    /// The async lease that has the object. Only in a critical section.
    pub(crate) fn async_lease(&self) -> Option<&AsyncLease> {
        // SAFETY: the lease takes itself off before it gives back or dies, in a critical section.
        self.holder.task().map(|lease| unsafe { &*lease })
    }

    /// The thread that has an object which is out: the one that entered its lease, else the one that took it. Only in a
    /// critical section.
    pub(crate) fn thread(&self, py: Python<'_>, hold: Hold) -> usize {
        if let Some(lease) = self.async_lease() {
            return lease.thread;
        }
        match self.entered_by(py) {
            Some(thread) if hold == Hold::Leased => thread,
            _ => self.holder.thread(),
        }
    }

    /// What tells the holder of an object that is out from others: the greenlet that took it, else the thread. Only in a
    /// critical section.
    pub(crate) fn who(&self, py: Python<'_>, hold: Hold) -> usize {
        match self.greenlet() {
            Some(greenlet) => greenlet,
            None => self.thread(py, hold),
        }
    }

    /// The greenlet that took it, by its address.
    pub(crate) fn greenlet(&self) -> Option<usize> {
        (self.greenlet != 0 && self.holder.task().is_none()).then_some(self.greenlet)
    }

    /// Whether the lease of an object that is leased was entered. Only in a critical section.
    pub(crate) fn is_entered(&self, py: Python<'_>) -> bool {
        self.async_lease().is_some() || self.entered_by(py).is_some()
    }

    /// The lease of a thread that has an object which is leased. Only in a critical section.
    pub(crate) fn thread_lease(&self, py: Python<'_>, hold: Hold) -> Option<*mut Lease> {
        // SAFETY: as in `entered_by`.
        let lease = unsafe { self.shell.as_ref()? };
        (hold == Hold::Leased && lease.phase.get(attached(py)) < RELEASED).then_some(self.shell)
    }

    /// The lease that has an object which is leased, of a thread or of a task, and how many references to it there are
    /// besides this one. Only in a critical section. Without a GIL none if another thread may be dropping it.
    pub(crate) fn lease<'py>(&self, py: Python<'py>, hold: Hold) -> Option<(Bound<'py, PyAny>, isize)> {
        let lease: *mut PyObject = match self.async_lease() {
            Some(lease) => ptr::from_ref(lease).cast_mut().cast(),
            None => self.thread_lease(py, hold)?.cast(),
        };
        // SAFETY: its memory is there: it takes a critical section to end it. The reference is new.
        unsafe {
            let lease = try_incref(lease).then(|| Bound::from_owned_ptr(py, lease))?;
            let count = ffi::Py_REFCNT(lease.as_ptr()) as isize - 1;
            Some((lease, count))
        }
    }

    fn entered_by(&self, py: Python<'_>) -> Option<usize> {
        // SAFETY: called in a critical section, attached. A leased slot's shell is null, or the one that served before
        // (over since then), or the lease itself, which is alive as long as it is not over: it takes a critical section
        // to end it.
        unsafe {
            let lease = self.shell.as_ref()?;
            (lease.phase.get(attached(py)) == ENTERED).then_some(lease.holder)
        }
    }
}

/// Who has an object that is out: a thread by its number, or a task by the address of its `AsyncLease`.
///
/// Both leave the two lowest bits free. One says which it is, the other whether the holder was noted: from then on the
/// pool knows how long, at least, the object has been out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct HolderTag(usize);

const NOTED: usize = 1;
const TASK: usize = 2;

impl HolderTag {
    pub(crate) const NOBODY: HolderTag = HolderTag(0);

    /// The calling thread.
    #[inline(always)]
    pub(crate) fn this_thread() -> Self {
        HolderTag(this_thread())
    }

    #[inline(always)]
    pub(crate) fn of_thread(thread: usize) -> Self {
        HolderTag(thread)
    }

    #[inline(always)]
    pub(crate) fn of_task(lease: *mut AsyncLease) -> Self {
        HolderTag(lease as usize | TASK)
    }

    /// The number of the thread. Of a task it means nothing.
    fn thread(self) -> usize {
        self.0 & !NOTED
    }

    /// The async lease, if it is a task.
    pub(crate) fn task(self) -> Option<*const AsyncLease> {
        (self.0 & TASK != 0).then_some((self.0 & !(NOTED | TASK)) as *const AsyncLease)
    }

    /// What the core compares: equal for the same thread, or the same async lease.
    #[inline(always)]
    pub(crate) fn number(self) -> usize {
        self.0
    }

    /// Marks the holder as noted. False if it was marked before.
    pub(crate) fn mark_noted(&mut self) -> bool {
        let new = self.0 & NOTED == 0;
        self.0 |= NOTED;
        new
    }
}

/// # Safety
/// The thread is attached, and owns what the slots owned.
pub(crate) unsafe fn drop_items(items: impl IntoIterator<Item = Item>) {
    for item in items {
        // SAFETY: as the caller promised.
        unsafe {
            discard(item.shell.cast());
            discard(item.object.as_ptr());
        }
    }
}
