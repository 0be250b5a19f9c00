//! The methods of `ObjectMgr` for several ids, or for particular ones. They convert first, then ask the core in one
//! step.

use std::ptr::NonNull;

use pyo3::buffer::{Element, PyBuffer, PyUntypedBuffer};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyRange};

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::values::{self, Message, attribute};
use crate::bindings::ids::object::ObjectMgr;
use crate::bindings::ids::range::{index, shown};
use crate::bindings::objects::id_errors::{raised, refused};
use crate::ids::{Error, Ids, Sink};

/// How many ids are asked for. More than there can be is as good as any number that is too large.
pub(crate) fn count(k: &Bound<'_, PyAny>) -> PyResult<u64> {
    let k = index(k)?;
    if k.lt(0)? {
        return Err(PyValueError::new_err(Message::of(format!("k must not be negative: {}", shown(&k)))));
    }
    Ok(k.extract::<u64>().unwrap_or(u64::MAX))
}

/// The id that an object is; what is no int of 64 bits is none, and `fault` says so.
fn id_of(obj: &Bound<'_, PyAny>, fault: &str) -> PyResult<i64> {
    let int = index(obj)?;
    int.extract().map_err(|_| PyValueError::new_err(Message::of(format!("{} {fault}", shown(&int)))))
}

/// `k` ids as a list, or `None`.
pub(crate) fn get_many<'py>(mgr: &ObjectMgr, py: Python<'py>, k: u64) -> PyResult<Option<Bound<'py, PyAny>>> {
    let enough = mgr.ids.with(attached(py), |ids| k <= ids.available());
    let Some(len) = usize::try_from(k).ok().filter(|_| enough) else { return Ok(None) };
    let mut taken = Vec::new();
    taken.try_reserve_exact(len).map_err(|_| raised(py, Error::OutOfMemory))?;
    taken.resize(len, 0_i64);
    let all = mgr.ids.with(attached(py), |ids| ids.take_many(len, &mut taken[..]));
    if !all.map_err(|error| raised(py, error))? {
        return Ok(None);
    }
    list_of(py, &taken).map(Some).inspect_err(|_| {
        // The caller did not get them. Another thread may have guessed one and freed it in the meantime; then it is
        // free.
        mgr.ids.with(attached(py), |ids| {
            for &id in taken.iter().rev() {
                let (Ok(()) | Err(_)) = ids.undo_take(id);
            }
        });
        mgr.settle_quietly(py);
    })
}

/// A list of ints. Ctrl-C gets through.
fn list_of<'py>(py: Python<'py>, ids: &[i64]) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: attached; each pointer is checked, and each item is set once and belongs to the list from then on. A list
    // with places that are not set yet may be dropped.
    unsafe {
        let list = Bound::from_owned_ptr_or_err(py, ffi::PyList_New(ids.len() as ffi::Py_ssize_t))?;
        for (place, &id) in ids.iter().enumerate() {
            let int = ffi::PyLong_FromLongLong(id);
            if int.is_null() {
                return Err(PyErr::fetch(py));
            }
            ffi::PyList_SET_ITEM(list.as_ptr(), place as ffi::Py_ssize_t, int);
            if place % (1 << 20) == (1 << 20) - 1 {
                py.check_signals()?;
            }
        }
        Ok(list)
    }
}

/// The elements of a writable buffer. Others may write there too, so they are never borrowed.
struct Cells<T>(NonNull<[T]>);

/// A kind of int that a buffer may hold.
trait Int: Element {
    /// Whether both ends of a range fit.
    fn fits(range: &std::ops::Range<i128>) -> bool;
    fn from_id(id: i64) -> Self;
    fn to_id(self) -> Option<i64>;
}

macro_rules! ints {
    ($($int:ty),*) => {$(
        impl Int for $int {
            fn fits(range: &std::ops::Range<i128>) -> bool {
                range.is_empty() || Self::try_from(range.start).is_ok() && Self::try_from(range.end - 1).is_ok()
            }

            #[inline(always)]
            fn from_id(id: i64) -> Self {
                id as Self
            }

            #[inline(always)]
            fn to_id(self) -> Option<i64> {
                self.try_into().ok()
            }
        }
    )*};
}
ints!(i8, u8, i16, u16, i32, u32, i64, u64);

impl<T: Int> Sink for Cells<T> {
    #[inline(always)]
    fn put(&mut self, place: usize, id: i64) {
        if place < self.0.len() {
            // SAFETY: within the buffer, which `fill` holds on to.
            unsafe { self.0.cast::<T>().add(place).write(T::from_id(id)) }
        }
    }

    fn get(&self, place: usize) -> i64 {
        // SAFETY: within the buffer, all of whose elements were written before or are ints in any case.
        let read = |place| unsafe { self.0.cast::<T>().add(place).read() };
        Some(place).filter(|&place| place < self.0.len()).and_then(|place| read(place).to_id()).unwrap_or_default()
    }
}

/// Does something with a buffer, whatever kind of int it holds; `None` if it holds none of them.
macro_rules! with_ints {
    ($buffer:expr, $typed:ident => $done:expr) => {{
        let buffer = $buffer;
        with_ints!(buffer, $typed => $done, i64 u64 i32 u32 i16 u16 i8 u8)
    }};
    ($buffer:ident, $typed:ident => $done:expr, $($int:ty)*) => {{
        let mut done = None;
        $(
            if done.is_none() && let Ok($typed) = $buffer.as_typed::<$int>() {
                done = Some($done);
            }
        )*
        done
    }};
}

/// Fills a buffer with ids; false, and nothing written, if there are not so many.
pub(crate) fn get_into(mgr: &ObjectMgr, buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = buffer.py();
    let untyped = PyUntypedBuffer::get(buffer)?;
    let unfit =
        || PyTypeError::new_err(Message::of("the buffer must be writable, contiguous, and hold ints of 8 to 64 bits"));
    with_ints!(&untyped, typed => fill(mgr, py, typed)).and_then(PyResult::transpose).ok_or_else(unfit)?
}

/// The same, for one kind of int; `None` if the buffer cannot be written to in one piece.
fn fill<T: Int>(mgr: &ObjectMgr, py: Python<'_>, buffer: &PyBuffer<T>) -> PyResult<Option<bool>> {
    let Some(cells) = buffer.as_slice_ptr().filter(|_| !buffer.readonly()) else { return Ok(None) };
    let taken = mgr.ids.with(attached(py), |ids| {
        if T::fits(&ids.range()) { ids.take_many(cells.len(), &mut Cells(cells)).map(Some) } else { Ok(None) }
    });
    match taken.map_err(|error| raised(py, error))? {
        Some(all) => Ok(Some(all)),
        None => Err(PyOverflowError::new_err(Message::of(format!(
            "the range of the ids does not fit the buffer's ints of {} bits",
            8 * size_of::<T>()
        )))),
    }
}

/// `k` neighbouring ids as a range, or `None`.
pub(crate) fn get_range<'py>(mgr: &ObjectMgr, py: Python<'py>, k: u64) -> PyResult<Option<Bound<'py, PyAny>>> {
    let first = match k {
        0 => Some(0),
        _ => mgr.ids.with(attached(py), |ids| ids.take_range(k)).map_err(|error| raised(py, error))?,
    };
    let Some(first) = first else { return Ok(None) };
    let made = values::range(py, i128::from(first), i128::from(first) + i128::from(k));
    made.map(Some).inspect_err(|_| {
        let ids = first..=first.saturating_add_unsigned(k.saturating_sub(1));
        let (Ok(()) | Err(_)) = mgr.ids.with(attached(py), |mine| mine.free_many(ids));
        mgr.settle_quietly(py);
    })
}

/// Several ids, converted.
enum Several {
    /// Neighbours, from the first up to the last.
    Span(i64, i64),
    List(Vec<i64>),
}

/// Reads ids: of a range or a buffer as they lie there, of anything else one by one.
fn several(ids: &Bound<'_, PyAny>, fault: &str) -> PyResult<Several> {
    let py = ids.py();
    if let Ok(range) = ids.cast_exact::<PyRange>()
        && let Some(span) = ends_of(range)?
    {
        let Some((first, last)) = span else { return Ok(Several::List(Vec::new())) };
        return Ok(Several::Span(id_of(&first, fault)?, id_of(&last, fault)?));
    }
    let no_memory = |_| raised(py, Error::OutOfMemory);
    let mut list = Vec::new();
    // A list has no buffer. To ask it would cost an exception.
    if !ids.is_exact_instance_of::<PyList>()
        && let Ok(untyped) = PyUntypedBuffer::get(ids)
        && untyped.dimensions() == 1
    {
        let copied = with_ints!(&untyped, typed => {
            list.try_reserve_exact(typed.item_count()).map_err(no_memory)?;
            for item in typed.to_vec(py)? {
                let id = item.to_id().ok_or_else(|| PyValueError::new_err(Message::of(format!("{item} {fault}"))))?;
                list.push(id);
            }
        });
        if copied.is_some() {
            return Ok(Several::List(list));
        }
    }
    for (place, item) in ids.try_iter()?.enumerate() {
        list.try_reserve(1).map_err(no_memory)?;
        list.push(id_of(&item?, fault)?);
        if place % (1 << 16) == (1 << 16) - 1 {
            py.check_signals()?;
        }
    }
    Ok(Several::List(list))
}

type Ends<'py> = Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

/// The first and the last of a range, if there are any; nothing if it goes in steps.
fn ends_of<'py>(range: &Bound<'py, PyRange>) -> PyResult<Option<Ends<'py>>> {
    let (start, stop) = (attribute(range, c"start")?, attribute(range, c"stop")?);
    if start.ge(&stop)? && attribute(range, c"step")?.gt(0)? {
        return Ok(Some(None));
    }
    if !attribute(range, c"step")?.eq(1)? {
        return Ok(None);
    }
    Ok(Some(Some((start, stop.sub(1)?))))
}

const NOT_GIVEN: &str = "is not currently allocated";

/// Takes all of them back, or none.
pub(crate) fn free_many(mgr: &ObjectMgr, ids: &Bound<'_, PyAny>) -> PyResult<()> {
    let done = match several(ids, NOT_GIVEN)? {
        Several::Span(first, last) => mgr.ids.with(attached(ids.py()), |mine| mine.free_many(first..=last)),
        Several::List(list) => mgr.ids.with(attached(ids.py()), |mine| mine.free_many(list.iter().copied())),
    };
    done.map_err(|refusal| refused(ids.py(), refusal))?;
    mgr.settle(ids.py())
}

/// Takes ids out of the range for good.
pub(crate) fn exclude(mgr: &ObjectMgr, ids: &Bound<'_, PyAny>) -> PyResult<()> {
    let spans = match several(ids, "is not an id of the range")? {
        Several::Span(first, last) => vec![(first, last)],
        Several::List(list) => {
            let mut spans: Vec<(i64, i64)> = Vec::new();
            for id in list {
                match spans.last_mut() {
                    Some((_, last)) if last.checked_add(1) == Some(id) => *last = id,
                    _ => spans.push((id, id)),
                }
            }
            spans
        }
    };
    mgr.ids.with(attached(ids.py()), |mine| mine.exclude(&spans)).map_err(|refusal| refused(ids.py(), refusal))
}

/// Gives this very id; `None` if it is out already.
pub(crate) fn reserve<'py>(mgr: &ObjectMgr, id: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = id.py();
    let int = index(id)?;
    let id = id_of(&int, "is not an id of the range")?;
    let taken = mgr.ids.with(attached(py), |ids: &mut Ids| ids.reserve(id)).map_err(|refusal| refused(py, refusal))?;
    Ok(taken.then_some(int))
}
