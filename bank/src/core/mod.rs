//! What a bank is, without a database and without Python.

pub mod bank;
pub mod boottime;
pub mod claim_id;
pub mod error;
pub mod fork;
pub mod ids;
pub mod lease;
pub mod model;
pub mod once;
pub mod store;
pub mod sync;

pub use bank::{Bank, Waited};
pub use error::{Error, Result};
pub use lease::Lease;
pub use model::*;
pub use store::{Answer, Store, Ticket};
