//! Triplets that sum to zero.
