//! The queue of the waiters: first come, first served; a waiter may leave at any time, in constant time.

use super::slots::SlotId;
use super::time::Nanos;

const NONE: u32 = u32::MAX;

/// A place in the queue. Its holder ends the wait with `collect` or `cancel`, exactly once.
#[derive(Debug)]
#[must_use = "a ticket that is dropped leaves its node in the queue for ever"]
pub struct Ticket(u32);

/// A slot that was handed to a waiter. Valid until the waiter collects: then its node may be another waiter's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HandOver(u32);

impl HandOver {
    /// Whether it was made to the holder of the ticket.
    pub(super) fn is_for(self, ticket: &Ticket) -> bool {
        self.0 == ticket.0
    }
}

enum Phase<W> {
    /// Not in use; linked into the list of free nodes by `next`.
    Free,
    /// In the queue; `W` wakes the waiter.
    Queued(W),
    /// Out of the queue, with a slot to collect; woken by `W` already.
    Handed(SlotId, W),
    /// Out of the queue, without a slot, and why; woken by `W` already.
    Refused(Refusal, W),
}

/// Why a caller gets no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The pool is closed.
    Closed,
    /// As many others wait as are allowed, or the pool is full.
    TooMany,
    /// Making an object failed, and no object is left that could come back.
    Failed,
    /// The deadline has passed. So many stood before it in the queue.
    TimedOut(usize),
}

struct Node<W> {
    phase: Phase<W>,
    thread: usize,
    since: Nanos,
    /// When [`Waiters::expire`] ends the wait; `Nanos::MAX` if the waiter looks at the clock itself.
    deadline: Nanos,
    previous: u32,
    next: u32,
    /// The wait that the same thread began inside this one (in a signal handler or a destructor), and the one outside this
    /// one. The outer wait cannot go on before the inner one has ended.
    inner: u32,
    outer: u32,
}

/// A doubly linked list threaded through a vector, so that its nodes need neither allocation nor `unsafe`.
pub(super) struct Waiters<W> {
    nodes: Vec<Node<W>>,
    first: u32,
    last: u32,
    free: u32,
    /// How many there are; and [`SLOW_RETURNS`], if every return has to take the slow path.
    queued: usize,
}

const SLOW_RETURNS: usize = 1 << (usize::BITS - 1);

/// What became of a ticket.
pub(super) enum Outcome<W> {
    Queued(Ticket),
    /// With when the wait began, and what used to wake the waiter, to be dropped by the caller.
    Handed(SlotId, Nanos, Option<W>),
    Refused(Refusal, Nanos, Option<W>),
}

impl<W: Clone> Waiters<W> {
    pub(super) fn new() -> Self {
        Waiters { nodes: Vec::new(), first: NONE, last: NONE, free: NONE, queued: 0 }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Whether a return may take the quick path: nobody waits, and nothing else asks for the slow one. One test.
    #[inline(always)]
    pub(super) fn allows_quick_return(&self) -> bool {
        self.queued == 0
    }

    /// Settles whether returns take the slow path even while nobody waits.
    pub(super) fn set_slow_returns(&mut self, slow: bool) {
        self.queued = self.len() | if slow { SLOW_RETURNS } else { 0 };
    }

    pub(super) fn len(&self) -> usize {
        self.queued & !SLOW_RETURNS
    }

    /// Queues a wait; `nested` says that the thread may be waiting already.
    pub(super) fn push(&mut self, thread: usize, now: Nanos, deadline: Nanos, wake: W, nested: bool) -> Ticket {
        let outer = if nested { self.innermost(thread) } else { NONE };
        let phase = Phase::Queued(wake);
        let node = Node { phase, thread, since: now, deadline, previous: NONE, next: NONE, inner: NONE, outer };
        let index = match self.free {
            NONE => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("fewer than 2**32 threads wait")
            }
            free => {
                self.free = self.nodes[free as usize].next;
                self.nodes[free as usize] = node;
                free
            }
        };
        if outer != NONE {
            self.nodes[outer as usize].inner = index;
        }
        self.link(index, self.last, NONE);
        Ticket(index)
    }

    /// Hands `slot` to the thread that has waited longest, to its innermost wait; the caller wakes it after unlocking.
    pub(super) fn hand_over(&mut self, slot: SlotId) -> Option<(HandOver, W)> {
        let mut index = self.first;
        if index == NONE {
            return None;
        }
        while let Some(inner) = self.inner_queued(index) {
            index = inner;
        }
        let wake = self.unlink(index)?;
        self.nodes[index as usize].phase = Phase::Handed(slot, wake.clone());
        Some((HandOver(index), wake))
    }

    /// Takes back what an outer wait of the thread was handed, for the wait inside it, which has to end first. The outer
    /// one is the first in the queue again.
    pub(super) fn take_from_outer(&mut self, thread: usize) -> Option<SlotId> {
        let handed = |node: &Node<W>| node.thread == thread && matches!(node.phase, Phase::Handed(..));
        let index = u32::try_from(self.nodes.iter().position(handed)?).ok()?;
        self.take_back(HandOver(index))
    }

    /// The wait inside this one, if it has not been handed anything yet.
    fn inner_queued(&self, index: u32) -> Option<u32> {
        let inner = self.nodes[index as usize].inner;
        (inner != NONE && matches!(self.nodes[inner as usize].phase, Phase::Queued(_))).then_some(inner)
    }

    /// The wait of the thread that has no other inside it, or `NONE`.
    fn innermost(&self, thread: usize) -> u32 {
        let found = |node: &Node<W>| node.thread == thread && node.inner == NONE && !matches!(node.phase, Phase::Free);
        self.nodes.iter().position(found).and_then(|index| u32::try_from(index).ok()).unwrap_or(NONE)
    }

    /// Revokes a hand-over that was not collected. The waiter is the first in the queue again.
    pub(super) fn take_back(&mut self, HandOver(index): HandOver) -> Option<SlotId> {
        let node = &mut self.nodes[index as usize];
        let Phase::Handed(slot, wake) = std::mem::replace(&mut node.phase, Phase::Free) else { return None };
        node.phase = Phase::Queued(wake);
        self.link(index, NONE, self.first);
        Some(slot)
    }

    /// What became of a ticket. If it is still queued, it keeps its place.
    pub(super) fn collect(&mut self, ticket: Ticket) -> Outcome<W> {
        let since = self.since(&ticket);
        match self.nodes[ticket.0 as usize].phase {
            Phase::Handed(slot, _) => Outcome::Handed(slot, since, self.free(ticket.0)),
            Phase::Refused(refusal, _) => Outcome::Refused(refusal, since, self.free(ticket.0)),
            _ => Outcome::Queued(ticket),
        }
    }

    /// When the wait began.
    pub(super) fn since(&self, ticket: &Ticket) -> Nanos {
        self.nodes[ticket.0 as usize].since
    }

    /// Ends all waits without a slot; the caller wakes the waiters.
    pub(super) fn refuse_all(&mut self, refusal: Refusal) -> Vec<W> {
        let mut refused = Vec::new();
        while self.first != NONE {
            let index = self.first;
            let Some(wake) = self.unlink(index) else { break };
            self.nodes[index as usize].phase = Phase::Refused(refusal, wake.clone());
            refused.push(wake);
        }
        refused
    }

    /// Ends the waits whose deadline has passed; the caller wakes the waiters.
    pub(super) fn expire(&mut self, now: Nanos) -> Vec<W> {
        let mut expired = Vec::new();
        let (mut index, mut before) = (self.first, 0);
        while index != NONE {
            let next = self.nodes[index as usize].next;
            if self.nodes[index as usize].deadline <= now
                && let Some(wake) = self.unlink(index)
            {
                self.nodes[index as usize].phase = Phase::Refused(Refusal::TimedOut(before), wake.clone());
                expired.push(wake);
            }
            (index, before) = (next, before + 1);
        }
        expired
    }

    /// The earliest deadline; `Nanos::MAX` if there is none.
    pub(super) fn next_deadline(&self) -> Nanos {
        let queued = self.nodes.iter().filter(|node| matches!(node.phase, Phase::Queued(_)));
        queued.map(|node| node.deadline).min().unwrap_or(Nanos::MAX)
    }

    /// How many stand before the holder of the ticket in the queue, if it stands there still.
    pub(super) fn ahead_of(&self, ticket: &Ticket) -> Option<usize> {
        let mut index = self.first;
        for before in 0.. {
            match index {
                NONE => break,
                index if index == ticket.0 => return Some(before),
                _ => index = self.nodes[index as usize].next,
            }
        }
        None
    }

    pub(super) fn wakers(&self) -> impl Iterator<Item = &W> {
        self.nodes.iter().filter_map(|node| match &node.phase {
            Phase::Queued(wake) | Phase::Handed(_, wake) | Phase::Refused(_, wake) => Some(wake),
            Phase::Free => None,
        })
    }

    /// The threads of the waiters in the queue.
    pub(super) fn threads(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().filter(|node| matches!(node.phase, Phase::Queued(_))).map(|node| node.thread)
    }

    /// Leaves the queue. If a slot came first, it is the caller's; the waker is to be dropped.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> (Option<SlotId>, Option<W>) {
        match self.collect(ticket) {
            Outcome::Handed(slot, _, wake) => (Some(slot), wake),
            Outcome::Refused(_, _, wake) => (None, wake),
            Outcome::Queued(Ticket(index)) => {
                let wake = self.unlink(index);
                self.free(index);
                (None, wake)
            }
        }
    }

    /// Removes all waiters that are not `thread` and do not run in it: returns their wakers, and what they had been handed.
    pub(super) fn keep_only(&mut self, thread: usize, runs_here: impl Fn(&W) -> bool) -> (Vec<W>, Vec<SlotId>) {
        let (mut wakers, mut handed) = (Vec::new(), Vec::new());
        for index in 0..u32::try_from(self.nodes.len()).expect("as in push") {
            let node = &self.nodes[index as usize];
            let stays = match &node.phase {
                Phase::Queued(wake) | Phase::Handed(_, wake) | Phase::Refused(_, wake) => runs_here(wake),
                Phase::Free => true,
            };
            if stays || node.thread == thread {
                continue;
            }
            match node.phase {
                Phase::Free => continue,
                Phase::Queued(_) => wakers.extend(self.unlink(index)),
                Phase::Refused(..) => {}
                Phase::Handed(slot, _) => handed.push(slot),
            }
            wakers.extend(self.free(index));
        }
        (wakers, handed)
    }

    /// Links a node into the list between these neighbours.
    fn link(&mut self, index: u32, previous: u32, next: u32) {
        let node = &mut self.nodes[index as usize];
        (node.previous, node.next) = (previous, next);
        match previous {
            NONE => self.first = index,
            previous => self.nodes[previous as usize].next = index,
        }
        match next {
            NONE => self.last = index,
            next => self.nodes[next as usize].previous = index,
        }
        self.queued += 1;
    }

    /// Unlinks a queued node, and takes its waker out.
    fn unlink(&mut self, index: u32) -> Option<W> {
        let node = &mut self.nodes[index as usize];
        let Phase::Queued(wake) = std::mem::replace(&mut node.phase, Phase::Free) else { return None };
        let (previous, next) = (node.previous, node.next);
        match previous {
            NONE => self.first = next,
            previous => self.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.last = previous,
            next => self.nodes[next as usize].previous = previous,
        }
        self.queued -= 1;
        Some(wake)
    }

    /// Frees a node that is in no list for the next waiter; returns the waker that it still had.
    fn free(&mut self, index: u32) -> Option<W> {
        let node = &mut self.nodes[index as usize];
        node.next = self.free;
        self.free = index;
        let outer = std::mem::replace(&mut node.outer, NONE);
        if outer != NONE {
            self.nodes[outer as usize].inner = NONE;
        }
        let node = &mut self.nodes[index as usize];
        match std::mem::replace(&mut node.phase, Phase::Free) {
            Phase::Handed(_, wake) | Phase::Refused(_, wake) | Phase::Queued(wake) => Some(wake),
            Phase::Free => None,
        }
    }
}
