//! Time, as the core knows it.

/// Nanoseconds on a monotonic clock. The core reads no clock: the caller passes the time in.
pub type Nanos = u64;
