//! What this machine's memory and arithmetic can do, to hold the other figures
//! against: one thread, all instruction sets' best.
//!
//!     cargo bench -p outrigger-kernels --bench limits

#[cfg(target_arch = "x86_64")]
use divan::counter::ItemsCount;
use divan::{Bencher, black_box, counter::BytesCount};

fn main() {
    divan::main();
}

/// Reads 256 MiB in order: far more than any cache holds.
#[divan::bench(sample_count = 20)]
fn read_memory(bencher: Bencher<'_, '_>) {
    let memory = vec![1u64; 32 << 20];
    bencher
        .counter(BytesCount::of_slice(&memory))
        .bench_local(|| {
            let mut sums = [0u64; 32];
            for chunk in black_box(&memory).as_chunks::<32>().0 {
                for (sum, x) in sums.iter_mut().zip(chunk) {
                    *sum ^= x;
                }
            }
            sums
        });
}

/// Fused products of floats in registers, as many as the processor starts.
/// An item is one of the two operations of each.
#[cfg(target_arch = "x86_64")]
#[divan::bench(sample_count = 20)]
fn fused_products(bencher: Bencher<'_, '_>) {
    const ROUNDS: usize = 100_000;
    let wide = std::arch::is_x86_feature_detected!("avx512f");
    if !wide && !std::arch::is_x86_feature_detected!("fma") {
        return;
    }
    let lanes = if wide { 16 } else { 8 };
    bencher
        .counter(ItemsCount::new(ROUNDS * 12 * lanes * 2))
        .bench_local(|| {
            let (a, b) = (black_box(0.999), black_box(1e-3));
            if wide {
                // SAFETY: the feature was detected above.
                unsafe { x86::avx512(ROUNDS, a, b) }
            } else {
                // SAFETY: the feature was detected above.
                unsafe { x86::fma(ROUNDS, a, b) }
            }
        });
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Twelve chains: two a cycle times the latency of four, and some.
    const CHAINS: usize = 12;

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(rounds: usize, a: f32, b: f32) -> f32 {
        let (a, b) = (_mm512_set1_ps(a), _mm512_set1_ps(b));
        let mut sums = [b; CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, a, b);
            }
        }
        let total = sums.into_iter().fold(b, |x, y| _mm512_add_ps(x, y));
        _mm512_reduce_add_ps(total)
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn fma(rounds: usize, a: f32, b: f32) -> f32 {
        let (a, b) = (_mm256_set1_ps(a), _mm256_set1_ps(b));
        let mut sums = [b; CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, a, b);
            }
        }
        let total = sums.into_iter().fold(b, |x, y| _mm256_add_ps(x, y));
        _mm256_cvtss_f32(total)
    }
}
