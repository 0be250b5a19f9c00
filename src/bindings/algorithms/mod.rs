//! The algorithms beside the pool. They use `ffi` only.

pub(crate) mod palindrome;
pub(crate) mod triplets;
