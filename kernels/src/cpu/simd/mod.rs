//! The vector operations that the product kernels are written in, and what
//! they are on each instruction set.
//!
//! A vector consists of *lanes* of 128 bits, two in most sets, four with
//! AVX-512. Kernels put a row of weights into each
//! lane and never mix lanes, so that they say the same thing at every width.
//! Integer operations are exact and floating-point ones rounded once, so that
//! every implementation gives the same bits.

/// Writes methods whose bodies are intrinsics.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! operations {
    ($(fn $name:ident($($parameter:ident: $type:ty),*) -> $out:ty $body:block)*) => {
        $(
            #[inline(always)]
            fn $name(self, $($parameter: $type),*) -> $out {
                // SAFETY: `self` proves that the processor has the
                // instructions, and memory is read and written through
                // pointers made from references to as many bytes.
                unsafe { $body }
            }
        )*
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(test)]
mod tests;

/// An array of four, made by an expression of the index.
///
/// Vectors must not pass through closures or iterators: those are compiled
/// without the instruction set's features and stay calls.
macro_rules! four {
    ($index:ident => $value:expr) => {
        [
            {
                let $index = 0;
                $value
            },
            {
                let $index = 1;
                $value
            },
            {
                let $index = 2;
                $value
            },
            {
                let $index = 3;
                $value
            },
        ]
    };
}

pub(crate) use four;

/// The most lanes of any implementation.
pub(crate) const MAX_LANES: usize = 4;

/// The most bytes of any implementation's vector.
pub(crate) const MAX_BYTES: usize = 16 * MAX_LANES;

/// Vector operations. A value of the type proves that the processor has them.
pub(crate) trait Simd: Copy {
    /// 128-bit lanes in a vector, at most [`MAX_LANES`].
    const LANES: usize;

    /// What [`Simd::bias`] adds to signed bytes.
    const BIAS: i16;

    /// Whether one instruction makes four products and adds them to a sum, so
    /// that sums are best taken in turn, a step each.
    const CHAINED: bool;

    /// The set for kernels that work on two lanes.
    type Narrow: Pair;

    /// 16 bytes per lane.
    type Bytes: Copy;
    /// Four 32-bit integers per lane.
    type Ints: Copy;
    /// Four floats per lane.
    type Floats: Copy;

    fn narrow(self) -> Self::Narrow;

    /// 16 bytes for each lane; entries past the last lane are ignored.
    fn load(self, lanes: [&[u8; 16]; MAX_LANES]) -> Self::Bytes;

    /// The same 16 bytes in every lane.
    fn splat16(self, bytes: &[u8; 16]) -> Self::Bytes;

    /// The same 4 bytes everywhere.
    fn splat4(self, bytes: [u8; 4]) -> Self::Bytes;

    /// A whole vector from the first bytes of `bytes`.
    ///
    /// Panics when there are fewer.
    fn read(self, bytes: &[u8]) -> Self::Bytes;

    /// A whole vector to the first bytes of `bytes`.
    ///
    /// Panics when there are fewer.
    fn write(self, vector: Self::Bytes, bytes: &mut [u8]);

    /// Asks for the cache line at `offset` bytes from the start of `bytes`,
    /// which may be past its end; at worst this does nothing.
    fn prefetch(self, bytes: &[u8], offset: usize);

    /// As [`Simd::prefetch`] for later use: not into the first level of cache.
    fn prefetch_far(self, bytes: &[u8], offset: usize);

    fn and(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// Shifts each pair of bytes, a little-endian `u16`, to the left.
    fn shl(self, a: Self::Bytes, bits: u8) -> Self::Bytes;

    /// Shifts each pair of bytes, a little-endian `u16`, to the right.
    fn shr(self, a: Self::Bytes, bits: u8) -> Self::Bytes;

    /// All ones in bytes that are equal, zero in the others.
    fn equal(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes;

    /// In each lane, the bytes of `table` at the places in `index`; zero where
    /// the place is 0x80. Other places are below 16.
    fn shuffle(self, table: Self::Bytes, index: Self::Bytes) -> Self::Bytes;

    /// In each lane, the 4 x 4 matrix of 4-byte elements, transposed.
    fn transpose(self, rows: [Self::Bytes; 4]) -> [Self::Bytes; 4];

    /// The bytes as integers.
    fn ints(self, bytes: Self::Bytes) -> Self::Ints;

    /// The bytes as floats.
    fn floats(self, bytes: Self::Bytes) -> Self::Floats;

    /// The bytes of floats.
    fn bytes(self, floats: Self::Floats) -> Self::Bytes;

    fn zero(self) -> Self::Ints;

    /// An arithmetic shift to the right.
    fn shr_ints(self, a: Self::Ints, bits: u8) -> Self::Ints;

    /// To each of `sums`, the products of four unsigned codes with four signed
    /// activations, for each of the `N` vectors. The activations go from -127
    /// to 127, codes are below 128, and `N` times the largest is at most 128.
    fn dot<const N: usize>(
        self,
        sums: Self::Ints,
        codes: [Self::Bytes; N],
        activations: [Self::Bytes; N],
    ) -> Self::Ints;

    /// Signed codes in the form that [`Simd::dot_signed`] takes: with
    /// [`Simd::BIAS`] added.
    fn bias(self, codes: Self::Bytes) -> Self::Bytes;

    /// As [`Simd::dot`] for codes from [`Simd::bias`]; the products are those
    /// of the biased codes.
    fn dot_signed(
        self,
        sums: Self::Ints,
        codes: Self::Bytes,
        activations: Self::Bytes,
    ) -> Self::Ints;

    /// To each of `sums`, the products of two signed 16-bit integers with two
    /// others.
    fn pairs(self, sums: Self::Ints, a: Self::Bytes, b: Self::Bytes) -> Self::Ints;

    /// In each lane, the sums of the four integers of each vector.
    fn sum4(self, vectors: [Self::Ints; 4]) -> Self::Ints;

    fn to_floats(self, a: Self::Ints) -> Self::Floats;

    /// The same float everywhere.
    fn splat(self, value: f32) -> Self::Floats;

    /// The same four floats in every lane.
    fn splat_floats(self, values: &[f32; 4]) -> Self::Floats;

    /// The values of four halves for each lane.
    fn halves(self, lanes: [[u16; 4]; MAX_LANES]) -> Self::Floats;

    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;

    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;

    /// `c - a * b`, rounded once.
    fn mul_sub(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
}

/// A set with two lanes, which kernels use for the two halves of a block.
pub(crate) trait Pair: Simd {
    /// The low nibbles of the bytes in the first lane, the high ones in the
    /// second.
    fn nibble_halves(self, bytes: &[u8; 16]) -> Self::Bytes;

    /// Unsigned bytes, one to each integer.
    fn widen(self, bytes: [u8; 8]) -> Self::Ints;

    /// The sum of the lanes of `a` in the first lane, of `b` in the second.
    fn fold(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;

    /// Of `a` with `b` the sum of its lanes, `(b[0] + b[2]) + (b[1] + b[3])`.
    fn sum(self, a: Self::Floats) -> f32;
}
