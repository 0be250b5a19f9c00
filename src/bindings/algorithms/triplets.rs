//! `opool._opool.zero_triplets`: machine numbers go to the core, everything else is asked itself.

mod collector;
mod numbers;
mod objects;

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::algorithms::triplets::{Hit, Search, Value};
use crate::bindings::ffi::values::list_of_three;
use numbers::Numbers;

/// Steps between two looks at signals: some ten milliseconds' worth.
const STEPS_AT_ONCE: usize = 8 << 20;

/// Triplets found before they are made into lists.
const HITS_AT_ONCE: usize = 1 << 16;

/// Fewer values are searched in less time than it costs to give up the interpreter's lock and to take it back.
const MANY: usize = 128;

/// Find the triplets of a sorted list that sum to zero.
///
/// Args:
///     s: The values, sorted: numbers, or anything with `+`, `==` and `<`.
///     found: Each triplet is appended to this list, as a list `[a, b, c]` of the very objects of `s`, in the order
///         and with the repetitions of the two-pointer search. What was found before an exception stays.
///
/// Raises:
///     Exception: Whatever adding or comparing the values raises.
///
/// Example:
///     >>> from opool._opool import zero_triplets
///     >>> found = []
///     >>> zero_triplets([-1, 0, 0, 1], found)
///     >>> found
///     [[-1, 0, 1]]
#[pyfunction]
#[pyo3(signature = (s, found, /))]
fn zero_triplets(s: &Bound<'_, PyAny>, found: &Bound<'_, PyList>) -> PyResult<()> {
    let Ok(list) = s.cast_exact::<PyList>() else { return objects::search(s, found) };
    // A copy, because the list may change while other threads run, and the collector may run other code in this one.
    let values: Vec<_> = list.iter().collect();
    match Numbers::of(&values) {
        Some(Numbers::Int32(numbers)) => search(numbers, &values, found),
        Some(Numbers::Int64(numbers)) => search(numbers, &values, found),
        Some(Numbers::Wide(numbers)) => search(numbers, &values, found),
        Some(Numbers::Float(numbers)) => search(numbers, &values, found),
        None => objects::search(s, found),
    }
}

fn search<V: Value + Send>(numbers: Vec<V>, values: &[Bound<'_, PyAny>], found: &Bound<'_, PyList>) -> PyResult<()> {
    let py = found.py();
    let mut search = Search::new(numbers);
    let mut hits = Vec::new();
    loop {
        let more = if values.len() < MANY {
            search.advance(STEPS_AT_ONCE, HITS_AT_ONCE, &mut hits)
        } else {
            py.check_signals()?;
            py.detach(|| search.advance(STEPS_AT_ONCE, HITS_AT_ONCE, &mut hits))
        };
        append(found, values, &hits)?;
        hits.clear();
        if !more {
            return Ok(());
        }
    }
}

fn append(found: &Bound<'_, PyList>, values: &[Bound<'_, PyAny>], hits: &[Hit]) -> PyResult<()> {
    let py = found.py();
    for batch in hits.chunks(HITS_AT_ONCE) {
        py.check_signals()?;
        let _rest = collector::Rest::begin(py);
        for places in batch {
            found.append(list_of_three(py, places.map(|place| values[place].clone()))?)?;
        }
    }
    Ok(())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(zero_triplets, module)?)
}
