//! The operations on vectors of 512 bits: with AVX-512, and with its neural
//! network instructions besides.

use std::arch::x86_64::*;

use super::avx2::Avx512Narrow;
use super::{MAX_LANES, Simd};
use crate::cpu::isa::{Avx2, Avx512, Avx512Bw};

/// What both sets have in common.
macro_rules! common {
    () => {
        const LANES: usize = 4;
        type Bytes = __m512i;
        type Ints = __m512i;
        type Floats = __m512;

        operations! {
            fn load(lanes: [&[u8; 16]; MAX_LANES]) -> __m512i {
                let first = _mm512_castsi128_si512(_mm_loadu_si128(lanes[0].as_ptr().cast()));
                let vector = _mm512_inserti32x4::<1>(first, _mm_loadu_si128(lanes[1].as_ptr().cast()));
                let vector = _mm512_inserti32x4::<2>(vector, _mm_loadu_si128(lanes[2].as_ptr().cast()));
                _mm512_inserti32x4::<3>(vector, _mm_loadu_si128(lanes[3].as_ptr().cast()))
            }

            fn splat16(bytes: &[u8; 16]) -> __m512i {
                _mm512_broadcast_i32x4(_mm_loadu_si128(bytes.as_ptr().cast()))
            }

            fn splat4(bytes: [u8; 4]) -> __m512i {
                _mm512_set1_epi32(i32::from_le_bytes(bytes))
            }

            fn read(bytes: &[u8]) -> __m512i {
                let bytes: &[u8] = &bytes[..64];
                _mm512_loadu_si512(bytes.as_ptr().cast())
            }

            fn write(vector: __m512i, bytes: &mut [u8]) -> () {
                let bytes: &mut [u8] = &mut bytes[..64];
                _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector);
            }

            fn prefetch(bytes: &[u8], offset: usize) -> () {
                // Prefetches of addresses that are not mapped do nothing.
                _mm_prefetch::<_MM_HINT_T0>(bytes.as_ptr().wrapping_add(offset).cast());
            }

            fn prefetch_far(bytes: &[u8], offset: usize) -> () {
                // Prefetches of addresses that are not mapped do nothing.
                _mm_prefetch::<_MM_HINT_T1>(bytes.as_ptr().wrapping_add(offset).cast());
            }

            fn and(a: __m512i, b: __m512i) -> __m512i {
                _mm512_and_si512(a, b)
            }

            fn or(a: __m512i, b: __m512i) -> __m512i {
                _mm512_or_si512(a, b)
            }

            fn shl(a: __m512i, bits: u8) -> __m512i {
                _mm512_sll_epi16(a, _mm_cvtsi32_si128(bits.into()))
            }

            fn shr(a: __m512i, bits: u8) -> __m512i {
                _mm512_srl_epi16(a, _mm_cvtsi32_si128(bits.into()))
            }

            fn equal(a: __m512i, b: __m512i) -> __m512i {
                _mm512_movm_epi8(_mm512_cmpeq_epi8_mask(a, b))
            }

            fn shuffle(table: __m512i, index: __m512i) -> __m512i {
                _mm512_shuffle_epi8(table, index)
            }

            fn transpose(rows: [__m512i; 4]) -> [__m512i; 4] {
                let [a, b, c, d] = rows;
                let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
                let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
                [
                    _mm512_unpacklo_epi64(ab_low, cd_low),
                    _mm512_unpackhi_epi64(ab_low, cd_low),
                    _mm512_unpacklo_epi64(ab_high, cd_high),
                    _mm512_unpackhi_epi64(ab_high, cd_high),
                ]
            }

            fn floats(bytes: __m512i) -> __m512 {
                _mm512_castsi512_ps(bytes)
            }

            fn bytes(floats: __m512) -> __m512i {
                _mm512_castps_si512(floats)
            }

            fn zero() -> __m512i {
                _mm512_setzero_si512()
            }

            fn shr_ints(a: __m512i, bits: u8) -> __m512i {
                _mm512_sra_epi32(a, _mm_cvtsi32_si128(bits.into()))
            }

            fn sum4(vectors: [__m512i; 4]) -> __m512i {
                let [a, b, c, d] = vectors;
                let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
                let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
                _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd))
            }

            fn to_floats(a: __m512i) -> __m512 {
                _mm512_cvtepi32_ps(a)
            }

            fn splat(value: f32) -> __m512 {
                _mm512_set1_ps(value)
            }

            fn splat_floats(values: &[f32; 4]) -> __m512 {
                _mm512_broadcast_f32x4(_mm_loadu_ps(values.as_ptr()))
            }

            fn halves(lanes: [[u16; 4]; MAX_LANES]) -> __m512 {
                let [[a, b, c, d], [e, f, g, h], [i, j, k, l], [m, n, o, p]] = lanes;
                _mm512_cvtph_ps(_mm256_setr_epi16(
                    a as i16, b as i16, c as i16, d as i16, e as i16, f as i16, g as i16, h as i16,
                    i as i16, j as i16, k as i16, l as i16, m as i16, n as i16, o as i16, p as i16,
                ))
            }

            fn add(a: __m512, b: __m512) -> __m512 {
                _mm512_add_ps(a, b)
            }

            fn mul(a: __m512, b: __m512) -> __m512 {
                _mm512_mul_ps(a, b)
            }

            fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
                _mm512_fmadd_ps(a, b, c)
            }

            fn mul_sub(a: __m512, b: __m512, c: __m512) -> __m512 {
                _mm512_fnmadd_ps(a, b, c)
            }

        }

        #[inline(always)]
        fn ints(self, bytes: __m512i) -> __m512i {
            bytes
        }
    };
}

impl Simd for Avx512Bw {
    const BIAS: i16 = 0;
    const CHAINED: bool = false;
    type Narrow = Avx2;

    common!();

    #[inline(always)]
    fn narrow(self) -> Avx2 {
        self.avx2()
    }

    #[inline(always)]
    fn bias(self, codes: __m512i) -> __m512i {
        codes
    }

    operations! {
        fn dot_signed(sums: __m512i, codes: __m512i, activations: __m512i) -> __m512i {
            // The sign moves over to the activations, which have no -128.
            // Pairs stay below 2 * 128 * 127 < 2^15: nothing saturates.
            let negative = _mm512_movepi8_mask(codes);
            let zero = _mm512_setzero_si512();
            let signed = _mm512_mask_sub_epi8(activations, negative, zero, activations);
            let pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(codes), signed);
            let fours = _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
            _mm512_add_epi32(sums, fours)
        }

        fn pairs(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
            _mm512_add_epi32(sums, _mm512_madd_epi16(a, b))
        }
    }

    #[inline(always)]
    fn dot<const N: usize>(
        self,
        sums: __m512i,
        codes: [__m512i; N],
        activations: [__m512i; N],
    ) -> __m512i {
        // SAFETY: `self` proves that the processor has the instructions. Codes
        // add up to at most 128, so that no sum of pairs saturates.
        unsafe {
            let mut pairs = _mm512_maddubs_epi16(codes[0], activations[0]);
            for i in 1..N {
                let products = _mm512_maddubs_epi16(codes[i], activations[i]);
                pairs = _mm512_add_epi16(pairs, products);
            }
            let fours = _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
            _mm512_add_epi32(sums, fours)
        }
    }
}

impl Simd for Avx512 {
    const BIAS: i16 = 128;
    const CHAINED: bool = true;
    type Narrow = Avx512Narrow;

    common!();

    operations! {
        fn bias(codes: __m512i) -> __m512i {
            _mm512_xor_si512(codes, _mm512_set1_epi8(-128))
        }

        fn dot_signed(sums: __m512i, codes: __m512i, activations: __m512i) -> __m512i {
            _mm512_dpbusd_epi32(sums, codes, activations)
        }

        fn pairs(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
            _mm512_dpwssd_epi32(sums, a, b)
        }
    }

    #[inline(always)]
    fn narrow(self) -> Avx512Narrow {
        self.into()
    }

    #[inline(always)]
    fn dot<const N: usize>(
        self,
        mut sums: __m512i,
        codes: [__m512i; N],
        activations: [__m512i; N],
    ) -> __m512i {
        for i in 0..N {
            sums = self.dot_signed(sums, codes[i], activations[i]);
        }
        sums
    }
}
