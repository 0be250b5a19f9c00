//! The side file: who lives, who writes, and a word that wakes.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use super::locks;
use crate::core::boottime;
use crate::core::error::{Error, Result};
use crate::core::fork::ClosedInChild;

const SIZE: usize = 4_096;
const MAGIC: &[u8; 8] = b"opOLside";
const COOKIE: usize = 8;
const WORD: usize = 64;
const WRITER_PID: usize = 128;
const WRITER_SINCE: usize = 136;

/// The two bytes of the turnstile. Owner n has byte n.
const A: i64 = 1 << 62;
const B: i64 = A + 1;

/// The side file, open and mapped.
pub struct Side {
    path: PathBuf,
    file: ClosedInChild,
    map: *mut u8,
    inode: (u64, u64),
    /// Another one in each side file: it tells whether an owner's byte is in this one.
    pub cookie: Vec<u8>,
}

// SAFETY: what is shared in the mapping is only touched through atomics; everything else is immutable.
#[allow(unsafe_code)]
unsafe impl Send for Side {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Side {}

fn stat(path: &Path) -> Option<((u64, u64), u64)> {
    use std::os::unix::fs::MetadataExt;
    let data = std::fs::metadata(path).ok()?;
    Some(((data.dev(), data.ino()), data.len()))
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    let path = path.display().to_string();
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => Error::Full { path },
        Some(libc::EROFS | libc::EACCES | libc::EPERM) => Error::ReadOnly { path, why: error.to_string() },
        _ => Error::Io { path, why: error.to_string() },
    }
}

impl Side {
    /// Opens the side file, and makes it if it is not there.
    pub fn open(path: PathBuf) -> Result<Side> {
        let name =
            CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Invalid("a path with a zero".into()))?;
        // SAFETY: the path ends with a zero and outlives the call.
        #[allow(unsafe_code)]
        let fd = unsafe { libc::open(name.as_ptr(), libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC, 0o666) };
        if fd < 0 {
            return Err(failed(&path, &std::io::Error::last_os_error()));
        }
        let Some(file) = ClosedInChild::new(fd) else {
            return Err(Error::Io { path: path.display().to_string(), why: "too many banks are open".into() });
        };
        locks::lock(fd, A).map_err(|error| failed(&path, &error))?;
        let made = Self::initialise(path, file);
        locks::unlock(fd, A);
        made
    }

    /// Under the first lock of the turnstile, so that only one process writes the cookie.
    fn initialise(path: PathBuf, file: ClosedInChild) -> Result<Side> {
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::FileExt;
        let fd = file.fd();
        // SAFETY: the descriptor is open; `ManuallyDrop` keeps it so.
        #[allow(unsafe_code)]
        let borrowed =
            std::mem::ManuallyDrop::new(unsafe { <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(fd) });
        let mut head = [0_u8; 24];
        let io = |error: std::io::Error| failed(&path, &error);
        let have = borrowed.read_at(&mut head, 0).map_err(io)?;
        if have < head.len() || head == [0; 24] {
            // posix_fallocate, not ftruncate: a page without a block would be a SIGBUS on a full disk.
            // SAFETY: a plain call on an open descriptor.
            #[allow(unsafe_code)]
            let error = unsafe { libc::posix_fallocate(fd, 0, SIZE as i64) };
            if error != 0 {
                return Err(failed(&path, &std::io::Error::from_raw_os_error(error)));
            }
            head[..8].copy_from_slice(MAGIC);
            head[8..].copy_from_slice(&boottime::random::<16>());
            borrowed.write_all_at(&head, 0).map_err(io)?;
        } else if head[..8] != MAGIC[..] {
            let why = "it stands where the bank's side file belongs".to_owned();
            return Err(Error::NotABank { path: path.display().to_string(), why });
        }
        if borrowed.metadata().map_err(io)?.len() < SIZE as u64 {
            borrowed.set_len(SIZE as u64).map_err(io)?;
        }
        let Some((inode, _)) = stat(&path) else { return Err(Error::Moved { path: path.display().to_string() }) };
        // Mapped through an open file of its own: a mapping keeps its open file alive, with its locks, in forked children too.
        let mapped = std::fs::File::options().read(true).write(true).open(&path).map_err(io)?;
        // SAFETY: a new shared mapping of an open file that is long enough; it is unmapped in `drop` only.
        #[allow(unsafe_code)]
        let map = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), SIZE, access, libc::MAP_SHARED, mapped.as_raw_fd(), 0)
        };
        if map == libc::MAP_FAILED {
            return Err(failed(&path, &std::io::Error::last_os_error()));
        }
        Ok(Side { path, file, map: map.cast(), inode, cookie: head[COOKIE..].to_vec() })
    }

    /// Whether the file at the path is still this one, and as long as its mapping.
    pub fn is_current(&self) -> bool {
        stat(&self.path).is_some_and(|(inode, size)| inode == self.inode && size >= SIZE as u64)
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: inside the mapping, aligned, and only ever used as an atomic.
        #[allow(unsafe_code)]
        unsafe {
            &*self.map.add(WORD).cast::<AtomicU32>()
        }
    }

    fn writer(&self) -> (&AtomicU32, &AtomicI64) {
        // SAFETY: inside the mapping, aligned, and only ever used as atomics.
        #[allow(unsafe_code)]
        unsafe {
            (&*self.map.add(WRITER_PID).cast::<AtomicU32>(), &*self.map.add(WRITER_SINCE).cast::<AtomicI64>())
        }
    }

    /// Passes the turnstile. Whoever leaves it and comes again queues for A behind those who wait there, and the one that
    /// waits for B is the next: nobody is overtaken twice.
    pub fn enter(&self) -> Result<()> {
        let fd = self.file.fd();
        locks::lock(fd, A).map_err(|error| failed(&self.path, &error))?;
        let second = locks::lock(fd, B);
        locks::unlock(fd, A);
        second.map_err(|error| failed(&self.path, &error))?;
        self.tell();
        Ok(())
    }

    /// Passes the turnstile if nobody is in it. False: somebody is, or waits; then one queues with `enter`.
    pub fn try_enter(&self) -> Result<bool> {
        let fd = self.file.fd();
        let entered = locks::try_lock(fd, A, B - A + 1).map_err(|error| failed(&self.path, &error))?;
        if entered {
            // At once: who comes now has A when this thread comes again, which then queues behind.
            locks::unlock(fd, A);
            self.tell();
        }
        Ok(entered)
    }

    /// Says for messages who is inside, and since when.
    fn tell(&self) {
        let (pid, since) = self.writer();
        pid.store(std::process::id(), Ordering::Relaxed);
        since.store(boottime::now(), Ordering::Relaxed);
    }

    /// Leaves the turnstile.
    pub fn leave(&self) {
        self.writer().0.store(0, Ordering::Relaxed);
        locks::unlock(self.file.fd(), B);
    }

    /// Which process is inside the turnstile, as far as it said so.
    pub fn inside(&self) -> Option<u32> {
        Some(self.writer().0.load(Ordering::Relaxed)).filter(|pid| *pid != 0 && *pid != std::process::id())
    }

    /// Locks the byte of an owner's number, for as long as this process lives.
    pub fn become_owner(&self, number: i64) -> Result<()> {
        locks::lock(self.file.fd(), number).map_err(|error| failed(&self.path, &error))
    }

    /// Undoes that, if the row with the number was not stored: another process will get the number.
    pub fn stop_being_owner(&self, number: i64) {
        locks::unlock(self.file.fd(), number);
    }

    /// Whether the process that is this owner lives.
    pub fn lives(&self, number: i64) -> bool {
        locks::is_locked(self.file.fd(), number)
    }

    /// The word, before one looks for something.
    pub fn read_word(&self) -> u32 {
        self.word().load(Ordering::Acquire)
    }

    /// Tells every process that something may have come free; after the commit.
    pub fn wake_all(&self) {
        self.word().fetch_add(1, Ordering::Release);
        // SAFETY: FUTEX_WAKE only uses the address as a key.
        #[allow(unsafe_code)]
        unsafe {
            libc::syscall(libc::SYS_futex, self.word().as_ptr(), libc::FUTEX_WAKE, i32::MAX, 0, 0, 0);
        }
    }

    /// Waits until the word is another one than `seen`, at most for `limit`.
    pub fn wait(&self, seen: u32, limit: Duration) {
        let time = libc::timespec { tv_sec: limit.as_secs() as libc::time_t, tv_nsec: i64::from(limit.subsec_nanos()) };
        // SAFETY: the word is mapped as long as `self` is, and `time` outlives the call.
        #[allow(unsafe_code)]
        unsafe {
            libc::syscall(libc::SYS_futex, self.word().as_ptr(), libc::FUTEX_WAIT, seen, &time, 0, 0);
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more.
        #[allow(unsafe_code)]
        unsafe {
            libc::munmap(self.map.cast(), SIZE);
        }
    }
}
