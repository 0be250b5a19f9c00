//! `opool._opool.is_palindrome`: the interpreter's own Unicode tables, given to the core block by block.

use std::ops::ControlFlow;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;
use pyo3::types::string::PyStringData;

use crate::algorithms::palindrome::bytes::{self, Folds};
use crate::algorithms::palindrome::wide::{self, BLOCK, Block, CONTEXT, Fold, FoldTable, SKIPPED, Stop};
use crate::bindings::ffi::values::{Message, call_method, text};

/// Shorter texts are read in one go, for less than it costs to give up the interpreter's lock and to take it back.
const LONG: usize = 16 * 1024;

/// Read between two looks at signals: a few milliseconds' worth.
const BYTES_AT_ONCE: usize = 8 << 20;
const CODE_POINTS_AT_ONCE: usize = 1 << 20;

/// The one character whose lower case depends on its neighbours: ς ends a word, σ does not.
const CAPITAL_SIGMA: char = 'Σ';

/// The original lower-cases the text while these are still in it, and then drops them too. That shows only next to a
/// capital sigma, for which they end the word: `"ΑΣ|ΑΣΑ"` is no palindrome.
const BAR: char = '|';

static FOLDS: FoldTable = FoldTable::new();
static LATIN_FOLDS: PyOnceLock<Option<Folds>> = PyOnceLock::new();

/// Tell whether a text reads the same backwards.
///
/// Only letters and digits count (`str.isalnum`), and case does not (`str.lower`).
///
/// Args:
///     p: The text. Lone surrogates are allowed; they do not count.
///
/// Returns:
///     True if it is a palindrome. A text in which nothing counts is one.
///
/// Raises:
///     TypeError: `p` is not a `str`.
///
/// Example:
///     >>> from opool._opool import is_palindrome
///     >>> is_palindrome("A man, a plan, a canal: Panama")
///     True
#[pyfunction]
fn is_palindrome(p: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = p.py();
    let Ok(text) = p.cast::<PyString>() else {
        let kind = p.get_type().name()?;
        return Err(PyTypeError::new_err(Message::of(format!("a palindrome must be a str, not {kind}"))));
    };
    // SAFETY: a str never changes, and `text` is borrowed from the caller's reference until this function returns.
    // `data` reads the string by its layout, which is what this build was compiled for.
    match unsafe { text.data()? } {
        PyStringData::Ucs1(units) => match latin_folds(py)? {
            Some(folds) => scan_bytes(py, units, folds),
            None => scan_wide(text, units),
        },
        PyStringData::Ucs2(units) => scan_wide(text, units),
        PyStringData::Ucs4(units) => scan_wide(text, units),
    }
}

fn scan_bytes(py: Python<'_>, text: &[u8], folds: &Folds) -> PyResult<bool> {
    if text.len() < 64 {
        return Ok(bytes::is_palindrome(text, folds));
    }
    let mut scan = bytes::Scan::new(text, folds);
    loop {
        let step = if text.len() < LONG {
            scan.advance(text.len())
        } else {
            py.check_signals()?;
            py.detach(|| scan.advance(BYTES_AT_ONCE))
        };
        if let ControlFlow::Break(verdict) = step {
            return Ok(verdict);
        }
    }
}

fn scan_wide<C: Copy + Into<u32> + Sync>(text: &Bound<'_, PyString>, units: &[C]) -> PyResult<bool> {
    let py = text.py();
    let mut scan = wide::Scan::new(units, &FOLDS);
    loop {
        let stop = if units.len() < LONG {
            scan.advance(CODE_POINTS_AT_ONCE)
        } else {
            py.check_signals()?;
            py.detach(|| scan.advance(CODE_POINTS_AT_ONCE))
        };
        match stop {
            Stop::Verdict(verdict) => return Ok(verdict),
            Stop::Unlearnt(block) => learn(py, block)?,
            Stop::NeedsContext => return lower_then_compare(py, units),
            Stop::Paused => {}
        }
    }
}

/// The long way, for texts in which a lower case is not one code point's own affair: the interpreter lowers the whole.
fn lower_then_compare<C: Copy + Into<u32>>(py: Python<'_>, units: &[C]) -> PyResult<bool> {
    let mut counted = String::with_capacity(units.len());
    for part in units.chunks(CODE_POINTS_AT_ONCE) {
        py.check_signals()?;
        for &unit in part {
            if unit.into() == u32::from(BAR) || fold(py, unit.into())? != SKIPPED {
                counted.extend(char::from_u32(unit.into()));
            }
        }
    }
    let lowered = call_method(&text(py, &counted)?, c"lower", &[])?;
    let lowered = lowered.cast::<PyString>()?;
    // SAFETY: as in `is_palindrome`; `lowered` is ours and lives to the end of the function.
    Ok(match unsafe { lowered.data()? } {
        PyStringData::Ucs1(units) => py.detach(|| wide::is_mirrored(units, &(BAR as u8))),
        PyStringData::Ucs2(units) => py.detach(|| wide::is_mirrored(units, &(BAR as u16))),
        PyStringData::Ucs4(units) => py.detach(|| wide::is_mirrored(units, &u32::from(BAR))),
    })
}

fn fold(py: Python<'_>, code_point: u32) -> PyResult<Fold> {
    loop {
        match FOLDS.fold(code_point) {
            Ok(fold) => return Ok(fold),
            Err(block) => learn(py, block)?,
        }
    }
}

fn learn(py: Python<'_>, block: Block) -> PyResult<()> {
    let mut folds = [SKIPPED; BLOCK];
    for (fold, code_point) in folds.iter_mut().zip(block.code_points()) {
        *fold = ask_interpreter(py, code_point)?;
    }
    FOLDS.learn(block, folds);
    Ok(())
}

fn ask_interpreter(py: Python<'_>, code_point: u32) -> PyResult<Fold> {
    // A surrogate is no character: no version of Unicode makes it a letter or a number.
    let Some(character) = char::from_u32(code_point) else { return Ok(SKIPPED) };
    let text = text(py, character.encode_utf8(&mut [0; 4]))?;
    if !call_method(&text, c"isalnum", &[])?.is_truthy()? {
        return Ok(SKIPPED);
    }
    let lowered = call_method(&text, c"lower", &[])?;
    let mut lowered = lowered.cast::<PyString>()?.to_str()?.chars();
    Ok(match (lowered.next(), lowered.next()) {
        (Some(single), None) if character != CAPITAL_SIGMA => single.into(),
        _ => CONTEXT,
    })
}

/// The folds of Latin-1 as bytes, should they all be bytes (they are, in every version so far).
fn latin_folds(py: Python<'_>) -> PyResult<Option<&Folds>> {
    let folds = LATIN_FOLDS.get_or_try_init(py, || {
        let mut folds = [0; 256];
        for (byte, slot) in folds.iter_mut().enumerate() {
            match u8::try_from(fold(py, byte as u32)?) {
                Ok(fold) => *slot = fold,
                Err(_) => return Ok(None),
            }
        }
        PyResult::Ok(Some(folds))
    })?;
    Ok(folds.as_ref())
}

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(is_palindrome, module)?)
}
