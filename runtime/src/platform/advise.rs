//! Telling the system which mapped bytes will be read.

use std::path::Path;

/// The size of a page in bytes.
#[cfg(unix)]
pub fn page_size() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    match SIZE.load(Relaxed) {
        0 => {
            // SAFETY: asks for a constant of the system.
            let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            let size = usize::try_from(size).unwrap_or(4096);
            SIZE.store(size, Relaxed);
            size
        }
        size => size,
    }
}

/// The size of a page in bytes.
#[cfg(not(unix))]
pub fn page_size() -> usize {
    4096
}

/// Asks the system to begin reading `bytes` from their file, and returns
/// before it has. Without effect where there is no such call.
pub fn will_need(bytes: &[u8]) {
    #[cfg(unix)]
    madvise(bytes, libc::MADV_WILLNEED);
    #[cfg(not(unix))]
    let _ = bytes;
}

/// Asks the system for the processor's large pages (2 MB on x86-64) where
/// `bytes` lie.
///
/// Linux gives them for memory that is not used yet, and for a mapped file
/// whose file system keeps large folios (XFS, btrfs, ext4 from 6.16 on, tmpfs
/// mounted with `huge=advise`) as far as it is not in the page cache yet: it is
/// read and mapped in such pages, nothing is copied, and they stay the page
/// cache's. Without effect elsewhere.
pub fn large_pages(bytes: &[u8]) {
    #[cfg(target_os = "linux")]
    madvise(bytes, libc::MADV_HUGEPAGE);
    #[cfg(not(target_os = "linux"))]
    let _ = bytes;
}

/// Brings `bytes` into memory and returns when they are there.
///
/// One system call where the system has it (Linux 5.14), a touch of each page
/// elsewhere. Call it for a few megabytes at a time where progress is shown or
/// the work may be cancelled.
pub fn populate(bytes: &[u8]) {
    #[cfg(target_os = "linux")]
    if madvise(bytes, libc::MADV_POPULATE_READ) {
        return;
    }
    for byte in bytes.iter().step_by(page_size()).chain(bytes.last()) {
        // SAFETY: a reference to a byte is a valid pointer to it. Volatile,
        // because what is read is not used.
        unsafe { std::ptr::from_ref(byte).read_volatile() };
    }
}

/// Whether `bytes` of the mapped file at `path` are in memory, judged by a
/// page in every sixteen: what leaves the page cache leaves it in runs. `None`
/// where this is not known how to ask.
///
/// Much cheaper than [`populate`] where they are.
pub fn resident(bytes: &[u8], path: &Path) -> Option<bool> {
    #[cfg(target_os = "linux")]
    return residency::told(path).then(|| residency::sampled(bytes));
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (bytes, path);
        None
    }
}

#[cfg(target_os = "linux")]
mod residency {
    use std::{
        ffi::CString,
        os::unix::{ffi::OsStrExt, fs::MetadataExt},
        path::Path,
    };

    /// Whether this process is told the truth. Of a file that is neither its
    /// own nor one that it may write, Linux (5.2) says that all is in memory.
    pub(super) fn told(path: &Path) -> bool {
        // SAFETY: asks for a number of the process.
        let user = unsafe { libc::geteuid() };
        if std::fs::metadata(path).is_ok_and(|file| file.uid() == user) {
            return true;
        }
        let Ok(path) = CString::new(path.as_os_str().as_bytes()) else {
            return false;
        };
        // SAFETY: the path ends in a zero.
        unsafe { libc::access(path.as_ptr(), libc::W_OK) == 0 }
    }

    pub(super) fn sampled(bytes: &[u8]) -> bool {
        let page = super::page_size();
        bytes.chunks(16 * page).all(|part| {
            let into_page = part.as_ptr().addr() % page;
            let first = part.as_ptr().wrapping_byte_sub(into_page);
            let mut state = 0_u8;
            // SAFETY: the page is mapped, since the first of `part` lies in
            // it, and `state` has room for the answer on one page.
            let answer = unsafe { libc::mincore(first.cast_mut().cast(), 1, &raw mut state) };
            answer == 0 && state & 1 == 1
        })
    }
}

/// Tells the system that `bytes` of a mapped file will not be read soon, so
/// that their pages are the first to go when memory is short. Without effect
/// where there is no such call (it needs Linux 5.4).
pub fn not_needed(bytes: &[u8]) {
    #[cfg(target_os = "linux")]
    madvise(bytes, libc::MADV_COLD);
    #[cfg(not(target_os = "linux"))]
    let _ = bytes;
}

/// Gives an advice that changes no content for the pages that hold `bytes`;
/// false if the system refuses.
#[cfg(unix)]
fn madvise(bytes: &[u8], advice: std::ffi::c_int) -> bool {
    let into_page = bytes.as_ptr().addr() % page_size();
    let start = bytes.as_ptr().wrapping_byte_sub(into_page);
    // SAFETY: the pages are mapped, since `bytes` lie in them, and the advices
    // given in this file neither unmap nor change what is in them.
    let answer = unsafe { libc::madvise(start.cast_mut().cast(), bytes.len() + into_page, advice) };
    answer == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_taken_at_any_offset() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 * page_size() as u64 + 5).unwrap();
        // SAFETY: only this test has the file, and it reads bytes.
        let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        for bytes in [&map[..], &map[1..], &map[page_size() + 3..][..7], &[]] {
            will_need(bytes);
            large_pages(bytes);
            populate(bytes);
            not_needed(bytes);
        }
        assert!(page_size().is_power_of_two());
    }
}
