//! The operations with NEON, for AArch64: two lanes, each in a register of 128
//! bits. Not run yet on such a processor.
//!
//! `smmla` (i8mm) is not used: it wants eight consecutive codes of each of two
//! rows in a register and gives two columns' sums side by side, where a strip
//! has four codes of each of four rows and a vector is one column's sums.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{MAX_LANES, Pair, Simd};
use crate::cpu::isa::{Neon, NeonDotprod, NeonSet};

/// A register for each lane.
#[derive(Clone, Copy)]
pub(crate) struct Two<T>(T, T);

type Bytes = Two<uint8x16_t>;
type Ints = Two<int32x4_t>;
type Floats = Two<float32x4_t>;

/// One instruction for each lane.
macro_rules! two {
    ($instruction:ident, $($operand:ident),*) => {
        Two($instruction($($operand.0),*), $instruction($($operand.1),*))
    };
}

/// What the sets with NEON do differently.
pub(crate) trait Products: NeonSet {
    /// As [`Simd::dot`], the codes being signed bytes: `N` times the largest
    /// magnitude is at most 128.
    fn products<const N: usize>(
        self,
        sums: Ints,
        codes: [Bytes; N],
        activations: [Bytes; N],
    ) -> Ints;
}

impl Products for Neon {
    #[inline(always)]
    fn products<const N: usize>(
        self,
        sums: Ints,
        codes: [Bytes; N],
        activations: [Bytes; N],
    ) -> Ints {
        // SAFETY: `self` proves that the processor has the instructions. Sums
        // of pairs stay below 2 * 128 * 127 < 2^15.
        unsafe {
            let zero = vdupq_n_s16(0);
            let (mut low, mut high) = (Two(zero, zero), Two(zero, zero));
            for i in 0..N {
                let (a, b) = (codes[i], activations[i]);
                low = two!(add_low_products, low, a, b);
                high = two!(add_high_products, high, a, b);
            }
            two!(add_fours, sums, low, high)
        }
    }
}

impl Products for NeonDotprod {
    #[inline(always)]
    fn products<const N: usize>(
        self,
        mut sums: Ints,
        codes: [Bytes; N],
        activations: [Bytes; N],
    ) -> Ints {
        for i in 0..N {
            // The intrinsic `vdotq_s32` is not stable yet. Here and not in a
            // function with the feature, which would stay a call until late:
            // strips have a thousand, and compiling them takes the square.
            // SAFETY: the instructions work on these registers alone, and
            // `self` proves that the processor has them.
            unsafe {
                asm!(
                    ".arch_extension dotprod",
                    "sdot {first:v}.4s, {a:v}.16b, {b:v}.16b",
                    "sdot {second:v}.4s, {c:v}.16b, {d:v}.16b",
                    first = inout(vreg) sums.0,
                    second = inout(vreg) sums.1,
                    a = in(vreg) codes[i].0,
                    b = in(vreg) activations[i].0,
                    c = in(vreg) codes[i].1,
                    d = in(vreg) activations[i].1,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
        }
        sums
    }
}

/// To `sums`, the products of the lower eight signed bytes.
#[inline]
#[target_feature(enable = "neon")]
fn add_low_products(sums: int16x8_t, a: uint8x16_t, b: uint8x16_t) -> int16x8_t {
    let (a, b) = (vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b));
    vmlal_s8(sums, vget_low_s8(a), vget_low_s8(b))
}

/// To `sums`, the products of the upper eight signed bytes.
#[inline]
#[target_feature(enable = "neon")]
fn add_high_products(sums: int16x8_t, a: uint8x16_t, b: uint8x16_t) -> int16x8_t {
    vmlal_high_s8(sums, vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b))
}

/// To each of `sums`, four consecutive ones of `low` and `high`, whose pairs'
/// sums are 16-bit integers too.
#[inline]
#[target_feature(enable = "neon")]
fn add_fours(sums: int32x4_t, low: int16x8_t, high: int16x8_t) -> int32x4_t {
    vpadalq_s16(sums, vpaddq_s16(low, high))
}

impl<S: Products> Simd for S {
    const LANES: usize = 2;
    const BIAS: i16 = 0;
    const CHAINED: bool = false;
    type Narrow = Self;
    type Bytes = Bytes;
    type Ints = Ints;
    type Floats = Floats;

    #[inline(always)]
    fn narrow(self) -> Self {
        self
    }

    operations! {
        fn load(lanes: [&[u8; 16]; MAX_LANES]) -> Bytes {
            Two(vld1q_u8(lanes[0].as_ptr()), vld1q_u8(lanes[1].as_ptr()))
        }

        fn splat16(bytes: &[u8; 16]) -> Bytes {
            let lane = vld1q_u8(bytes.as_ptr());
            Two(lane, lane)
        }

        fn splat4(bytes: [u8; 4]) -> Bytes {
            let lane = vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes(bytes)));
            Two(lane, lane)
        }

        fn read(bytes: &[u8]) -> Bytes {
            let bytes: &[u8] = &bytes[..32];
            Two(vld1q_u8(bytes.as_ptr()), vld1q_u8(bytes.as_ptr().add(16)))
        }

        fn write(vector: Bytes, bytes: &mut [u8]) -> () {
            let bytes: &mut [u8] = &mut bytes[..32];
            vst1q_u8(bytes.as_mut_ptr(), vector.0);
            vst1q_u8(bytes.as_mut_ptr().add(16), vector.1);
        }

        fn prefetch(bytes: &[u8], offset: usize) -> () {
            // Prefetches of addresses that are not mapped do nothing.
            asm!(
                "prfm pldl1keep, [{at}]",
                at = in(reg) bytes.as_ptr().wrapping_add(offset),
                options(readonly, nostack, preserves_flags),
            );
        }

        fn prefetch_far(bytes: &[u8], offset: usize) -> () {
            // Prefetches of addresses that are not mapped do nothing.
            asm!(
                "prfm pldl2keep, [{at}]",
                at = in(reg) bytes.as_ptr().wrapping_add(offset),
                options(readonly, nostack, preserves_flags),
            );
        }

        fn and(a: Bytes, b: Bytes) -> Bytes {
            two!(vandq_u8, a, b)
        }

        fn or(a: Bytes, b: Bytes) -> Bytes {
            two!(vorrq_u8, a, b)
        }

        fn shl(a: Bytes, bits: u8) -> Bytes {
            shift(a, i16::from(bits))
        }

        fn shr(a: Bytes, bits: u8) -> Bytes {
            shift(a, -i16::from(bits))
        }

        fn equal(a: Bytes, b: Bytes) -> Bytes {
            two!(vceqq_u8, a, b)
        }

        fn shuffle(table: Bytes, index: Bytes) -> Bytes {
            // Places from 16 on give zero.
            two!(vqtbl1q_u8, table, index)
        }

        fn transpose(rows: [Bytes; 4]) -> [Bytes; 4] {
            let [a, b, c, d] = rows;
            let first = transpose_lane([a.0, b.0, c.0, d.0]);
            let second = transpose_lane([a.1, b.1, c.1, d.1]);
            [
                Two(first[0], second[0]),
                Two(first[1], second[1]),
                Two(first[2], second[2]),
                Two(first[3], second[3]),
            ]
        }

        fn ints(bytes: Bytes) -> Ints {
            two!(vreinterpretq_s32_u8, bytes)
        }

        fn floats(bytes: Bytes) -> Floats {
            two!(vreinterpretq_f32_u8, bytes)
        }

        fn bytes(floats: Floats) -> Bytes {
            two!(vreinterpretq_u8_f32, floats)
        }

        fn zero() -> Ints {
            Two(vdupq_n_s32(0), vdupq_n_s32(0))
        }

        fn shr_ints(a: Ints, bits: u8) -> Ints {
            let left = vdupq_n_s32(-i32::from(bits));
            Two(vshlq_s32(a.0, left), vshlq_s32(a.1, left))
        }

        fn pairs(sums: Ints, a: Bytes, b: Bytes) -> Ints {
            two!(pairs_lane, sums, a, b)
        }

        fn sum4(vectors: [Ints; 4]) -> Ints {
            let [a, b, c, d] = vectors;
            let (ab, cd) = (two!(vpaddq_s32, a, b), two!(vpaddq_s32, c, d));
            two!(vpaddq_s32, ab, cd)
        }

        fn to_floats(a: Ints) -> Floats {
            two!(vcvtq_f32_s32, a)
        }

        fn splat(value: f32) -> Floats {
            Two(vdupq_n_f32(value), vdupq_n_f32(value))
        }

        fn splat_floats(values: &[f32; 4]) -> Floats {
            let lane = vld1q_f32(values.as_ptr());
            Two(lane, lane)
        }

        fn halves(lanes: [[u16; 4]; MAX_LANES]) -> Floats {
            Two(
                vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(lanes[0].as_ptr()))),
                vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(lanes[1].as_ptr()))),
            )
        }

        fn add(a: Floats, b: Floats) -> Floats {
            two!(vaddq_f32, a, b)
        }

        fn mul(a: Floats, b: Floats) -> Floats {
            two!(vmulq_f32, a, b)
        }

        fn mul_add(a: Floats, b: Floats, c: Floats) -> Floats {
            two!(vfmaq_f32, c, a, b)
        }

        fn mul_sub(a: Floats, b: Floats, c: Floats) -> Floats {
            two!(vfmsq_f32, c, a, b)
        }
    }

    #[inline(always)]
    fn bias(self, codes: Bytes) -> Bytes {
        codes
    }

    #[inline(always)]
    fn dot<const N: usize>(self, sums: Ints, codes: [Bytes; N], activations: [Bytes; N]) -> Ints {
        self.products(sums, codes, activations)
    }

    #[inline(always)]
    fn dot_signed(self, sums: Ints, codes: Bytes, activations: Bytes) -> Ints {
        self.products(sums, [codes], [activations])
    }
}

impl<S: Products> Pair for S {
    operations! {
        fn nibble_halves(bytes: &[u8; 16]) -> Bytes {
            let both = vld1q_u8(bytes.as_ptr());
            Two(vandq_u8(both, vdupq_n_u8(0x0f)), vshrq_n_u8::<4>(both))
        }

        fn widen(bytes: [u8; 8]) -> Ints {
            let words = vmovl_u8(vcreate_u8(u64::from_le_bytes(bytes)));
            Two(
                vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(words))),
                vreinterpretq_s32_u32(vmovl_high_u16(words)),
            )
        }

        fn fold(a: Ints, b: Ints) -> Ints {
            Two(vaddq_s32(a.0, a.1), vaddq_s32(b.0, b.1))
        }

        fn sum(a: Floats) -> f32 {
            let fours = vaddq_f32(a.0, a.1);
            let twos = vadd_f32(vget_low_f32(fours), vget_high_f32(fours));
            vpadds_f32(twos)
        }
    }
}

/// Shifts pairs of bytes to the left, or to the right if `bits` is negative.
#[inline]
#[target_feature(enable = "neon")]
fn shift(a: Bytes, bits: i16) -> Bytes {
    let by = vdupq_n_s16(bits);
    let first = vshlq_u16(vreinterpretq_u16_u8(a.0), by);
    let second = vshlq_u16(vreinterpretq_u16_u8(a.1), by);
    Two(vreinterpretq_u8_u16(first), vreinterpretq_u8_u16(second))
}

/// [`Simd::pairs`] for one lane.
#[inline]
#[target_feature(enable = "neon")]
fn pairs_lane(sums: int32x4_t, a: uint8x16_t, b: uint8x16_t) -> int32x4_t {
    let (a, b) = (vreinterpretq_s16_u8(a), vreinterpretq_s16_u8(b));
    let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
    vaddq_s32(sums, vpaddq_s32(low, vmull_high_s16(a, b)))
}

/// [`Simd::transpose`] for one lane.
#[inline]
#[target_feature(enable = "neon")]
fn transpose_lane(rows: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
    let (a, b) = (vreinterpretq_u32_u8(rows[0]), vreinterpretq_u32_u8(rows[1]));
    let (c, d) = (vreinterpretq_u32_u8(rows[2]), vreinterpretq_u32_u8(rows[3]));
    let ab_even = vreinterpretq_u64_u32(vtrn1q_u32(a, b));
    let ab_odd = vreinterpretq_u64_u32(vtrn2q_u32(a, b));
    let cd_even = vreinterpretq_u64_u32(vtrn1q_u32(c, d));
    let cd_odd = vreinterpretq_u64_u32(vtrn2q_u32(c, d));
    [
        vreinterpretq_u8_u64(vtrn1q_u64(ab_even, cd_even)),
        vreinterpretq_u8_u64(vtrn1q_u64(ab_odd, cd_odd)),
        vreinterpretq_u8_u64(vtrn2q_u64(ab_even, cd_even)),
        vreinterpretq_u8_u64(vtrn2q_u64(ab_odd, cd_odd)),
    ]
}
