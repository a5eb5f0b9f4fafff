//! Sixteen floats worked on side by side, on every instruction set.
//!
//! A kernel over [`Lanes`] is a fixed sequence of operations, each correctly
//! rounded, on sixteen lanes, whatever the width of the registers: so it gives
//! the same bits everywhere (but for the payload of a NaN). Products with a sum
//! are fused, rounded once.
//!
//! Inner loops are written without closures: one that is not inlined is compiled
//! without the instruction set, and every operation in it becomes a call.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(test)]
mod tests;

/// Floats in a vector.
pub(crate) const LANES: usize = 16;

/// The operations of an instruction set; its values prove that the processor
/// has it.
pub(crate) trait Lanes: Copy {
    /// Sixteen floats.
    type F: Copy;

    /// How many vectors of sixteen a product holds side by side for each of
    /// its rows: as many as the registers have room for.
    const TILES: usize;

    /// `x` in every lane.
    fn splat(self, x: f32) -> Self::F;
    /// Lane `i` from `x[i]`.
    fn load(self, x: &[f32; LANES]) -> Self::F;
    /// Lane `i` to `to[i]`.
    fn store(self, x: Self::F, to: &mut [f32; LANES]);
    /// Floats in the machine's byte order.
    fn load_f32_bytes(self, x: &[u8; 4 * LANES]) -> Self::F;
    /// Little-endian halves.
    fn load_f16_bytes(self, x: &[u8; 2 * LANES]) -> Self::F;
    /// Little-endian bfloat16s.
    fn load_bf16_bytes(self, x: &[u8; 2 * LANES]) -> Self::F;
    /// Signed bytes.
    fn load_i8_bytes(self, x: &[u8; LANES]) -> Self::F;
    /// Asks for the memory `offset` bytes behind the start of `bytes`, which
    /// need not be theirs.
    fn prefetch(self, bytes: &[u8], offset: usize);
    /// `a + b`.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`.
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`.
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a > b ? a : b`: `b` where either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a < b ? a : b`: `b` where either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a < b ? yes : no`.
    fn select_less(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F;
    /// `x` where it is NaN, else `other`.
    fn nan_or(self, x: Self::F, other: Self::F) -> Self::F;
    /// The magnitude of `x`.
    fn abs(self, x: Self::F) -> Self::F;
    /// `magnitude`, whose sign is plus, with the sign of `sign`.
    fn with_sign(self, magnitude: Self::F, sign: Self::F) -> Self::F;
    /// `x * 2^n` for `shifted = n + 1.5 * 2^23`, where neither `x` nor the
    /// result is subnormal, infinite or NaN (then the lane has some value).
    fn scale_exponent(self, x: Self::F, shifted: Self::F) -> Self::F;
    /// The sum of the lanes, the upper half added to the lower until one is
    /// left.
    fn sum(self, x: Self::F) -> f32;
    /// The largest lane, found in the same order by [`max`](Lanes::max).
    fn largest(self, x: Self::F) -> f32;
}

/// The sixteen floats from `start` on, of `x` that is long enough.
#[inline(always)]
pub(crate) fn sixteen(x: &[f32], start: usize) -> &[f32; LANES] {
    match x[start..].first_chunk() {
        Some(chunk) => chunk,
        None => short(),
    }
}

/// As [`sixteen`], for writing.
#[inline(always)]
pub(crate) fn sixteen_mut(x: &mut [f32], start: usize) -> &mut [f32; LANES] {
    match x[start..].first_chunk_mut() {
        Some(chunk) => chunk,
        None => short(),
    }
}

#[cold]
#[inline(never)]
fn short() -> ! {
    panic!("fewer than {LANES} floats are left")
}

/// `x`, filled up with zeros.
#[inline(always)]
pub(crate) fn padded(x: &[f32]) -> [f32; LANES] {
    let mut all = [0.0; LANES];
    all[..x.len()].copy_from_slice(x);
    all
}
