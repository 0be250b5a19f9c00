//! The pool, pure Rust.
