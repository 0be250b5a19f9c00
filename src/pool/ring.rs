//! A ring of idle slots, in the order in which they are to be leased.

use super::slots::SlotId;

/// Which idle object is leased next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The one that has been idle longest.
    #[default]
    Fifo,
    /// The one that came back last: its caches are warm, and surplus objects stay idle.
    Lifo,
}

/// A ring buffer whose length is a power of two, so that a mask wraps it.
///
/// Room for every slot is reserved when a slot is made ([`reserve`](Ring::reserve)): pushing never allocates.
pub(super) struct Ring {
    slots: Box<[SlotId]>,
    head: usize,
    len: usize,
    order: Order,
}

impl Ring {
    pub(super) fn new() -> Self {
        Ring { slots: Box::new([SlotId::NONE; 8]), head: 0, len: 0, order: Order::Fifo }
    }

    pub(super) fn set_order(&mut self, order: Order) {
        self.order = order;
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Makes room for `capacity` slots in all.
    pub(super) fn reserve(&mut self, capacity: usize) {
        if capacity <= self.slots.len() {
            return;
        }
        let mut grown = vec![SlotId::NONE; capacity.next_power_of_two()].into_boxed_slice();
        for (index, slot) in self.iter().enumerate() {
            grown[index] = slot;
        }
        self.slots = grown;
        self.head = 0;
    }

    #[inline(always)]
    pub(super) fn push(&mut self, slot: SlotId) {
        debug_assert!(self.len < self.slots.len(), "room is reserved when a slot is made");
        let mask = self.slots.len() - 1;
        let place = match self.order {
            Order::Fifo => self.head.wrapping_add(self.len) & mask,
            Order::Lifo => {
                self.head = self.head.wrapping_sub(1);
                self.head & mask
            }
        };
        self.slots[place] = slot;
        self.len += 1;
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<SlotId> {
        if self.len == 0 {
            return None;
        }
        let slot = self.slots[self.head & (self.slots.len() - 1)];
        self.head = self.head.wrapping_add(1);
        self.len -= 1;
        Some(slot)
    }

    /// The one that would be leased next.
    pub(super) fn first(&self) -> Option<SlotId> {
        (self.len > 0).then(|| self.slots[self.head & (self.slots.len() - 1)])
    }

    /// The one that has been here longest.
    pub(super) fn oldest(&self) -> Option<SlotId> {
        match self.order {
            Order::Fifo => self.first(),
            Order::Lifo => self.iter().last(),
        }
    }

    /// The one that came last.
    pub(super) fn newest(&self) -> Option<SlotId> {
        let place = match self.order {
            Order::Fifo => self.head.wrapping_add(self.len).wrapping_sub(1),
            Order::Lifo => self.head,
        };
        (self.len > 0).then(|| self.slots[place & (self.slots.len() - 1)])
    }

    /// Removes one, wherever it is: false if it is not here. Linear.
    pub(super) fn remove(&mut self, slot: SlotId) -> bool {
        let Some(place) = self.iter().position(|other| other == slot) else { return false };
        let mask = self.slots.len() - 1;
        for index in place + 1..self.len {
            let from = self.head.wrapping_add(index);
            self.slots[from.wrapping_sub(1) & mask] = self.slots[from & mask];
        }
        self.len -= 1;
        true
    }

    /// All of them, the one that would be leased next first.
    pub(super) fn iter(&self) -> impl Iterator<Item = SlotId> + '_ {
        (0..self.len).map(|index| self.slots[self.head.wrapping_add(index) & (self.slots.len() - 1)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(order: Order) -> Ring {
        let mut ring = Ring::new();
        ring.set_order(order);
        ring
    }

    #[test]
    fn fifo_gives_the_oldest_first_also_across_the_wrap() {
        let mut ring = ring(Order::Fifo);
        for index in 0..8 {
            ring.push(SlotId::new(index));
        }
        for index in 0..5 {
            assert_eq!(ring.pop(), Some(SlotId::new(index)));
            ring.push(SlotId::new(index + 8));
        }
        let rest: Vec<_> = std::iter::from_fn(|| ring.pop()).collect();
        assert_eq!(rest, (5..13).map(SlotId::new).collect::<Vec<_>>());
    }

    #[test]
    fn lifo_gives_the_newest_first() {
        let mut ring = ring(Order::Lifo);
        for index in 0..3 {
            ring.push(SlotId::new(index));
        }
        assert_eq!(ring.pop(), Some(SlotId::new(2)));
        ring.push(SlotId::new(7));
        assert_eq!(ring.pop(), Some(SlotId::new(7)));
        assert_eq!(ring.pop(), Some(SlotId::new(1)));
    }

    #[test]
    fn taking_one_out_of_the_middle_keeps_the_order_of_the_others() {
        let mut ring = ring(Order::Fifo);
        for index in 0..5 {
            ring.push(SlotId::new(index));
        }
        assert_eq!((ring.first(), ring.newest()), (Some(SlotId::new(0)), Some(SlotId::new(4))));
        assert!(ring.remove(SlotId::new(2)));
        assert!(!ring.remove(SlotId::new(2)));
        assert_eq!(ring.iter().collect::<Vec<_>>(), [0, 1, 3, 4].map(SlotId::new));
        ring.push(SlotId::new(9));
        assert_eq!(ring.newest(), Some(SlotId::new(9)));
    }

    #[test]
    fn growing_keeps_the_order() {
        let mut ring = ring(Order::Fifo);
        for index in 0..8 {
            ring.push(SlotId::new(index));
        }
        ring.pop();
        ring.reserve(9);
        ring.push(SlotId::new(8));
        assert_eq!(ring.iter().collect::<Vec<_>>(), (1..9).map(SlotId::new).collect::<Vec<_>>());
    }
}
