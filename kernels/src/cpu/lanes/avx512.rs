//! Sixteen floats in one AVX-512 register.

use super::{LANES, Lanes};
use crate::cpu::isa::Avx512Bw;
use std::arch::x86_64::*;

/// Evaluates an expression of AVX-512 instructions.
macro_rules! avx512 {
    ($self:ident, $instructions:expr) => {{
        let Avx512Bw { .. } = $self;
        // SAFETY: a value of `Avx512Bw` proves that the processor has the
        // instructions; those that touch memory are given the address of an
        // array as long as what they touch, and need no alignment.
        unsafe { $instructions }
    }};
}

impl Lanes for Avx512Bw {
    type F = __m512;

    const TILES: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        avx512!(self, _mm512_set1_ps(x))
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        avx512!(self, _mm512_loadu_ps(x.as_ptr()))
    }

    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f32; LANES]) {
        avx512!(self, _mm512_storeu_ps(to.as_mut_ptr(), x))
    }

    #[inline(always)]
    fn load_f32_bytes(self, x: &[u8; 4 * LANES]) -> Self::F {
        avx512!(self, _mm512_loadu_ps(x.as_ptr().cast()))
    }

    #[inline(always)]
    fn load_f16_bytes(self, x: &[u8; 2 * LANES]) -> Self::F {
        avx512!(self, _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())))
    }

    #[inline(always)]
    fn prefetch(self, bytes: &[u8], offset: usize) {
        // Prefetches of addresses that are not mapped do nothing.
        avx512!(
            self,
            _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(offset).cast())
        )
    }

    #[inline(always)]
    fn load_bf16_bytes(self, x: &[u8; 2 * LANES]) -> Self::F {
        avx512!(self, {
            let widened = _mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(widened))
        })
    }

    #[inline(always)]
    fn load_i8_bytes(self, x: &[u8; LANES]) -> Self::F {
        avx512!(
            self,
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(x.as_ptr().cast())))
        )
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(self, _mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(self, _mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(self, _mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(self, _mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        avx512!(self, _mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(self, _mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(self, _mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn select_less(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F {
        avx512!(
            self,
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes)
        )
    }

    #[inline(always)]
    fn nan_or(self, x: Self::F, other: Self::F) -> Self::F {
        avx512!(
            self,
            _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x), other, x)
        )
    }

    #[inline(always)]
    fn abs(self, x: Self::F) -> Self::F {
        avx512!(self, _mm512_abs_ps(x))
    }

    #[inline(always)]
    fn with_sign(self, magnitude: Self::F, sign: Self::F) -> Self::F {
        avx512!(
            self,
            _mm512_or_ps(magnitude, _mm512_and_ps(sign, _mm512_set1_ps(-0.0)))
        )
    }

    #[inline(always)]
    fn scale_exponent(self, x: Self::F, shifted: Self::F) -> Self::F {
        avx512!(
            self,
            _mm512_castsi512_ps(_mm512_add_epi32(
                _mm512_castps_si512(x),
                _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted)),
            ))
        )
    }

    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        avx512!(self, {
            let x = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
        })
    }

    #[inline(always)]
    fn largest(self, x: Self::F) -> f32 {
        avx512!(self, {
            let x = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
        })
    }
}
