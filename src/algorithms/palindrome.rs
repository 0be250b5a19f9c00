//! Palindromes.
