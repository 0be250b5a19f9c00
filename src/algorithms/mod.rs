//! Two small algorithms, pure Rust: [`palindrome`] and [`triplets`].

pub mod palindrome;
pub mod triplets;
