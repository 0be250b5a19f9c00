//! Where to look for the lowest free position.

use std::collections::BTreeMap;

use super::page::{PAGE_BITS, bits};

/// Positions of a line: eight words, what the processor reads at once. A page has 128 of them, the bits of a `u128`.
pub const LINE_BITS: u64 = 512;

/// The lines below the watermark that have a free position: those of a page in one entry of a tree.
///
/// The positions themselves are not kept a second time, the bitmap knows them. Taking the lowest is: the first entry
/// of the tree, its lowest bit, eight words of the bitmap. A line may be noted that has no free position any more; the
/// search that finds it so removes the note.
#[derive(Default)]
pub struct Lowest {
    pages: BTreeMap<u64, u128>,
    /// How many positions below the watermark are free.
    pub len: u64,
}

impl Lowest {
    /// Notes the line of a position.
    pub fn note(&mut self, position: u64) {
        *self.pages.entry(position / PAGE_BITS).or_default() |= mask(position);
    }

    /// Takes the note of a line away.
    pub fn forget(&mut self, position: u64) {
        if let Some(lines) = self.pages.get_mut(&(position / PAGE_BITS)) {
            *lines &= !mask(position);
            if *lines == 0 {
                self.pages.remove(&(position / PAGE_BITS));
            }
        }
    }

    /// Where the first line begins.
    pub fn first(&self) -> Option<u64> {
        let (page, lines) = self.pages.first_key_value()?;
        Some(page * PAGE_BITS + u64::from(lines.trailing_zeros()) * LINE_BITS)
    }

    /// Where the lines begin, ascending.
    pub fn lines(&self) -> impl Iterator<Item = u64> {
        self.pages.iter().flat_map(|(page, &lines)| {
            let halves = bits(lines as u64).chain(bits((lines >> 64) as u64).map(|bit| bit + 64));
            halves.map(move |line| page * PAGE_BITS + line * LINE_BITS)
        })
    }

    /// Forgets the pages from `end` on.
    pub fn cut(&mut self, end: u64) {
        self.pages.split_off(&end.div_ceil(PAGE_BITS));
    }
}

fn mask(position: u64) -> u128 {
    1 << (position % PAGE_BITS / LINE_BITS)
}
