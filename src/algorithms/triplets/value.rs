//! The machine numbers that can stand in for Python's: each sums three of them exactly as Python would.

/// Values compared at once, where that is possible: a vector register of `i32`.
pub const STRIDE: usize = 4;

/// A number of the list.
pub trait Value: Copy + PartialOrd {
    /// Whether [`Value::touch`] works.
    const STRIDES: bool = false;

    /// Which pointers the sum `self + left + right`, added in this order, moves: (left, right).
    ///
    /// Below zero: the left one. Zero: both, it is a hit. Anything else, be it above zero or not a number: the right.
    fn moves(self, left: Self, right: Self) -> (bool, bool);

    /// Whether the sum of three values never falls when one of them grows, given that all of them are tame.
    fn is_tame(self) -> bool {
        true
    }

    /// Whether any of `left` and any of `right` make a hit.
    #[inline(always)]
    fn touch(self, left: &[Self; STRIDE], right: &[Self; STRIDE]) -> bool {
        let hit = |left, right| self.moves(left, right) == (true, true);
        left.iter().any(|&left| right.iter().any(|&right| hit(left, right)))
    }
}

/// The caller vouches that no sum of three leaves the type: every value is within ±2²⁹.
impl Value for i32 {
    const STRIDES: bool = true;

    #[inline(always)]
    fn moves(self, left: i32, right: i32) -> (bool, bool) {
        let sum = self.wrapping_add(left).wrapping_add(right);
        (sum <= 0, sum >= 0)
    }

    /// All pairs without a branch, in an order that the compiler turns into four vector comparisons.
    #[inline(always)]
    fn touch(self, left: &[i32; STRIDE], right: &[i32; STRIDE]) -> bool {
        let wanted = right.map(|right| self.wrapping_neg().wrapping_sub(right));
        let mut found = [false; STRIDE];
        for turn in 0..STRIDE {
            for place in 0..STRIDE {
                found[place] |= left[place] == wanted[(place + turn) % STRIDE];
            }
        }
        found.contains(&true)
    }
}

/// The caller vouches that no sum of three leaves the type: every value is within ±2⁶¹.
impl Value for i64 {
    #[inline(always)]
    fn moves(self, left: i64, right: i64) -> (bool, bool) {
        let sum = self.wrapping_add(left).wrapping_add(right);
        (sum <= 0, sum >= 0)
    }
}

/// Any 64-bit integer, summed in 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Wide(pub i64);

impl Value for Wide {
    #[inline(always)]
    fn moves(self, left: Wide, right: Wide) -> (bool, bool) {
        let sum = i128::from(self.0) + i128::from(left.0) + i128::from(right.0);
        (sum <= 0, sum >= 0)
    }
}

impl Value for f64 {
    #[inline(always)]
    fn moves(self, left: f64, right: f64) -> (bool, bool) {
        let sum = self + left + right;
        let below = sum < 0.0;
        (below | (sum == 0.0), !below)
    }

    /// Rounding keeps the order of sums, but infinities of both signs sum to NaN, which moves the right pointer.
    fn is_tame(self) -> bool {
        self.is_finite()
    }
}
