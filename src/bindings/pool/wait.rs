//! What a thread or a greenlet does that finds nothing idle: the slow half of `lease/hot.rs`.

use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::bindings::args::timeout::{Deadline, Wait};
use crate::bindings::ffi::call::is_true;
use crate::bindings::ffi::exception::{OrRaised, Raised, Raises};
use crate::bindings::ffi::interrupt::{Kept, failure};
use crate::bindings::ffi::python_side;
use crate::bindings::objects::greenlet;
use crate::bindings::objects::item::Core;
use crate::bindings::objects::pool::Pool;
use crate::bindings::objects::ready::runs_event_loop;
use crate::bindings::objects::waited::Waited;
use crate::bindings::pool::asker::{Waiting, asker, held, who};
use crate::bindings::pool::background::{follow_up, follow_up_if_managed};
use crate::bindings::pool::borrow::{RETRY, borrow};
use crate::bindings::pool::errors;
use crate::bindings::pool::give_back::{give_back, give_back_quietly};
use crate::bindings::pool::holders::note_holders;
use crate::bindings::pool::log::tell;
use crate::bindings::pool::sleep::{Place, Sleeper, Stop, reason_to_stop};
use crate::pool::{Answer, Caller, Collected, Hold, Nanos, SlotId, Ticket};

/// How long every holder has to be waiting before it is called a deadlock: where objects come from the pool alone, and
/// where somebody might still add one.
const DEADLOCK_AFTER: Nanos = 100_000_000;
const PROBABLE_DEADLOCK_AFTER: Nanos = 1_000_000_000;

/// Takes an idle slot, if there is one that may go out.
pub(crate) fn take_now<'py>(pool: &Bound<'py, Pool>) -> Raises<'py, Option<SlotId>> {
    let (this, py) = (pool.get(), pool.py());
    if this.needs_event_loop() {
        return Err(errors::only_for_tasks(this, py));
    }
    let (now, me) = (this.now(), who(this, py));
    let (slot, closed) = this.with(py, |core| {
        let slot = held(core.take(now), core, me);
        if slot.is_none() {
            core.note_demand(now);
        }
        (slot, core.is_closed())
    });
    let slot = match slot {
        Some(slot) => Some(slot),
        None => borrow(pool, now).or_raised(py)?,
    };
    match slot {
        Some(slot) => taken(pool, slot).map(Some),
        None => {
            follow_up_if_managed(pool).or_raised(py)?;
            if closed { Err(errors::closed(this, py)) } else { Ok(None) }
        }
    }
}

/// What there is to do after a slot was taken on a slow path. If that fails, the slot is given back.
pub(crate) fn taken<'py>(pool: &Bound<'py, Pool>, slot: SlotId) -> Raises<'py, SlotId> {
    let (this, py) = (pool.get(), pool.py());
    if !this.is_managed() {
        return Ok(slot);
    }
    if this.tracks() {
        this.places.note(py, slot);
    }
    match follow_up(pool) {
        Ok(()) => Ok(slot),
        Err(error) => {
            let mut kept = Kept::default();
            kept.add(py, error);
            kept.keep(py, give_back(pool, slot));
            kept.raise().map(|()| slot).or_raised(py)
        }
    }
}

/// Waits until the calling thread or greenlet gets a slot.
pub(crate) fn wait_for_slot<'py>(pool: &Bound<'py, Pool>, wait: Wait) -> Raises<'py, SlotId> {
    let (this, py) = (pool.get(), pool.py());
    if this.needs_event_loop() {
        return Err(errors::only_for_tasks(this, py));
    }
    let asker = asker(this, py);
    let slot = match this.with(py, |core| held(core.lease_or_take_back(asker), core, asker.thread)) {
        Some(slot) => Some(slot),
        None => borrow(pool, asker.now).or_raised(py)?,
    };
    match slot {
        Some(slot) => taken(pool, slot),
        None => queue(pool, wait, asker),
    }
}

/// However this ends, the place in the queue is given up exactly once, and a slot that was handed over in the meantime
/// is returned, or given back before the exception comes out.
#[cold]
fn queue<'py>(pool: &Bound<'py, Pool>, wait: Wait, first: Caller) -> Raises<'py, SlotId> {
    let (this, py) = (pool.get(), pool.py());
    this.join_registry(py);
    let deadline = Deadline::after(wait.seconds(py, this.default_timeout()), first.now);
    let sleeper = match Sleeper::here(pool) {
        Ok(sleeper) => sleeper,
        Err(_) if this.with(py, |core| core.is_closed()) => return Err(errors::closed(this, py)),
        Err(error) => return Err(error).or_raised(py),
    };
    // Asked again: that this thread has a hub may have been news.
    let first = Caller { now: first.now, ..asker(this, py) };
    let spent = this.with(py, |core| core.spent(first.now));
    let greenlet = sleeper.is_greenlet();
    let mut place = match join(pool, first, sleeper)? {
        Joined::Got(slot) => return taken(pool, slot),
        Joined::At(place) => place,
    };
    let _waiting = Waiting::begin(first.thread);
    let waited = Waited { since: first.now, deadline, spent, blocks_loop: false };
    let mut queued = Queued::new(pool, waited);
    if !greenlet && deadline.left(first.now) != Some(0) {
        match blocks_event_loop(pool).or_raised(py) {
            Ok(blocks) => queued.waited.blocks_loop = blocks,
            Err(raised) => return queued.stop(place.take(py), Stop::Raised(raised)),
        }
    }
    loop {
        // Each time: a signal handler may have forked, and what was under way for this wait is the other process's
        // then.
        if let Err(raised) = follow_up_if_managed(pool).or_raised(py) {
            return queued.stop(place.take(py), Stop::Raised(raised));
        }
        let now = this.now();
        let left = deadline.left(now);
        if let Some(reason) = reason_to_stop(py, left).or_else(|| queued.look_for_deadlock(now)) {
            return queued.stop(place.take(py), reason);
        }
        let retry = this.id_source().map(|_| RETRY);
        let limit = [left, queued.until_look(now), retry].into_iter().flatten().min();
        if let Err(raised) = place.sleep(pool, limit) {
            return queued.stop(place.take(py), Stop::Raised(raised));
        }
        let now = asker(this, py);
        let Some(ticket) = place.take(py) else {
            // The hub did not run for a while, and the wait was ended for us.
            place = match join(pool, now, place.into_sleeper())? {
                Joined::Got(slot) => return taken(pool, slot),
                Joined::At(place) => place,
            };
            continue;
        };
        let turned = this.with(py, |core| {
            let turned = core.collect(ticket, now);
            if let Collected::Slot(slot, _) = turned {
                held(Some(slot), core, now.thread);
            }
            turned
        });
        match turned {
            Collected::Slot(slot, _waker) => return taken(pool, slot),
            Collected::Refused(refusal, _waker) => return Err(errors::refused(pool, refusal)),
            Collected::Pending(ticket) => place.keep(py, ticket),
        }
    }
}

/// What comes of joining the queue.
enum Joined<'py> {
    Got(SlotId),
    At(Place<'py>),
}

/// Joins the queue, unless something is idle.
fn join<'py>(pool: &Bound<'py, Pool>, caller: Caller, sleeper: Sleeper<'py>) -> Raises<'py, Joined<'py>> {
    let (this, py) = (pool.get(), pool.py());
    let waker = sleeper.waker();
    let answer = this.with(py, |core| {
        let answer = core.lease_or_queue(caller, waker);
        if let Answer::Slot(slot) = answer {
            held(Some(slot), core, caller.thread);
        }
        answer
    });
    match answer {
        Answer::Slot(slot) => Ok(Joined::Got(slot)),
        Answer::Refused(refusal) => Err(errors::refused(pool, refusal)),
        Answer::Queued(ticket) => Ok(Joined::At(Place::new(py, sleeper, ticket))),
    }
}

/// A thread or a greenlet in the queue.
struct Queued<'a, 'py> {
    pool: &'a Bound<'py, Pool>,
    waited: Waited,
    /// When it is worth looking for a deadlock: never, after the last look.
    look_at: Option<Nanos>,
    /// Whether it has looked once, and was not certain.
    looks_again: bool,
}

impl<'a, 'py> Queued<'a, 'py> {
    fn new(pool: &'a Bound<'py, Pool>, waited: Waited) -> Self {
        let makes = pool.get().with(pool.py(), |core| core.rules().makes);
        let look_at = waited.since.saturating_add(if makes { DEADLOCK_AFTER } else { PROBABLE_DEADLOCK_AFTER });
        Queued { pool, waited, look_at: Some(look_at), looks_again: false }
    }

    fn stop(&self, ticket: Option<Ticket>, reason: Stop<'py>) -> Raises<'py, SlotId> {
        let (pool, this, py) = (self.pool, self.pool.get(), self.pool.py());
        // What the message is about, while this thread still waits.
        let (counts, now, me) = (this.counts(py), this.now(), who(this, py));
        let before = ticket.as_ref().and_then(|ticket| this.with(py, |core| core.ahead_of(ticket)));
        let (slot, _waker) = this.with(py, |core| {
            let (slot, waker) = ticket.map_or((None, None), |ticket| core.cancel(ticket, now));
            if slot.is_none() && matches!(reason, Stop::TimedOut | Stop::Deadlock) {
                core.note_timeout();
            }
            (held(slot, core, me), waker)
        });
        match (slot, reason) {
            (Some(slot), Stop::Raised(raised)) => {
                give_back_quietly(pool, slot);
                Err(raised)
            }
            (Some(slot), _) => taken(pool, slot),
            (None, Stop::Raised(raised)) => Err(raised),
            (None, Stop::Finalizing) => Err(errors::shutting_down(this, py, counts)),
            (None, Stop::TimedOut) => Err(errors::timed_out(pool, self.waited, counts, before, now)),
            (None, Stop::Deadlock) => Err(errors::deadlock(pool)),
        }
    }

    fn until_look(&self, now: Nanos) -> Option<Nanos> {
        self.look_at.map(|at| at.saturating_sub(now))
    }

    /// Once, after a while: whether every holder waits for this pool. The last of them to begin its wait sees it, so
    /// one look each is enough; but if something else may hide that it is certain, it looks again, ever later.
    fn look_for_deadlock(&mut self, now: Nanos) -> Option<Stop<'py>> {
        self.look_at.take_if(|at| *at <= now)?;
        let (this, py) = (self.pool.get(), self.pool.py());
        note_holders(this, py, now);
        let me = who(this, py);
        let (stuck, entered, makes) = this.with(py, |core| {
            // Only a holder can end it by giving up: the last of those to begin a wait looks as well.
            let stuck = core.values().any(|(_, item, hold, _)| item.who(py, hold) == me) && is_stuck(core, py);
            // Greenlets of one thread cannot be told apart by what was taken before the first of them was seen.
            let stuck = stuck && (!greenlet::any() || core.values().all(|(_, item, ..)| item.greenlet().is_some()));
            // What greenlet has entered a lease is not known, only which has taken it.
            let entered =
                !greenlet::any() && core.values().all(|(_, item, hold, _)| hold == Hold::Leased && item.is_entered(py));
            (stuck, entered, core.rules().makes)
        });
        if !stuck || this.id_source().is_some_and(|ids| ids.has_given_others(py)) {
            return None;
        }
        // A lease that was not entered, or a bare object, may be given back by any thread; and where the pool does not
        // make its objects itself, somebody may add one. So that is only probable. And the thread that entered a lease
        // need not be the one that leaves it: the Python side looks whether the lease is on its stack.
        let may_be_certain = makes && entered;
        // Whatever looks at the leases in another thread at the same moment hides it, such as this very look there.
        let tells = self.looks_again || !may_be_certain;
        match examine_deadlock(self.pool, may_be_certain, tells) {
            // That ran Python, so the others may have gone on meanwhile.
            Ok(true) => this.with(py, |core| is_stuck(core, py)).then_some(Stop::Deadlock),
            Ok(false) => {
                if may_be_certain {
                    self.looks_again = true;
                    self.look_at = Some(now.saturating_add(now.saturating_sub(self.waited.since).saturating_mul(2)));
                }
                None
            }
            Err(interrupt) => Some(Stop::Raised(Raised::from_error(py, interrupt))),
        }
    }
}

/// Whether this thread, which is about to wait, runs an event loop: that stands still meanwhile. The log tells so once.
///
/// # Errors
/// If a signal handler raised meanwhile.
fn blocks_event_loop(pool: &Bound<'_, Pool>) -> PyResult<bool> {
    let (this, py) = (pool.get(), pool.py());
    let blocks = this.clock().is_none() && or_no(pool, runs_event_loop(py))?;
    if blocks && this.note_blocked_loop() {
        tell(pool, &python_side::LOG_BLOCKED_LOOP, &[])?;
    }
    Ok(blocks)
}

/// Whether all threads that hold something, as far as the pool knows, wait for it.
fn is_stuck(core: &Core, py: Python<'_>) -> bool {
    core.is_stuck(|item, hold| item.who(py, hold))
}

/// Whether it is certain that the waits of all holders never end. Writes to the log what is only probable, if that is
/// to be told.
///
/// # Errors
/// If a signal handler raised meanwhile.
fn examine_deadlock(pool: &Bound<'_, Pool>, may_be_certain: bool, tells: bool) -> PyResult<bool> {
    let py = pool.py();
    let [may_be_certain, tells] = [may_be_certain, tells].map(|flag| PyBool::new(py, flag).to_owned().into_any());
    let certain = python_side::EXAMINE_DEADLOCK.call(py, &[pool.as_any(), &may_be_certain, &tells]);
    or_no(pool, certain.and_then(|certain| is_true(&certain)))
}

/// The answer; or no, if that failed, which is reported as unraisable.
///
/// # Errors
/// If a signal handler raised meanwhile.
fn or_no(pool: &Bound<'_, Pool>, answer: PyResult<bool>) -> PyResult<bool> {
    let py = pool.py();
    let Err(error) = answer else { return answer };
    failure(py, error)?.write_unraisable(py, Some(pool.as_any()));
    Ok(false)
}
