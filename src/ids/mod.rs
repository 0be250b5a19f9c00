//! The integer manager, pure Rust.
