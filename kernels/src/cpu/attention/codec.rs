//! How the kernels read keys and values: each format's bytes to floats, exactly.

use crate::cpu::{
    kv::{KEY_TILE, Q8_BYTES, Q8_VALUES},
    lanes::{LANES, Lanes},
};
use half::f16;

const _: () = assert!(
    KEY_TILE == LANES,
    "a vector is one dimension of a tile of keys"
);

/// A format of keys and values.
pub(super) trait Codec {
    /// Some dimensions of a tile of keys.
    type Group;
    /// How many dimensions.
    const DIMS: usize;

    /// The groups of a tile.
    fn groups(tile: &[u8]) -> &[Self::Group];
    /// What is the same for all dimensions of a group.
    fn scales<S: Lanes>(s: S, group: &Self::Group) -> S::F;
    /// One dimension of sixteen keys.
    fn key<S: Lanes>(s: S, group: &Self::Group, scales: S::F, dim: usize) -> S::F;
    /// The `vector`-th sixteen elements of a value.
    fn value<S: Lanes>(s: S, row: &[u8], vector: usize) -> S::F;
}

pub(super) struct F32;

impl Codec for F32 {
    type Group = [u8; 4 * LANES];
    const DIMS: usize = 1;

    #[inline(always)]
    fn groups(tile: &[u8]) -> &[Self::Group] {
        tile.as_chunks().0
    }

    #[inline(always)]
    fn scales<S: Lanes>(s: S, _: &Self::Group) -> S::F {
        s.splat(1.0)
    }

    #[inline(always)]
    fn key<S: Lanes>(s: S, group: &Self::Group, _: S::F, _: usize) -> S::F {
        s.load_f32_bytes(group)
    }

    #[inline(always)]
    fn value<S: Lanes>(s: S, row: &[u8], vector: usize) -> S::F {
        s.load_f32_bytes(&row.as_chunks().0[vector])
    }
}

pub(super) struct F16;

impl Codec for F16 {
    type Group = [u8; 2 * LANES];
    const DIMS: usize = 1;

    #[inline(always)]
    fn groups(tile: &[u8]) -> &[Self::Group] {
        tile.as_chunks().0
    }

    #[inline(always)]
    fn scales<S: Lanes>(s: S, _: &Self::Group) -> S::F {
        s.splat(1.0)
    }

    #[inline(always)]
    fn key<S: Lanes>(s: S, group: &Self::Group, _: S::F, _: usize) -> S::F {
        s.load_f16_bytes(group)
    }

    #[inline(always)]
    fn value<S: Lanes>(s: S, row: &[u8], vector: usize) -> S::F {
        s.load_f16_bytes(&row.as_chunks().0[vector])
    }
}

pub(super) struct Q8;

impl Codec for Q8 {
    /// A block of sixteen keys: their scales, then their codes.
    type Group = [u8; Q8_BYTES * KEY_TILE];
    const DIMS: usize = Q8_VALUES;

    #[inline(always)]
    fn groups(tile: &[u8]) -> &[Self::Group] {
        tile.as_chunks().0
    }

    #[inline(always)]
    fn scales<S: Lanes>(s: S, group: &Self::Group) -> S::F {
        s.load_f16_bytes(&group.as_chunks().0[0])
    }

    #[inline(always)]
    fn key<S: Lanes>(s: S, group: &Self::Group, scales: S::F, dim: usize) -> S::F {
        const SCALES: usize = 2 * KEY_TILE / LANES;
        let codes = &group.as_chunks().0[SCALES + dim];
        s.mul(s.load_i8_bytes(codes), scales)
    }

    #[inline(always)]
    fn value<S: Lanes>(s: S, row: &[u8], vector: usize) -> S::F {
        const VECTORS: usize = Q8_VALUES / LANES;
        let [low, high, codes @ ..]: &[u8; Q8_BYTES] = &row.as_chunks().0[vector / VECTORS];
        let scale = s.splat(f16::from_le_bytes([*low, *high]).to_f32());
        let codes: &[u8; Q8_VALUES] = codes;
        s.mul(
            s.load_i8_bytes(&codes.as_chunks().0[vector % VECTORS]),
            scale,
        )
    }
}
