//! Parks a thread that the interpreter ends inside our frames, instead of letting it be unwound.
//!
//! Up to CPython 3.13 a thread that asks for the GIL after the interpreter has begun to finalise is ended by
//! `pthread_exit`, which unwinds its stack. Rust frames that called through `extern "C"` cannot be unwound: the process
//! would abort. CPython 3.14 parks such a thread until the process ends. [`install`] gives earlier versions the same
//! behaviour, and only where it matters: the interpreter's import of `pthread_exit` is redirected to [`exit_or_park`],
//! which parks the thread if a frame of this library is on its stack, and else does what the interpreter asked for.
//!
//! So every way into Python is covered, also those of PyO3: what counts is where the thread ends, not which call it was
//! in. If the import cannot be found (another platform, a libc linked statically), nothing is changed and `install`
//! says so.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use pyo3::ffi;

/// The addresses of this library's code and data. Set before the import is redirected.
static LIBRARY: OnceLock<Range<usize>> = OnceLock::new();

mod unwinder {
    use super::{c_int, c_void};

    pub(super) const CONTINUE: c_int = 0;
    pub(super) const STOP: c_int = 5;

    unsafe extern "C" {
        pub(super) fn _Unwind_Backtrace(
            visit: unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int,
            argument: *mut c_void,
        ) -> c_int;
        pub(super) fn _Unwind_GetIP(frame: *mut c_void) -> usize;
    }

    unsafe extern "C-unwind" {
        pub(super) fn pthread_exit(value: *mut c_void) -> !;
    }
}

/// What a walk over the stack has seen.
#[derive(Default)]
struct Walk {
    /// Whether it has left the frames of this module, which are the innermost.
    outside: bool,
    found: bool,
}

unsafe extern "C" fn visit(frame: *mut c_void, walk: *mut c_void) -> c_int {
    // SAFETY: the unwinder passes one of its frames, and the `Walk` of `is_inside_this_library`.
    let (walk, address) = unsafe { (&mut *walk.cast::<Walk>(), unwinder::_Unwind_GetIP(frame)) };
    let ours = LIBRARY.get().is_some_and(|library| library.contains(&address));
    walk.found = ours && walk.outside;
    walk.outside |= !ours;
    if walk.found { unwinder::STOP } else { unwinder::CONTINUE }
}

/// Whether the calling thread was called from this library, directly or not.
fn is_inside_this_library() -> bool {
    let mut walk = Walk::default();
    // SAFETY: `visit` fits, and the walk outlives the call.
    unsafe { unwinder::_Unwind_Backtrace(visit, (&raw mut walk).cast()) };
    walk.found
}

/// Stands in for `pthread_exit` where the interpreter calls it.
unsafe extern "C-unwind" fn exit_or_park(value: *mut c_void) -> ! {
    while is_inside_this_library() {
        std::thread::sleep(Duration::from_secs(1_000_000));
    }
    // SAFETY: as the caller's call. Neither this frame nor one above it in this library has anything to drop.
    unsafe { unwinder::pthread_exit(value) }
}

/// Redirects the interpreter's import of `pthread_exit`. False if there is none that can be found.
pub(crate) fn install() -> bool {
    static INSTALLED: OnceLock<bool> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let Some(library) = elf::Object::of(exit_or_park as *const c_void) else { return false };
        let Some(interpreter) = elf::Object::of(ffi::Py_IsInitialized as *const c_void) else { return false };
        let _ = LIBRARY.set(library.addresses());
        // SAFETY: both functions have one signature, and any number of threads may call either.
        unsafe { interpreter.redirect(c"pthread_exit", exit_or_park as *const () as usize) }
    })
}

/// The little of the ELF format that it takes to find where a shared object keeps the address of a function it imports.
mod elf {
    use std::slice;

    use super::{CStr, Range, c_char, c_int, c_void};

    #[cfg(target_arch = "x86_64")]
    const BOUND_BY_NAME: [u64; 2] = [6, 7]; // R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT
    #[cfg(target_arch = "aarch64")]
    const BOUND_BY_NAME: [u64; 2] = [1025, 1026]; // R_AARCH64_GLOB_DAT, R_AARCH64_JUMP_SLOT

    const DT_PLTRELSZ: i64 = 2;
    const DT_STRTAB: i64 = 5;
    const DT_SYMTAB: i64 = 6;
    const DT_RELA: i64 = 7;
    const DT_RELASZ: i64 = 8;
    const DT_JMPREL: i64 = 23;

    #[repr(C)]
    struct Dynamic {
        tag: i64,
        value: u64,
    }

    #[repr(C)]
    struct Symbol {
        name: u32,
        info: u8,
        other: u8,
        section: u16,
        value: u64,
        size: u64,
    }

    #[repr(C)]
    struct Relocation {
        offset: u64,
        info: u64,
        addend: i64,
    }

    /// A program or a shared object, as it is loaded.
    pub(super) struct Object {
        base: usize,
        headers: &'static [libc::Elf64_Phdr],
    }

    struct Search {
        address: usize,
        found: Option<Object>,
    }

    unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
        // SAFETY: the loader describes an object that is loaded; those that we look for are never unloaded.
        let (object, search) = unsafe {
            let info = &*info;
            let headers = slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum));
            (Object { base: info.dlpi_addr as usize, headers }, &mut *search.cast::<Search>())
        };
        if !object.segments(libc::PT_LOAD).any(|segment| segment.contains(&search.address)) {
            return 0;
        }
        search.found = Some(object);
        1
    }

    impl Object {
        /// The one that holds this address.
        pub(super) fn of(address: *const c_void) -> Option<Object> {
            let mut search = Search { address: address as usize, found: None };
            // SAFETY: `look` fits, and the search outlives the call.
            unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
            search.found
        }

        fn segments(&self, kind: u32) -> impl Iterator<Item = Range<usize>> {
            self.headers.iter().filter(move |header| header.p_type == kind).map(|header| {
                let start = self.base + header.p_vaddr as usize;
                start..start + header.p_memsz as usize
            })
        }

        /// From its first segment to the end of its last.
        pub(super) fn addresses(&self) -> Range<usize> {
            let segments = || self.segments(libc::PT_LOAD);
            let start = segments().map(|segment| segment.start).min().unwrap_or(0);
            start..segments().map(|segment| segment.end).max().unwrap_or(start)
        }

        /// What the dynamic section says under a tag; addresses as the loader leaves them: absolute (glibc) or not (musl).
        fn dynamic(&self, tag: i64) -> Option<usize> {
            let section = self.segments(libc::PT_DYNAMIC).next()?;
            let count = section.len() / size_of::<Dynamic>();
            // SAFETY: the loader has read the same section of the same length.
            let entries = unsafe { slice::from_raw_parts(section.start as *const Dynamic, count) };
            let entry = entries.iter().take_while(|entry| entry.tag != 0).find(|entry| entry.tag == tag)?;
            Some(entry.value as usize)
        }

        fn table<T>(&self, tag: i64) -> Option<*const T> {
            let address = self.dynamic(tag)?;
            Some(if address < self.base { address + self.base } else { address } as *const T)
        }

        fn relocations(&self, table: i64, size: i64) -> &'static [Relocation] {
            match (self.table(table), self.dynamic(size)) {
                // SAFETY: the loader has processed this table of this size.
                (Some(table), Some(size)) => unsafe { slice::from_raw_parts(table, size / size_of::<Relocation>()) },
                _ => &[],
            }
        }

        /// Has this object call `target` where it calls the imported function `name`. False if it imports none.
        ///
        /// # Safety
        /// `target` has the signature of the function.
        pub(super) unsafe fn redirect(&self, name: &CStr, target: usize) -> bool {
            let (Some(symbols), Some(strings)) = (self.table::<Symbol>(DT_SYMTAB), self.table::<c_char>(DT_STRTAB))
            else {
                return false;
            };
            let all =
                [(DT_JMPREL, DT_PLTRELSZ), (DT_RELA, DT_RELASZ)].map(|(table, size)| self.relocations(table, size));
            let mut redirected = false;
            for relocation in all.into_iter().flatten() {
                let (symbol, kind) = ((relocation.info >> 32) as usize, relocation.info & 0xffff_ffff);
                // SAFETY: relocations name symbols of the table, and those name strings of theirs.
                let imported = unsafe { CStr::from_ptr(strings.add((*symbols.add(symbol)).name as usize)) };
                if BOUND_BY_NAME.contains(&kind) && imported == name {
                    // SAFETY: a slot of this object, which holds the address of this function.
                    redirected |= unsafe { self.write(self.base + relocation.offset as usize, target) };
                }
            }
            redirected
        }

        /// # Safety
        /// The place holds an address that may be replaced by `value` while other threads call it.
        unsafe fn write(&self, place: usize, value: usize) -> bool {
            // SAFETY: asks for a number.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
            let start = place & !(page - 1);
            let read_only = self.segments(libc::PT_GNU_RELRO).any(|segment| segment.contains(&place));
            // SAFETY: a page of the object's data, which stays readable; the write is one aligned word.
            unsafe {
                if read_only && libc::mprotect(start as *mut c_void, page, libc::PROT_READ | libc::PROT_WRITE) != 0 {
                    return false;
                }
                (*(place as *const std::sync::atomic::AtomicUsize)).store(value, std::sync::atomic::Ordering::Release);
                if read_only {
                    libc::mprotect(start as *mut c_void, page, libc::PROT_READ);
                }
            }
            true
        }
    }
}
