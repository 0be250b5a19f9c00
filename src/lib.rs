//! Hands out anything scarce exactly once.
//!
//! The core knows no Python: [`pool`] hands out objects, [`ids`] hands out integers, [`algorithms`] holds two small
//! text and number algorithms. With the default feature `python` the crate is the extension module `opool._opool`;
//! `bindings` is then the only place that talks to the interpreter. `DESIGN.md` gives the whole picture.

pub mod algorithms;
pub mod ids;
pub mod pool;
pub mod sync;

#[cfg(feature = "python")]
mod bindings;
