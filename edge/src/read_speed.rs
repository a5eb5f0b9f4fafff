//! How fast bytes are read from memory one after the other.
//!
//! All bytes are summed, by threads that take parts of them in turn, several
//! times over; the fastest pass counts, since others can only have been
//! disturbed. Reading alone is measured because that is what weights are used
//! for.

use std::{
    hint::black_box,
    num::Wrapping,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

/// What a thread takes at a time: small enough to spread the work evenly,
/// large enough that taking it costs nothing.
const PART: usize = 1 << 20;

/// Bytes per second at which `threads` threads read `slices` together. Passes
/// are repeated for `time`; there is always one.
pub(crate) fn measure(slices: &[&[u8]], threads: usize, time: Duration) -> f64 {
    let parts: Vec<&[u8]> = slices.iter().flat_map(|slice| slice.chunks(PART)).collect();
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let started = Instant::now();
    let mut fastest = Duration::MAX;
    loop {
        let next = AtomicUsize::new(0);
        let pass = Instant::now();
        let work = || {
            while let Some(part) = parts.get(next.fetch_add(1, Relaxed)) {
                black_box(sum(part));
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        fastest = fastest.min(pass.elapsed());
        if started.elapsed() >= time {
            return bytes as f64 / fastest.as_secs_f64();
        }
    }
}

/// Eight sums side by side, so that no addition waits for the one before. The
/// bytes that do not fill a round are left out.
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = [Wrapping(0); 8];
    for round in bytes.as_chunks::<64>().0 {
        for (sum, &value) in sums.iter_mut().zip(round.as_chunks::<8>().0) {
            *sum += u64::from_le_bytes(value);
        }
    }
    sums.iter().sum::<Wrapping<u64>>().0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_is_summed() {
        let mut bytes = vec![0_u8; 130];
        for at in [0, 8, 63, 64, 127, 129] {
            bytes[at] = 1;
        }
        let high = 1 << 56;
        assert_eq!(sum(&bytes), 3 + 2 * high);
    }

    #[test]
    fn any_number_of_threads_reads() {
        let bytes = vec![1_u8; 3 * PART + 5];
        for threads in [1, 3] {
            let speed = measure(&[&bytes, &bytes[..7]], threads, Duration::ZERO);
            assert!((1e6..1e13).contains(&speed), "{speed}");
        }
    }
}
