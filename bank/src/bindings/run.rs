//! One request from Python: waited for in this thread, or sent to an event loop.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::completions::Completions;
use super::errors;
use crate::core::bank::{BUSY_LIMIT, Waited, ask, busy};
use crate::core::error::{Error, Result};
use crate::core::store::{Answer, Store, Ticket};

/// Where an answer goes: None to this thread, else to a future.
pub type Sink<'py> = Option<(Bound<'py, Completions>, Bound<'py, PyAny>)>;

/// How a request in this thread ended without an answer.
pub enum Nothing {
    /// The bank was closed meanwhile.
    Closed,
    /// It was looked at, and the time was up.
    TimeUp,
    /// The time was up before anybody looked.
    NotBegun,
}

/// Sends a request whose answer goes to a future. Gives (ticket, number of the future).
pub fn send<T: Send + 'static>(
    sink: (Bound<'_, Completions>, Bound<'_, PyAny>),
    submit: impl FnOnce(Answer<T>) -> Ticket,
    convert: impl FnOnce(Python<'_>, Result<T>) -> PyResult<Py<PyAny>> + Send + 'static,
) -> (u64, u64) {
    let (completions, future) = sink;
    let number = completions.get().expect(future.unbind());
    let inner = completions.get().inner.clone();
    let ticket = submit(Box::new(move |answer| inner.push(number, Box::new(move |py| convert(py, answer)))));
    (ticket.0, number)
}

/// Sends a request and waits for it in this thread, without the GIL. Ctrl-C ends the wait; what had come by then is
/// undone, since nobody gets it.
pub fn block<T: Send + 'static>(
    py: Python<'_>,
    store: &dyn Store,
    limit: Option<Duration>,
    submit: impl FnOnce(Answer<T>) -> Ticket + Send,
    closed: impl Fn() -> bool + Send + Sync,
    undo: impl FnOnce(Result<T>),
) -> PyResult<std::result::Result<Result<T>, Nothing>> {
    let limit = limit.unwrap_or(Duration::from_secs(1 << 40));
    let mut signal = None;
    let waited = py.detach(|| {
        ask(store, limit, submit, &mut || {
            signal = Python::attach(|py| py.check_signals().err());
            signal.is_some() || closed()
        })
    });
    match (waited, signal) {
        (Waited::Interrupted, Some(error)) => Err(error),
        (Waited::InterruptedAfter(answer), Some(error)) => {
            undo(answer);
            Err(error)
        }
        (Waited::Answer(answer) | Waited::InterruptedAfter(answer), _) => Ok(Ok(answer)),
        (Waited::Interrupted, None) => Ok(Err(Nothing::Closed)),
        (Waited::TimeUp { begun: false }, _) => Ok(Err(Nothing::NotBegun)),
        (Waited::TimeUp { .. }, _) => Ok(Err(Nothing::TimeUp)),
    }
}

/// As `block`, for a request that waits for nothing but the lock. `begin`: since when its caller waits.
pub fn block_briefly<T: Send + 'static>(
    py: Python<'_>,
    store: &dyn Store,
    begin: Instant,
    submit: impl FnOnce(Answer<T>) -> Ticket + Send,
) -> PyResult<Result<T>> {
    Ok(block(py, store, Some(BUSY_LIMIT), submit, || false, drop)?
        .unwrap_or_else(|_| Err(busy(store, begin.elapsed()))))
}

/// Ends a conversion with the error of the core.
pub fn or_raise<T>(py: Python<'_>, title: &str, answer: Result<T>) -> PyResult<T> {
    answer.map_err(|error: Error| errors::raise(py, title, &error))
}

/// A request that waits for nothing but the lock, in this thread or for a future: the value, or (ticket, number).
pub fn run<'py, T: Send + 'static>(
    py: Python<'py>,
    store: &dyn Store,
    sink: Sink<'py>,
    submit: impl FnOnce(Answer<T>) -> Ticket + Send,
    convert: impl FnOnce(Python<'_>, Result<T>) -> PyResult<Py<PyAny>> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>> {
    match sink {
        Some(sink) => Ok(send(sink, submit, convert).into_pyobject(py)?.into_any()),
        None => convert(py, block_briefly(py, store, Instant::now(), submit)?).map(|value| value.into_bound(py)),
    }
}
