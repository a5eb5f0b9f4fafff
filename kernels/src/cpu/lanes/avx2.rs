//! Sixteen floats in two AVX2 registers.

use super::{LANES, Lanes};
use crate::cpu::isa::Avx2;
use std::arch::x86_64::*;

/// Evaluates an expression of AVX2, FMA and F16C instructions.
macro_rules! avx2 {
    ($self:ident, $instructions:expr) => {{
        let Avx2 { .. } = $self;
        // SAFETY: a value of `Avx2` proves that the processor has the
        // instructions; those that touch memory are given addresses inside an
        // array as long as what they touch, and need no alignment.
        unsafe { $instructions }
    }};
}

/// Lanes 0 to 7 and lanes 8 to 15.
#[derive(Clone, Copy)]
pub(crate) struct Pair(__m256, __m256);

impl Lanes for Avx2 {
    type F = Pair;

    const TILES: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        avx2!(self, Pair(_mm256_set1_ps(x), _mm256_set1_ps(x)))
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        avx2!(
            self,
            Pair(
                _mm256_loadu_ps(x.as_ptr()),
                _mm256_loadu_ps(x.as_ptr().add(8)),
            )
        )
    }

    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f32; LANES]) {
        avx2!(self, {
            _mm256_storeu_ps(to.as_mut_ptr(), x.0);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), x.1);
        })
    }

    #[inline(always)]
    fn load_f32_bytes(self, x: &[u8; 4 * LANES]) -> Self::F {
        avx2!(
            self,
            Pair(
                _mm256_loadu_ps(x.as_ptr().cast()),
                _mm256_loadu_ps(x.as_ptr().add(32).cast()),
            )
        )
    }

    #[inline(always)]
    fn load_f16_bytes(self, x: &[u8; 2 * LANES]) -> Self::F {
        avx2!(
            self,
            Pair(
                _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().add(16).cast())),
            )
        )
    }

    #[inline(always)]
    fn prefetch(self, bytes: &[u8], offset: usize) {
        // Prefetches of addresses that are not mapped do nothing.
        avx2!(
            self,
            _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(offset).cast())
        )
    }

    #[inline(always)]
    fn load_bf16_bytes(self, x: &[u8; 2 * LANES]) -> Self::F {
        avx2!(self, {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().add(16).cast()));
            Pair(
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            )
        })
    }

    #[inline(always)]
    fn load_i8_bytes(self, x: &[u8; LANES]) -> Self::F {
        avx2!(
            self,
            Pair(
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(x.as_ptr().cast()))),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(
                    x.as_ptr().add(8).cast()
                ))),
            )
        )
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        avx2!(self, Pair(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)))
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        avx2!(self, Pair(_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)))
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        avx2!(self, Pair(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)))
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        avx2!(self, Pair(_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)))
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        avx2!(
            self,
            Pair(
                _mm256_fmadd_ps(a.0, b.0, c.0),
                _mm256_fmadd_ps(a.1, b.1, c.1)
            )
        )
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        avx2!(self, Pair(_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)))
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        avx2!(self, Pair(_mm256_min_ps(a.0, b.0), _mm256_min_ps(a.1, b.1)))
    }

    #[inline(always)]
    fn select_less(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F {
        avx2!(
            self,
            Pair(
                _mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0)),
                _mm256_blendv_ps(no.1, yes.1, _mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1)),
            )
        )
    }

    #[inline(always)]
    fn nan_or(self, x: Self::F, other: Self::F) -> Self::F {
        avx2!(
            self,
            Pair(
                _mm256_blendv_ps(other.0, x.0, _mm256_cmp_ps::<_CMP_UNORD_Q>(x.0, x.0)),
                _mm256_blendv_ps(other.1, x.1, _mm256_cmp_ps::<_CMP_UNORD_Q>(x.1, x.1)),
            )
        )
    }

    #[inline(always)]
    fn abs(self, x: Self::F) -> Self::F {
        avx2!(self, {
            let sign = _mm256_set1_ps(-0.0);
            Pair(_mm256_andnot_ps(sign, x.0), _mm256_andnot_ps(sign, x.1))
        })
    }

    #[inline(always)]
    fn with_sign(self, magnitude: Self::F, sign: Self::F) -> Self::F {
        avx2!(self, {
            let bit = _mm256_set1_ps(-0.0);
            Pair(
                _mm256_or_ps(magnitude.0, _mm256_and_ps(sign.0, bit)),
                _mm256_or_ps(magnitude.1, _mm256_and_ps(sign.1, bit)),
            )
        })
    }

    #[inline(always)]
    fn scale_exponent(self, x: Self::F, shifted: Self::F) -> Self::F {
        avx2!(self, {
            let n = (
                _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted.0)),
                _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted.1)),
            );
            Pair(
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x.0), n.0)),
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x.1), n.1)),
            )
        })
    }

    #[inline(always)]
    fn sum(self, x: Self::F) -> f32 {
        avx2!(self, {
            let x = _mm256_add_ps(x.0, x.1);
            let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
        })
    }

    #[inline(always)]
    fn largest(self, x: Self::F) -> f32 {
        avx2!(self, {
            let x = _mm256_max_ps(x.0, x.1);
            let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
        })
    }
}
