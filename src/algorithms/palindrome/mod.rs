//! Does a text read the same backwards, when only letters and digits count and case does not?
//!
//! The rules come from the interpreter, not from here: a *fold* says for each code point whether it counts and what
//! its lower case is. [`bytes`] reads text of one byte a character, a register at a time where it can; [`wide`] reads
//! everything else and learns the folds it needs in blocks.
//!
//! Both scans compare from the two ends inwards. They stop at a given budget and can be continued, so that the caller
//! can look after signals; they touch nothing but the text and the folds, so that no lock need be held meanwhile.

pub mod bytes;
pub mod wide;
