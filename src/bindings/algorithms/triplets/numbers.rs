//! Which lists of Python numbers a machine type can stand in for, to the last bit.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

use crate::algorithms::triplets::Wide;

/// Three of these sum without leaving 32 bits.
const FITS_I32: u64 = 1 << 29;

/// Three of these sum without leaving 64 bits.
const FITS_I64: u64 = 1 << 61;

/// Two of these sum exactly in a float, as they do before Python makes a float of their sum.
const EXACT_IN_FLOAT: u64 = 1 << 51;

/// The values of a list as machine numbers, one type for all.
pub(super) enum Numbers {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Wide(Vec<Wide>),
    Float(Vec<f64>),
}

#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Float(f64),
}

impl Numbers {
    /// None if some value is not a plain number, or too large: then only Python itself can add and compare.
    pub(super) fn of(values: &[Bound<'_, PyAny>]) -> Option<Self> {
        let numbers: Vec<Number> = values.iter().map(Number::of).collect::<Option<_>>()?;
        let largest = numbers.iter().map(|number| number.int_magnitude()).max().unwrap_or(0);
        let ints = || numbers.iter().map_while(|number| number.as_int());
        if ints().count() < numbers.len() {
            let floats = || numbers.iter().map(|number| number.to_float()).collect();
            return (largest <= EXACT_IN_FLOAT).then(|| Numbers::Float(floats()));
        }
        Some(if largest <= FITS_I32 {
            Numbers::Int32(ints().map(|int| int as i32).collect())
        } else if largest <= FITS_I64 {
            Numbers::Int64(ints().collect())
        } else {
            Numbers::Wide(ints().map(Wide).collect())
        })
    }
}

impl Number {
    /// Subclasses are left out: theirs may add and compare as they please. (`bool` has no subclasses.)
    fn of(value: &Bound<'_, PyAny>) -> Option<Self> {
        if let Ok(float) = value.cast_exact::<PyFloat>() {
            Some(Number::Float(float.value()))
        } else if value.is_exact_instance_of::<PyInt>() || value.is_exact_instance_of::<PyBool>() {
            value.extract().ok().map(Number::Int)
        } else {
            None
        }
    }

    fn as_int(self) -> Option<i64> {
        match self {
            Number::Int(int) => Some(int),
            Number::Float(_) => None,
        }
    }

    fn int_magnitude(self) -> u64 {
        self.as_int().map_or(0, i64::unsigned_abs)
    }

    fn to_float(self) -> f64 {
        match self {
            Number::Int(int) => int as f64,
            Number::Float(float) => float,
        }
    }
}
