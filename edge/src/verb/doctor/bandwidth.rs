//! How fast the machine reads memory, with one thread and with all.

use crate::read_speed;
use outrigger_runtime::platform::memory;
use serde::Serialize;
use std::{fmt, fs, path::Path, time::Duration};

/// The buffer, as a multiple of the largest cache.
const CACHES: u64 = 4;
const BYTES_MIN: u64 = 64 << 20;
const BYTES_MAX: u64 = 512 << 20;
/// The part of the available memory that may be taken.
const MEMORY_SHARE: u64 = 4;
/// How long passes are repeated for.
const TIME: Duration = Duration::from_millis(400);

/// What was measured.
#[derive(Debug, Serialize)]
pub(super) struct Bandwidth {
    /// Size of the buffer that was read.
    bytes: usize,
    pub(super) one_thread: Reading,
    pub(super) all_threads: Reading,
}

/// How fast some threads read together.
#[derive(Debug, Serialize)]
pub(super) struct Reading {
    pub(super) threads: usize,
    bytes_per_second: f64,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} GB/s", self.bytes_per_second / 1e9)
    }
}

/// Measures; `None` if there is too little memory for a buffer.
pub(super) fn measure(threads: usize) -> Option<Bandwidth> {
    let wanted = (CACHES * largest_cache().unwrap_or(0)).clamp(BYTES_MIN, BYTES_MAX);
    let available = memory::system().map_or(u64::MAX, |memory| memory.available);
    if wanted > available / MEMORY_SHARE {
        return None;
    }
    // Not zeros: pages of those may all be one page that stays in the cache.
    let buffer = vec![1_u8; usize::try_from(wanted).ok()?];
    let read = |threads| Reading {
        threads,
        bytes_per_second: read_speed::measure(&[&buffer], threads, TIME),
    };
    Some(Bandwidth {
        bytes: buffer.len(),
        one_thread: read(1),
        all_threads: read(threads),
    })
}

/// The size of the largest cache of the first processor, in bytes, where that
/// is known how to ask.
fn largest_cache() -> Option<u64> {
    let caches = fs::read_dir(Path::new("/sys/devices/system/cpu/cpu0/cache")).ok()?;
    let sizes = caches.filter_map(|cache| {
        let text = fs::read_to_string(cache.ok()?.path().join("size")).ok()?;
        let text = text.trim();
        match text.strip_suffix('K') {
            Some(kilobytes) => kilobytes.parse::<u64>().ok()?.checked_mul(1 << 10),
            None => text
                .strip_suffix('M')?
                .parse::<u64>()
                .ok()?
                .checked_mul(1 << 20),
        }
    });
    sizes.max()
}
