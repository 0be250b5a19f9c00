//! What a claim id holds for a time, and the thread that renews it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::core::sync::{Condvar, Mutex};

use super::bank::Bank;
use super::boottime;
use super::error::{Error, Result};
use super::fork::{PerProcess, generation};
use super::model::{Call, Held, Micros, NEVER, Row, Settle, Settled, margin};

const HELD: u8 = 0;
const SETTLED: u8 = 1;
const LOST: u8 = 2;

/// A lease. Dropping it gives the item back, without waiting for that, unless the call that it comes from only repeated
/// another.
pub struct Lease {
    bank: Bank,
    pub row: Row,
    /// Taken by the call that this comes from. Else an earlier call of the same id has a lease of its own for it.
    pub new: bool,
    pub ttl: Micros,
    /// When the holder must stop, on this machine's clock; before the store lets go.
    deadline: AtomicI64,
    state: AtomicU8,
    generation: u64,
    /// Notified when it is lost or over; who waits looks for itself.
    waiting: Mutex<()>,
    over: Condvar,
}

impl Lease {
    /// `before`: the store's `boottime` before the call that took it was made. `row.remaining` is the store's answer.
    pub fn new(bank: Bank, held: Held, ttl: Micros, before: Micros) -> Arc<Lease> {
        let Held { row, new } = held;
        let deadline = deadline(before, row.remaining, ttl);
        Arc::new(Lease {
            bank,
            row,
            new,
            ttl,
            deadline: AtomicI64::new(deadline),
            state: AtomicU8::new(HELD),
            generation: generation(),
            waiting: Mutex::new(()),
            over: Condvar::new(),
        })
    }

    /// Has it renewed until it is settled, lost or dropped.
    pub fn keep_renewed(self: &Arc<Self>) {
        if self.ttl != NEVER {
            RENEWER.get().add(self);
        }
    }

    pub fn bank(&self) -> &Bank {
        &self.bank
    }

    /// Whether this process took it; a forked child has only a copy.
    pub fn is_ours(&self) -> bool {
        self.generation == generation()
    }

    pub fn is_settled(&self) -> bool {
        self.state.load(Ordering::Acquire) == SETTLED
    }

    /// What remains for the holder; negative if it is over. Looked up anew each time: a timer may be late.
    pub fn remaining(&self) -> Micros {
        match self.deadline.load(Ordering::Acquire) {
            NEVER => NEVER,
            deadline => deadline - self.bank.store.boottime(),
        }
    }

    /// Whether the holder must stop: the store said so, or the time is up.
    pub fn is_lost(&self) -> bool {
        match self.state.load(Ordering::Acquire) {
            HELD => self.remaining() <= 0,
            state => state == LOST,
        }
    }

    /// Waits until it is lost. True if it is; false if it was settled or the limit passed.
    pub fn wait_lost(&self, limit: Option<Duration>) -> bool {
        let begin = std::time::Instant::now();
        let mut guard = self.waiting.lock();
        loop {
            if self.is_lost() {
                return true;
            }
            let left = limit.map(|limit| limit.saturating_sub(begin.elapsed()));
            if self.is_settled() || left == Some(Duration::ZERO) {
                return false;
            }
            let mine = Duration::from_micros(self.remaining().clamp(1_000, 1_000_000) as u64);
            self.over.wait_for(&mut guard, left.map_or(mine, |left| left.min(mine)));
        }
    }

    fn end(&self, state: u8) {
        if self.state.compare_exchange(HELD, state, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            drop(self.waiting.lock());
            self.over.notify_all();
        }
    }

    /// The finishing call for this lease's item.
    pub fn settle(&self, call: Call) -> Settle {
        Settle { key: self.row.key.clone(), token: self.row.token, call, force: false }
    }

    /// Takes the answer of a finishing call into account. `before`: as in `new`.
    pub fn note(&self, call: &Call, before: Micros, answer: &Result<Settled>) {
        match (call, answer) {
            (Call::Extend { ttl }, Ok(settled)) => {
                self.deadline.fetch_max(deadline(before, settled.remaining, *ttl), Ordering::AcqRel);
            }
            (_, Ok(_) | Err(Error::AlreadySettled { .. })) => self.end(SETTLED),
            (_, Err(Error::Stale { .. })) => self.end(LOST),
            _ => {}
        }
    }

    /// Gives it back without waiting for the answer.
    pub fn abandon(&self) {
        if self.is_ours() && self.state.swap(SETTLED, Ordering::AcqRel) != SETTLED {
            let release = vec![self.settle(Call::Release { delay: 0 })];
            self.bank.store.settle(self.bank.number, release, Box::new(|_| ()));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if *self.state.get_mut() == HELD && self.new {
            self.abandon();
        }
    }
}

fn deadline(before: Micros, remaining: Micros, ttl: Micros) -> Micros {
    if remaining == NEVER { NEVER } else { before.saturating_add(remaining) - margin(ttl) }
}

/// The thread that renews all leases of this process. It is Rust alone: a computing Python thread does not stop it.
#[derive(Default)]
struct Renewer {
    due: Mutex<BTreeMap<(Micros, u64), std::sync::Weak<Lease>>>,
    changed: Condvar,
    started: std::sync::OnceLock<()>,
    last: AtomicU64,
}

static RENEWER: PerProcess<Renewer> = PerProcess::new();

impl Renewer {
    fn add(&'static self, lease: &Arc<Lease>) {
        self.schedule(lease, lease.ttl / 3);
        self.started.get_or_init(|| {
            // Without the thread leases end by their ttl, which their holders are told; no reason to fail the call.
            let _ = std::thread::Builder::new().name("opool-bank-renew".into()).spawn(|| self.run());
        });
    }

    fn schedule(&self, lease: &Arc<Lease>, delay: Micros) {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let at = boottime::now() + delay.max(1_000);
        let mut due = self.due.lock();
        let first = due.first_key_value().is_none_or(|((first, _), _)| at < *first);
        due.insert((at, number), Arc::downgrade(lease));
        drop(due);
        if first {
            self.changed.notify_one();
        }
    }

    fn run(&'static self) {
        loop {
            let mut leases = Vec::new();
            {
                let mut due = self.due.lock();
                loop {
                    let now = boottime::now();
                    while let Some(entry) = due.first_entry() {
                        if entry.key().0 > now {
                            break;
                        }
                        leases.extend(entry.remove().upgrade());
                    }
                    if !leases.is_empty() {
                        break;
                    }
                    match due.first_key_value() {
                        Some(((at, _), _)) => {
                            let wait = Duration::from_micros((at - now).max(1) as u64);
                            self.changed.wait_for(&mut due, wait);
                        }
                        None => self.changed.wait(&mut due),
                    }
                }
            }
            self.renew(leases);
        }
    }

    /// A settle for each lease: the store makes one transaction of those that wait, and the answer of one whose row another
    /// transaction has does not hold up those of the others.
    fn renew(&'static self, leases: Vec<Arc<Lease>>) {
        for lease in leases {
            if lease.state.load(Ordering::Acquire) != HELD {
                continue;
            }
            let bank = lease.bank.clone();
            let before = bank.store.boottime();
            let settle = lease.settle(Call::Extend { ttl: lease.ttl });
            let lease = Arc::downgrade(&lease);
            let answer = move |answers: Result<Vec<Result<Settled>>>| {
                let Some(lease) = lease.upgrade() else { return };
                let answer = answers.and_then(|mut answers| answers.pop().unwrap_or(Err(Error::Closed)));
                lease.note(&Call::Extend { ttl: lease.ttl }, before, &answer);
                match answer {
                    Ok(_) => self.schedule(&lease, lease.ttl / 3),
                    Err(Error::Stale { .. } | Error::Closed) => {}
                    // The file is busy or the disk full: again soon, as long as the lease lasts.
                    Err(_) => self.schedule(&lease, lease.ttl / 10),
                }
            };
            bank.store.settle(bank.number, vec![settle], Box::new(answer));
        }
    }
}
