//! A bank as a Python object holds it: opened anew in a forked child, and closed once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use pyo3::Python;

use crate::core::error::{Error, Result};
use crate::core::fork::generation;
use crate::core::ids::HeldIds;
use crate::core::model::Kind;
use crate::core::{Bank, Store};
use crate::stores::sqlite::{Options, SqliteStore};

/// An open bank of one process.
pub struct Current {
    generation: u64,
    pub bank: Bank,
    pub held: Arc<HeldIds>,
}

pub struct Handle {
    path: PathBuf,
    name: String,
    kind: Kind,
    options: Options,
    /// Never null after `new`. Replaced only by a forked child, which leaks its parent's.
    current: AtomicPtr<Current>,
    closed: AtomicBool,
}

impl Handle {
    pub fn new(path: PathBuf, name: String, kind: Kind, options: Options) -> Result<Handle> {
        let current = Self::open(&path, &name, kind, &options)?;
        let current = AtomicPtr::new(Box::into_raw(current));
        Ok(Handle { path, name, kind, options, current, closed: AtomicBool::new(false) })
    }

    fn open(path: &std::path::Path, name: &str, kind: Kind, options: &Options) -> Result<Box<Current>> {
        let store: Arc<dyn Store> = SqliteStore::open(path, options)?;
        let bank = Bank::open(store, name, kind)?;
        Ok(Box::new(Current { generation: generation(), bank, held: Arc::default() }))
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
        let fresh = Box::into_raw(Self::open(&self.path, &self.name, self.kind, &self.options)?);
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

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// How messages name it.
    pub fn title(&self) -> String {
        format!("{:?} ({})", self.name, self.path.display())
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
