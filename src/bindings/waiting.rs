//! What happens when nothing is idle: the slow half of `lease.rs`.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use pyo3::ffi;
use pyo3::prelude::*;

use super::background::{follow_up, tell};
use super::errors;
use super::giving_back::give_back;
use super::lender::RETRY;
use super::outside;
use super::pool::{Core, Pool};
use super::timeouts::{Deadline, Wait};
use super::waker::Waker;
use super::watch;
use crate::pool::{Answer, Caller, Collected, Hold, Nanos, SlotId, Spent, Ticket};
use crate::sync::{Parker, this_thread};

/// How long everybody who holds something has to be waiting before it is called a deadlock: where objects come from the
/// pool alone, and where somebody might still add one.
const STUCK_AFTER: Nanos = 100_000_000;
const SEEMS_STUCK_AFTER: Nanos = 1_000_000_000;

/// How often the main thread looks for signals although nothing woke it.
///
/// A signal that arrives after the last look and just before the system call that sleeps does not interrupt it; this
/// bounds how late it is seen. CPython's own locks have the same gap, and no bound.
const SIGNAL_BACKSTOP: Duration = Duration::from_millis(20);

thread_local! {
    /// How many waits this thread is in: a signal handler or a destructor may begin one inside another.
    static WAITS: Cell<u32> = const { Cell::new(0) };
}

/// Counts a wait for as long as it lasts.
struct Waiting;

impl Waiting {
    fn begin() -> Self {
        WAITS.set(WAITS.get() + 1);
        Waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITS.set(WAITS.get() - 1);
    }
}

/// Who asks the core, and when.
pub(super) fn asker(pool: &Pool) -> Caller {
    Caller { thread: this_thread(), now: pool.now(), nested: WAITS.get() > 0, deadline: Nanos::MAX }
}

/// Takes an idle slot if there is one that may go out. `None` with or without an exception set.
pub(super) fn take_now(pool: &Bound<'_, Pool>) -> Option<SlotId> {
    let this = pool.get();
    if this.needs_event_loop() {
        errors::only_for_tasks(this);
        return None;
    }
    let now = this.now();
    let (slot, closed) = this.with(|core| {
        let slot = held(core.take(now), core);
        if slot.is_none() {
            core.note_demand(now);
        }
        (slot, core.is_closed())
    });
    let slot = match slot {
        Some(slot) => Some(slot),
        None => borrowed(pool, now)?,
    };
    let slot = taken(pool, slot);
    // SAFETY: attached.
    if closed && slot.is_none() && unsafe { ffi::PyErr_Occurred() }.is_null() {
        errors::closed(this);
    }
    slot
}

/// Notes who has the slot, in the critical section that takes it.
pub(super) fn held(slot: Option<SlotId>, core: &mut Core) -> Option<SlotId> {
    let item = core.value_mut(slot?)?;
    item.holder = this_thread();
    slot
}

/// What there is to do outside after the pool was asked for an object.
pub(super) fn taken(pool: &Bound<'_, Pool>, slot: Option<SlotId>) -> Option<SlotId> {
    let this = pool.get();
    if !this.is_managed() {
        return slot;
    }
    if let Some(slot) = slot
        && this.tracks()
    {
        this.note_place(slot);
    }
    match follow_up(pool) {
        Ok(()) => slot,
        Err(error) => {
            if let Some(slot) = slot {
                give_back(pool, slot);
            }
            error.restore(pool.py());
            None
        }
    }
}

/// Waits for the turn of the calling thread; `None` with the exception set when it does not come.
pub(super) fn wait_for_slot(pool: &Bound<'_, Pool>, wait: Wait) -> Option<SlotId> {
    let this = pool.get();
    if this.needs_event_loop() {
        errors::only_for_tasks(this);
        return None;
    }
    let asker = asker(this);
    let slot = match this.with(|core| held(core.lease_or_take_back(asker), core)) {
        Some(slot) => Some(slot),
        None => borrowed(pool, asker.now)?,
    };
    match slot {
        Some(slot) => taken(pool, Some(slot)),
        None => queue(pool, wait, asker),
    }
}

/// What there is elsewhere, for a pool whose objects are somebody else's. `None` alone with an exception set.
pub(super) fn borrowed(pool: &Bound<'_, Pool>, now: Nanos) -> Option<Option<SlotId>> {
    match pool.get().lender() {
        None => Some(None),
        Some(lender) => lender.draw(pool, now).map_err(|error| error.restore(pool.py())).ok(),
    }
}

/// However this ends, the place in the queue is given up exactly once, and a slot that was handed over in the meantime
/// is returned, or passed on before the exception is raised.
#[cold]
fn queue(pool: &Bound<'_, Pool>, wait: Wait, first: Caller) -> Option<SlotId> {
    let this = pool.get();
    this.membership.join(this);
    let deadline = Deadline::after(wait.seconds(this.default_timeout()), first.now);
    let parker = Arc::new(Parker::new());
    let (answer, spent) = this.with(|core| {
        let spent = core.spent(first.now);
        let answer = core.lease_or_queue(first, Waker::Thread(Arc::clone(&parker)));
        if let Answer::Slot(slot) = answer {
            held(Some(slot), core);
        }
        (answer, spent)
    });
    let mut ticket = match answer {
        Answer::Slot(slot) => return taken(pool, Some(slot)),
        Answer::Refused(refusal) => {
            errors::refused(pool, refusal);
            return None;
        }
        Answer::Queued(ticket) => ticket,
    };
    let _waiting = Waiting::begin();
    let mut wait = Waited { pool, since: first.now, deadline, spent, looked: false };
    loop {
        // Each time: a signal handler may have forked, and what was under way for this wait is the other process's then.
        if this.is_managed()
            && let Err(error) = follow_up(pool)
        {
            error.restore(pool.py());
            return wait.stop(ticket, Stop::Raised);
        }
        let now = this.now();
        let left = deadline.left(now);
        if let Some(reason) = reason_to_stop(left).or_else(|| wait.look_for_deadlock(now)) {
            return wait.stop(ticket, reason);
        }
        let retry = this.lender().map(|_| RETRY);
        if !this.sleep(pool, &parker, [left, wait.until_look(now), retry].into_iter().flatten().min()) {
            return wait.stop(ticket, Stop::Raised);
        }
        let now = asker(this);
        let turned = this.with(|core| {
            let turned = core.collect(ticket, now);
            if let Collected::Slot(slot, _) = turned {
                held(Some(slot), core);
            }
            turned
        });
        ticket = match turned {
            Collected::Slot(slot, _waker) => return taken(pool, Some(slot)),
            Collected::Refused(refusal, _waker) => {
                errors::refused(pool, refusal);
                return None;
            }
            Collected::Pending(ticket) => ticket,
        };
    }
}

impl Pool {
    /// Sleeps until somebody calls, or for `limit` nanoseconds; in the main thread for a moment only, because of signals.
    /// On a clock of a test, time passes instead. False with the exception set if that is impossible.
    pub(super) fn sleep(&self, pool: &Bound<'_, Pool>, parker: &Parker, limit: Option<Nanos>) -> bool {
        if let Some(clock) = self.clock() {
            let until = limit.map(|limit| self.now().saturating_add(limit));
            let passed = clock.bind(pool.py()).call_method1("_pass_until", (pool, until));
            return passed.inspect_err(|error| error.clone_ref(pool.py()).restore(pool.py())).is_ok();
        }
        let limit = limit.map(Duration::from_nanos);
        let nap = if sees_signals() {
            Some(limit.map_or(SIGNAL_BACKSTOP, |limit| limit.min(SIGNAL_BACKSTOP)))
        } else {
            limit
        };
        // SAFETY: attached before and after. A thread that comes back while the interpreter goes down never returns from
        // the second call; nothing that it holds is needed by anybody else.
        unsafe {
            let thread = ffi::PyEval_SaveThread();
            parker.park(nap);
            ffi::PyEval_RestoreThread(thread);
        }
        true
    }
}

/// Why somebody stops waiting.
#[derive(Clone, Copy)]
pub(super) enum Stop {
    /// Something raised; the exception is set, and must come out even if the slot has just been handed over.
    Raised,
    /// The interpreter is going down.
    Finalizing,
    /// The time is up.
    TimedOut,
    /// Nothing can come any more: those who hold something wait themselves.
    Stuck,
}

/// What makes a waiting thread stop, if anything does.
pub(super) fn reason_to_stop(left: Option<Nanos>) -> Option<Stop> {
    // SAFETY: attached.
    if !outside::check_signals(unsafe { Python::assume_attached() }) {
        return Some(Stop::Raised);
    }
    if errors::finalizing() {
        return Some(Stop::Finalizing);
    }
    (left == Some(0)).then_some(Stop::TimedOut)
}

/// One wait in the queue.
pub(super) struct Waited<'a, 'py> {
    pub(super) pool: &'a Bound<'py, Pool>,
    pub(super) since: Nanos,
    pub(super) deadline: Deadline,
    /// What the pool had done for those who wait when this wait began.
    pub(super) spent: Spent,
    /// Whether somebody has looked for a deadlock.
    looked: bool,
}

impl<'a, 'py> Waited<'a, 'py> {
    /// A wait that somebody else ended.
    pub(super) fn over(pool: &'a Bound<'py, Pool>, since: Nanos, deadline: Deadline, spent: Spent) -> Self {
        Waited { pool, since, deadline, spent, looked: true }
    }

    fn stop(&self, ticket: Ticket, reason: Stop) -> Option<SlotId> {
        let (pool, this) = (self.pool, self.pool.get());
        // What the message is about, while this thread still waits.
        let (counts, now) = (this.counts(), this.now());
        let before = this.with(|core| core.ahead_of(&ticket));
        let (slot, _waker) = this.with(|core| {
            let (slot, waker) = core.cancel(ticket, now);
            if slot.is_none() && matches!(reason, Stop::TimedOut | Stop::Stuck) {
                core.note_timeout();
            }
            (held(slot, core), waker)
        });
        match (slot, reason) {
            (Some(slot), Stop::Raised) => give_back(pool, slot),
            (Some(slot), _) => return taken(pool, Some(slot)),
            (None, Stop::Finalizing) => errors::shutting_down(this, counts),
            (None, Stop::TimedOut) => errors::timed_out(self, counts, before, now),
            (None, Stop::Stuck) => errors::deadlock(pool),
            (None, Stop::Raised) => {}
        }
        None
    }

    /// When it is worth looking for a deadlock.
    fn look_at(&self) -> Nanos {
        let makes = self.pool.get().with(|core| core.rules().makes);
        self.since.saturating_add(if makes { STUCK_AFTER } else { SEEMS_STUCK_AFTER })
    }

    fn until_look(&self, now: Nanos) -> Option<Nanos> {
        (!self.looked).then(|| self.look_at().saturating_sub(now))
    }

    /// Once, after a moment: whether all who hold something wait for this pool themselves. The last of them to begin
    /// sees it, so one look each is enough.
    fn look_for_deadlock(&mut self, now: Nanos) -> Option<Stop> {
        if self.looked || now < self.look_at() {
            return None;
        }
        self.looked = true;
        let this = self.pool.get();
        watch::look_at_holders(this, now);
        let (stuck, entered, makes) = this.with(|core| {
            // Only one who holds something can end it by giving up: the last of those to begin a wait looks as well.
            let me = this_thread();
            let stuck =
                core.values().any(|(_, item, hold, _)| watch::holder(item, hold) == me) && core.is_stuck(watch::holder);
            let entered = core.values().all(|(_, item, hold, _)| hold == Hold::Leased && watch::is_entered(item));
            (stuck, entered, core.rules().makes)
        });
        let stuck = stuck && !this.lender().is_some_and(|lender| lender.has_given_others(self.pool.py()));
        if !stuck {
            return None;
        }
        // A lease that was not entered, or a bare object, may be given back by any thread; and where the pool does not
        // make its objects itself, somebody may add one. So that is only suspicious.
        if makes && entered {
            return Some(Stop::Stuck);
        }
        tell(self.pool, c"seems_stuck", &[]);
        None
    }
}

/// Whether the calling thread is the one that runs signal handlers.
fn sees_signals() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: neither call has preconditions.
    return unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) };
    #[cfg(not(target_os = "linux"))]
    true
}
