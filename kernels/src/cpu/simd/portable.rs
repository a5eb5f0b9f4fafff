//! The operations on arrays, two lanes to a vector.
//!
//! They are not inlined: each is a loop, and kernels with thousands of loops
//! would take minutes to compile for a set that hardly anyone runs.

use std::array;

use super::{MAX_LANES, Pair, Simd};
use crate::cpu::isa::Portable;
use crate::format::f16_to_f32;

/// Applies `f` element by element. A loop over arrays vectorises, adapters do
/// not.
#[inline(always)]
fn zip<T: Copy, R: Copy + Default, const N: usize>(
    a: [T; N],
    b: [T; N],
    f: impl Fn(T, T) -> R,
) -> [R; N] {
    let mut out = [R::default(); N];
    for i in 0..N {
        out[i] = f(a[i], b[i]);
    }
    out
}

/// Applies `f` to each pair of bytes as a little-endian `u16`.
#[inline(always)]
fn by_pair(a: [u8; 32], f: impl Fn(u16) -> u16) -> [u8; 32] {
    let mut out = [0; 32];
    for (out, pair) in out.as_chunks_mut().0.iter_mut().zip(a.as_chunks().0) {
        *out = f(u16::from_le_bytes(*pair)).to_le_bytes();
    }
    out
}

/// Element `i` of four bytes each.
#[inline(always)]
fn element(a: &[u8; 32], i: usize) -> [u8; 4] {
    a.as_chunks().0[i]
}

impl Simd for Portable {
    const LANES: usize = 2;
    const BIAS: i16 = 0;
    const CHAINED: bool = false;
    type Narrow = Self;
    type Bytes = [u8; 32];
    type Ints = [i32; 8];
    type Floats = [f32; 8];

    #[inline(never)]
    fn narrow(self) -> Self {
        self
    }

    #[inline(never)]
    fn load(self, lanes: [&[u8; 16]; MAX_LANES]) -> [u8; 32] {
        let mut out = [0; 32];
        out[..16].copy_from_slice(lanes[0]);
        out[16..].copy_from_slice(lanes[1]);
        out
    }

    #[inline(never)]
    fn splat16(self, bytes: &[u8; 16]) -> [u8; 32] {
        self.load([bytes; MAX_LANES])
    }

    #[inline(never)]
    fn splat4(self, bytes: [u8; 4]) -> [u8; 32] {
        let mut out = [0; 32];
        out.as_chunks_mut().0.fill(bytes);
        out
    }

    #[inline(never)]
    fn read(self, bytes: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(&bytes[..32]);
        out
    }

    #[inline(never)]
    fn write(self, vector: [u8; 32], bytes: &mut [u8]) {
        bytes[..32].copy_from_slice(&vector);
    }

    #[inline(never)]
    fn prefetch(self, _: &[u8], _: usize) {}

    #[inline(never)]
    fn prefetch_far(self, _: &[u8], _: usize) {}

    #[inline(never)]
    fn and(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        zip(a, b, |a, b| a & b)
    }

    #[inline(never)]
    fn or(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        zip(a, b, |a, b| a | b)
    }

    #[inline(never)]
    fn shl(self, a: [u8; 32], bits: u8) -> [u8; 32] {
        by_pair(a, |pair| pair << bits)
    }

    #[inline(never)]
    fn shr(self, a: [u8; 32], bits: u8) -> [u8; 32] {
        by_pair(a, |pair| pair >> bits)
    }

    #[inline(never)]
    fn equal(self, a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        zip(a, b, |a, b| if a == b { 0xff } else { 0 })
    }

    #[inline(never)]
    fn shuffle(self, table: [u8; 32], index: [u8; 32]) -> [u8; 32] {
        let mut out = [0; 32];
        for i in 0..32 {
            if index[i] < 16 {
                out[i] = table[i / 16 * 16 + usize::from(index[i])];
            }
        }
        out
    }

    #[inline(never)]
    fn transpose(self, rows: [[u8; 32]; 4]) -> [[u8; 32]; 4] {
        let mut out = [[0; 32]; 4];
        for (column, out) in out.iter_mut().enumerate() {
            for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
                *out = element(&rows[i % 4], i / 4 * 4 + column);
            }
        }
        out
    }

    #[inline(never)]
    fn ints(self, bytes: [u8; 32]) -> [i32; 8] {
        array::from_fn(|i| i32::from_le_bytes(element(&bytes, i)))
    }

    #[inline(never)]
    fn floats(self, bytes: [u8; 32]) -> [f32; 8] {
        array::from_fn(|i| f32::from_le_bytes(element(&bytes, i)))
    }

    #[inline(never)]
    fn bytes(self, floats: [f32; 8]) -> [u8; 32] {
        let mut out = [0; 32];
        for (out, float) in out.as_chunks_mut().0.iter_mut().zip(floats) {
            *out = float.to_le_bytes();
        }
        out
    }

    #[inline(never)]
    fn zero(self) -> [i32; 8] {
        [0; 8]
    }

    #[inline(never)]
    fn shr_ints(self, a: [i32; 8], bits: u8) -> [i32; 8] {
        a.map(|a| a >> bits)
    }

    #[inline(never)]
    fn dot<const N: usize>(
        self,
        mut sums: [i32; 8],
        codes: [[u8; 32]; N],
        activations: [[u8; 32]; N],
    ) -> [i32; 8] {
        for (codes, activations) in codes.iter().zip(&activations) {
            for i in 0..32 {
                sums[i / 4] += i32::from(codes[i]) * i32::from(activations[i] as i8);
            }
        }
        sums
    }

    #[inline(never)]
    fn bias(self, codes: [u8; 32]) -> [u8; 32] {
        codes
    }

    #[inline(never)]
    fn dot_signed(self, mut sums: [i32; 8], codes: [u8; 32], activations: [u8; 32]) -> [i32; 8] {
        for i in 0..32 {
            sums[i / 4] += i32::from(codes[i] as i8) * i32::from(activations[i] as i8);
        }
        sums
    }

    #[inline(never)]
    fn pairs(self, mut sums: [i32; 8], a: [u8; 32], b: [u8; 32]) -> [i32; 8] {
        let (a, b) = (a.as_chunks().0, b.as_chunks().0);
        for i in 0..16 {
            let product = i32::from(i16::from_le_bytes(a[i])) * i32::from(i16::from_le_bytes(b[i]));
            sums[i / 2] += product;
        }
        sums
    }

    #[inline(never)]
    fn sum4(self, vectors: [[i32; 8]; 4]) -> [i32; 8] {
        array::from_fn(|i| vectors[i % 4][i / 4 * 4..][..4].iter().sum())
    }

    #[inline(never)]
    fn to_floats(self, a: [i32; 8]) -> [f32; 8] {
        a.map(|a| a as f32)
    }

    #[inline(never)]
    fn splat(self, value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(never)]
    fn splat_floats(self, values: &[f32; 4]) -> [f32; 8] {
        array::from_fn(|i| values[i % 4])
    }

    #[inline(never)]
    fn halves(self, lanes: [[u16; 4]; MAX_LANES]) -> [f32; 8] {
        array::from_fn(|i| f16_to_f32(lanes[i / 4][i % 4]))
    }

    #[inline(never)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a + b)
    }

    #[inline(never)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a * b)
    }

    #[inline(never)]
    fn mul_add(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(never)]
    fn mul_sub(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        array::from_fn(|i| (-a[i]).mul_add(b[i], c[i]))
    }
}

impl Pair for Portable {
    #[inline(never)]
    fn nibble_halves(self, bytes: &[u8; 16]) -> [u8; 32] {
        array::from_fn(|i| (bytes[i % 16] >> (i / 16 * 4)) & 0x0f)
    }

    #[inline(never)]
    fn widen(self, bytes: [u8; 8]) -> [i32; 8] {
        bytes.map(i32::from)
    }

    #[inline(never)]
    fn fold(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        let both = [a, b];
        array::from_fn(|i| both[i / 4][i % 4] + both[i / 4][4 + i % 4])
    }

    #[inline(never)]
    fn sum(self, a: [f32; 8]) -> f32 {
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }
}
