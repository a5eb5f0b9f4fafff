//! The operations on vectors of 256 bits: with AVX2, FMA and F16C, and with
//! the neural network instructions besides, those of AVX-512 or AVX-VNNI's.
//!
//! The code for AVX-VNNI has been compiled and its instructions looked at, but
//! not run: it differs from that for AVX-512 in the instructions' encoding.

use std::arch::x86_64::*;

use super::{MAX_LANES, Pair, Simd};
use crate::cpu::isa::{Avx2, Avx512, AvxVnni};

/// Vectors of 256 bits with AVX-512's instructions, for kernels that work on
/// two lanes.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Narrow {
    _proof: Avx512,
}

impl From<Avx512> for Avx512Narrow {
    #[inline(always)]
    fn from(proof: Avx512) -> Self {
        Self { _proof: proof }
    }
}

/// What the sets do alike as pairs of lanes.
macro_rules! pair {
    ($set:ty) => {
        impl Pair for $set {
            operations! {
                fn nibble_halves(bytes: &[u8; 16]) -> __m256i {
                    let both = _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast()));
                    let shifts = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);
                    _mm256_and_si256(_mm256_srlv_epi32(both, shifts), _mm256_set1_epi8(0x0f))
                }

                fn widen(bytes: [u8; 8]) -> __m256i {
                    _mm256_cvtepu8_epi32(_mm_set_epi64x(0, i64::from_le_bytes(bytes)))
                }

                fn fold(a: __m256i, b: __m256i) -> __m256i {
                    _mm256_add_epi32(
                        _mm256_permute2x128_si256::<0x20>(a, b),
                        _mm256_permute2x128_si256::<0x31>(a, b),
                    )
                }

                fn sum(a: __m256) -> f32 {
                    let fours = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                    let twos = _mm_add_ps(fours, _mm_movehl_ps(fours, fours));
                    _mm_cvtss_f32(_mm_add_ss(twos, _mm_movehdup_ps(twos)))
                }
            }
        }
    };
}

pair!(Avx2);
pair!(AvxVnni);
pair!(Avx512Narrow);

/// What the sets have in common.
macro_rules! common {
    () => {
        const LANES: usize = 2;
        type Narrow = Self;
        type Bytes = __m256i;
        type Ints = __m256i;
        type Floats = __m256;

        #[inline(always)]
        fn narrow(self) -> Self {
            self
        }

        operations! {
            fn load(lanes: [&[u8; 16]; MAX_LANES]) -> __m256i {
                let first = _mm_loadu_si128(lanes[0].as_ptr().cast());
                _mm256_set_m128i(_mm_loadu_si128(lanes[1].as_ptr().cast()), first)
            }

            fn splat16(bytes: &[u8; 16]) -> __m256i {
                _mm256_broadcastsi128_si256(_mm_loadu_si128(bytes.as_ptr().cast()))
            }

            fn splat4(bytes: [u8; 4]) -> __m256i {
                _mm256_set1_epi32(i32::from_le_bytes(bytes))
            }

            fn read(bytes: &[u8]) -> __m256i {
                let bytes: &[u8] = &bytes[..32];
                _mm256_loadu_si256(bytes.as_ptr().cast())
            }

            fn write(vector: __m256i, bytes: &mut [u8]) -> () {
                let bytes: &mut [u8] = &mut bytes[..32];
                _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector);
            }

            fn prefetch(bytes: &[u8], offset: usize) -> () {
                // Prefetches of addresses that are not mapped do nothing.
                _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(offset).cast());
            }

            fn prefetch_far(bytes: &[u8], offset: usize) -> () {
                // Prefetches of addresses that are not mapped do nothing.
                _mm_prefetch::<_MM_HINT_T1>(bytes.as_ptr().wrapping_add(offset).cast());
            }

            fn and(a: __m256i, b: __m256i) -> __m256i {
                _mm256_and_si256(a, b)
            }

            fn or(a: __m256i, b: __m256i) -> __m256i {
                _mm256_or_si256(a, b)
            }

            fn shl(a: __m256i, bits: u8) -> __m256i {
                _mm256_sll_epi16(a, _mm_cvtsi32_si128(bits.into()))
            }

            fn shr(a: __m256i, bits: u8) -> __m256i {
                _mm256_srl_epi16(a, _mm_cvtsi32_si128(bits.into()))
            }

            fn equal(a: __m256i, b: __m256i) -> __m256i {
                _mm256_cmpeq_epi8(a, b)
            }

            fn shuffle(table: __m256i, index: __m256i) -> __m256i {
                _mm256_shuffle_epi8(table, index)
            }

            fn transpose(rows: [__m256i; 4]) -> [__m256i; 4] {
                let [a, b, c, d] = rows;
                let (ab_low, ab_high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
                let (cd_low, cd_high) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
                [
                    _mm256_unpacklo_epi64(ab_low, cd_low),
                    _mm256_unpackhi_epi64(ab_low, cd_low),
                    _mm256_unpacklo_epi64(ab_high, cd_high),
                    _mm256_unpackhi_epi64(ab_high, cd_high),
                ]
            }

            fn floats(bytes: __m256i) -> __m256 {
                _mm256_castsi256_ps(bytes)
            }

            fn bytes(floats: __m256) -> __m256i {
                _mm256_castps_si256(floats)
            }

            fn zero() -> __m256i {
                _mm256_setzero_si256()
            }

            fn shr_ints(a: __m256i, bits: u8) -> __m256i {
                _mm256_sra_epi32(a, _mm_cvtsi32_si128(bits.into()))
            }

            fn sum4(vectors: [__m256i; 4]) -> __m256i {
                let [a, b, c, d] = vectors;
                let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
                let cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
                _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd))
            }

            fn to_floats(a: __m256i) -> __m256 {
                _mm256_cvtepi32_ps(a)
            }

            fn splat(value: f32) -> __m256 {
                _mm256_set1_ps(value)
            }

            fn splat_floats(values: &[f32; 4]) -> __m256 {
                let values = _mm_loadu_ps(values.as_ptr());
                _mm256_set_m128(values, values)
            }

            fn halves(lanes: [[u16; 4]; MAX_LANES]) -> __m256 {
                let [[a, b, c, d], [e, f, g, h], ..] = lanes;
                _mm256_cvtph_ps(_mm_setr_epi16(
                    a as i16, b as i16, c as i16, d as i16, e as i16, f as i16, g as i16, h as i16,
                ))
            }

            fn add(a: __m256, b: __m256) -> __m256 {
                _mm256_add_ps(a, b)
            }

            fn mul(a: __m256, b: __m256) -> __m256 {
                _mm256_mul_ps(a, b)
            }

            fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
                _mm256_fmadd_ps(a, b, c)
            }

            fn mul_sub(a: __m256, b: __m256, c: __m256) -> __m256 {
                _mm256_fnmadd_ps(a, b, c)
            }

        }

        #[inline(always)]
        fn ints(self, bytes: __m256i) -> __m256i {
            bytes
        }
    };
}

impl Simd for Avx2 {
    const BIAS: i16 = 0;
    const CHAINED: bool = false;

    common!();

    #[inline(always)]
    fn bias(self, codes: __m256i) -> __m256i {
        codes
    }

    operations! {
        fn dot_signed(sums: __m256i, codes: __m256i, activations: __m256i) -> __m256i {
            // The sign moves over to the activations, which have no -128.
            // Pairs stay below 2 * 128 * 127 < 2^15: nothing saturates.
            let magnitudes = _mm256_abs_epi8(codes);
            let pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(activations, codes));
            let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
            _mm256_add_epi32(sums, fours)
        }

        fn pairs(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
            _mm256_add_epi32(sums, _mm256_madd_epi16(a, b))
        }
    }

    #[inline(always)]
    fn dot<const N: usize>(
        self,
        sums: __m256i,
        codes: [__m256i; N],
        activations: [__m256i; N],
    ) -> __m256i {
        // SAFETY: `self` proves that the processor has the instructions. Codes
        // add up to at most 128, so that no sum of pairs saturates.
        unsafe {
            let mut pairs = _mm256_maddubs_epi16(codes[0], activations[0]);
            for i in 1..N {
                let products = _mm256_maddubs_epi16(codes[i], activations[i]);
                pairs = _mm256_add_epi16(pairs, products);
            }
            let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
            _mm256_add_epi32(sums, fours)
        }
    }
}

/// The operations of a set that has the neural network instructions under
/// these names.
macro_rules! vnni {
    ($set:ty, $dpbusd:ident, $dpwssd:ident) => {
        impl Simd for $set {
            const BIAS: i16 = 128;
            const CHAINED: bool = true;

            common!();

            operations! {
                fn bias(codes: __m256i) -> __m256i {
                    _mm256_xor_si256(codes, _mm256_set1_epi8(-128))
                }

                fn dot_signed(sums: __m256i, codes: __m256i, activations: __m256i) -> __m256i {
                    $dpbusd(sums, codes, activations)
                }

                fn pairs(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
                    $dpwssd(sums, a, b)
                }
            }

            #[inline(always)]
            fn dot<const N: usize>(
                self,
                mut sums: __m256i,
                codes: [__m256i; N],
                activations: [__m256i; N],
            ) -> __m256i {
                for i in 0..N {
                    sums = self.dot_signed(sums, codes[i], activations[i]);
                }
                sums
            }
        }
    };
}

vnni!(AvxVnni, _mm256_dpbusd_avx_epi32, _mm256_dpwssd_avx_epi32);
vnni!(Avx512Narrow, _mm256_dpbusd_epi32, _mm256_dpwssd_epi32);
