//! Sixteen floats in four NEON registers, for AArch64. Not run yet on
//! such a processor.

use std::arch::aarch64::*;

use super::{LANES, Lanes};
use crate::cpu::isa::Neon;

/// Lanes 0 to 3, 4 to 7, 8 to 11 and 12 to 15.
#[derive(Clone, Copy)]
pub(crate) struct Four(float32x4_t, float32x4_t, float32x4_t, float32x4_t);

/// Writes methods whose bodies are intrinsics.
macro_rules! operations {
    ($(fn $name:ident($($parameter:ident: $type:ty),*) -> $out:ty $body:block)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($parameter: $type),*) -> $out {
                // SAFETY: `self` proves that the processor has the
                // instructions; those that touch memory are given addresses
                // inside an array as long as what they touch, and need no
                // alignment.
                unsafe { $body }
            }
        )*
    };
}

/// One function for each register.
macro_rules! four {
    ($function:ident, $($operand:ident),*) => {
        Four(
            $function($($operand.0),*),
            $function($($operand.1),*),
            $function($($operand.2),*),
            $function($($operand.3),*),
        )
    };
}

impl Lanes for Neon {
    type F = Four;

    const TILES: usize = 1;

    operations! {
        fn splat(x: f32) -> Four {
            let x = vdupq_n_f32(x);
            Four(x, x, x, x)
        }

        fn load(x: &[f32; LANES]) -> Four {
            let x = x.as_ptr();
            Four(
                vld1q_f32(x),
                vld1q_f32(x.add(4)),
                vld1q_f32(x.add(8)),
                vld1q_f32(x.add(12)),
            )
        }

        fn store(x: Four, to: &mut [f32; LANES]) -> () {
            let to = to.as_mut_ptr();
            vst1q_f32(to, x.0);
            vst1q_f32(to.add(4), x.1);
            vst1q_f32(to.add(8), x.2);
            vst1q_f32(to.add(12), x.3);
        }

        fn load_f32_bytes(x: &[u8; 4 * LANES]) -> Four {
            // Through bytes, which may lie at any address.
            let x = x.as_ptr();
            Four(
                vreinterpretq_f32_u8(vld1q_u8(x)),
                vreinterpretq_f32_u8(vld1q_u8(x.add(16))),
                vreinterpretq_f32_u8(vld1q_u8(x.add(32))),
                vreinterpretq_f32_u8(vld1q_u8(x.add(48))),
            )
        }

        fn prefetch(bytes: &[u8], offset: usize) -> () {
            // Prefetches of addresses that are not mapped do nothing.
            asm!(
                "prfm pldl1keep, [{at}]",
                at = in(reg) bytes.as_ptr().wrapping_add(offset),
                options(readonly, nostack, preserves_flags),
            );
        }

        fn load_f16_bytes(x: &[u8; 2 * LANES]) -> Four {
            let low = vreinterpretq_f16_u8(vld1q_u8(x.as_ptr()));
            let high = vreinterpretq_f16_u8(vld1q_u8(x.as_ptr().add(16)));
            Four(
                vcvt_f32_f16(vget_low_f16(low)),
                vcvt_high_f32_f16(low),
                vcvt_f32_f16(vget_low_f16(high)),
                vcvt_high_f32_f16(high),
            )
        }

        fn load_bf16_bytes(x: &[u8; 2 * LANES]) -> Four {
            let low = vreinterpretq_u16_u8(vld1q_u8(x.as_ptr()));
            let high = vreinterpretq_u16_u8(vld1q_u8(x.as_ptr().add(16)));
            Four(
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(low))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(low)),
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(high))),
                vreinterpretq_f32_u32(vshll_high_n_u16::<16>(high)),
            )
        }

        fn load_i8_bytes(x: &[u8; LANES]) -> Four {
            let x = vreinterpretq_s8_u8(vld1q_u8(x.as_ptr()));
            let (low, high) = (vmovl_s8(vget_low_s8(x)), vmovl_high_s8(x));
            Four(
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                vcvtq_f32_s32(vmovl_high_s16(low)),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                vcvtq_f32_s32(vmovl_high_s16(high)),
            )
        }

        fn add(a: Four, b: Four) -> Four {
            four!(vaddq_f32, a, b)
        }

        fn sub(a: Four, b: Four) -> Four {
            four!(vsubq_f32, a, b)
        }

        fn mul(a: Four, b: Four) -> Four {
            four!(vmulq_f32, a, b)
        }

        fn div(a: Four, b: Four) -> Four {
            four!(vdivq_f32, a, b)
        }

        fn mul_add(a: Four, b: Four, c: Four) -> Four {
            four!(vfmaq_f32, c, a, b)
        }

        fn max(a: Four, b: Four) -> Four {
            four!(larger, a, b)
        }

        fn min(a: Four, b: Four) -> Four {
            four!(select_less, a, b, a, b)
        }

        fn select_less(a: Four, b: Four, yes: Four, no: Four) -> Four {
            four!(select_less, a, b, yes, no)
        }

        fn nan_or(x: Four, other: Four) -> Four {
            four!(nan_or, x, other)
        }

        fn abs(x: Four) -> Four {
            four!(vabsq_f32, x)
        }

        fn with_sign(magnitude: Four, sign: Four) -> Four {
            four!(copy_sign, magnitude, sign)
        }

        fn scale_exponent(x: Four, shifted: Four) -> Four {
            four!(add_exponent, x, shifted)
        }

        fn sum(x: Four) -> f32 {
            let eight = (vaddq_f32(x.0, x.2), vaddq_f32(x.1, x.3));
            let four = vaddq_f32(eight.0, eight.1);
            vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)))
        }

        fn largest(x: Four) -> f32 {
            let four = larger(larger(x.0, x.2), larger(x.1, x.3));
            let two = larger(four, vextq_f32::<2>(four, four));
            vgetq_lane_f32::<0>(larger(two, vextq_f32::<1>(two, two)))
        }
    }
}

/// `a > b ? a : b`, which is not what `fmax` gives for NaN and zeros.
#[inline]
#[target_feature(enable = "neon")]
fn larger(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(vcgtq_f32(a, b), a, b)
}

#[inline]
#[target_feature(enable = "neon")]
fn select_less(a: float32x4_t, b: float32x4_t, yes: float32x4_t, no: float32x4_t) -> float32x4_t {
    vbslq_f32(vcltq_f32(a, b), yes, no)
}

#[inline]
#[target_feature(enable = "neon")]
fn nan_or(x: float32x4_t, other: float32x4_t) -> float32x4_t {
    vbslq_f32(vceqq_f32(x, x), other, x)
}

#[inline]
#[target_feature(enable = "neon")]
fn copy_sign(magnitude: float32x4_t, sign: float32x4_t) -> float32x4_t {
    vbslq_f32(vdupq_n_u32(1 << 31), sign, magnitude)
}

/// [`Lanes::scale_exponent`] for one register.
#[inline]
#[target_feature(enable = "neon")]
fn add_exponent(x: float32x4_t, shifted: float32x4_t) -> float32x4_t {
    let n = vshlq_n_u32::<23>(vreinterpretq_u32_f32(shifted));
    vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(x), n))
}
