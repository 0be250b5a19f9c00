//! A set of positions, in pages that come as the set grows.

use std::iter;
use std::ops::Range;

use super::errors::Error;
use super::page::{PAGE_BITS, WORD_BITS, bits, copied, mask, next_in, offset, run_of, window, words_of, zeroed};
use super::sparse::{Container, Sparse};

/// How many pages the table may skip. Each costs 16 bytes there; pages beyond are kept in a tree.
const SKIP: u64 = 4096;

/// The same, for pages that are read from a file.
const SKIP_LOADED: u64 = 64;

/// From so many positions on, a page that is read from a file gets a place in the table.
const MANY: u32 = 256;

/// Which positions are set.
///
/// The pages in the table are the quick ones. They are never moved, so growing costs one page and never a copy of the
/// others. A page is in the table (with words) or in the tree, never in both.
#[derive(Default)]
pub struct Bitmap {
    /// From page 0 on. One without words was skipped.
    pages: Vec<Box<[u64]>>,
    /// What is set far beyond the table, or was set one by one.
    far: Sparse,
}

/// The positions of one page that are set.
pub enum Page<'a> {
    /// Fewer words than a page has, if the rest is clear.
    Bits(&'a [u64]),
    /// Of the tree.
    Far(&'a Container),
}

impl Page<'_> {
    /// One word of it.
    pub fn word(&self, index: usize) -> u64 {
        match self {
            Page::Bits(words) => words.get(index).copied().unwrap_or(0),
            Page::Far(container) => container.word(index),
        }
    }

    /// The first place from `from` on that is set.
    pub fn next(&self, from: u64) -> Option<u64> {
        match self {
            Page::Bits(words) => next_in(words, from),
            Page::Far(Container::Many(words, _)) => next_in(words, from),
            Page::Far(Container::Few(list)) => {
                list.get(list.partition_point(|&low| u64::from(low) < from)).map(|&low| low.into())
            }
        }
    }

    /// How many are set.
    pub fn len(&self) -> u32 {
        match self {
            Page::Bits(words) => words.iter().map(|word| word.count_ones()).sum(),
            Page::Far(container) => container.len(),
        }
    }
}

impl Bitmap {
    /// Sets a bit. `end` is where the positions end: no page is longer than it must be, so a small set stays small.
    ///
    /// Made for positions that ascend: the page that follows the last one gets a place in the table.
    pub fn insert(&mut self, position: u64, end: u64) -> Result<(), Error> {
        match self.word_mut(position) {
            Some(word) => *word |= mask(position),
            None => self.insert_on_new_page(position, end)?,
        }
        Ok(())
    }

    /// Sets a bit if there is a page for it.
    #[inline(always)]
    pub fn insert_quickly(&mut self, position: u64) -> Option<()> {
        *self.word_mut(position)? |= mask(position);
        Some(())
    }

    #[cold]
    fn insert_on_new_page(&mut self, position: u64, end: u64) -> Result<(), Error> {
        if !self.make_page(position / PAGE_BITS, end, SKIP)? {
            return self.insert_far(position);
        }
        if let Some(word) = self.word_mut(position) {
            *word |= mask(position);
        }
        Ok(())
    }

    /// Moves a page to the table; false if it lies too far beyond the others.
    fn make_page(&mut self, page: u64, end: u64, skip: u64) -> Result<bool, Error> {
        let len = self.pages.len() as u64;
        if page > len + skip {
            return Ok(false);
        }
        let needed = words_of(page, end);
        let mut words = zeroed(needed)?;
        if let Some(container) = self.far.pages.get(&page) {
            words.copy_from_slice(&container.words()?[..needed]);
        }
        if page >= len {
            self.pages.try_reserve((page - len + 1) as usize)?;
            self.pages.resize_with(page as usize + 1, Box::default);
        }
        self.pages[page as usize] = words;
        self.far.pages.remove(&page);
        Ok(true)
    }

    /// Sets a bit that is clear, without a page for it alone.
    pub fn insert_far(&mut self, position: u64) -> Result<(), Error> {
        match self.word_mut(position) {
            Some(word) => *word |= mask(position),
            None => self.far.insert(position)?,
        }
        Ok(())
    }

    /// Sets all bits of a range, which are clear; word by word where there are pages for it. What fails changes nothing.
    pub fn fill(&mut self, range: Range<u64>, end: u64) -> Result<(), Error> {
        let mut at = range.start;
        while at < range.end {
            let begins = at - at % WORD_BITS;
            let done = if let Some(word) = self.word_mut(at) {
                *word |= window(begins, &range);
                Ok(())
            } else {
                match self.make_page(at / PAGE_BITS, end, SKIP) {
                    Ok(true) => continue,
                    Ok(false) => {
                        let stop = (begins + WORD_BITS).min(range.end);
                        (at..stop).try_for_each(|position| self.far.insert(position))
                    }
                    Err(error) => Err(error),
                }
            };
            if let Err(error) = done {
                for position in range.start..(begins + WORD_BITS).min(range.end) {
                    if self.contains(position) {
                        self.remove(position);
                    }
                }
                return Err(error);
            }
            at = begins + WORD_BITS;
        }
        Ok(())
    }

    /// Sets a whole page at once. `quick` is for positions that ascend; the page gets a place in the table if it has many
    /// of them, so that a file cannot make much more memory be allocated than its own length.
    pub fn put(&mut self, page: u64, container: Container, end: u64, quick: bool) -> Result<(), Error> {
        let quick = quick && container.len() >= MANY;
        self.far.pages.insert(page, container);
        if quick { self.make_page(page, end, SKIP_LOADED).map(drop) } else { Ok(()) }
    }

    /// Makes the positions end elsewhere; beyond a new end nothing is set.
    ///
    /// Only the last page of the table can be shorter than a page is, and only because the positions end on it.
    pub fn set_end(&mut self, end: u64) -> Result<(), Error> {
        self.pages.truncate(usize::try_from(end.div_ceil(PAGE_BITS)).unwrap_or(usize::MAX));
        let last = (self.pages.len() as u64).saturating_sub(1);
        if let Some(page) = self.pages.last_mut().filter(|page| !page.is_empty()) {
            let needed = words_of(last, end);
            if needed > page.len() {
                let mut words = zeroed(needed)?;
                words[..page.len()].copy_from_slice(page);
                *page = words;
            }
        }
        Ok(())
    }

    /// Whether the bit is set.
    #[inline(always)]
    pub fn contains(&self, position: u64) -> bool {
        let page = usize::try_from(position / PAGE_BITS).ok().and_then(|page| self.pages.get(page));
        match page.and_then(|page| page.get(offset(position))) {
            Some(word) => word & mask(position) != 0,
            None => self.far.contains(position),
        }
    }

    /// The bit, if it is set and quick to reach, as something that can be cleared.
    #[inline(always)]
    pub fn entry(&mut self, position: u64) -> Option<Entry<'_>> {
        let word = self.word_mut(position)?;
        (*word & mask(position) != 0).then_some(Entry { word, mask: mask(position) })
    }

    /// Clears a bit that is set. It can be set again without memory, until [`tidy`](Self::tidy) is called.
    pub fn remove(&mut self, position: u64) {
        match self.word_mut(position) {
            Some(word) => *word &= !mask(position),
            None => self.far.remove(position),
        }
    }

    /// Gives back what the page of this position no longer needs.
    pub fn tidy(&mut self, position: u64) {
        self.far.tidy(position);
    }

    #[inline(always)]
    fn word_mut(&mut self, position: u64) -> Option<&mut u64> {
        let page = usize::try_from(position / PAGE_BITS).ok()?;
        self.pages.get_mut(page)?.get_mut(offset(position))
    }

    /// The word that holds `position`.
    pub fn word(&self, position: u64) -> u64 {
        self.page(position / PAGE_BITS).map_or(0, |page| page.word(offset(position)))
    }

    fn page(&self, number: u64) -> Option<Page<'_>> {
        let quick = usize::try_from(number).ok().and_then(|number| self.pages.get(number));
        let quick = quick.filter(|words| !words.is_empty()).map(|words| Page::Bits(words));
        quick.or_else(|| self.far.pages.get(&number).map(Page::Far))
    }

    /// The pages from `number` on that may have something set, ascending.
    pub fn pages_from(&self, number: u64) -> impl Iterator<Item = (u64, Page<'_>)> {
        let quick = number..(self.pages.len() as u64).max(number);
        let far = self.far.pages.range(quick.end..).map(|(&number, container)| (number, Page::Far(container)));
        quick.filter_map(|number| Some((number, self.page(number)?))).chain(far)
    }

    /// How many pages are in the tree.
    pub fn far_pages(&self) -> usize {
        self.far.pages.len()
    }

    /// The first position from `from` on that is set.
    pub fn next(&self, from: u64) -> Option<u64> {
        self.pages_from(from / PAGE_BITS).find_map(|(number, page)| {
            let begins = number * PAGE_BITS;
            page.next(from.saturating_sub(begins)).map(|place| begins + place)
        })
    }

    /// The spans of neighbours from `from` on that are set, ascending; `end` is where the positions end.
    pub fn spans(&self, mut from: u64, end: u64) -> impl Iterator<Item = Range<u64>> {
        iter::from_fn(move || {
            let start = self.next(from)?;
            from = self.find_clear(start..end, 1).unwrap_or(end);
            Some(start..from)
        })
    }

    /// The `nth` position of a range, from 0, that is clear; or how many are missing to it.
    pub fn select_clear(&self, range: Range<u64>, mut nth: u64) -> Result<u64, u64> {
        let mut at = range.start;
        for (number, page) in self.pages_from(at / PAGE_BITS) {
            let begins = number * PAGE_BITS;
            if begins >= range.end {
                break;
            }
            let skipped = begins.saturating_sub(at);
            if nth < skipped {
                return Ok(at + nth);
            }
            nth -= skipped;
            at = at.max(begins);
            let ends = (begins + PAGE_BITS).min(range.end);
            let whole = at == begins && ends == begins + PAGE_BITS;
            if whole && nth >= PAGE_BITS - u64::from(page.len()) {
                nth -= PAGE_BITS - u64::from(page.len());
                at = ends;
                continue;
            }
            let first = (at - begins) / WORD_BITS;
            for index in first..(ends - begins).div_ceil(WORD_BITS) {
                let word_begins = begins + index * WORD_BITS;
                let clear = !page.word(index as usize) & window(word_begins, &(at..ends));
                let here = u64::from(clear.count_ones());
                if nth < here {
                    return bits(clear).nth(nth as usize).map(|bit| word_begins + bit).ok_or(nth);
                }
                nth -= here;
            }
            at = ends;
        }
        let rest = range.end.saturating_sub(at);
        if nth < rest { Ok(at + nth) } else { Err(nth - rest) }
    }

    /// Where the first `len` neighbours of a range begin that are all clear.
    pub fn find_clear(&self, range: Range<u64>, len: u64) -> Option<u64> {
        // The positions from `run` to the one that is looked at are clear.
        let mut run = range.start;
        for (number, page) in self.pages_from(range.start / PAGE_BITS) {
            let begins = number * PAGE_BITS;
            if begins >= range.end || begins.saturating_sub(run) >= len {
                break;
            }
            let first = range.start.saturating_sub(begins) / WORD_BITS;
            for index in first..(range.end - begins).min(PAGE_BITS).div_ceil(WORD_BITS) {
                let at = begins + index * WORD_BITS;
                let set = page.word(index as usize) | !window(at, &range);
                let set = if at < range.start { set & !window(at, &(at..range.start)) } else { set };
                if set == 0 {
                    continue;
                }
                let reaches = at + u64::from(set.trailing_zeros());
                if reaches.saturating_sub(run) >= len {
                    return Some(run);
                }
                if let Some(bit) = run_of(!set & window(at, &(run.max(at)..u64::MAX)), len) {
                    return Some(at + bit);
                }
                run = run.max(at + WORD_BITS - u64::from(set.leading_zeros()));
            }
        }
        (range.end.saturating_sub(run) >= len).then_some(run)
    }

    /// A copy of the positions that are set, ascending.
    pub fn positions(&self) -> Result<impl Iterator<Item = u64> + use<>, Error> {
        let mut copy = Vec::new();
        for (number, page) in self.pages_from(0) {
            copy.try_reserve(1)?;
            copy.push((
                number * PAGE_BITS,
                match page {
                    Page::Bits(words) => copied(words)?,
                    Page::Far(container) => container.words()?,
                },
            ));
        }
        let words = copy.into_iter().flat_map(|(begins, page)| (begins..).step_by(WORD_BITS as usize).zip(page));
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
