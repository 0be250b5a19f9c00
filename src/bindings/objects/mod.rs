//! What each thing holds, how it is reached, and how it is dropped. What it does is in the rooms above.

pub(crate) mod async_lease;
pub(crate) mod atomic_time;
pub(crate) mod greenlet;
pub(crate) mod id_errors;
pub(crate) mod id_source;
pub(crate) mod item;
pub(crate) mod lease;
pub(crate) mod places;
pub(crate) mod pool;
pub(crate) mod pool_future;
pub(crate) mod ready;
pub(crate) mod registry;
pub(crate) mod spare;
pub(crate) mod timers;
pub(crate) mod waited;
pub(crate) mod waker;
