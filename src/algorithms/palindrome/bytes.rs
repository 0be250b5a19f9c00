//! Text of one byte a character: ASCII, or Latin-1.

use std::ops::ControlFlow::{self, Break, Continue};

/// What a byte counts as: its lower case, or 0 if it is skipped.
pub type Folds = [u8; 256];

/// Bytes compared at once when both ends are clean: two vector registers.
const BLOCK: usize = 32;

/// Bytes sifted at once when they are not.
const CHUNK: usize = 128;

/// A palindrome test under way.
///
/// Clean stretches (only ASCII letters and digits at both ends) are compared block against mirrored block. Elsewhere
/// each end is *sifted* into a small buffer, without a branch on what a byte is, and the buffers are compared.
pub struct Scan<'a> {
    unread: &'a [u8],
    folds: &'a Folds,
    front: Sieve,
    back: Sieve,
}

impl<'a> Scan<'a> {
    /// Starts a test of `text`. `folds` must agree with ASCII on letters and digits.
    pub fn new(text: &'a [u8], folds: &'a Folds) -> Self {
        Scan { unread: text, folds, front: Sieve::new(), back: Sieve::new() }
    }

    /// Reads about `budget` bytes more; breaks with the verdict once it is known.
    pub fn advance(&mut self, budget: usize) -> ControlFlow<bool> {
        let stop = self.unread.len().saturating_sub(budget);
        loop {
            if self.front.is_empty() && self.back.is_empty() {
                self.skip_clean(stop);
            }
            if !self.sift_ends() {
                return Break(self.finish());
            }
            if !Sieve::agree(&mut self.front, &mut self.back) {
                return Break(false);
            }
            if self.unread.len() <= stop {
                return Continue(());
            }
        }
    }

    /// Passes over clean, mirrored blocks until `stop` bytes are left unread.
    fn skip_clean(&mut self, stop: usize) {
        while self.unread.len() > stop
            && let Some((front, rest)) = self.unread.split_first_chunk::<BLOCK>()
            && let Some((rest, back)) = rest.split_last_chunk::<BLOCK>()
            && clean_and_mirrored(front, back)
        {
            self.unread = rest;
        }
    }

    /// Refills the sieves that ran empty. False if too little is left for that.
    fn sift_ends(&mut self) -> bool {
        if self.front.is_empty() {
            let Some((chunk, rest)) = self.unread.split_first_chunk() else { return false };
            self.front.sift(chunk, self.folds);
            self.unread = rest;
        }
        if self.back.is_empty() {
            let Some((rest, chunk)) = self.unread.split_last_chunk::<CHUNK>() else { return false };
            let mut mirrored = *chunk;
            mirrored.reverse();
            self.back.sift(&mirrored, self.folds);
            self.unread = rest;
        }
        true
    }

    /// The verdict on what lies between the ends already compared.
    fn finish(&self) -> bool {
        if self.front.is_empty() && self.back.is_empty() {
            return is_palindrome(self.unread, self.folds);
        }
        let middle = self.unread.iter().map(|&byte| self.folds[usize::from(byte)]).filter(|&fold| fold != 0);
        let mut rest: Vec<u8> = self.front.kept().iter().copied().chain(middle).collect();
        rest.extend(self.back.kept().iter().rev());
        rest.iter().eq(rest.iter().rev())
    }
}

/// The test in its plainest form, and the quickest for a short text.
pub fn is_palindrome(mut text: &[u8], folds: &Folds) -> bool {
    let fold = |byte: &u8| folds[usize::from(*byte)];
    while let [first, inner @ .., last] = text {
        match (fold(first), fold(last)) {
            (front, back) if front == back => text = inner,
            (0, _) => text = &text[1..],
            (_, 0) => text = &text[..text.len() - 1],
            _ => return false,
        }
    }
    true
}

/// Whether `front` holds only letters and digits, and `back` is its mirror image up to case.
///
/// No early exit and no table, so that the compiler can turn the loop into vector instructions.
fn clean_and_mirrored(front: &[u8; BLOCK], back: &[u8; BLOCK]) -> bool {
    let mut clean = true;
    let mut mirrored = true;
    for (&front, &back) in front.iter().zip(back.iter().rev()) {
        let front = front.to_ascii_lowercase();
        clean &= front.is_ascii_lowercase() | front.is_ascii_digit();
        mirrored &= front == back.to_ascii_lowercase();
    }
    clean & mirrored
}

/// The folds of one chunk that count, outermost first, less those already compared.
struct Sieve {
    folds: [u8; CHUNK],
    start: usize,
    end: usize,
}

impl Sieve {
    const fn new() -> Self {
        Sieve { folds: [0; CHUNK], start: 0, end: 0 }
    }

    const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn kept(&self) -> &[u8] {
        &self.folds[self.start..self.end]
    }

    /// Fills the empty sieve from `chunk`.
    fn sift(&mut self, chunk: &[u8; CHUNK], folds: &Folds) {
        let mut end = 0;
        for &byte in chunk {
            let fold = folds[usize::from(byte)];
            // Written in any case, and overwritten by the next one if it does not count. The remainder changes
            // nothing, as `end` is less than CHUNK here; it spares the check of the index.
            self.folds[end % CHUNK] = fold;
            end += usize::from(fold != 0);
        }
        self.start = 0;
        self.end = end;
    }

    /// Compares as much as both sides hold and drops it.
    fn agree(front: &mut Self, back: &mut Self) -> bool {
        let length = front.kept().len().min(back.kept().len());
        let same = front.kept()[..length] == back.kept()[..length];
        front.start += length;
        back.start += length;
        same
    }
}
