//! What each thing holds, and how it is reached.

pub(crate) mod alarms;
pub(crate) mod lender;
pub(crate) mod pool;
pub(crate) mod spare;
pub(crate) mod waker;
