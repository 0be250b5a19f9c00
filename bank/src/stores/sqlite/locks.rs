//! Locks of open files (OFD locks), and SQLite's own locks put on them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, c_char, c_int};
use std::sync::Once;

use crate::core::sync::Mutex;
use rusqlite::ffi;

use crate::core::fork::{ClosedInChild, PerProcess, generation};

fn describe(kind: c_int, start: i64, len: i64) -> libc::flock {
    // SAFETY: `flock` is plain data, for which zeros are a value.
    #[allow(unsafe_code)]
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = start;
    lock.l_len = len;
    lock
}

/// Locks one byte for this open file; waits for others if it must.
pub fn lock(fd: i32, byte: i64) -> std::io::Result<()> {
    let request = describe(libc::F_WRLCK, byte, 1);
    loop {
        // SAFETY: `request` outlives the call.
        #[allow(unsafe_code)]
        if unsafe { libc::fcntl(fd, libc::F_OFD_SETLKW, &request) } == 0 {
            return Ok(());
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Locks some bytes for this open file if nobody else has one of them. False: somebody has.
pub fn try_lock(fd: i32, first: i64, number: i64) -> std::io::Result<bool> {
    let request = describe(libc::F_WRLCK, first, number);
    // SAFETY: `request` outlives the call.
    #[allow(unsafe_code)]
    if unsafe { libc::fcntl(fd, libc::F_OFD_SETLK, &request) } == 0 {
        return Ok(true);
    }
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::EACCES | libc::EINTR) => Ok(false),
        _ => Err(error),
    }
}

/// Unlocks one byte.
pub fn unlock(fd: i32, byte: i64) {
    let request = describe(libc::F_UNLCK, byte, 1);
    // SAFETY: `request` outlives the call.
    #[allow(unsafe_code)]
    unsafe {
        libc::fcntl(fd, libc::F_OFD_SETLK, &request);
    }
}

/// Whether somebody else has the byte locked; an error counts as yes, since "no" lets others take what they hold.
pub fn is_locked(fd: i32, byte: i64) -> bool {
    let mut request = describe(libc::F_WRLCK, byte, 1);
    // SAFETY: `request` outlives the call.
    #[allow(unsafe_code)]
    let answer = unsafe { libc::fcntl(fd, libc::F_OFD_GETLK, &mut request) };
    answer != 0 || request.l_type != libc::F_UNLCK as libc::c_short
}

/// The open file that carries all locks of our SQLite on one inode, as a process's POSIX locks would be, and which of
/// SQLite's descriptors use it.
struct Carrier {
    file: ClosedInChild,
    users: Vec<c_int>,
}

type Inode = (u64, u64);

#[derive(Default)]
struct Carriers {
    files: HashMap<Inode, Carrier>,
    /// The inode behind each descriptor of SQLite's that has locked something; it is SQLite's until our `close`.
    known: HashMap<c_int, Inode>,
}

static CARRIERS: PerProcess<Mutex<Carriers>> = PerProcess::new();

fn inode(fd: c_int) -> Option<Inode> {
    // SAFETY: `stat` is plain data, for which zeros are a value.
    #[allow(unsafe_code)]
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` outlives the call.
    #[allow(unsafe_code)]
    let answer = unsafe { libc::fstat(fd, &mut stat) };
    (answer == 0).then_some((stat.st_dev, stat.st_ino))
}

/// Opens the file behind a descriptor once more: an open file of its own, also if its name is gone.
fn reopen(fd: c_int) -> Option<ClosedInChild> {
    let path = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    for access in [libc::O_RDWR, libc::O_RDONLY] {
        // SAFETY: the path ends with a zero and outlives the call.
        #[allow(unsafe_code)]
        let fd = unsafe { libc::open(path.as_ptr(), access | libc::O_CLOEXEC) };
        if fd >= 0 {
            return ClosedInChild::new(fd);
        }
    }
    None
}

impl Carriers {
    /// The open file that carries the locks of the file behind a descriptor.
    fn of(&mut self, fd: c_int) -> Option<c_int> {
        if let Some(carrier) = self.known.get(&fd).and_then(|inode| self.files.get(inode)) {
            return Some(carrier.file.fd());
        }
        let inode = inode(fd)?;
        let carrier = match self.files.entry(inode) {
            Entry::Occupied(carrier) => carrier.into_mut(),
            Entry::Vacant(place) => place.insert(Carrier { file: reopen(fd)?, users: Vec::new() }),
        };
        carrier.users.push(fd);
        self.known.insert(fd, inode);
        Some(carrier.file.fd())
    }

    /// A descriptor is about to be closed. With the last one of a file the open file with the locks goes, too.
    fn forget(&mut self, fd: c_int) {
        let Some(inode) = self.known.remove(&fd) else { return };
        if let Entry::Occupied(mut carrier) = self.files.entry(inode) {
            carrier.get_mut().users.retain(|user| *user != fd);
            if carrier.get().users.is_empty() {
                carrier.remove();
            }
        }
    }
}

/// SQLite's `fcntl`. Its locks are POSIX locks, which the kernel drops when any descriptor of the file is closed in this
/// process, for example by another copy of SQLite (Python's). Here they are put on one open file per inode instead: that
/// behaves as the POSIX locks of a process do, conflicts with those of others, and only we can undo it.
///
/// C declares it with a variable argument list. On the platforms that this is built for (Linux on x86-64, aarch64 and
/// others whose variable arguments travel as fixed ones do) a third fixed argument is where the caller put it.
extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    let ofd = match command {
        libc::F_SETLK => libc::F_OFD_SETLK,
        libc::F_SETLKW => libc::F_OFD_SETLKW,
        libc::F_GETLK => libc::F_OFD_GETLK,
        // SAFETY: handed on as it came.
        #[allow(unsafe_code)]
        _ => return unsafe { libc::fcntl(fd, command, argument) },
    };
    let Some(carrier) = CARRIERS.get().lock().of(fd) else {
        // SAFETY: without /proc it stays what it would have been.
        #[allow(unsafe_code)]
        return unsafe { libc::fcntl(fd, command, argument) };
    };
    let request = argument as *mut libc::flock;
    // SAFETY: for these three commands the argument is a `struct flock` of the caller's; the field must be 0 for OFD.
    #[allow(unsafe_code)]
    unsafe {
        (*request).l_pid = 0;
        libc::fcntl(carrier, ofd, request)
    }
}

/// SQLite's `close`.
extern "C" fn close(fd: c_int) -> c_int {
    CARRIERS.get().lock().forget(fd);
    // SAFETY: the descriptor is SQLite's, which closes it.
    #[allow(unsafe_code)]
    unsafe {
        libc::close(fd)
    }
}

/// SQLite's `fstat`. A forked child inherits what SQLite knows of the parent's files, locks included, and finds it by device
/// and inode. Another device number in each generation keeps the child from it. (SQLite compares nothing else with it: whether
/// a file was moved it sees by the inode alone.)
extern "C" fn fstat(fd: c_int, stat: *mut libc::stat) -> c_int {
    // SAFETY: SQLite passes a `struct stat` of its own.
    #[allow(unsafe_code)]
    unsafe {
        let answer = libc::fstat(fd, stat);
        if answer == 0 {
            (*stat).st_dev ^= (generation() - 1) << 40;
        }
        answer
    }
}

static INSTALLED: Once = Once::new();

/// Gives our copy of SQLite the three functions above; before it opens its first file.
pub fn install() {
    INSTALLED.call_once(|| {
        // SAFETY: the default VFS exists for ever, and its system calls are replaced before any connection is open. The
        // functions have the signatures that SQLite calls them with.
        #[allow(unsafe_code)]
        unsafe {
            ffi::sqlite3_initialize();
            let vfs = ffi::sqlite3_vfs_find(std::ptr::null());
            let Some(set) = vfs.as_ref().and_then(|vfs| vfs.xSetSystemCall) else { return };
            let put = |name: &std::ffi::CStr, call: *const ()| {
                let call = std::mem::transmute::<*const (), ffi::sqlite3_syscall_ptr>(call);
                set(vfs, name.as_ptr() as *const c_char, call);
            };
            put(c"fcntl", fcntl as *const ());
            put(c"close", close as *const ());
            put(c"fstat", fstat as *const ());
        }
    });
}
