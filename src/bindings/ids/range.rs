//! The range of ids, the order and the seed that a manager is made with.

use std::hash::{BuildHasher, Hasher, RandomState};

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyRange;

use crate::bindings::ffi::values::{Message, attribute};
use crate::bindings::objects::id_errors::raised;
use crate::ids::{Error, Ids, Order};

/// The order by its name and its seed.
pub(crate) fn order_of(order: &str, seed: Option<&Bound<'_, PyAny>>) -> PyResult<Order> {
    let order = match order {
        "fifo" => Order::Fifo,
        "lowest" => Order::Lowest,
        "random" => {
            let seed = seed.map(index).transpose()?;
            // Any int will do. Two that differ by a multiple of 2**64 are the same.
            let seed = seed.map(|seed| seed.bitand(u64::MAX)?.extract::<u64>()).transpose()?;
            return Ok(Order::Random(seed.unwrap_or_else(by_chance)));
        }
        _ => {
            return Err(PyValueError::new_err(Message::of(format!(
                "order must be 'fifo', 'lowest' or 'random', not {order:?}"
            ))));
        }
    };
    match seed {
        None => Ok(order),
        Some(_) => Err(PyValueError::new_err(Message::of("seed means nothing without order='random'"))),
    }
}

/// A different number each time: the standard library seeds its hash tables by it.
fn by_chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// What `operator.index` returns.
pub(crate) fn index<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached, and what comes back is null with an exception set, or a reference of our own.
    unsafe { Bound::from_owned_ptr_or_err(obj.py(), ffi::PyNumber_Index(obj.as_ptr())) }
}

/// The ids of a range.
pub(crate) fn ids_of(range: &Bound<'_, PyRange>, inclusive: bool, order: Order) -> PyResult<Ids> {
    if inclusive {
        return Err(PyValueError::new_err(Message::of(
            "inclusive means nothing with a range, which says itself where it ends",
        )));
    }
    let (start, stop, step) = (attribute(range, c"start")?, attribute(range, c"stop")?, attribute(range, c"step")?);
    if !step.eq(1)? {
        return Err(PyValueError::new_err(Message::of(format!(
            "the range must have a step of 1, not {}",
            shown(&step)
        ))));
    }
    let reach = || PyOverflowError::new_err(Message::of(format!("{}: not {}", Error::OutOfReach, range.as_any())));
    let first = start.extract::<i64>();
    let stop = if stop.le(&start)? { start.extract::<i128>() } else { stop.extract::<i128>() };
    let (Ok(first), Ok(stop)) = (first, stop) else { return Err(reach()) };
    let count = u64::try_from(stop - i128::from(first)).map_err(|_| reach())?;
    Ids::new(first, count, order).map_err(|_| reach())
}

/// The ids 1 to `n` - 1, and `n` too if it is `inclusive`.
pub(crate) fn ids_up_to(n: &Bound<'_, PyAny>, inclusive: bool, order: Order) -> PyResult<Ids> {
    // What `range` asks too, so this refuses what `range` refuses, in the same words.
    let n = index(n)?;
    if n.le(0)? {
        return Ids::new(1, 0, order).map_err(|error| raised(n.py(), error));
    }
    let count = end_of(&n, inclusive)? - 1;
    let count = u64::try_from(count).map_err(|_| too_large(&n, inclusive))?;
    Ids::new(1, count, order).map_err(|_| too_large(&n, inclusive))
}

/// Where a range ends that ends at `n`; far below all ids, anything will do.
pub(crate) fn end_of(n: &Bound<'_, PyAny>, inclusive: bool) -> PyResult<i128> {
    let end = match n.extract::<i128>() {
        Ok(n) => n.max(i64::MIN.into()) + i128::from(inclusive),
        Err(_) if n.lt(0)? => i64::MIN.into(),
        Err(_) => return Err(too_large(n, inclusive)),
    };
    if end <= 1 << 63 { Ok(end) } else { Err(too_large(n, inclusive)) }
}

fn too_large(n: &Bound<'_, PyAny>, inclusive: bool) -> PyErr {
    let n = shown(n);
    let most = if inclusive { "2**63 - 1 with inclusive=True" } else { "2**63" };
    PyOverflowError::new_err(Message::of(format!(
        "n is too large: {n}; it can be {most}, as the greatest id is 2**63 - 1"
    )))
}

/// An int in a message: Python refuses to write out one of many thousand digits.
pub(crate) fn shown(int: &Bound<'_, PyAny>) -> String {
    int.repr().map_or_else(|_| "an int of thousands of digits".to_owned(), |int| int.to_string())
}
