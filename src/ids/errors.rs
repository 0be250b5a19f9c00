//! What can be wrong, and how it reads.

use std::collections::TryReserveError;
use std::fmt;

/// Why an operation changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The id is not allocated.
    NotAllocated,
    /// A lease holds the id, and only the lease frees it.
    Lent,
    /// Ids reach from −2⁶³ to 2⁶³ − 1, and there are at most 2⁶³.
    OutOfReach,
    /// The system has no memory for the next page or block.
    OutOfMemory,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::NotAllocated => "the id is not allocated",
            Error::Lent => "a lease has the id, which only the lease gives back",
            Error::OutOfReach => "ids reach from -2**63 to 2**63 - 1, and a range has at most 2**63 of them",
            Error::OutOfMemory => "out of memory",
        })
    }
}

impl std::error::Error for Error {}

impl From<TryReserveError> for Error {
    fn from(_: TryReserveError) -> Self {
        Error::OutOfMemory
    }
}

/// The same for operations that name ids. A type of its own, as the quick paths return [`Error`] in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The id is not allocated.
    NotAllocated(i64),
    /// The id occurs more than once among those that are to be freed.
    Repeated(i64),
    /// A lease holds the id, and only the lease frees it.
    Lent(i64),
    /// The id does not lie in the range.
    NotInRange(i64),
    /// The id is excluded from the range.
    Excluded(i64),
    /// The id is allocated, and would have to be free.
    Allocated(i64),
    /// The error concerns no particular id.
    Other(Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotAllocated(id) => write!(f, "{id} is not currently allocated"),
            Refusal::Repeated(id) => write!(f, "{id} stands among the ids more than once"),
            Refusal::Lent(id) => write!(f, "a lease has {id}: leave its `with`, or release the lease"),
            Refusal::NotInRange(id) => write!(f, "{id} is not an id of the range"),
            Refusal::Excluded(id) => write!(f, "{id} is excluded"),
            Refusal::Allocated(id) => write!(f, "{id} is currently allocated"),
            Refusal::Other(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Other(error)
    }
}

/// Why some bytes are not a dump of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// What is wrong with them.
    Broken(&'static str),
    /// The system has no memory for what they say.
    OutOfMemory,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unreadable::Broken(why) => why,
            Unreadable::OutOfMemory => "out of memory",
        })
    }
}

impl std::error::Error for Unreadable {}

impl From<Error> for Unreadable {
    fn from(error: Error) -> Self {
        match error {
            Error::OutOfMemory => Unreadable::OutOfMemory,
            _ => Unreadable::Broken("its ids contradict each other"),
        }
    }
}

impl From<TryReserveError> for Unreadable {
    fn from(_: TryReserveError) -> Self {
        Unreadable::OutOfMemory
    }
}
