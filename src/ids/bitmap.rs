//! A set of positions, in pages that come as the set grows.

use std::iter;

use super::Error;

/// Positions on one page. It is also what one container of the Roaring format holds.
pub const PAGE_BITS: u64 = 1 << 16;

const WORD_BITS: u64 = u64::BITS as u64;

/// Which positions are set. Pages are never moved, so growing costs one page and never a copy of the others.
#[derive(Default)]
pub struct Bitmap {
    pages: Vec<Box<[u64]>>,
}

impl Bitmap {
    /// Makes sure that there is a bit for `position`, where every position before it has one already.
    ///
    /// `end` is where the positions end: the last page is no longer than it must be, so a small set stays small.
    #[inline(always)]
    pub fn reach(&mut self, position: u64, end: u64) -> Result<(), Error> {
        if position / PAGE_BITS >= self.pages.len() as u64 { self.add_page(end) } else { Ok(()) }
    }

    #[cold]
    fn add_page(&mut self, end: u64) -> Result<(), Error> {
        let begins = self.pages.len() as u64 * PAGE_BITS;
        let words = end.saturating_sub(begins).min(PAGE_BITS).div_ceil(WORD_BITS);
        self.pages.try_reserve(1)?;
        self.pages.push(zeroed(words as usize)?);
        Ok(())
    }

    /// Sets the bit of a position that [`reach`](Self::reach) has prepared.
    #[inline(always)]
    pub fn insert(&mut self, position: u64) {
        if let Some(word) = self.word_mut(position) {
            *word |= mask(position);
        }
    }

    /// Whether the bit is set. A position that was never prepared is not.
    #[inline(always)]
    pub fn contains(&self, position: u64) -> bool {
        let page = usize::try_from(position / PAGE_BITS).ok().and_then(|page| self.pages.get(page));
        page.and_then(|page| page.get(offset(position))).is_some_and(|word| word & mask(position) != 0)
    }

    /// The bit, if it is set, as something that can be cleared.
    #[inline(always)]
    pub fn entry(&mut self, position: u64) -> Option<Entry<'_>> {
        let word = self.word_mut(position)?;
        (*word & mask(position) != 0).then_some(Entry { word, mask: mask(position) })
    }

    #[inline(always)]
    fn word_mut(&mut self, position: u64) -> Option<&mut u64> {
        let page = usize::try_from(position / PAGE_BITS).ok()?;
        self.pages.get_mut(page)?.get_mut(offset(position))
    }

    /// A copy of the positions that are set, ascending.
    pub fn positions(&self) -> Result<impl Iterator<Item = u64> + use<>, Error> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(self.pages.len())?;
        for page in &self.pages {
            copy.push(copied(page)?);
        }
        let pages = (0..).step_by(PAGE_BITS as usize).zip(copy);
        let words = pages.flat_map(|(begins, page)| (begins..).step_by(WORD_BITS as usize).zip(page));
        Ok(words.flat_map(|(begins, word)| bits(word).map(move |bit| begins + bit)))
    }
}

/// A bit that is set.
pub struct Entry<'a> {
    word: &'a mut u64,
    mask: u64,
}

impl Entry<'_> {
    /// Clears it.
    #[inline(always)]
    pub fn remove(self) {
        *self.word &= !self.mask;
    }
}

/// The word within its page.
#[inline(always)]
fn offset(position: u64) -> usize {
    (position % PAGE_BITS / WORD_BITS) as usize
}

/// The bit within its word.
#[inline(always)]
fn mask(position: u64) -> u64 {
    1 << (position % WORD_BITS)
}

/// The bits that are set in `word`, lowest first.
fn bits(mut word: u64) -> impl Iterator<Item = u64> {
    iter::from_fn(move || {
        let lowest = word.trailing_zeros();
        word &= word.checked_sub(1)?;
        Some(lowest.into())
    })
}

/// `len` zeros, or the news that there is no room for them.
pub(super) fn zeroed<T: Copy + Default>(len: usize) -> Result<Box<[T]>, Error> {
    let mut items = Vec::new();
    items.try_reserve_exact(len)?;
    items.resize(len, T::default());
    Ok(items.into_boxed_slice())
}

/// A copy of `items`, or the news that there is no room for it.
fn copied<T: Copy>(items: &[T]) -> Result<Box<[T]>, Error> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(items.len())?;
    copy.extend_from_slice(items);
    Ok(copy.into_boxed_slice())
}
