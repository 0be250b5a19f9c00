//! Everything that is outside the pool's state: holders, waiters, background threads, hooks, and a clock. The same calls
//! in the same order as the bindings', one after another.

mod background;
mod end;

use std::collections::{BTreeMap, BTreeSet};

use opool::pool::{
    Answer, Attempt, Caller, Collected, Hold, Identity, Order, Reason, Rules, SlotId, State, Task, Ticket, TimeSlice,
    WorkerId,
};

pub const ME: usize = 1;
pub const OTHER: usize = 2;

/// A pooled value. A copy is a second reference to the same object, which a forced close makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    pub serial: usize,
    pub copy: bool,
}

impl Identity for Value {
    fn identity(&self) -> usize {
        self.serial
    }
}

/// A leased or acquired object.
pub struct Lease {
    pub serial: usize,
    slot: SlotId,
    who: usize,
}

/// A hook that has not returned.
enum Job {
    Make(Attempt),
    Maintain(Task),
    Dispose(Value, u64),
}

/// A background thread. Its number is what wakes it.
struct Worker {
    number: usize,
    id: Option<WorkerId>,
    doing: Doing,
}

enum Doing {
    /// It has been started, or has finished something, or was woken.
    Coming {
        slept: bool,
    },
    Asleep {
        until: u64,
    },
    Working(Job),
}

/// How a value ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Disposed,
    Dropped,
    /// The other process's: untouched.
    Left,
    TakenOut,
}

pub struct Outside {
    pub state: State<Value, usize>,
    pub now: u64,
    /// Whether there are background threads; else the test does all the work, as with a virtual clock.
    threads: bool,
    pub leases: Vec<Lease>,
    pub acquired: Vec<Lease>,
    pub tickets: Vec<(usize, Ticket)>,
    workers: Vec<Worker>,
    jobs: Vec<Job>,
    /// Every value that ever was.
    pub all: BTreeSet<Value>,
    exits: BTreeMap<Value, Exit>,
    next: usize,
    pub forked: bool,
}

impl Outside {
    pub fn new(rules: Rules, order: Order, threads: bool, seed: u64) -> Self {
        let mut state = State::new();
        state.set_order(order);
        state.set_time_slice(TimeSlice { body: 50_000_000, whole: 200_000_000 });
        state.set_rules(rules, seed);
        Outside {
            state,
            now: 1_000_000_000,
            threads,
            leases: Vec::new(),
            acquired: Vec::new(),
            tickets: Vec::new(),
            workers: Vec::new(),
            jobs: Vec::new(),
            all: BTreeSet::new(),
            exits: BTreeMap::new(),
            next: 0,
            forked: false,
        }
    }

    fn caller(&self, thread: usize) -> Caller {
        Caller { thread, now: self.now, nested: false, deadline: u64::MAX }
    }

    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn new_value(&mut self) -> Value {
        let value = Value { serial: self.number(), copy: false };
        self.all.insert(value);
        value
    }

    fn exit(&mut self, value: Value, how: Exit) {
        let before = self.exits.insert(value, how);
        assert_eq!(before, None, "{value:?} leaves a second time, now {how:?}");
        let disposed = self.exits.iter().filter(|(other, how)| other.serial == value.serial && **how == Exit::Disposed);
        assert!(disposed.count() <= 1, "{value:?} is disposed of twice");
    }

    /// The values that are not in the state any more.
    pub fn elsewhere(&self) -> impl Iterator<Item = Value> {
        let working = self.workers.iter().filter_map(|worker| match &worker.doing {
            Doing::Working(job) => Some(job),
            _ => None,
        });
        let dispose = working.chain(&self.jobs).filter_map(|job| match job {
            Job::Dispose(value, _) => Some(*value),
            _ => None,
        });
        dispose.chain(self.exits.keys().copied())
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Callers

    pub fn add(&mut self) {
        let value = self.new_value();
        if let Err((value, _)) = self.state.add(value, self.now) {
            self.all.remove(&value);
        }
    }

    fn has_taken(&mut self, slot: SlotId, who: usize) {
        let serial = self.state.value_mut(slot).expect("a slot that is out has a value").serial;
        self.leases.push(Lease { serial, slot, who });
    }

    pub fn take(&mut self, who: usize) {
        let quick = self.state.lease();
        assert!(quick.is_none() || !self.state.tracks_leases(), "the quick path found something that is to be watched");
        if let Some(slot) = quick.or_else(|| self.state.take(self.now)) {
            assert!(!self.state.is_closed());
            self.has_taken(slot, who);
        }
    }

    pub fn queue(&mut self, who: usize) {
        let caller = self.caller(who);
        if let Some(slot) = self.state.lease_or_take_back(caller) {
            assert!(!self.state.is_closed());
            return self.has_taken(slot, who);
        }
        let number = self.number();
        match self.state.lease_or_queue(caller, number) {
            Answer::Slot(slot) => self.has_taken(slot, who),
            Answer::Queued(ticket) => self.tickets.push((who, ticket)),
            Answer::Refused(_) => {}
        }
    }

    pub fn collect(&mut self, which: usize) {
        if self.tickets.is_empty() {
            return;
        }
        let (who, ticket) = self.tickets.remove(which % self.tickets.len());
        let caller = self.caller(who);
        match self.state.collect(ticket, caller) {
            Collected::Slot(slot, _) => self.has_taken(slot, who),
            Collected::Refused(..) => {}
            Collected::Pending(ticket) => self.tickets.push((who, ticket)),
        }
    }

    pub fn cancel(&mut self, which: usize) {
        if self.tickets.is_empty() {
            return;
        }
        let (who, ticket) = self.tickets.remove(which % self.tickets.len());
        if let (Some(slot), _) = self.state.cancel(ticket, self.now) {
            self.has_taken(slot, who);
        }
    }

    /// How many waiters were refused and have not collected.
    pub fn refused_tickets(&self) -> usize {
        let handed = self.state.values().filter(|(_, _, hold, _)| *hold == Hold::Handed).count();
        let refused = |(_, ticket): &&(usize, Ticket)| self.state.ahead_of(ticket).is_none();
        self.tickets.iter().filter(refused).count() - handed
    }

    fn some_lease(&mut self, which: usize) -> Option<Lease> {
        (!self.leases.is_empty()).then(|| self.leases.remove(which % self.leases.len()))
    }

    pub fn give_back(&mut self, which: usize) {
        let Some(Lease { slot, who, .. }) = self.some_lease(which) else { return };
        if !self.state.give_back_quickly(slot) {
            let _wake = self.state.give_back(slot, self.caller(who));
        }
    }

    pub fn abandon(&mut self, which: usize) {
        let Some(Lease { slot, who, .. }) = self.some_lease(which) else { return };
        if self.state.give_back_quickly(slot) {
        } else if self.state.rules().resets && self.state.may_touch(slot) {
            self.state.reset_in_background(slot, self.now);
        } else {
            let _wake = self.state.give_back(slot, self.caller(who));
        }
    }

    pub fn discard(&mut self, which: usize) {
        if let Some(lease) = self.some_lease(which) {
            self.state.discard_leased(lease.slot, Reason::Discarded, self.now);
        }
    }

    pub fn retire(&mut self, which: usize) {
        if let Some(lease) = self.some_lease(which) {
            let value = self.state.retire(lease.slot, self.now).expect("it was out");
            self.exit(value, Exit::TakenOut);
        }
    }

    pub fn acquire(&mut self, which: usize) {
        if let Some(lease) = self.some_lease(which) {
            self.state.acquire(lease.slot);
            self.acquired.push(lease);
        }
    }

    pub fn release(&mut self, which: usize) {
        if self.acquired.is_empty() {
            return;
        }
        let lease = self.acquired.remove(which % self.acquired.len());
        if self.state.release_quickly(lease.serial) {
            return;
        }
        if let Some(slot) = self.state.release(lease.serial).expect("it is out") {
            let _wake = self.state.give_back(slot, self.caller(lease.who));
        }
    }

    pub fn close(&mut self, force: bool) {
        let mut copies = Vec::new();
        let mut copy = |value: &Value| {
            copies.push(Value { copy: true, ..*value });
            Value { copy: true, ..*value }
        };
        self.state.close(if force { Some(&mut copy) } else { None });
        for copy in copies {
            assert!(self.all.insert(copy), "{copy:?} is disposed of under its holder's hands for the second time");
        }
    }

    /// Only ME exists any more, and no background thread.
    pub fn fork(&mut self) {
        let (orphans, mine) = std::mem::take(&mut self.leases).into_iter().partition::<Vec<_>, _>(|l| l.who == OTHER);
        let (bare, my_bare) = std::mem::take(&mut self.acquired).into_iter().partition::<Vec<_>, _>(|l| l.who == OTHER);
        (self.leases, self.acquired) = (mine, my_bare);
        self.tickets.retain(|(who, _)| *who == ME);
        let serials: Vec<usize> = orphans.iter().chain(&bare).map(|lease| lease.serial).collect();
        let forked = self.state.keep_only(ME, |_| false, |value, _| serials.contains(&value.serial));
        for value in forked.inherited {
            self.exit(value, Exit::Left);
        }
        let jobs = self.workers.drain(..).filter_map(|worker| match worker.doing {
            Doing::Working(job) => Some(job),
            _ => None,
        });
        for job in jobs.chain(self.jobs.drain(..)).collect::<Vec<_>>() {
            if let Job::Dispose(value, _) = job {
                self.exit(value, Exit::Left);
            }
        }
        self.forked = true;
    }
}
