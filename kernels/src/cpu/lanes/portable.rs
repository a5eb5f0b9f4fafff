//! Sixteen floats in plain Rust.

use super::{LANES, Lanes};
use crate::cpu::isa::Portable;
use half::{bf16, f16};

impl Lanes for Portable {
    type F = [f32; LANES];

    const TILES: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        *x
    }

    #[inline(always)]
    fn store(self, x: Self::F, to: &mut [f32; LANES]) {
        *to = x;
    }

    #[inline(always)]
    fn load_f32_bytes(self, x: &[u8; 4 * LANES]) -> Self::F {
        let x = x.as_chunks().0;
        std::array::from_fn(|i| f32::from_ne_bytes(x[i]))
    }

    #[inline(always)]
    fn load_f16_bytes(self, x: &[u8; 2 * LANES]) -> Self::F {
        let x = x.as_chunks().0;
        std::array::from_fn(|i| f16::from_le_bytes(x[i]).to_f32())
    }

    #[inline(always)]
    fn prefetch(self, _: &[u8], _: usize) {}

    #[inline(always)]
    fn load_bf16_bytes(self, x: &[u8; 2 * LANES]) -> Self::F {
        let x = x.as_chunks().0;
        std::array::from_fn(|i| bf16::from_le_bytes(x[i]).to_f32())
    }

    #[inline(always)]
    fn load_i8_bytes(self, x: &[u8; LANES]) -> Self::F {
        x.map(|x| f32::from(x as i8))
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] / b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // By the processor's own instruction where every processor of the
        // target has it.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            mul_add_all(&a, &b, &c)
        }
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn select_less(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F {
        std::array::from_fn(|i| if a[i] < b[i] { yes[i] } else { no[i] })
    }

    #[inline(always)]
    fn nan_or(self, x: Self::F, other: Self::F) -> Self::F {
        std::array::from_fn(|i| if x[i].is_nan() { x[i] } else { other[i] })
    }

    #[inline(always)]
    fn abs(self, x: Self::F) -> Self::F {
        x.map(f32::abs)
    }

    #[inline(always)]
    fn with_sign(self, magnitude: Self::F, sign: Self::F) -> Self::F {
        std::array::from_fn(|i| magnitude[i].copysign(sign[i]))
    }

    #[inline(always)]
    fn scale_exponent(self, x: Self::F, shifted: Self::F) -> Self::F {
        std::array::from_fn(|i| {
            f32::from_bits(x[i].to_bits().wrapping_add(shifted[i].to_bits() << 23))
        })
    }

    #[inline(always)]
    fn sum(self, mut x: Self::F) -> f32 {
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                x[i] += x[i + width];
            }
            width /= 2;
        }
        x[0]
    }

    #[inline(always)]
    fn largest(self, mut x: Self::F) -> f32 {
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                x[i] = if x[i] > x[i + width] {
                    x[i]
                } else {
                    x[i + width]
                };
            }
            width /= 2;
        }
        x[0]
    }
}

/// [`mul_add_by_doubles`] of all lanes. Out of line: it is long, and its
/// callers use it many times over.
#[inline(never)]
fn mul_add_all(a: &[f32; LANES], b: &[f32; LANES], c: &[f32; LANES]) -> [f32; LANES] {
    std::array::from_fn(|i| mul_add_by_doubles(a[i], b[i], c[i]))
}

/// `a * b + c`, rounded once: the product is exact in f64, the sum is rounded
/// to odd there (Boldo and Melquiond, "Emulation of FMA and correctly rounded
/// sums", IEEE Trans. Comput. 57, 2008), which makes the second rounding, to
/// f32, that of the exact value.
#[inline(always)]
pub(super) fn mul_add_by_doubles(a: f32, b: f32, c: f32) -> f32 {
    let product = f64::from(a) * f64::from(b);
    let c = f64::from(c);
    let sum = product + c;
    // What the rounding of the sum left out, exactly (Knuth's TwoSum).
    let part = sum - product;
    let error = (product - (sum - part)) + (c - part);
    let bits = sum.to_bits();
    // Away from zero when the error has the sum's sign, else towards it.
    let step = if (error > 0.0) == (sum > 0.0) {
        1
    } else {
        u64::MAX
    };
    let inexact = error.abs() > 0.0 && sum.is_finite() && bits & 1 == 0;
    let odd = if inexact {
        bits.wrapping_add(step)
    } else {
        bits
    };
    f64::from_bits(odd) as f32
}
