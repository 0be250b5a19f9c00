//! What is to be done in the background: making objects, looking after them, letting them go.
//!
//! The state decides what is to be done next, and does none of it. A background thread asks for work
//! ([`State::next_work`]), does it outside, and tells how it ended. So whoever asks for an object waits for the pool
//! only, and gets what comes first, an object that comes back or a new one; no hook holds up anybody but its thread.

use super::figures::Reason;
use super::slots::Farewell;
use super::supply::{Attempt, PATIENT_FOR};
use super::waiters::Refusal;
use super::workers::WorkerId;
use super::{Hold, Identity, Nanos, SlotId, State};

/// How many threads dispose of objects at the same time: if all of them hang, the next objects wait.
const DISPOSE_AT_ONCE: usize = 8;
/// How long an object that is being disposed of still takes its place: it is probably open at its other end until then.
/// If it takes longer it probably hangs, and holds nobody up.
const PARTING: Nanos = 1_000_000_000;
/// How long a thread that finds nothing to do waits for something.
const LINGER: Nanos = 1_000_000_000;
/// Each part of `max_idle`, at most half of the objects that have been idle for too long go.
const PRUNE_PARTS: Nanos = 10;

/// What a background thread looks at in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Whether it is fit to go out.
    Check,
    /// It came back without its holder's help, and is to be reset.
    Reset,
}

/// An object in the hands of a background thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Which.
    pub slot: SlotId,
    /// Why.
    pub care: Care,
    job: u64,
}

/// Something that people should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// This object has been out for longer than `leak_after`.
    Leak(SlotId),
    /// An attempt to make an object was given up.
    GaveUpMaking,
    /// A check was given up, and its object with it.
    GaveUpTask(Care),
}

/// Something to do. Each is to be finished by the method that it names.
#[derive(Debug)]
pub enum Work<T> {
    /// Make an object: [`State::made`], [`State::not_made`] or [`State::unmade`].
    Make(Attempt),
    /// Look after an object: [`State::tended`] or [`State::untended`].
    Tend(Task),
    /// Dispose of an object, from now on: [`State::disposed`] or [`State::undisposed`].
    Dispose(T, Nanos),
    /// Tell people: nothing to finish.
    Report(Report),
}

/// What a background thread does next.
#[derive(Debug)]
pub enum Next<T> {
    /// This.
    Do(Work<T>),
    /// Sleep so long, unless called.
    Sleep(Nanos),
    /// Nothing any more.
    End,
}

/// What whoever has changed something does next, outside.
#[derive(Debug)]
pub enum FollowUp<T, W> {
    /// Wake this thread.
    Wake(W),
    /// Start a background thread.
    Start,
    /// Drop this value.
    Drop(T),
    /// Forget this value: it is another process's, and dropping it might do something to it.
    Leak(T),
}

/// What a fork leaves behind, to be dropped, forgotten, or woken.
pub struct Forked<T, W> {
    /// What used to wake threads that do not exist here.
    pub wakers: Vec<W>,
    /// Values of the other process: never to be touched again.
    pub left: Vec<T>,
    /// Values that were borrowed and are nobody's here: whose they are takes them back.
    pub back: Vec<T>,
    /// Whom to wake.
    pub wake: Vec<W>,
}

impl<T: Identity, W: Clone> State<T, W> {
    // -----------------------------------------------------------------------------------------------------------------
    // Making

    /// How many attempts to make an object should begin.
    pub fn wanted(&self, now: Nanos) -> usize {
        if !self.rules.makes || self.closed {
            return 0;
        }
        let making = self.supply.making();
        let all = self.slots.len() + making;
        let waiting = self.waiters.len();
        let for_waiters = waiting.saturating_sub(self.supply.promising(now) + self.checks_that_promise(now));
        let for_waiters = for_waiters.min((2 * waiting).saturating_sub(self.supply.awaited()));
        let need = for_waiters
            .max(usize::from(self.wished && making == 0))
            .max(self.rules.min_size.saturating_sub(all))
            .max(self.owed);
        let room = self.rules.max_size.saturating_sub(all + self.parting(now));
        need.min(room).min(self.supply.may_begin(now))
    }

    /// How many objects that have left still take their places, because they are not disposed of yet. Were they not
    /// counted, there could be any number of them beside `max_size` others.
    fn parting(&self, now: Nanos) -> usize {
        if !self.rules.disposes {
            return 0;
        }
        let begun = self.disposing.iter().filter(|&&began| now.saturating_sub(began) < PARTING).count();
        if begun == 0 && self.disposing.len() >= DISPOSE_AT_ONCE {
            return 0; // all of them hang: nobody knows when it will be the turn of the others
        }
        begun + self.gone.iter().filter(|&&(_, farewell)| farewell == Farewell::Dispose).count()
    }

    /// An attempt ended well. The value goes to whoever waits, or joins the idle ones; or it has come too late (it was
    /// given up, or the pool became smaller), and is to be disposed of.
    pub fn made(&mut self, attempt: Attempt, value: T, now: Nanos) {
        let ended = self.supply.end(attempt, now, true);
        if let Some(ended) = &ended {
            self.figures.create.note(ended.took);
        }
        let room = self.slots.len() + self.supply.making() < self.rules.max_size;
        if self.closed || !room {
            self.figures.created += 1;
            self.count_retired(if self.closed { Reason::Closed } else { Reason::Surplus });
            self.gone.push_back((value, Farewell::Dispose));
            self.making_ahead &= ended.is_none();
        } else {
            let (id, wake) = self.insert(value, now);
            self.forget_gifts();
            self.to_wake.extend(wake);
            if ended.is_some_and(|ended| ended.stale) {
                self.make_stale(id);
            }
            if std::mem::take(&mut self.making_ahead) {
                self.ahead += 1;
            }
        }
        self.look_for_more(now);
        self.mind();
    }

    /// An attempt failed. If nothing is there that could come back, those who wait need not wait any longer.
    pub fn not_made(&mut self, attempt: Attempt, now: Nanos) {
        if self.supply.end(attempt, now, false).is_some() {
            self.figures.failed += 1;
            self.making_failed(now);
        }
    }

    /// An attempt was broken off from outside, or never begun: another one may begin.
    pub fn unmade(&mut self, attempt: Attempt, now: Nanos) {
        if self.supply.break_off(attempt) {
            self.making_ahead = false;
            self.look_for_more(now);
            self.mind();
        }
    }

    fn making_failed(&mut self, now: Nanos) {
        self.making_ahead = false;
        if self.slots.len() == 0 && self.supply.making() == 0 {
            self.to_wake.extend(self.waiters.refuse_all(Refusal::Failed));
        }
        self.due = self.due.min(self.supply.due(now, self.rules.make_limit));
        self.look_for_more(now);
        self.mind();
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Looking after what is there

    /// leased → tended: an object that came back without its holder's help is reset in the background.
    pub fn tend_leased(&mut self, id: SlotId, now: Nanos) {
        debug_assert_eq!(self.slots.get(id).hold, Hold::Leased);
        self.note_use(id, now);
        self.begin_task(id, Care::Reset, now);
    }

    /// The end of a task: tended → idle or handed over if the object is fit; else it goes.
    pub fn tended(&mut self, task: Task, fit: bool, now: Nanos) {
        let Task { slot, care, .. } = task;
        if !self.is_current(task) {
            return; // given up before
        }
        self.slots.record(slot).job = None;
        self.checking -= 1;
        let unfit = if care == Care::Check { Reason::Unfit } else { Reason::NotReset };
        match if fit { self.reason_to_keep_out(slot, now) } else { Some(unfit) } {
            Some(reason) => self.discard(slot, reason),
            None => {
                let wake = self.pass_on(slot, now);
                self.forget_gifts();
                self.to_wake.extend(wake);
            }
        }
        self.look_for_more(now);
        self.mind();
    }

    /// Nobody has begun that task: somebody else is to do it.
    pub fn untended(&mut self, task: Task) {
        if !self.is_current(task) {
            return;
        }
        if self.closed {
            self.checking -= 1;
            self.discard(task.slot, Reason::Closed);
        } else {
            self.to_do.push_front(task);
        }
    }

    /// The object in question, unless the task was given up before.
    pub fn task_value(&mut self, task: Task) -> Option<&mut T> {
        if self.is_current(task) { self.value_mut(task.slot) } else { None }
    }

    fn is_current(&mut self, Task { slot, care, job }: Task) -> bool {
        self.slots.get(slot).hold == Hold::Tended && self.slots.record(slot).job == Some((job, care))
    }

    fn begin_task(&mut self, slot: SlotId, care: Care, now: Nanos) {
        self.latest_job += 1;
        let job = self.latest_job;
        self.slots.get(slot).hold = Hold::Tended;
        let record = self.slots.record(slot);
        (record.job, record.since) = (Some((job, care)), now);
        self.checking += 1;
        self.to_do.push_back(Task { slot, care, job });
        let limit = self.rules.check_limit.map_or(PATIENT_FOR, |limit| limit.min(PATIENT_FOR));
        self.due = self.due.min(now.saturating_add(limit));
        self.spent(now);
    }

    /// Sees to it that something is under way for each waiter: what is idle but not known to be fit is looked at, and
    /// ([`wanted`](Self::wanted)) others are made.
    pub(super) fn look_for_more(&mut self, now: Nanos) {
        if self.closed {
            return;
        }
        // The room of a replacement that was owed may be taken, by what somebody added or because the pool became smaller:
        // then there is nothing to wait for.
        self.owed = self.owed.min(self.rules.max_size.saturating_sub(self.slots.len() + self.supply.making()));
        self.making_ahead &= self.owed + self.supply.making() > 0;
        // Whatever is being made: that may take long, or never end.
        while self.waiters.len() > self.checks_that_promise(now)
            && let Some(id) = self.kept.pop()
        {
            self.begin_task(id, Care::Check, now);
        }
        self.replace_next(now);
        self.spent(now);
    }

    /// How many of those who are being looked at somebody who waits may count on. One that takes long probably hangs.
    fn checks_that_promise(&self, now: Nanos) -> usize {
        if self.checking == 0 {
            return 0;
        }
        let tended = self.slots.iter().filter(|(slot, _)| slot.hold == Hold::Tended);
        tended.filter(|(_, record)| now.saturating_sub(record.since) < PATIENT_FOR).count()
    }

    /// Somebody found nothing and does not wait: next time there is to be something, if that can be helped.
    pub fn wish(&mut self, now: Nanos) {
        if self.closed || !self.waiters.is_empty() || self.checks_that_promise(now) > 0 {
            return;
        }
        match self.kept.pop() {
            Some(id) => self.begin_task(id, Care::Check, now),
            None => self.wished = true,
        }
    }

    /// Whether an object that ought to be replaced may go: one at a time, and not while no other can be had.
    pub(super) fn may_replace(&self, now: Nanos) -> bool {
        self.rules.makes
            && !self.closed
            && !self.supply.failed_lately(now)
            && self.supply.making() == 0
            && self.owed == 0
            && !self.making_ahead
    }

    /// Replaces stale objects, one after another: where there is room, the new one comes before the old one goes.
    fn replace_next(&mut self, now: Nanos) {
        while self.ahead > 0
            && let Some(id) = self.stale_idle()
        {
            self.take_out_of_rings(id);
            self.discard_stale(id, now);
        }
        if self.stale == 0 {
            self.ahead = 0;
            return;
        }
        if self.ahead > 0 || !self.may_replace(now) {
            return;
        }
        if self.slots.len() < self.rules.max_size {
            self.owed += 1;
            self.making_ahead = true;
        } else if let Some(id) = self.stale_idle() {
            self.take_out_of_rings(id);
            self.discard_stale(id, now);
        }
    }

    fn discard_stale(&mut self, id: SlotId, now: Nanos) {
        if self.ahead > 0 {
            self.ahead -= 1;
        } else {
            self.owed += 1;
        }
        let expired = self.slots.record(id).expires <= now;
        self.discard(id, if expired { Reason::Lifetime } else { Reason::Reloaded });
    }

    fn stale_idle(&mut self) -> Option<SlotId> {
        if self.stale == 0 {
            return None;
        }
        let idle: Vec<SlotId> = self.idle.iter().chain(self.kept.iter()).collect();
        idle.into_iter().find(|&id| self.slots.record(id).stale)
    }

    fn make_stale(&mut self, id: SlotId) {
        let record = self.slots.record(id);
        self.stale += usize::from(!record.stale);
        record.stale = true;
    }

    /// Whether an object that has come back is to stay out of the pool, and why.
    pub(super) fn reason_to_keep_out(&mut self, id: SlotId, now: Nanos) -> Option<Reason> {
        let record = *self.slots.record(id);
        if record.farewell == Farewell::Leak {
            return Some(Reason::Forked);
        }
        if self.closed {
            return Some(Reason::Closed);
        }
        if self.slots.len() + self.supply.making() > self.rules.max_size {
            return Some(Reason::Surplus);
        }
        if record.expires <= now {
            self.make_stale(id);
        }
        if self.slots.record(id).stale && (self.ahead > 0 || self.may_replace(now)) {
            if self.ahead > 0 {
                self.ahead -= 1;
            } else {
                self.owed += 1;
            }
            return Some(if record.expires <= now { Reason::Lifetime } else { Reason::Reloaded });
        }
        None
    }

    /// out of every ring → vacant. What becomes of the value is decided outside.
    pub(super) fn discard(&mut self, id: SlotId, reason: Reason) {
        let farewell = self.slots.record(id).farewell;
        if let Some(value) = self.remove(id, reason) {
            self.gone.push_back((value, farewell));
        }
    }

    pub(super) fn remove(&mut self, id: SlotId, reason: Reason) -> Option<T> {
        let record = self.slots.record(id);
        self.stale -= usize::from(record.stale);
        self.odd -= usize::from(record.farewell != Farewell::Dispose);
        (record.stale, record.job, record.farewell) = (false, None, Farewell::Dispose);
        self.count_retired(reason);
        if self.closed {
            self.to_wake.extend(self.closers.iter().cloned());
        }
        self.slots.remove(id)
    }

    fn count_retired(&mut self, reason: Reason) {
        self.figures.retired[reason as usize] += 1;
    }

    fn take_out_of_rings(&mut self, id: SlotId) {
        let _ = self.idle.remove(id) || self.kept.remove(id);
    }

    /// Says whether whoever gives something back has to look further than whether somebody waits.
    pub(super) fn mind(&mut self) {
        let surplus = self.slots.len() + self.supply.making() > self.rules.max_size;
        let rules = self.rules.resets || self.rules.borrows;
        let watched = self.watches || rules || self.closed || self.stale > 0 || self.odd > 0 || surplus;
        self.waiters.set_watched(watched);
    }

    // -----------------------------------------------------------------------------------------------------------------
    // What the user asks for

    /// From now on everything that is here is replaced, one after another.
    pub fn reload(&mut self, now: Nanos) {
        for id in self.slots.ids() {
            if self.slots.get(id).hold != Hold::Vacant {
                self.make_stale(id);
            }
        }
        self.supply.make_stale();
        self.look_for_more(now);
        self.mind();
    }

    /// Other limits. What is being made and too much is not counted on any more, what is idle goes at once, what is out
    /// when it comes back.
    pub fn resize(&mut self, min_size: usize, max_size: usize, now: Nanos) {
        (self.rules.min_size, self.rules.max_size) = (min_size, max_size);
        self.supply.forget((self.slots.len() + self.supply.making()).saturating_sub(max_size));
        while self.slots.len() + self.supply.making() > max_size
            && let Some(id) = self.idle_longest()
        {
            self.take_out_of_rings(id);
            self.discard(id, Reason::Surplus);
        }
        self.due = self.due.min(now);
        self.look_for_more(now);
        self.mind();
    }

    fn idle_longest(&mut self) -> Option<SlotId> {
        let of = |ring: &super::ring::Ring| match ring.newest() == ring.first() {
            true => ring.iter().last(),
            false => ring.first(),
        };
        of(&self.idle).or_else(|| of(&self.kept))
    }

    /// Ends the pool: nothing goes out any more, and what comes back goes. False if it was closed before.
    ///
    /// With `force`, what is out is disposed of as well, under its holder's hands: `copy` gives another reference to it.
    pub fn close(&mut self, force: Option<&mut dyn FnMut(&T) -> T>) -> bool {
        let first = !std::mem::replace(&mut self.closed, true);
        if first {
            // What was handed over stays so: a waiter that went back to the queue now would not be sent away.
            self.forget_gifts();
            self.to_wake.extend(self.waiters.refuse_all(Refusal::Closed));
            while let Some(id) = self.idle.pop().or_else(|| self.kept.pop()) {
                self.discard(id, Reason::Closed);
            }
            while let Some(task) = self.to_do.pop_front() {
                self.checking -= 1;
                self.discard(task.slot, Reason::Closed);
            }
            self.to_wake.extend(self.workers.call_all());
        }
        if let Some(copy) = force {
            self.forced = true;
            for id in self.slots.ids() {
                let whole = self.may_touch(id);
                let slot = self.slots.get(id);
                let out = matches!(slot.hold, Hold::Leased | Hold::Acquired | Hold::Handed);
                if let Some(value) = slot.value.as_ref().filter(|_| out && whole) {
                    self.gone.push_back((copy(value), Farewell::Dispose));
                    self.slots.record(id).farewell = Farewell::Drop;
                    self.odd += 1;
                }
            }
        }
        self.mind();
        first
    }

    /// Whether everything is back; and whether nothing is being done any more either.
    pub fn is_over(&self) -> (bool, bool) {
        let back = self.closed && (self.forced || self.slots.len() == self.checking);
        (
            back,
            back && self.checking + self.supply.making() + self.gone.len() + self.disposing.len() + self.workers.total
                == 0,
        )
    }

    /// Wakes `closer` at each step towards the end of the pool, until [`no_closer`](Self::no_closer).
    pub fn add_closer(&mut self, closer: W) {
        self.closers.push(closer);
    }

    /// Forgets one who waited for the end; the wakers are to be dropped.
    pub fn no_closer(&mut self, is_it: impl Fn(&W) -> bool) -> Vec<W> {
        let (gone, kept) = std::mem::take(&mut self.closers).into_iter().partition(is_it);
        self.closers = kept;
        gone
    }

    // -----------------------------------------------------------------------------------------------------------------
    // The background threads

    /// What a background thread is to do next. `worker` is set at its first call and cleared at its last. `slept` says
    /// that it comes from the sleep that it was sent to, and `tired` that nobody called it meanwhile.
    pub fn next_work(&mut self, worker: &mut Option<WorkerId>, wake: W, slept: bool, now: Nanos) -> Next<T> {
        let id = self.workers.arrive(*worker);
        *worker = Some(id);
        let mut tired = false;
        if slept {
            let called = self.workers.called();
            self.workers.get_up(id);
            tired = self.workers.called() == called;
        }
        if let Some(work) = self.take_work(now) {
            return Next::Do(work);
        }
        let needed_for_due = self.due < Nanos::MAX && !self.workers.someone_sleeps();
        if (tired && !needed_for_due) || self.closed {
            self.workers.leave();
            *worker = None;
            self.to_wake.extend(self.closers.iter().cloned());
            return Next::End;
        }
        let linger = now.saturating_add(LINGER);
        let until = if needed_for_due { self.due } else { linger.min(self.due) };
        self.workers.sleep(id, wake, until);
        Next::Sleep(until.saturating_sub(now))
    }

    /// A thread that has called [`next_work`](Self::next_work) ends without being told to.
    pub fn worker_gone(&mut self) {
        self.workers.leave();
        self.to_wake.extend(self.closers.iter().cloned());
    }

    /// A background thread could not be started.
    pub fn not_started(&mut self) {
        self.workers.call_failed();
    }

    /// Calls all background threads that sleep, to let them look up; the caller wakes them.
    pub fn call_all(&mut self) -> Vec<W> {
        self.workers.call_all()
    }

    /// The next thing to do in the background, if there is one now.
    pub fn take_work(&mut self, now: Nanos) -> Option<Work<T>> {
        if now >= self.due {
            self.look_at_the_clock(now);
        }
        if let Some(report) = self.reports.pop_front() {
            return Some(Work::Report(report));
        }
        if let Some(task) = self.to_do.pop_front() {
            return Some(Work::Tend(task));
        }
        if self.wanted(now) > 0 {
            self.owed = self.owed.saturating_sub(1);
            self.wished = false;
            let attempt = self.supply.begin(now);
            self.due = self.due.min(self.supply.due(now, self.rules.make_limit));
            self.spent(now);
            self.mind();
            return Some(Work::Make(attempt));
        }
        if self.rules.disposes && self.disposing.len() < DISPOSE_AT_ONCE {
            let index = self.gone.iter().position(|&(_, farewell)| farewell == Farewell::Dispose)?;
            self.disposing.push(now);
            self.due = self.due.min(now.saturating_add(PARTING));
            return self.gone.remove(index).map(|(value, _)| Work::Dispose(value, now));
        }
        None
    }

    /// An object was disposed of, one way or another, by somebody who began at that time.
    pub fn disposed(&mut self, began: Nanos) {
        if let Some(index) = self.disposing.iter().position(|&other| other == began) {
            self.disposing.swap_remove(index);
        }
        if self.closed {
            self.to_wake.extend(self.closers.iter().cloned());
        }
    }

    /// Nobody has begun to dispose of an object that was taken for that: somebody else is to do it.
    pub fn undisposed(&mut self, value: T, began: Nanos) {
        self.gone.push_front((value, Farewell::Dispose));
        self.disposed(began);
    }

    /// What whoever changed something does outside, until there is nothing more; `threads` says whether background
    /// threads may be called.
    pub fn follow_up(&mut self, now: Nanos, threads: bool) -> Option<FollowUp<T, W>> {
        if let Some(wake) = self.to_wake.pop_front() {
            return Some(FollowUp::Wake(wake));
        }
        let disposes = self.rules.disposes;
        if let Some(index) = self.gone.iter().position(|&(_, farewell)| !disposes || farewell != Farewell::Dispose) {
            let (value, farewell) = self.gone.remove(index)?;
            if self.closed {
                // They were woken when it came back, and may have looked before it was taken from here.
                self.to_wake.extend(self.closers.iter().cloned());
            }
            return Some(if farewell == Farewell::Leak { FollowUp::Leak(value) } else { FollowUp::Drop(value) });
        }
        if !threads || !self.rules.works() {
            return None;
        }
        let disposals = self.gone.len().min(DISPOSE_AT_ONCE.saturating_sub(self.disposing.len()));
        let pending = self.to_do.len() + self.reports.len() + disposals + self.wanted(now);
        // A closed pool has nobody look at the clock: threads end there at once, and each would call the next.
        let watch = !self.closed && self.workers.called() == 0 && self.due < self.workers.up_at();
        if pending > self.workers.called() || watch {
            return Some(self.workers.call().map_or(FollowUp::Start, FollowUp::Wake));
        }
        None
    }

    /// Whether there is something to do now.
    pub fn has_work(&self, now: Nanos) -> bool {
        let disposals = self.rules.disposes && !self.gone.is_empty() && self.disposing.len() < DISPOSE_AT_ONCE;
        disposals || now >= self.due || !self.to_do.is_empty() || !self.reports.is_empty() || self.wanted(now) > 0
    }

    /// When there is something to do again by itself.
    pub fn due(&self) -> Option<Nanos> {
        (self.due < Nanos::MAX).then_some(self.due)
    }

    /// Finds what time alone has made due, and when the next such moment is.
    fn look_at_the_clock(&mut self, now: Nanos) {
        let rules = self.rules;
        self.due = Nanos::MAX;
        let mut idle_too_long = Vec::new();
        for id in self.slots.ids() {
            let hold = self.slots.get(id).hold;
            let record = *self.slots.record(id);
            match hold {
                Hold::Vacant => continue,
                Hold::Tended => {
                    let slow = record.since.saturating_add(PATIENT_FOR);
                    if slow > now {
                        self.due = self.due.min(slow);
                    }
                    let Some(limit) = rules.check_limit else { continue };
                    let over = record.since.saturating_add(limit);
                    if over <= now {
                        self.give_up_task(id);
                        continue;
                    }
                    self.due = self.due.min(over);
                }
                Hold::Idle => {
                    let over = rules.max_idle.map_or(Nanos::MAX, |limit| record.since.saturating_add(limit));
                    if over <= now {
                        idle_too_long.push((record.since, id));
                    } else {
                        self.due = self.due.min(over);
                    }
                }
                Hold::Leased | Hold::Acquired => {
                    if let Some(limit) = rules.leak_after
                        && !record.reported
                    {
                        let over = record.since.saturating_add(limit);
                        if over <= now {
                            self.slots.record(id).reported = true;
                            self.reports.push_back(Report::Leak(id));
                        } else {
                            self.due = self.due.min(over);
                        }
                    }
                }
                Hold::Handed => {}
            }
            if record.expires <= now {
                self.make_stale(id);
            } else {
                self.due = self.due.min(record.expires);
            }
        }
        self.let_idle_go(idle_too_long, now);
        if let Some(limit) = rules.make_limit {
            let given_up = self.supply.give_up(now, limit);
            self.figures.failed += given_up as u64;
            for _ in 0..given_up {
                self.reports.push_back(Report::GaveUpMaking);
            }
            if given_up > 0 {
                self.making_failed(now);
            }
        }
        self.due = self.due.min(self.supply.due(now, rules.make_limit));
        let places_freed =
            self.disposing.iter().map(|began| began.saturating_add(PARTING)).filter(|&at| at > now).min();
        self.due = self.due.min(places_freed.unwrap_or(Nanos::MAX));
        self.look_for_more(now);
        self.mind();
    }

    /// At most half of them, the oldest first, and never below `min_size`.
    fn let_idle_go(&mut self, mut idle_too_long: Vec<(Nanos, SlotId)>, now: Nanos) {
        let Some(limit) = self.rules.max_idle else { return };
        let spare = (self.slots.len() + self.supply.making()).saturating_sub(self.rules.min_size);
        let may_go = spare.min(idle_too_long.len());
        idle_too_long.sort_by_key(|&(since, _)| since);
        let go = may_go.div_ceil(2);
        for &(_, id) in &idle_too_long[..go] {
            self.take_out_of_rings(id);
            self.discard(id, Reason::Idle);
        }
        if may_go > go {
            self.due = self.due.min(now.saturating_add(limit / PRUNE_PARTS));
        }
    }

    fn give_up_task(&mut self, slot: SlotId) {
        let Some((_, care)) = self.slots.record(slot).job else { return };
        self.to_do.retain(|task| task.slot != slot);
        self.checking -= 1;
        self.discard(slot, if care == Care::Check { Reason::Unfit } else { Reason::NotReset });
        self.reports.push_back(Report::GaveUpTask(care));
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Fork

    /// Settles that no thread but `survivor` exists any more, which is what a fork does to the child.
    ///
    /// Waiters of other threads are forgotten, and what they had been handed is free again. `orphaned` is asked of each
    /// value that is out whether its holder is gone; then it is free again too. But if the pool makes its objects itself,
    /// it starts anew: what is free stays the other process's, and so does, once it comes back, what the survivor holds.
    /// So it is in a closed pool, which nothing goes out of any more.
    ///
    /// `runs_here` tells of a waker whose waiter has no thread of its own whether it runs in the survivor's.
    pub fn keep_only(
        &mut self,
        survivor: usize,
        runs_here: impl Fn(&W) -> bool,
        mut orphaned: impl FnMut(&mut T, Hold) -> bool,
    ) -> Forked<T, W> {
        self.forget_gifts();
        let (mut wakers, mut free) = self.waiters.keep_only(survivor, &runs_here);
        wakers.extend(self.workers.start_anew());
        let (mut wake, gone): (Vec<W>, Vec<W>) = std::mem::take(&mut self.to_wake).into_iter().partition(&runs_here);
        wakers.extend(gone);
        wakers.append(&mut self.closers);
        self.supply.start_anew();
        self.to_do.clear();
        self.reports.clear();
        self.disposing.clear();
        (self.checking, self.owed, self.ahead, self.making_ahead) = (0, 0, 0, false);
        for id in self.slots.ids() {
            let slot = self.slots.get(id);
            let hold = slot.hold;
            let out = matches!(hold, Hold::Leased | Hold::Acquired);
            let orphan = out && slot.value.as_mut().is_some_and(|value| orphaned(value, hold));
            if orphan && hold == Hold::Acquired {
                self.acquired.remove_slot(id, &mut self.slots);
            }
            if orphan || hold == Hold::Tended {
                free.push(id);
            }
        }
        let mut left: Vec<T> = self.gone.drain(..).map(|(value, _)| value).collect();
        let mut back = if self.rules.borrows { std::mem::take(&mut left) } else { Vec::new() };
        if self.rules.makes || self.closed {
            while let Some(id) = self.idle.pop().or_else(|| self.kept.pop()) {
                free.push(id);
            }
            for id in free {
                left.extend(self.remove(id, Reason::Forked));
            }
            for id in self.slots.ids() {
                if self.slots.get(id).hold != Hold::Vacant {
                    self.odd += usize::from(self.slots.record(id).farewell == Farewell::Dispose);
                    self.slots.record(id).farewell = Farewell::Leak;
                }
            }
        } else {
            wake.extend(free.into_iter().filter_map(|id| self.pass_on(id, 0)));
            back.extend(self.gone.drain(..).map(|(value, _)| value));
            self.forget_gifts();
        }
        self.due = if self.rules.works() { 0 } else { Nanos::MAX };
        self.mind();
        Forked { wakers, left, back, wake }
    }
}
