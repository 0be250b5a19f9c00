//! Where in the program the objects of a pool were taken (`track=True`).

use pyo3::ffi;
use pyo3::prelude::*;

use crate::bindings::ffi::call::attached;
use crate::bindings::ffi::values::{attribute, text};
use crate::pool::SlotId;
use crate::sync::Guarded;

/// A line of the program.
struct Place {
    code: Py<PyAny>,
    line: i32,
}

/// The places of the leases of one pool, by slot.
pub(crate) struct Places(Guarded<Vec<Option<Place>>>);

impl Default for Places {
    fn default() -> Self {
        Places(Guarded::new(Vec::new()))
    }
}

impl Places {
    /// Notes the caller's place.
    pub(crate) fn note(&self, py: Python<'_>, slot: SlotId) {
        let index = slot.index();
        let place = here(py);
        let before = self.0.with(attached(py), |places| {
            if places.len() <= index {
                places.resize_with(index + 1, || None);
            }
            std::mem::replace(&mut places[index], place)
        });
        // Not dropped as a `Py`: PyO3 does not know that this thread is attached, and would postpone it.
        drop(before.map(|place| place.code.into_bound(py)));
    }

    /// As "file:line in function".
    pub(crate) fn get<'py>(&self, py: Python<'py>, slot: SlotId) -> Option<Bound<'py, PyAny>> {
        let (code, line) = self.0.with(attached(py), |places| {
            places.get(slot.index())?.as_ref().map(|place| (place.code.clone_ref(py), place.line))
        })?;
        let code = code.bind(py);
        let (file, name) = (attribute(code, c"co_filename").ok()?, attribute(code, c"co_name").ok()?);
        text(py, &format!("{file}:{line} in {name}")).ok()
    }
}

fn here(py: Python<'_>) -> Option<Place> {
    // SAFETY: attached. The frame is borrowed from the running interpreter, the code is ours.
    unsafe {
        let frame = ffi::PyEval_GetFrame();
        if frame.is_null() {
            return None;
        }
        let code = ffi::PyFrame_GetCode(frame);
        let line = ffi::PyFrame_GetLineNumber(frame);
        let code = Bound::from_owned_ptr_or_opt(py, code.cast())?;
        Some(Place { code: code.unbind(), line })
    }
}
