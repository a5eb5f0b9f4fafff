//! Exact integer products of 128 codes with 128 activations, the one step of
//! the integer kernels that is worth instructions of its own: the sums are
//! exact, so every way of making them gives the same bits.

use crate::cpu::isa::Portable;

/// An instruction set's way to multiply codes.
pub(super) trait Products: Copy {
    /// For each of four runs of 32, the sum of the products of codes and
    /// activations: of the first 16 of each run, then of the second.
    ///
    /// Activations go from -127 to 127, as in
    /// [`Q8Group`](crate::cpu::activation::Q8Group); a sum that a -128 takes
    /// part in is unspecified.
    fn products(self, codes: &[[i8; 32]; 4], quants: &[i8; 128]) -> [[i32; 4]; 2];
}

impl Products for Portable {
    #[inline(always)]
    fn products(self, codes: &[[i8; 32]; 4], quants: &[i8; 128]) -> [[i32; 4]; 2] {
        let mut halves = [0; 8];
        for (index, half) in halves.iter_mut().enumerate() {
            *half = sum(&codes[index / 2][index % 2 * 16..], &quants[index * 16..]);
        }
        [0, 1].map(|half| [0, 2, 4, 6].map(|run| halves[run + half]))
    }
}

/// The sum of the products of the first 16 values.
#[inline(always)]
fn sum(codes: &[i8], quants: &[i8]) -> i32 {
    let (codes, quants) = (&codes[..16], &quants[..16]);
    let mut sum = 0;
    for i in 0..16 {
        // Fits: 128 * 127 < 2^15.
        sum += i32::from(i16::from(codes[i]) * i16::from(quants[i]));
    }
    sum
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Products;
    use crate::cpu::isa::{Avx2, Avx512};

    impl Products for Avx2 {
        #[inline(always)]
        fn products(self, codes: &[[i8; 32]; 4], quants: &[i8; 128]) -> [[i32; 4]; 2] {
            // SAFETY: `self` proves that the processor has AVX2.
            unsafe { avx2(codes, quants) }
        }
    }

    impl Products for Avx512 {
        #[inline(always)]
        fn products(self, codes: &[[i8; 32]; 4], quants: &[i8; 128]) -> [[i32; 4]; 2] {
            // SAFETY: `self` proves that the processor has AVX2 and AVX-512
            // VL and VNNI.
            unsafe { avx512(codes, quants) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn avx2(codes: &[[i8; 32]; 4], quants: &[i8; 128]) -> [[i32; 4]; 2] {
        four_runs(codes, quants, |magnitudes, signed| {
            // Pairs stay below 2 * 128 * 127 < 2^15: nothing saturates.
            let pairs = _mm256_maddubs_epi16(magnitudes, signed);
            _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))
        })
    }

    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512vl,avx512vnni")]
    fn avx512(codes: &[[i8; 32]; 4], quants: &[i8; 128]) -> [[i32; 4]; 2] {
        four_runs(codes, quants, |magnitudes, signed| {
            _mm256_dpbusd_epi32(_mm256_setzero_si256(), magnitudes, signed)
        })
    }

    /// `fours` multiplies unsigned with signed bytes and adds products by four.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn four_runs(
        codes: &[[i8; 32]; 4],
        quants: &[i8; 128],
        fours: impl Fn(__m256i, __m256i) -> __m256i,
    ) -> [[i32; 4]; 2] {
        let quants = quants.as_chunks::<32>().0;
        let run = |run: usize| {
            let code = load(&codes[run]);
            // The sign moves over to the activations, which have no -128.
            fours(
                _mm256_abs_epi8(code),
                _mm256_sign_epi8(load(&quants[run]), code),
            )
        };
        // In each 128-bit half, that is for each half of the runs: a lane per
        // run.
        let sums = _mm256_hadd_epi32(
            _mm256_hadd_epi32(run(0), run(1)),
            _mm256_hadd_epi32(run(2), run(3)),
        );
        let mut products = [[0; 4]; 2];
        // SAFETY: `products` is 32 bytes; the store needs no alignment.
        unsafe { _mm256_storeu_si256(products.as_mut_ptr().cast(), sums) };
        products
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[i8; 32]) -> __m256i {
        // SAFETY: 32 bytes can be read; the load needs no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }
}
