//! A set of positions for pages that hold few of them: the containers of the Roaring format, in memory.

use std::collections::BTreeMap;

use super::errors::Error;
use super::page::{PAGE_BITS, PAGE_WORDS, bits, zeroed};

/// Up to so many positions a page is a list: 8 KiB, what the bits would take.
pub const FEW: usize = 4096;

/// With fewer positions than this, bits become a list again. Less than [`FEW`], or a page could go back and forth.
const FEW_AGAIN: u32 = 1024;

/// The positions of one page that are set, as distances from where the page begins.
pub enum Container {
    /// Ascending.
    Few(Vec<u16>),
    /// All the words of a page, and how many bits are set in them.
    Many(Box<[u64]>, u32),
}

impl Container {
    /// How many there are.
    pub fn len(&self) -> u32 {
        match self {
            Container::Few(list) => list.len() as u32,
            Container::Many(_, len) => *len,
        }
    }

    fn contains(&self, low: u16) -> bool {
        match self {
            Container::Few(list) => list.binary_search(&low).is_ok(),
            Container::Many(words, _) => words[usize::from(low) / 64] >> (low % 64) & 1 == 1,
        }
    }

    /// Adds one that is not there.
    fn insert(&mut self, low: u16) -> Result<(), Error> {
        match self {
            Container::Few(list) if list.len() < FEW => {
                if let Err(place) = list.binary_search(&low) {
                    list.try_reserve(1)?;
                    list.insert(place, low);
                }
            }
            Container::Few(_) => {
                *self = Container::Many(self.words()?, self.len());
                self.insert(low)?;
            }
            Container::Many(words, len) => {
                words[usize::from(low) / 64] |= 1 << (low % 64);
                *len += 1;
            }
        }
        Ok(())
    }

    /// Removes one that is there. Neither needs memory nor frees any, so it can be inserted again without memory.
    fn remove(&mut self, low: u16) {
        match self {
            Container::Few(list) => {
                if let Ok(place) = list.binary_search(&low) {
                    list.remove(place);
                }
            }
            Container::Many(words, len) => {
                words[usize::from(low) / 64] &= !(1 << (low % 64));
                *len -= 1;
            }
        }
    }

    /// The 64 positions of one word of the page.
    pub fn word(&self, index: usize) -> u64 {
        match self {
            Container::Few(list) => {
                let begins = list.partition_point(|&low| usize::from(low) / 64 < index);
                let here = list[begins..].iter().take_while(|&&low| usize::from(low) / 64 == index);
                here.fold(0, |word, &low| word | 1 << (low % 64))
            }
            Container::Many(words, _) => words[index],
        }
    }

    /// A copy as the words of a page.
    pub fn words(&self) -> Result<Box<[u64]>, Error> {
        let mut copy = zeroed(PAGE_WORDS)?;
        match self {
            Container::Few(list) => list.iter().for_each(|&low| copy[usize::from(low) / 64] |= 1 << (low % 64)),
            Container::Many(words, _) => copy.copy_from_slice(words),
        }
        Ok(copy)
    }

    /// As a list, where that is shorter by far.
    fn shrink(&mut self) {
        if let Container::Many(words, len) = self
            && *len < FEW_AGAIN
        {
            let mut list = Vec::new();
            if list.try_reserve_exact(*len as usize).is_ok() {
                let words = words.iter().zip((0_u64..).step_by(64));
                list.extend(words.flat_map(|(&word, begins)| bits(word).map(move |bit| (begins + bit) as u16)));
                *self = Container::Few(list);
            }
        }
    }
}

/// Containers by the number of their page.
///
/// What a tree takes for a node cannot be refused (the standard library has no way to say so): a few hundred bytes.
#[derive(Default)]
pub struct Sparse {
    pub(super) pages: BTreeMap<u64, Container>,
}

impl Sparse {
    /// Whether the position is set.
    pub fn contains(&self, position: u64) -> bool {
        self.pages.get(&(position / PAGE_BITS)).is_some_and(|page| page.contains(low(position)))
    }

    /// Sets a position that is not set.
    pub fn insert(&mut self, position: u64) -> Result<(), Error> {
        self.pages.entry(position / PAGE_BITS).or_insert(Container::Few(Vec::new())).insert(low(position))
    }

    /// Clears a position that is set.
    pub fn remove(&mut self, position: u64) {
        if let Some(page) = self.pages.get_mut(&(position / PAGE_BITS)) {
            page.remove(low(position));
        }
    }

    /// Gives back what the page of this position no longer needs.
    pub fn tidy(&mut self, position: u64) {
        let number = position / PAGE_BITS;
        if let Some(page) = self.pages.get_mut(&number) {
            page.shrink();
            if page.len() == 0 {
                self.pages.remove(&number);
            }
        }
    }
}

/// The place within the page.
fn low(position: u64) -> u16 {
    (position % PAGE_BITS) as u16
}
