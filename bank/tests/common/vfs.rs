//! A VFS that records what SQLite writes, truncates, syncs and deletes, and that can end the process after a sync.
#![allow(dead_code, unsafe_code, clippy::unwrap_used, clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]
// SAFETY for all of this file: SQLite calls these functions as its documentation says, with pointers that it got from here or
// from the VFS underneath; the memory of a file is SQLite's, `szOsFile` bytes, ours first and the other VFS's behind it.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, Once};

use rusqlite::ffi::*;

#[derive(Clone)]
pub enum Event {
    Write {
        file: String,
        offset: u64,
        data: Vec<u8>,
    },
    Truncate {
        file: String,
        size: u64,
    },
    Sync {
        file: String,
    },
    Delete {
        file: String,
    },
    /// Not of the VFS: the test got an answer.
    Answer {
        id: String,
        key: String,
    },
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = |file: &str| file.rsplit('/').next().unwrap_or("").to_owned();
        match self {
            Event::Write { file, offset, data } => write!(f, "write {} {offset} +{}", end(file), data.len()),
            Event::Truncate { file, size } => write!(f, "truncate {} {size}", end(file)),
            Event::Sync { file } => write!(f, "sync {}", end(file)),
            Event::Delete { file } => write!(f, "delete {}", end(file)),
            Event::Answer { id, key } => write!(f, "answer {id} {key}"),
        }
    }
}

pub static EVENTS: Mutex<Vec<Event>> = Mutex::new(Vec::new());

/// After so many more syncs the process ends, as by SIGKILL. Negative: never.
pub static SYNCS_LEFT: AtomicI64 = AtomicI64::new(-1);

fn note(event: Event) {
    EVENTS.lock().unwrap().push(event);
}

#[repr(C)]
struct File {
    base: sqlite3_file,
    name: *mut String,
}

const OURS: usize = size_of::<File>();

unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    unsafe { file.cast::<u8>().add(OURS).cast() }
}

unsafe fn name(file: *mut sqlite3_file) -> Option<String> {
    unsafe { file.cast::<File>().as_ref()?.name.as_ref().cloned() }
}

macro_rules! forward {
    ($name:ident, $method:ident, ($($argument:ident: $type:ty),*) -> $result:ty) => {
        unsafe extern "C" fn $name(file: *mut sqlite3_file, $($argument: $type),*) -> $result {
            unsafe { ((*(*real(file)).pMethods).$method.unwrap())(real(file), $($argument),*) }
        }
    };
}

forward!(read, xRead, (to: *mut c_void, amount: c_int, offset: i64) -> c_int);
forward!(file_size, xFileSize, (size: *mut i64) -> c_int);
forward!(lock, xLock, (level: c_int) -> c_int);
forward!(unlock, xUnlock, (level: c_int) -> c_int);
forward!(reserved, xCheckReservedLock, (out: *mut c_int) -> c_int);
forward!(control, xFileControl, (op: c_int, argument: *mut c_void) -> c_int);
forward!(sector, xSectorSize, () -> c_int);
forward!(device, xDeviceCharacteristics, () -> c_int);
forward!(shm_map, xShmMap, (page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void) -> c_int);
forward!(shm_lock, xShmLock, (offset: c_int, n: c_int, flags: c_int) -> c_int);
forward!(shm_barrier, xShmBarrier, () -> ());
forward!(shm_unmap, xShmUnmap, (delete: c_int) -> c_int);

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    unsafe {
        let answer = (*(*real(file)).pMethods).xClose.unwrap()(real(file));
        let ours = file.cast::<File>();
        if !(*ours).name.is_null() {
            drop(Box::from_raw((*ours).name));
        }
        answer
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, amount: c_int, offset: i64) -> c_int {
    unsafe {
        if let Some(file) = name(file) {
            let data = std::slice::from_raw_parts(from.cast::<u8>(), amount as usize).to_vec();
            note(Event::Write { file, offset: offset as u64, data });
        }
        (*(*real(file)).pMethods).xWrite.unwrap()(real(file), from, amount, offset)
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    unsafe {
        if let Some(file) = name(file) {
            note(Event::Truncate { file, size: size as u64 });
        }
        (*(*real(file)).pMethods).xTruncate.unwrap()(real(file), size)
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    unsafe {
        let answer = (*(*real(file)).pMethods).xSync.unwrap()(real(file), flags);
        if let Some(file) = name(file) {
            note(Event::Sync { file });
        }
        if SYNCS_LEFT.load(Ordering::SeqCst) > 0 && SYNCS_LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
            libc::kill(libc::getpid(), libc::SIGKILL);
        }
        answer
    }
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(reserved),
    xFileControl: Some(control),
    xSectorSize: Some(sector),
    xDeviceCharacteristics: Some(device),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

unsafe fn under(vfs: *mut sqlite3_vfs) -> *mut sqlite3_vfs {
    unsafe { (*vfs).pAppData.cast() }
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    path: sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    unsafe {
        let ours = file.cast::<File>();
        (*ours).base.pMethods = std::ptr::null();
        (*ours).name = std::ptr::null_mut();
        let answer = (*under(vfs)).xOpen.unwrap()(under(vfs), path, real(file), flags, out);
        if (*real(file)).pMethods.is_null() {
            return answer;
        }
        (*ours).base.pMethods = &METHODS;
        if !path.is_null() {
            let name = CStr::from_ptr(path).to_string_lossy().into_owned();
            (*ours).name = Box::into_raw(Box::new(name));
        }
        answer
    }
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, path: *const c_char, dir: c_int) -> c_int {
    unsafe {
        note(Event::Delete { file: CStr::from_ptr(path).to_string_lossy().into_owned() });
        (*under(vfs)).xDelete.unwrap()(under(vfs), path, dir)
    }
}

macro_rules! pass {
    ($name:ident, $method:ident, ($($argument:ident: $type:ty),*)) => {
        unsafe extern "C" fn $name(vfs: *mut sqlite3_vfs, $($argument: $type),*) -> c_int {
            unsafe { (*under(vfs)).$method.unwrap()(under(vfs), $($argument),*) }
        }
    };
}

pass!(access, xAccess, (path: *const c_char, flags: c_int, out: *mut c_int));
pass!(full, xFullPathname, (path: *const c_char, n: c_int, out: *mut c_char));
pass!(randomness, xRandomness, (n: c_int, out: *mut c_char));
pass!(sleep, xSleep, (microseconds: c_int));
pass!(time, xCurrentTime, (out: *mut f64));
pass!(last_error, xGetLastError, (n: c_int, out: *mut c_char));
pass!(time64, xCurrentTimeInt64, (out: *mut i64));

/// Registers it under the name "recording".
pub fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| unsafe {
        sqlite3_initialize();
        let real = sqlite3_vfs_find(std::ptr::null());
        let vfs = Box::new(sqlite3_vfs {
            iVersion: 2,
            szOsFile: OURS as c_int + (*real).szOsFile,
            mxPathname: (*real).mxPathname,
            pNext: std::ptr::null_mut(),
            zName: c"recording".as_ptr(),
            pAppData: real.cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: Some(time),
            xGetLastError: Some(last_error),
            xCurrentTimeInt64: Some(time64),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        });
        assert_eq!(sqlite3_vfs_register(Box::into_raw(vfs), 0), SQLITE_OK);
    });
}
