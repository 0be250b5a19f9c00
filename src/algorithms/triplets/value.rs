//! The machine numbers that can stand in for Python's: each sums three of them exactly as Python would.

/// A number of the list.
pub trait Value: Copy + PartialOrd {
    /// Which pointers the sum `self + left + right`, added in this order, moves: (left, right).
    ///
    /// Below zero: the left one. Zero: both, it is a hit. Anything else, be it above zero or not a number: the right.
    fn moves(self, left: Self, right: Self) -> (bool, bool);

    /// Whether the sum of three such values never falls when one of them grows.
    fn is_tame(self) -> bool;
}

/// The caller vouches that no sum of three leaves the type: every value is within ±2⁶¹.
impl Value for i64 {
    #[inline(always)]
    fn moves(self, left: i64, right: i64) -> (bool, bool) {
        let sum = self.wrapping_add(left).wrapping_add(right);
        (sum <= 0, sum >= 0)
    }

    fn is_tame(self) -> bool {
        true
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

    fn is_tame(self) -> bool {
        true
    }
}

impl Value for f64 {
    #[inline(always)]
    fn moves(self, left: f64, right: f64) -> (bool, bool) {
        let sum = self + left + right;
        (sum <= 0.0, !(sum < 0.0))
    }

    /// Rounding keeps the order of sums, but infinities of both signs sum to NaN, which moves the right pointer.
    fn is_tame(self) -> bool {
        self.is_finite()
    }
}
