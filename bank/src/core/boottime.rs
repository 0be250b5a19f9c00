//! The clock of this machine that no step of the wall clock moves, and that goes on while the machine sleeps.

use super::model::Micros;

fn read(clock: libc::clockid_t) -> Micros {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call; both clocks are known to every Linux that this runs on.
    #[allow(unsafe_code)]
    unsafe {
        libc::clock_gettime(clock, &mut time);
    }
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

/// Microseconds since the machine started.
pub fn now() -> Micros {
    read(libc::CLOCK_BOOTTIME)
}

/// Microseconds since 1970, by the wall clock.
pub fn wall() -> Micros {
    read(libc::CLOCK_REALTIME)
}

/// Which start of the machine this is.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Bytes from the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        // SAFETY: the pointer and the length are those of the rest of `bytes`.
        #[allow(unsafe_code)]
        let got = unsafe { libc::getrandom(bytes[filled..].as_mut_ptr().cast(), N - filled, 0) };
        filled += usize::try_from(got).unwrap_or(0);
    }
    bytes
}
