//! Every Python function and class that Rust names, in one table.
//!
//! Each row is looked up once, and kept for good: the rows of `at_import` when the extension is imported, so that an
//! error can be raised without memory; the others at their first use, because `import opool` is not to import asyncio.
//! `tests/python/project/test_rooms.py` resolves them all, so a name that has changed is found by a test.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Release},
};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::bindings::ffi::call::call_with;
use crate::bindings::ffi::exception::Raised;
use crate::bindings::ffi::keywords::Keywords;

/// A Python function, class or constant, by its module and its name there.
pub(crate) struct PythonName {
    module: &'static CStr,
    name: &'static CStr,
    /// Owned for as long as the process lives, once it is found.
    found: AtomicPtr<PyObject>,
}

macro_rules! table {
    (at_import: { $($module:literal: $($constant:ident = $name:literal),+;)+ }
     at_first_use: { $($module_later:literal: $($constant_later:ident = $name_later:literal),+;)+ }) => {
        $($(pub(crate) static $constant: PythonName = PythonName::new($module, $name);)+)+
        $($(pub(crate) static $constant_later: PythonName = PythonName::new($module_later, $name_later);)+)+

        static AT_IMPORT: &[&PythonName] = &[$($(&$constant),+),+];
        static AT_FIRST_USE: &[&PythonName] = &[$($(&$constant_later),+),+];
    };
}

table! {
    at_import: {
        c"opool.errors":
            LEASE_ERROR = c"LeaseError",
            POOL_CLOSED = c"PoolClosed",
            POOL_ERROR = c"PoolError",
            POOL_TIMEOUT = c"PoolTimeout",
            TOO_MANY_WAITERS = c"TooManyWaiters";
        c"opool._default":
            DEFAULT = c"DEFAULT";
        c"opool._interrupts":
            HAS_STRUCK = c"has_struck";
    }
    at_first_use: {
        c"opool.errors":
            CREATE_TIMEOUT_ERROR = c"_create_timeout_error",
            FACTORY_ERROR = c"_factory_error",
            TIMEOUT_ERROR = c"_timeout_error";
        c"opool._closing":
            ACLOSE = c"aclose",
            ACLOSE_AFTER_ERROR = c"aclose_after_error",
            ACLOSE_ON_CLOCK = c"aclose_on_clock",
            CLOSED_BY_HOLDER = c"closed_by_holder";
        c"opool._deadlock":
            DEADLOCK_ERROR = c"deadlock_error",
            EXAMINE_DEADLOCK = c"examine",
            WATCH_FOR_DEADLOCK = c"watch";
        c"opool._event_loops":
            PARK_TRIO_TASK = c"park",
            RUNNING_TRIO_LOOP = c"running_trio_loop",
            RUN_CLOCK_SOON = c"run_clock_soon",
            START_TIMER = c"start_timer";
        c"opool._greenlets":
            GET_CURRENT_GREENLET = c"get_current_function",
            HUB_TO_WAIT_IN = c"hub_to_wait_in",
            SLEEP_IN_HUB = c"sleep",
            USES_GEVENT = c"is_used";
        c"opool._holders":
            CLOSE_TIMEOUT_ERROR = c"close_timeout_error",
            HOLDERS = c"holders",
            REPORT_LEAK = c"report_leak";
        c"opool._hook_tasks":
            ADD_HOOK_LOOP = c"add_loop",
            ENTER_POOL = c"enter",
            HAS_NO_HOOK_LOOP = c"has_no_running_loop",
            REQUEUE_HOOKS = c"requeue",
            RUN_COROUTINE = c"run_coroutine",
            SCHEDULE_HOOKS = c"schedule";
        c"opool._hooks":
            IS_ASYNC_CALLABLE = c"is_async_callable";
        c"opool._log":
            LOG_BLOCKED_LOOP = c"blocked_loop",
            LOG_CLOSED_WITHOUT_LOOP = c"closed_without_loop",
            LOG_CREATE_FAILED = c"create_failed",
            LOG_DISPOSE_FAILED = c"dispose_failed",
            LOG_HOOK_STILL_RUNNING = c"hook_still_running",
            LOG_NOT_CLOSED = c"not_closed",
            LOG_OBJECT_REJECTED = c"object_rejected";
        c"opool._registry":
            REGISTER_POOL = c"register";
        c"opool._stats":
            STATS = c"snapshot";
        c"opool._threads":
            RUN_PENDING = c"run_pending",
            START_THREAD = c"start";
        c"asyncio":
            ASYNCIO_CANCELLED_ERROR = c"CancelledError",
            ASYNCIO_RUNNING_LOOP = c"_get_running_loop";
        c"collections":
            DEQUE = c"deque";
        c"copyreg":
            NEW_OBJECT = c"__newobj__";
    }
}

/// Whether a module of that name has been imported.
pub(crate) fn is_loaded(_: Python<'_>, module: &Bound<'_, PyString>) -> bool {
    // SAFETY: attached. The dict of modules is borrowed for the call, which looks up a str and so runs no Python.
    unsafe { ffi::PyDict_Contains(ffi::PyImport_GetModuleDict(), module.as_ptr()) == 1 }
}

impl PythonName {
    const fn new(module: &'static CStr, name: &'static CStr) -> Self {
        PythonName { module, name, found: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The object behind the name.
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let found = self.found.load(Acquire);
        if found.is_null() {
            return self.resolve(py);
        }
        // SAFETY: attached; it is never dropped.
        Ok(unsafe { Bound::from_borrowed_ptr(py, found) })
    }

    /// The object behind the name, unless nobody has imported its module yet.
    pub(crate) fn get_if_loaded<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.found.load(Acquire).is_null() {
            // SAFETY: attached; a C string. Without memory it is null, and the exception is set.
            let module = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_FromString(self.module.as_ptr())) }?;
            // SAFETY: it was just made as a str.
            if !is_loaded(py, unsafe { module.cast_unchecked() }) {
                return Ok(None);
            }
        }
        self.get(py).map(Some)
    }

    #[cold]
    fn resolve<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: attached; both are C strings.
        let object = unsafe {
            let module = Bound::from_owned_ptr_or_err(py, ffi::PyImport_ImportModule(self.module.as_ptr()))?;
            Bound::from_owned_ptr_or_err(py, ffi::PyObject_GetAttrString(module.as_ptr(), self.name.as_ptr()))?
        };
        let kept = object.clone().into_ptr();
        if self.found.compare_exchange(ptr::null_mut(), kept, Release, Acquire).is_err() {
            // SAFETY: another thread was first, and its reference is kept.
            unsafe { ffi::Py_DECREF(kept) };
        }
        Ok(object)
    }

    /// Whether `object` is it. Only for what is resolved at import.
    #[inline(always)]
    pub(crate) fn is(&self, object: *mut PyObject) -> bool {
        self.found.load(Acquire) == object
    }

    /// Calls the function.
    pub(crate) fn call<'py>(&self, py: Python<'py>, arguments: &[&Bound<'py, PyAny>]) -> PyResult<Bound<'py, PyAny>> {
        call_with(&self.get(py)?, arguments, None)
    }

    /// Calls the function with keyword arguments only.
    pub(crate) fn call_by_name<'py>(&self, py: Python<'py>, keywords: &Keywords<'py>) -> PyResult<Bound<'py, PyAny>> {
        call_with(&self.get(py)?, &[], Some(keywords.as_dict()))
    }

    /// Sets an exception of this class.
    pub(crate) fn raise<'py>(&self, py: Python<'py>, message: String) -> Raised<'py> {
        match self.get(py) {
            Ok(class) => Raised::new(py, &class, message),
            Err(error) => Raised::from_error(py, error),
        }
    }
}

/// Looks up what must be there before anything is used.
pub(crate) fn resolve_at_import(py: Python<'_>) -> PyResult<()> {
    AT_IMPORT.iter().try_for_each(|name| name.get(py).map(drop))
}

/// Every row of the table, for a test: the module, the name, and what is found there.
#[pyfunction]
#[pyo3(name = "_python_side")]
pub(crate) fn rows(py: Python<'_>) -> PyResult<Vec<(String, String, Bound<'_, PyAny>)>> {
    let text = |text: &CStr| text.to_string_lossy().into_owned();
    let row = |row: &&PythonName| Ok((text(row.module), text(row.name), row.get(py)?));
    AT_IMPORT.iter().chain(AT_FIRST_USE).map(row).collect()
}
