//! The queue of those who wait: first come, first served, and anybody may leave at any time in constant time.

use super::SlotId;

const NONE: u32 = u32::MAX;

/// A place in the queue. Whoever holds it must end it with `collect` or `cancel`, exactly once.
#[derive(Debug)]
#[must_use = "a ticket that is dropped leaves a ghost in the queue"]
pub struct Ticket(u32);

enum Phase<W> {
    /// Not in use; linked into the list of free nodes by `next`.
    Free,
    /// In the queue; `W` wakes the waiter.
    Queued(W),
    /// Out of the queue, with a value to pick up.
    Given(SlotId),
}

struct Node<W> {
    phase: Phase<W>,
    thread: usize,
    previous: u32,
    next: u32,
}

/// A doubly linked list threaded through a vector, so that its nodes need neither allocation nor `unsafe`.
pub(super) struct Waiters<W> {
    nodes: Vec<Node<W>>,
    first: u32,
    last: u32,
    free: u32,
    queued: usize,
}

/// What became of a ticket.
pub(super) enum Outcome {
    Queued(Ticket),
    Given(SlotId),
}

impl<W> Waiters<W> {
    pub(super) fn new() -> Self {
        Waiters { nodes: Vec::new(), first: NONE, last: NONE, free: NONE, queued: 0 }
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    pub(super) fn len(&self) -> usize {
        self.queued
    }

    pub(super) fn push(&mut self, thread: usize, wake: W) -> Ticket {
        let node = Node { phase: Phase::Queued(wake), thread, previous: self.last, next: NONE };
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
        match self.last {
            NONE => self.first = index,
            last => self.nodes[last as usize].next = index,
        }
        self.last = index;
        self.queued += 1;
        Ticket(index)
    }

    /// Gives `slot` to whoever has waited longest; the caller wakes them after unlocking.
    pub(super) fn give(&mut self, slot: SlotId) -> Option<W> {
        match self.first {
            NONE => None,
            first => self.take_out(first, Phase::Given(slot)),
        }
    }

    /// Looks after a ticket without giving up the place.
    pub(super) fn collect(&mut self, ticket: Ticket) -> Outcome {
        match self.nodes[ticket.0 as usize].phase {
            Phase::Given(slot) => {
                self.free(ticket.0);
                Outcome::Given(slot)
            }
            _ => Outcome::Queued(ticket),
        }
    }

    /// Gives up the place. `Given`: the value came first, and is the caller's.
    pub(super) fn cancel(&mut self, ticket: Ticket) -> Result<W, SlotId> {
        match self.collect(ticket) {
            Outcome::Given(slot) => Err(slot),
            Outcome::Queued(Ticket(index)) => {
                let wake = self.take_out(index, Phase::Free);
                self.free(index);
                Ok(wake.expect("a ticket that was not given anything is queued"))
            }
        }
    }

    /// Removes everybody who is not `thread`: returns how to wake them, and what they had been given.
    pub(super) fn keep_only(&mut self, thread: usize) -> (Vec<W>, Vec<SlotId>) {
        let (mut gone, mut given) = (Vec::new(), Vec::new());
        for index in 0..u32::try_from(self.nodes.len()).expect("as in push") {
            let node = &self.nodes[index as usize];
            if node.thread == thread {
                continue;
            }
            match node.phase {
                Phase::Free => continue,
                Phase::Queued(_) => gone.extend(self.take_out(index, Phase::Free)),
                Phase::Given(slot) => given.push(slot),
            }
            self.free(index);
        }
        (gone, given)
    }

    /// Unlinks a queued node and leaves it in `phase`.
    fn take_out(&mut self, index: u32, phase: Phase<W>) -> Option<W> {
        let node = &mut self.nodes[index as usize];
        let Phase::Queued(wake) = std::mem::replace(&mut node.phase, phase) else { return None };
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

    fn free(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        node.phase = Phase::Free;
        node.next = self.free;
        self.free = index;
    }
}
