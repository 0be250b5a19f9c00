//! All triplets of a sorted list that sum to zero, in the order and with the repetitions of the two-pointer search.
//!
//! For each value, from the first to the last, two pointers start at the ends of what lies right of it and walk
//! towards each other: a sum below zero moves the left one, a sum of zero is a hit and moves both, any other sum moves
//! the right one. So a value that occurs twice leads to its triplets twice, and that is part of the contract.
//!
//! `value` says which machine numbers take part and how three of them sum, `row` walks the pointers of one value,
//! and `search` goes through the values, several at a time.

mod row;
mod search;
mod value;

pub use search::{Hit, Search};
pub use value::{STRIDE, Value, Wide};
