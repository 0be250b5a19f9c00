//! Hands items to processes and users, each exactly once. `DESIGN.md` says how and why.
//!
//! [`core`] knows neither Python nor a database; [`stores`] has a file for each database; `bindings` is Python's side.

pub mod core;
pub mod stores;

#[cfg(feature = "python")]
mod bindings;
