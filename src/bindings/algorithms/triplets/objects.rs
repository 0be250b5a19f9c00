//! The search among any objects, by their own `+`, `==` and `<`.
//!
//! These run arbitrary code, and that code may change the list. So nothing is remembered from one operation to the
//! next but places: every value is fetched anew, and may turn out to be gone.

use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::bindings::ffi::values::{count, int, list_of_three};

pub(super) fn search(s: &Bound<'_, PyAny>, found: &Bound<'_, PyList>) -> PyResult<()> {
    let py = s.py();
    let zero = int(py, 0)?;
    let mut pause = Pause::new();
    for (place, value) in s.try_iter()?.enumerate() {
        let value = value?;
        let item = |place: usize| s.get_item(count(py, place as u64)?);
        let sum = |left, right| value.add(item(left)?)?.add(item(right)?);
        let mut left = place + 1;
        let mut right = s.len()?.saturating_sub(1);
        while left < right {
            pause.consider(py)?;
            if sum(left, right)?.eq(&zero)? {
                found.append(list_of_three(py, [value.clone(), item(left)?, item(right)?])?)?;
                left += 1;
                right -= 1;
            } else if sum(left, right)?.lt(&zero)? {
                // Added anew, as ever: what adding does besides is the objects' own affair.
                left += 1;
            } else {
                right -= 1;
            }
        }
    }
    Ok(())
}

/// Lets signals and other threads in now and then.
///
/// Objects that run no Python code themselves, numbers of a thousand digits for example, would let nobody in.
struct Pause {
    steps: u32,
    last: Instant,
}

impl Pause {
    /// Steps between two looks at signals and at the clock.
    const STEPS: u32 = 64;

    /// The time between two chances for other threads: the interpreter's own switch interval.
    const INTERVAL: Duration = Duration::from_millis(5);

    fn new() -> Self {
        Pause { steps: 0, last: Instant::now() }
    }

    fn consider(&mut self, py: Python<'_>) -> PyResult<()> {
        self.steps += 1;
        if self.steps < Self::STEPS {
            return Ok(());
        }
        self.steps = 0;
        py.check_signals()?;
        if self.last.elapsed() >= Self::INTERVAL {
            py.detach(|| ());
            self.last = Instant::now();
        }
        Ok(())
    }
}
