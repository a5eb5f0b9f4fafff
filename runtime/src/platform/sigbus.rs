//! Living through a file that loses bytes while it is mapped.
//!
//! Reading a mapped page that its file no longer has raises SIGBUS, which
//! kills the process. No check beforehand prevents that: the file can be cut
//! between the check and the read. So, while a [`Guard`] is held for a
//! mapping, such a read finds zeros instead: a signal handler maps anonymous
//! zero pages over the mapping from the page that faulted to its end, and
//! marks the guard as torn. Computing goes on with zeros and whoever holds the
//! guard asks [`Guard::is_torn`] before it uses the result.
//!
//! Signal handlers belong to the process. This one is installed once, when the
//! first guard is made, stays, and hands on every fault outside the guarded
//! ranges to the handler that was there before (the default one still kills).
//!
//! Not covered: a *system call* that reads from a torn mapping, which fails
//! with `EFAULT` and raises nothing; and the page that holds the new end of the
//! file, whose tail reads as zeros without a fault. The length of the file
//! tells of both.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use super::advise::page_size;
use super::ranges::Ranges;

/// Most mappings that can be guarded at a time.
pub const GUARDS_MAX: usize = 256;

static RANGES: Ranges<GUARDS_MAX> = Ranges::new();

/// What SIGBUS did before the handler came; set before the handler is.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Keeps faults inside one mapping from ending the process.
#[derive(Debug)]
pub struct Guard {
    slot: usize,
}

impl Guard {
    /// Guards the mapping that begins at `start` and is `len` bytes long.
    ///
    /// # Errors
    /// If [`GUARDS_MAX`] guards exist, or the handler cannot be installed.
    ///
    /// # Safety
    /// The bytes must be one mapping of a file, made by `mmap` for reading
    /// only, that begins at a page's start and stays mapped until the guard is
    /// dropped: after a fault the handler replaces its pages.
    pub unsafe fn new(start: *const u8, len: usize) -> io::Result<Self> {
        install()?;
        let end = (start.addr().checked_add(len))
            .and_then(|end| end.checked_next_multiple_of(page_size()))
            .ok_or(io::ErrorKind::InvalidInput)?;
        let slot = RANGES
            .insert(start.addr(), end)
            .ok_or_else(|| io::Error::other(format!("{GUARDS_MAX} files are mapped already")))?;
        Ok(Self { slot })
    }

    /// Whether bytes of the mapping have been replaced by zeros.
    pub fn is_torn(&self) -> bool {
        RANGES.is_torn(self.slot)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        RANGES.remove(self.slot);
    }
}

fn install() -> io::Result<()> {
    static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();
    let code = |error: io::Error| error.raw_os_error().unwrap_or(libc::EINVAL);
    let installed = INSTALLED.get_or_init(|| {
        let mut previous = MaybeUninit::uninit();
        // SAFETY: asks for the action in place and changes nothing.
        let asked = unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr()) };
        if asked != 0 {
            return Err(code(io::Error::last_os_error()));
        }
        // SAFETY: the call above succeeded, so it has filled the structure.
        let previous = unsafe { previous.assume_init() };
        PREVIOUS.get_or_init(|| previous);

        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_sigbus;
        let mut action = default_action();
        action.sa_sigaction = handler as libc::sighandler_t;
        // ONSTACK: a thread that set up a signal stack has a reason to.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler has the signature that SA_SIGINFO asks for and
        // calls nothing that is not safe in a signal handler.
        match unsafe { libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(code(io::Error::last_os_error())),
        }
    });
    installed.map_err(io::Error::from_raw_os_error)
}

fn default_action() -> libc::sigaction {
    // SAFETY: all bits zero is a valid `sigaction`: no flags, no restorer, and
    // SIG_DFL, which is 0.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: the mask is owned by this function.
    unsafe { libc::sigemptyset(&mut action.sa_mask) };
    action
}

extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the system calls the handler with a valid `siginfo_t`, which for
    // this signal has an address (and if the signal was sent, some number,
    // which is not used then).
    let (address, code) = unsafe { ((*info).si_addr().addr(), (*info).si_code) };
    let found = is_lost_page(code).then(|| RANGES.find(address)).flatten();
    if let Some((slot, end)) = found {
        let page = address & !(page_size() - 1);
        if replace_by_zeros(page, end) {
            RANGES.mark_torn(slot);
            return;
        }
    }
    // SAFETY: these are the arguments the system called this handler with.
    unsafe { hand_on(signal, info, context) };
}

/// Whether the code of a SIGBUS is that of a page the file does not have, or
/// the disk does not give.
fn is_lost_page(code: c_int) -> bool {
    if cfg!(target_os = "linux") {
        code == libc::BUS_ADRERR
    } else {
        code > 0
    }
}

/// Maps zeros over the addresses from `page` to `end`; false if that fails.
fn replace_by_zeros(page: usize, end: usize) -> bool {
    let errno = errno();
    // SAFETY: `page..end` lies inside a range that a guard holds, so it is
    // whole pages of one read-only mapping of a file, which whoever made the
    // guard keeps mapped, and for which new pages were announced. mmap is a
    // plain system call here; no lock or allocator of this process is involved.
    let mapped = unsafe {
        libc::mmap(
            ptr::without_provenance_mut(page),
            end - page,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    set_errno(errno);
    mapped != libc::MAP_FAILED
}

/// Does what would have been done about the signal without the handler.
///
/// # Safety
/// The arguments must be those the system gave to a handler of SIGBUS.
unsafe fn hand_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let previous = PREVIOUS.get();
    let handler = previous.map_or(libc::SIG_DFL, |previous| previous.sa_sigaction);
    let takes_info = previous.is_some_and(|p| p.sa_flags & libc::SA_SIGINFO != 0);
    // SAFETY: `info` is valid, says the caller.
    let sent = unsafe { (*info).si_code } <= 0;
    match handler {
        // Ignoring works for a signal that was sent; a fault cannot be ignored.
        libc::SIG_IGN if sent => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: installs the default action and sends the signal again;
            // it is blocked now and ends the process when this handler returns.
            unsafe {
                libc::sigaction(signal, &default_action(), ptr::null_mut());
                libc::raise(signal);
            }
        }
        _ if takes_info => {
            // SAFETY: an action with SA_SIGINFO that is neither default nor
            // ignored holds a function of this type.
            let handler = unsafe {
                std::mem::transmute::<
                    libc::sighandler_t,
                    extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void),
                >(handler)
            };
            handler(signal, info, context);
        }
        _ => {
            type Plain = extern "C" fn(c_int);
            // SAFETY: an action without SA_SIGINFO that is neither default nor
            // ignored holds a function of this type.
            let handler = unsafe { std::mem::transmute::<libc::sighandler_t, Plain>(handler) };
            handler(signal);
        }
    }
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn set_errno(code: c_int) {
    #[cfg(any(target_os = "linux", target_os = "emscripten"))]
    // SAFETY: the location is this thread's own.
    unsafe {
        *libc::__errno_location() = code;
    }
    #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
    // SAFETY: the location is this thread's own.
    unsafe {
        *libc::__error() = code;
    }
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    // SAFETY: the location is this thread's own.
    unsafe {
        *libc::__errno() = code;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn mapped(len: usize) -> (File, memmap2::Mmap) {
        let file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut &file, &vec![7; len]).unwrap();
        // SAFETY: only this test has the file, and it reads bytes.
        let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        (file, map)
    }

    #[test]
    fn sigbus_reads_zeros_and_marks() {
        let page = page_size();
        let (file, map) = mapped(8 * page + 100);
        // SAFETY: the guard is dropped before the map, being declared later.
        let guard = unsafe { Guard::new(map.as_ptr(), map.len()) }.unwrap();
        let (_other_file, other) = mapped(page);
        // SAFETY: as above.
        let other_guard = unsafe { Guard::new(other.as_ptr(), other.len()) }.unwrap();
        assert_eq!(map[8 * page], 7);

        file.set_len(2 * page as u64).unwrap();
        assert!(!guard.is_torn());
        // All threads of a team may fault at once.
        std::thread::scope(|scope| {
            for first in 0..4 {
                let map = &map;
                scope.spawn(move || {
                    for at in (first..map.len()).step_by(4) {
                        // Volatile, or the compiler might know the byte.
                        // SAFETY: the index is inside the map.
                        let byte = unsafe { map.as_ptr().add(at).read_volatile() };
                        assert_eq!(byte, if at < 2 * page { 7 } else { 0 });
                    }
                });
            }
        });
        assert!(guard.is_torn());
        assert!(!other_guard.is_torn());
        assert_eq!(other[0], 7);
    }

    #[test]
    fn sigbus_elsewhere_still_kills() {
        const CHILD: &str = "OUTRIGGER_TEST_SIGBUS_CHILD";
        if std::env::var_os(CHILD).is_some() {
            let page = page_size();
            let (_file, map) = mapped(page);
            // SAFETY: the guard is dropped before the map, being declared later.
            let _guard = unsafe { Guard::new(map.as_ptr(), map.len()) }.unwrap();
            let (torn_file, torn) = mapped(2 * page);
            torn_file.set_len(0).unwrap();
            // SAFETY: inside the map; ends the process, which is the test.
            unsafe { torn.as_ptr().add(page).read_volatile() };
            std::process::exit(0);
        }
        let name = "platform::sigbus::tests::sigbus_elsewhere_still_kills";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        assert_eq!(child.status.signal(), Some(libc::SIGBUS), "{child:?}");
    }
}
