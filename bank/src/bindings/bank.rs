//! A bank as Python's `Bank` uses it: one method for each request.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::atomic_put::AtomicPut;
use super::convert::{self, Defaults, from_payload, payload, priority, span, ttl, value};
use super::handle::{Current, Handle, Options, Place};
use super::item::{Item, seconds};
use super::lease::{LeaseCore, keep};
use super::run::{Nothing, Sink, block, block_briefly, or_raise, run, send};
use super::{ManualClock, errors, tx};
use crate::core::Bank;
use crate::core::bank::{BUSY_LIMIT, busy};
use crate::core::error::{Error, Result};
use crate::core::ids::{HeldIds, in_range};
use crate::core::lease::Lease;
use crate::core::model::{
    Call, Found, Kind, NEVER, New, Pick, Put, PutDone, Query, Settle, Settled, State, Take, Taken, Term,
};
use crate::core::once::{self, Verdict};
use crate::core::store::{Cancelled, Ticket};
use crate::stores::postgres;

#[pyclass(frozen, module = "opool_bank._bank", weakref)]
pub struct BankCore {
    handle: Handle,
    title: String,
}

/// What is needed to make Python's values of a `Taken`.
#[derive(Clone)]
struct Taker {
    bank: Bank,
    title: String,
    /// None: for good.
    ttl: Option<i64>,
    renew: bool,
    before: i64,
}

impl Taker {
    /// Leases for what was taken; dropping them gives it back.
    fn leases(&self, taken: Taken) -> Vec<Arc<Lease>> {
        let ttl = self.ttl.unwrap_or(NEVER);
        taken.held.into_iter().map(|held| Lease::new(self.bank.clone(), held, ttl, self.before)).collect()
    }

    fn convert(self, py: Python<'_>, taken: Result<Taken>) -> PyResult<Py<PyAny>> {
        let taken = or_raise(py, &self.title, taken)?;
        if self.ttl.is_none() {
            let items = taken.held.into_iter().map(|held| Item::new(held.row, held.new)).collect::<Vec<_>>();
            let items = items.into_iter().map(|item| Py::new(py, item)).collect::<PyResult<Vec<_>>>()?;
            return Ok(PyList::new(py, items)?.into_any().unbind());
        }
        let mut leases = Vec::new();
        for lease in self.leases(taken) {
            if self.renew {
                lease.keep_renewed();
            }
            leases.push(Py::new(py, LeaseCore::new(lease, self.title.clone()))?);
        }
        Ok(PyList::new(py, leases)?.into_any().unbind())
    }
}

impl BankCore {
    fn current(&self, py: Python<'_>) -> PyResult<&Current> {
        // A forked child opens the file here, which may wait for the lock.
        or_raise(py, &self.title, py.detach(|| self.handle.current()))
    }

    fn read<'py>(
        &self,
        py: Python<'py>,
        query: Query,
        sink: Sink<'py>,
        convert: impl FnOnce(Python<'_>, Found) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>> {
        let bank = self.current(py)?.bank.clone();
        let title = self.title.clone();
        let submit = |answer| bank.store.read(bank.number, query, answer);
        run(py, &*bank.store, sink, submit, move |py, found| convert(py, or_raise(py, &title, found)?))
    }
}

fn items(py: Python<'_>, found: Found) -> PyResult<Py<PyAny>> {
    let items = found.rows.into_iter().map(|row| Py::new(py, Item::new(row, false))).collect::<PyResult<Vec<_>>>()?;
    Ok(PyList::new(py, items)?.into_any().unbind())
}

#[pymethods]
impl BankCore {
    #[new]
    #[pyo3(signature = (path, name, kind, top, fast, clock=None))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        name: String,
        kind: &str,
        top: i64,
        fast: bool,
        clock: Option<PyRef<'_, ManualClock>>,
    ) -> PyResult<Self> {
        let kind = match kind {
            "ids" => Kind::Ids { top },
            "permits" => Kind::Permits { top },
            _ => Kind::Items,
        };
        let place = or_raise(py, &format!("{name:?}"), Place::new(path))?;
        let options = Options { clock: clock.map(|clock| clock.0.clone()), fast };
        let title = format!("{name:?} ({})", place.shown());
        let handle = or_raise(py, &title, py.detach(|| Handle::new(place, name, kind, options)))?;
        let remark = or_raise(py, &title, handle.current())?.remark.clone();
        if let Some(remark) = remark {
            errors::warn_once(py, &remark)?;
        }
        Ok(BankCore { handle, title })
    }

    #[getter]
    fn name(&self) -> &str {
        self.handle.name()
    }

    #[getter]
    fn path(&self) -> String {
        self.handle.path()
    }

    #[getter]
    fn title(&self) -> String {
        self.handle.title()
    }

    #[getter]
    fn closed(&self) -> bool {
        self.handle.is_closed()
    }

    fn close(&self) {
        self.handle.close();
    }

    #[getter]
    fn top(&self, py: Python<'_>) -> PyResult<i64> {
        Ok(self.current(py)?.bank.kind.top())
    }

    fn accept_rewind(&self, py: Python<'_>) -> PyResult<()> {
        self.current(py)?.bank.store.accept_rewind();
        Ok(())
    }

    /// Take a request back: 0 it was too late, 1 it was not begun, 2 it waited for an item.
    fn cancel(&self, py: Python<'_>, ticket: u64) -> PyResult<u8> {
        let current = or_raise(py, &self.title, self.handle.even_closed())?;
        Ok(match current.bank.store.cancel(Ticket(ticket)) {
            Cancelled::TooLate => 0,
            Cancelled::NotBegun => 1,
            Cancelled::Waiting => 2,
        })
    }

    /// How many calls of this process wait for an item of this file.
    fn waiting(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.current(py)?.bank.store.waiting())
    }

    /// The error that says that another process has had the lock for too long: for `waited` seconds.
    fn busy_error(&self, py: Python<'_>, waited: f64) -> PyResult<Py<PyAny>> {
        let store = &or_raise(py, &self.title, self.handle.even_closed())?.bank.store;
        let waited = Duration::try_from_secs_f64(waited).unwrap_or_default();
        Ok(errors::raise(py, &self.title, &busy(&**store, waited)).into_value(py).into_any())
    }

    /// Store one chunk; how many were new.
    #[pyo3(signature = (items, keep, priority, delay, max_attempts, sink=None))]
    #[allow(clippy::too_many_arguments)]
    fn put<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyList>,
        keep: bool,
        priority: i64,
        delay: f64,
        max_attempts: Option<i64>,
        sink: Sink<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let defaults = defaults(priority, delay, max_attempts)?;
        let items = items.iter().map(|item| convert::new(&item, &defaults)).collect::<PyResult<Vec<New>>>()?;
        let bank = self.current(py)?.bank.clone();
        let title = self.title.clone();
        let submit = |answer| bank.store.put(bank.number, Put { items, keep }, answer);
        run(py, &*bank.store, sink, submit, move |py, done: Result<PutDone>| {
            Ok(or_raise(py, &title, done)?.new.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// For a caller's transaction: two questions, the answer to the second, what wakes who waits. None on a file.
    fn tx_questions<'py>(&self, py: Python<'py>) -> PyResult<Option<tx::Questions<'py>>> {
        let current = self.current(py)?;
        let Some(place) = &current.tx else { return Ok(None) };
        let wake = tx::steps(py, &[place.notify(current.bank.number)])?;
        Ok(Some((tx::steps(py, &place.questions())?, place.cookie.clone(), wake)))
    }

    /// The statements that store a chunk: the second answers how many were new, the third the keys in conflict.
    fn tx_put<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyList>,
        keep: bool,
        priority: i64,
        delay: f64,
        max_attempts: Option<i64>,
    ) -> PyResult<Bound<'py, PyList>> {
        let defaults = defaults(priority, delay, max_attempts)?;
        let items = items.iter().map(|item| convert::new(&item, &defaults)).collect::<PyResult<Vec<New>>>()?;
        let current = self.current(py)?;
        let Some(place) = &current.tx else { return Ok(PyList::empty(py)) };
        tx::steps(py, &place.put(self.handle.clock(), current.bank.number, &items, keep))
    }

    /// The error for keys in conflict, as the third statement answered them.
    fn tx_conflict(&self, py: Python<'_>, rows: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Py<PyAny> {
        let keys = rows.iter().take(10).map(|(index, long)| postgres::tx::key(index, long.as_deref())).collect();
        let error = Error::KeyConflict { keys, more: rows.len() > 10 };
        errors::raise(py, &self.title, &error).into_value(py).into_any()
    }

    /// Begin a put that stores all or nothing.
    fn atomic_put(
        &self,
        py: Python<'_>,
        keep: bool,
        priority: i64,
        delay: f64,
        max_attempts: Option<i64>,
    ) -> PyResult<AtomicPut> {
        let defaults = defaults(priority, delay, max_attempts)?;
        let bank = self.current(py)?.bank.clone();
        let spool = or_raise(py, &self.title, py.detach(|| bank.store.atomic_put(bank.number, keep)))?;
        Ok(AtomicPut::new(spool, defaults, self.title.clone()))
    }

    /// Claim (`given`) or lease. A list of items or leases; (ticket, number) with a sink.
    #[pyo3(signature = (id, n, given, ttl, bound, key, create, payload, renew, wait, timeout, sink=None))]
    #[allow(clippy::too_many_arguments)]
    fn take<'py>(
        &self,
        py: Python<'py>,
        id: Option<&Bound<'py, PyAny>>,
        n: u32,
        given: bool,
        ttl: Option<f64>,
        bound: bool,
        key: Option<&Bound<'py, PyAny>>,
        create: bool,
        payload: &Bound<'py, PyAny>,
        renew: bool,
        wait: bool,
        timeout: Option<f64>,
        sink: Sink<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Current { bank, .. } = self.current(py)?;
        let bank = bank.clone();
        let id = id.map_or_else(|| Ok(Bank::draw_id()), |id| value("a claim id", id))?;
        let pick = match key {
            Some(key) => {
                let key = value("a key", key)?;
                let payload = convert::payload("a payload", payload)?;
                let new = New { key: key.clone(), payload, priority: 0, delay: 0, max_attempts: None };
                Pick::Key { key, create: create.then(|| Box::new(new)), same_payload: false }
            }
            None if bank.kind == Kind::Items => Pick::Next,
            None => Pick::Id { fresh_first: false },
        };
        let ttl = if given { None } else { Some(convert::ttl(ttl)?) };
        let term = ttl.map_or(Term::Given, |ttl| Term::Lease { ttl, bound: bound && ttl != NEVER });
        let take = Take { id, n, term, pick, wait };
        let limit = timeout.map(|seconds| span("timeout", seconds)).transpose()?;
        let before = bank.store.boottime();
        let taker = Taker { bank: bank.clone(), title: self.title.clone(), ttl, renew, before };
        let store = &*bank.store;
        if let Some(sink) = sink {
            let sent =
                send(sink, |answer| store.take(bank.number, take, answer), move |py, taken| taker.convert(py, taken));
            return Ok(sent.into_pyobject(py)?.into_any());
        }
        let undo = |taken: Result<Taken>| {
            // A claim for good cannot be undone; its id says what it got.
            if let (Ok(taken), Some(_)) = (taken, ttl) {
                drop(taker.leases(taken));
            }
        };
        let limit = if wait { limit.map(|limit| Duration::from_micros(limit as u64)) } else { Some(BUSY_LIMIT) };
        let (begin, first) = (Instant::now(), take.clone());
        let closed = || self.handle.is_closed();
        let taken = match block(py, store, limit, |answer| store.take(bank.number, first, answer), closed, undo)? {
            Ok(taken) => taken,
            Err(Nothing::Closed) => Err(Error::Closed),
            Err(Nothing::TimeUp) => Ok(Taken::default()),
            Err(Nothing::NotBegun) if wait => {
                let take = Take { wait: false, ..take };
                block_briefly(py, store, begin, |answer| store.take(bank.number, take, answer))?
            }
            Err(Nothing::NotBegun) => Err(busy(store, begin.elapsed())),
        };
        taker.convert(py, taken).map(|taken| taken.into_bound(py))
    }

    /// A finishing call for each (key, token): a list of bools, and of exceptions where a call was refused.
    #[pyo3(signature = (items, call, value, seconds, keep, force=false, sink=None))]
    #[allow(clippy::too_many_arguments)]
    fn settle<'py>(
        &self,
        py: Python<'py>,
        items: Vec<(Bound<'py, PyAny>, i64)>,
        call: &str,
        value: &Bound<'py, PyAny>,
        seconds: Option<f64>,
        keep: &Bound<'py, PyAny>,
        force: bool,
        sink: Sink<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let call = match call {
            "extend" => Call::Extend { ttl: ttl(seconds)? },
            "release" => Call::Release { delay: span("delay", seconds.unwrap_or(0.0))? },
            "reject" => {
                Call::Reject { reason: payload("a reason", value)?, delay: span("delay", seconds.unwrap_or(0.0))? }
            }
            _ => Call::Done { result: payload("a result", value)?, keep: self::keep(keep)? },
        };
        let settles = items
            .into_iter()
            .map(|(key, token)| Ok(Settle { key: convert::value("a key", &key)?, token, call: call.clone(), force }))
            .collect::<PyResult<Vec<_>>>()?;
        let bank = self.current(py)?.bank.clone();
        let title = self.title.clone();
        let submit = |answer| bank.store.settle(bank.number, settles, answer);
        run(py, &*bank.store, sink, submit, move |py, answers: Result<Vec<Result<Settled>>>| {
            let list = PyList::empty(py);
            for answer in or_raise(py, &title, answers)? {
                match answer {
                    Ok(settled) => list.append(settled.yes)?,
                    Err(error) => list.append(errors::raise(py, &title, &error).into_value(py))?,
                }
            }
            Ok(list.into_any().unbind())
        })
    }

    #[pyo3(signature = (key, sink=None))]
    fn get<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>, sink: Sink<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.read(py, Query::Get(value("a key", key)?), sink, items)
    }

    #[pyo3(signature = (id, sink=None))]
    fn of<'py>(&self, py: Python<'py>, id: &Bound<'py, PyAny>, sink: Sink<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.read(py, Query::Of(value("a claim id", id)?), sink, items)
    }

    #[pyo3(signature = (state, after, limit, sink=None))]
    fn page<'py>(
        &self,
        py: Python<'py>,
        state: Option<&str>,
        after: i64,
        limit: u32,
        sink: Sink<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let state = match state {
            None => None,
            Some("free") => Some(State::Free),
            Some("leased") => Some(State::Leased),
            Some("given") => Some(State::Given),
            Some("dead") => Some(State::Dead),
            Some(other) => {
                let message = format!("state must be free, leased, given or dead, not {other:?}");
                return Err(pyo3::exceptions::PyValueError::new_err(message));
            }
        };
        self.read(py, Query::Page { state, after, limit }, sink, items)
    }

    #[pyo3(signature = (sink=None))]
    fn counts<'py>(&self, py: Python<'py>, sink: Sink<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.read(py, Query::Counts, sink, |py, found| counts(py, &found))
    }

    #[pyo3(signature = (sink=None))]
    fn verify<'py>(&self, py: Python<'py>, sink: Sink<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.read(py, Query::Verify, sink, |py, found| Ok(PyList::new(py, found.faults)?.into_any().unbind()))
    }

    #[pyo3(signature = (top, sink=None))]
    fn resize<'py>(&self, py: Python<'py>, top: i64, sink: Sink<'py>) -> PyResult<Bound<'py, PyAny>> {
        let bank = self.current(py)?.bank.clone();
        let title = self.title.clone();
        let submit = |answer| bank.store.resize(bank.number, top, answer);
        run(py, &*bank.store, sink, submit, move |py, info| {
            Ok(or_raise(py, &title, info)?.top.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// A free id for this process, or None.
    #[pyo3(signature = (fresh_first, id=None, sink=None))]
    fn get_id<'py>(
        &self,
        py: Python<'py>,
        fresh_first: bool,
        id: Option<i64>,
        sink: Sink<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Current { bank, held, .. } = self.current(py)?;
        let (bank, held, title) = (bank.clone(), held.clone(), self.title.clone());
        let submit = |answer| bank.store.take(bank.number, HeldIds::take(fresh_first, id), answer);
        run(py, &*bank.store, sink, submit, move |py, taken| {
            Ok(held.note(&or_raise(py, &title, taken)?).into_pyobject(py)?.into_any().unbind())
        })
    }

    /// Free an id. None if this process does not hold it, or if there is no such id.
    #[pyo3(signature = (id, force, sink=None))]
    fn free_id<'py>(&self, py: Python<'py>, id: i64, force: bool, sink: Sink<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Current { bank, held, .. } = self.current(py)?;
        let settle = if in_range(bank, id) { held.release(id, force) } else { None };
        let Some(settle) = settle else { return Ok(py.None().into_bound(py)) };
        let (bank, held, title) = (bank.clone(), held.clone(), self.title.clone());
        let token = settle.token;
        let submit = |answer| bank.store.settle(bank.number, vec![settle], answer);
        run(py, &*bank.store, sink, submit, move |py, answers: Result<Vec<Result<Settled>>>| {
            let answer = answers.and_then(|mut answers| answers.pop().unwrap_or(Err(Error::Closed)));
            let settled = or_raise(py, &title, answer)?;
            held.forget(id, token);
            Ok(settled.yes.into_pyobject(py)?.to_owned().into_any().unbind())
        })
    }

    /// The ids that this process holds.
    fn held_ids(&self, py: Python<'_>) -> PyResult<Vec<i64>> {
        Ok(self.current(py)?.held.all())
    }

    /// An idempotency key: (verdict, value, lease or None).
    #[pyo3(signature = (key, fingerprint, ttl, rerun, sink=None))]
    fn once<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        fingerprint: &Bound<'py, PyAny>,
        ttl: f64,
        rerun: bool,
        sink: Sink<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let bank = self.current(py)?.bank.clone();
        let ttl = convert::ttl(Some(ttl))?;
        let fingerprint = payload("a fingerprint", fingerprint)?;
        let take = once::take(value("a key", key)?, fingerprint.clone(), ttl);
        let before = bank.store.boottime();
        let taker = Taker { bank: bank.clone(), title: self.title.clone(), ttl: Some(ttl), renew: true, before };
        let submit = |answer| bank.store.take(bank.number, take, answer);
        run(py, &*bank.store, sink, submit, move |py, taken: Result<Taken>| {
            let taken = or_raise(py, &taker.title, taken)?;
            let verdict = once::judge(&taken, &fingerprint, rerun);
            // Dropped unless it runs: that gives the key back, and the attempt with it.
            let lease = taker.leases(taken).pop();
            told(py, &taker.title, verdict, lease)
        })
    }
}

fn told(py: Python<'_>, title: &str, verdict: Verdict, lease: Option<Arc<Lease>>) -> PyResult<Py<PyAny>> {
    let none = || py.None().into_bound(py);
    let told = match verdict {
        Verdict::Run { attempt } => {
            let lease = lease.map(|lease| {
                lease.keep_renewed();
                Py::new(py, LeaseCore::new(lease, title.to_owned()))
            });
            ("run", attempt.into_pyobject(py)?.into_any(), lease.transpose()?)
        }
        Verdict::InProgress { retry_after } => {
            ("in progress", seconds(retry_after).into_pyobject(py)?.into_any(), None)
        }
        Verdict::Replay { answer } => ("replay", from_payload(py, &answer)?, None),
        Verdict::Mismatch => ("mismatch", none(), None),
        Verdict::Interrupted { attempt } => ("interrupted", attempt.into_pyobject(py)?.into_any(), None),
    };
    Ok(told.into_pyobject(py)?.into_any().unbind())
}

fn counts(py: Python<'_>, found: &Found) -> PyResult<Py<PyAny>> {
    let counts = found.counts;
    let dict = PyDict::new(py);
    for (name, count) in [
        ("free", counts.free),
        ("leased", counts.leased),
        ("given", counts.given),
        ("dead", counts.dead),
        ("put", counts.put),
        ("token", counts.token),
        ("top", counts.top),
        ("mark", counts.mark),
    ] {
        dict.set_item(name, count)?;
    }
    Ok(dict.into_any().unbind())
}

fn defaults(number: i64, delay: f64, max_attempts: Option<i64>) -> PyResult<Defaults> {
    priority(number)?;
    Ok(Defaults { priority: number, delay: span("delay", delay)?, max_attempts: convert::attempts(max_attempts)? })
}
