//! Text of any code points, by folds that are learnt in blocks.

use std::sync::OnceLock;

/// Code points to a block of folds.
pub const BLOCK: usize = 64;

const BLOCKS: usize = 0x11_0000 / BLOCK;

/// What a code point counts as: its lower case, or [`SKIPPED`], or [`CONTEXT`].
pub type Fold = u32;

/// The code point does not count. (No lower case is U+0000, so the value is free.)
pub const SKIPPED: Fold = 0;

/// The lower case depends on the neighbours, or is several code points long.
pub const CONTEXT: Fold = Fold::MAX;

/// The folds of all code points, each block of them filled in when it is first needed.
pub struct FoldTable {
    // Boxed, so that the table costs two words a block until then.
    blocks: [OnceLock<Box<[Fold; BLOCK]>>; BLOCKS],
}

impl FoldTable {
    /// Knows nothing yet.
    pub const fn new() -> Self {
        FoldTable { blocks: [const { OnceLock::new() }; BLOCKS] }
    }

    /// Fills in a block. What another thread filled in meanwhile stays: the folds of an interpreter never change.
    pub fn learn(&self, block: Block, folds: [Fold; BLOCK]) {
        if let Some(slot) = self.blocks.get(block.0) {
            let _ = slot.set(Box::new(folds));
        }
    }

    /// The fold of `unit`, or the block that has to be learnt first.
    ///
    /// What is beyond the last code point does not count.
    #[inline]
    pub fn fold(&self, unit: u32) -> Result<Fold, Block> {
        let block = unit as usize / BLOCK;
        match self.blocks.get(block).map(OnceLock::get) {
            Some(Some(folds)) => Ok(folds[unit as usize % BLOCK]),
            Some(None) => Err(Block(block)),
            None => Ok(SKIPPED),
        }
    }
}

impl Default for FoldTable {
    fn default() -> Self {
        Self::new()
    }
}

/// A block of the table that is still empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block(usize);

impl Block {
    /// Its code points, in the order [`FoldTable::learn`] wants their folds.
    pub fn code_points(self) -> [u32; BLOCK] {
        std::array::from_fn(|i| (self.0 * BLOCK + i) as u32)
    }
}

/// Why a [`Scan`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is done: a palindrome or not.
    Verdict(bool),
    /// It can go on once this block has been learnt.
    Unlearnt(Block),
    /// One code point's lower case is not its own affair: lower the text as a whole, then ask [`is_mirrored`].
    NeedsContext,
    /// The budget is used up.
    Paused,
}

/// A palindrome test under way.
///
/// It may say "no" before it has seen a fold with [`CONTEXT`] further inside: whatever that turns into, the code
/// points outside it keep their distance from their end.
pub struct Scan<'a, C> {
    unread: &'a [C],
    folds: &'a FoldTable,
}

impl<'a, C: Copy + Into<u32>> Scan<'a, C> {
    /// Starts a test of `text`.
    pub fn new(text: &'a [C], folds: &'a FoldTable) -> Self {
        Scan { unread: text, folds }
    }

    /// Reads about `budget` code points more.
    pub fn advance(&mut self, budget: usize) -> Stop {
        let stop = self.unread.len().saturating_sub(budget);
        self.read(stop).unwrap_or_else(Stop::Unlearnt)
    }

    fn read(&mut self, stop: usize) -> Result<Stop, Block> {
        while let [first, inner @ .., last] = self.unread {
            match (self.folds.fold((*first).into())?, self.folds.fold((*last).into())?) {
                (CONTEXT, _) | (_, CONTEXT) => return Ok(Stop::NeedsContext),
                (front, back) if front == back => self.unread = inner,
                (SKIPPED, _) => self.unread = &self.unread[1..],
                (_, SKIPPED) => self.unread = &self.unread[..self.unread.len() - 1],
                _ => return Ok(Stop::Verdict(false)),
            }
            if self.unread.len() <= stop {
                return Ok(Stop::Paused);
            }
        }
        match self.unread {
            [middle] if self.folds.fold((*middle).into())? == CONTEXT => Ok(Stop::NeedsContext),
            _ => Ok(Stop::Verdict(true)),
        }
    }
}

/// Whether `text` reads the same backwards as it stands, all `skipped` left out.
pub fn is_mirrored<C: PartialEq>(text: &[C], skipped: &C) -> bool {
    let counted = || text.iter().filter(|unit| *unit != skipped);
    counted().eq(counted().rev())
}
