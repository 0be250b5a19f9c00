//! A bank as a Python object holds it: opened anew in a forked child, and closed once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, Ordering};

use pyo3::Python;

use crate::core::error::{Error, Result};
use crate::core::fork::generation;
use crate::core::ids::HeldIds;
use crate::core::model::Kind;
use crate::core::{Bank, Store};
use crate::stores::postgres::tx::Place as Tx;
use crate::stores::postgres::{self, PostgresStore};
use crate::stores::sqlite::{self, SqliteStore};

/// Where a bank is.
pub enum Place {
    File(PathBuf),
    /// The address, and how it is shown.
    Postgres(String, String),
}

impl Place {
    /// A path, or the address of a database.
    pub fn new(text: PathBuf) -> Result<Place> {
        match text.to_str() {
            Some(address) if postgres::is_address(address) => {
                Ok(Place::Postgres(address.to_owned(), postgres::shown(address)?))
            }
            _ => Ok(Place::File(std::path::absolute(&text).unwrap_or(text))),
        }
    }

    /// For messages.
    pub fn shown(&self) -> String {
        match self {
            Place::File(path) => path.display().to_string(),
            Place::Postgres(_, shown) => shown.clone(),
        }
    }
}

/// How it is opened.
pub struct Options {
    pub clock: Option<Arc<AtomicI64>>,
    pub fast: bool,
}

/// An open bank of one process.
pub struct Current {
    generation: u64,
    pub bank: Bank,
    pub held: Arc<HeldIds>,
    /// What the user should know of how the bank works at this place.
    pub remark: Option<String>,
    /// What a transaction of the caller needs to put something here; None where there is no such thing.
    pub tx: Option<Tx>,
}

pub struct Handle {
    place: Place,
    name: String,
    kind: Kind,
    options: Options,
    /// Never null after `new`. Replaced only by a forked child, which leaks its parent's.
    current: AtomicPtr<Current>,
    closed: AtomicBool,
}

impl Handle {
    pub fn new(place: Place, name: String, kind: Kind, options: Options) -> Result<Handle> {
        let current = Self::open(&place, &name, kind, &options)?;
        let current = AtomicPtr::new(Box::into_raw(current));
        Ok(Handle { place, name, kind, options, current, closed: AtomicBool::new(false) })
    }

    fn open(place: &Place, name: &str, kind: Kind, options: &Options) -> Result<Box<Current>> {
        let (clock, fast) = (options.clock.clone(), options.fast);
        let (store, remark, tx): (Arc<dyn Store>, _, _) = match place {
            Place::File(path) => (SqliteStore::open(path, &sqlite::Options { clock, fast, vfs: None })?, None, None),
            Place::Postgres(address, _) => {
                let store = PostgresStore::open(address, &postgres::Options { clock, fast })?;
                let (remark, tx) = (store.remark(), store.for_transactions());
                (store, remark, Some(tx))
            }
        };
        let bank = Bank::open(store, name, kind)?;
        Ok(Box::new(Current { generation: generation(), bank, held: Arc::default(), remark, tx }))
    }

    /// The bank of this process.
    pub fn current(&self) -> Result<&Current> {
        if self.is_closed() { Err(Error::Closed) } else { self.even_closed() }
    }

    /// The same for what must work after `close`: taking requests back.
    pub fn even_closed(&self) -> Result<&Current> {
        let seen = self.current.load(Ordering::Acquire);
        // SAFETY: it came from `Box::into_raw` and is freed in `drop` only, or never.
        #[allow(unsafe_code)]
        let current = unsafe { &*seen };
        if current.generation == generation() {
            return Ok(current);
        }
        let fresh = Box::into_raw(Self::open(&self.place, &self.name, self.kind, &self.options)?);
        match self.current.compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: as above; the parent's is leaked.
            #[allow(unsafe_code)]
            Ok(_) => Ok(unsafe { &*fresh }),
            Err(other) => {
                // SAFETY: nobody else has seen `fresh`; `other` is another thread's, as above.
                #[allow(unsafe_code)]
                unsafe {
                    drop(Box::from_raw(fresh));
                    Ok(&*other)
                }
            }
        }
    }

    /// The time of a clock that stands still, if it has one.
    pub fn clock(&self) -> Option<i64> {
        self.options.clock.as_ref().map(|clock| clock.load(Ordering::Relaxed))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> String {
        self.place.shown()
    }

    /// How messages name it.
    pub fn title(&self) -> String {
        format!("{:?} ({})", self.name, self.place.shown())
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Refuses all calls from now on. The file is closed with the last handle of this process.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let current = *self.current.get_mut();
        // SAFETY: nobody else has the handle any more. A forked child leaks its parent's: its locks may be taken.
        #[allow(unsafe_code)]
        let mine = unsafe { ((*current).generation == generation()).then(|| Box::from_raw(current)) };
        // The last one ends the threads of its file and waits for them: not with the GIL.
        if let Some(mine) = mine {
            Python::attach(|py| py.detach(|| drop(mine)));
        }
    }
}
