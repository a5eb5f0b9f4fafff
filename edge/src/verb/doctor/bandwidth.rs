//! How fast memory is read one byte after the other.
//!
//! A buffer much larger than the caches is summed, by one thread and by all
//! with a part each, several times over; the fastest pass counts, since others
//! can only have been disturbed. Reading alone is measured because that is what
//! weights are used for.

use outrigger_runtime::platform::memory;
use serde::Serialize;
use std::{
    fmt, fs,
    hint::black_box,
    num::Wrapping,
    path::Path,
    thread,
    time::{Duration, Instant},
};

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
    let buffer = vec![1_u64; usize::try_from(wanted / 8).ok()?];
    Some(Bandwidth {
        bytes: 8 * buffer.len(),
        one_thread: read(&buffer, 1),
        all_threads: read(&buffer, threads),
    })
}

fn read(buffer: &[u64], threads: usize) -> Reading {
    let part = buffer.len().div_ceil(threads);
    let started = Instant::now();
    let mut fastest = Duration::MAX;
    while started.elapsed() < TIME {
        let pass = Instant::now();
        thread::scope(|scope| {
            for part in buffer.chunks(part) {
                scope.spawn(move || black_box(sum(part)));
            }
        });
        fastest = fastest.min(pass.elapsed());
    }
    Reading {
        threads,
        bytes_per_second: size_of_val(buffer) as f64 / fastest.as_secs_f64(),
    }
}

/// Eight sums side by side, so that no addition waits for the one before.
fn sum(values: &[u64]) -> u64 {
    let mut sums = [Wrapping(0); 8];
    for chunk in values.chunks_exact(8) {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().sum::<Wrapping<u64>>().0
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
