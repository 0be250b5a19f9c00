//! Positions on pages and in words: the arithmetic of every set of positions.

use std::iter;
use std::ops::Range;

use super::errors::Error;

/// Positions on one page. It is also what one container of the Roaring format holds.
pub const PAGE_BITS: u64 = 1 << 16;

/// Words on one page.
pub const PAGE_WORDS: usize = (PAGE_BITS / WORD_BITS) as usize;

/// Positions in one word.
pub const WORD_BITS: u64 = u64::BITS as u64;

/// Which of the 64 positions from `begins` on lie in `range`, as bits.
pub fn window(begins: u64, range: &Range<u64>) -> u64 {
    let from = range.start.saturating_sub(begins).min(64);
    let to = range.end.saturating_sub(begins).min(64);
    let below = |bit: u64| if bit == 64 { u64::MAX } else { (1 << bit) - 1 };
    below(to) & !below(from)
}

/// The first place from `from` on whose bit is set.
pub fn next_in(words: &[u64], from: u64) -> Option<u64> {
    let first = (from / WORD_BITS) as usize;
    let head = words.get(first)? & (u64::MAX << (from % WORD_BITS));
    let rest = words.iter().enumerate().skip(first + 1).map(|(index, &word)| (index, word));
    let mut words = iter::once((first, head)).chain(rest);
    words.find(|&(_, word)| word != 0).map(|(index, word)| index as u64 * WORD_BITS + u64::from(word.trailing_zeros()))
}

/// How many words a page needs where the positions end at `end`.
pub fn words_of(page: u64, end: u64) -> usize {
    end.saturating_sub(page * PAGE_BITS).min(PAGE_BITS).div_ceil(WORD_BITS) as usize
}

/// The word within its page.
#[inline(always)]
pub fn offset(position: u64) -> usize {
    (position % PAGE_BITS / WORD_BITS) as usize
}

/// The bit within its word.
#[inline(always)]
pub fn mask(position: u64) -> u64 {
    1 << (position % WORD_BITS)
}

/// The bits that are set in `word`, lowest first.
pub fn bits(mut word: u64) -> impl Iterator<Item = u64> {
    iter::from_fn(move || {
        let lowest = word.trailing_zeros();
        word &= word.checked_sub(1)?;
        Some(lowest.into())
    })
}

/// Where the first `len` neighbouring bits of `word` begin that are all set.
pub fn run_of(mut word: u64, len: u64) -> Option<u64> {
    if len > WORD_BITS {
        return None;
    }
    // A bit stays if the `known` bits from it on are set.
    let mut known = 1;
    while known < len && word != 0 {
        let step = known.min(len - known);
        word &= word >> step;
        known += step;
    }
    (word != 0).then(|| word.trailing_zeros().into())
}

/// `len` zeros, or the news that there is no room for them.
pub fn zeroed<T: Copy + Default>(len: usize) -> Result<Box<[T]>, Error> {
    let mut items = Vec::new();
    items.try_reserve_exact(len)?;
    items.resize(len, T::default());
    Ok(items.into_boxed_slice())
}

/// A copy of `items`, or the news that there is no room for it.
pub fn copied<T: Copy>(items: &[T]) -> Result<Box<[T]>, Error> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(items.len())?;
    copy.extend_from_slice(items);
    Ok(copy.into_boxed_slice())
}
