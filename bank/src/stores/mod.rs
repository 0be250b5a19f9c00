//! The databases. One folder for each; `core::store::Store` is all that the rest knows of them.

#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(feature = "postgres")]
pub mod postgres;
