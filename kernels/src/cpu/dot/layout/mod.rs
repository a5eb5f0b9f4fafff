//! How 256 weights of a row become codes and scales, for each format with
//! integer products, in the operations of [`Simd`]: once for every instruction
//! set, for rows side by side and for rows interleaved.
//!
//! The weights come in *units* of 256, in two groups of 128 as the activations
//! do, each of four blocks of 32. A unit is taken apart in four *quarters* of
//! four *sub-blocks* of 16: quarters 0 and 1 belong to the first group, 2 and 3
//! to the second.

mod codebook;
mod k_quants;
mod legacy;

use crate::cpu::simd::{MAX_LANES, Pair, Simd, four};

pub(super) use codebook::{Iq4Nl, Iq4Xs, Mxfp4};
pub(super) use k_quants::{Q2K, Q3K, Q4K, Q5K, Q6K};
pub(super) use legacy::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};

/// One unit of each of several rows, a row for each lane.
pub(super) type Units<'a, const UNIT: usize> = [&'a [u8; UNIT]; MAX_LANES];

/// One unit of each of the rows of a strip: element `i` of lane `l` is of row
/// `quads[i][l]`.
pub(super) type Quads<'a, const UNIT: usize> = [Units<'a, UNIT>; 4];

/// What the scales and mins of a strip's unit are made of, an element for each
/// row.
pub(super) struct Heads<S: Simd> {
    /// Up to 16 bytes of codes, four of them in each vector.
    words: [S::Bytes; 4],
    /// What the codes of scales are multiplied with.
    scale: S::Floats,
    /// What the codes of mins are multiplied with.
    min: S::Floats,
}

impl<S: Simd> Heads<S> {
    /// With these codes, 16 bytes of each row, quad by quad.
    #[inline(always)]
    fn new(set: S, codes: [S::Bytes; 4], scale: S::Floats, min: S::Floats) -> Self {
        Heads {
            words: set.transpose(codes),
            scale,
            min,
        }
    }

    #[inline(always)]
    fn none(set: S) -> Self {
        Heads {
            words: [splat(set, 0); 4],
            scale: set.splat(0.0),
            min: set.splat(0.0),
        }
    }
}

/// Which sub-block of each of a group's four blocks a quarter holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Both of two blocks: sub-block `i` is half `i % 2` of block
    /// `2 * (quarter % 2) + i / 2` of the group.
    Blocks,
    /// The same half of four blocks: sub-block `i` is half `quarter % 2` of
    /// block `i` of the group.
    Halves,
}

/// A format: `UNIT` is the number of bytes of 256 weights.
pub(super) trait Layout<const UNIT: usize> {
    /// Whether the scales change every 16 weights instead of every 32.
    const FINE: bool;
    /// Whether something is subtracted besides: the min times the activations'
    /// total.
    const MINS: bool;
    /// Whether codes are signed bytes. Others are unsigned and stand for
    /// `code - ZERO`; they are below 64 where scales are fine and there are no
    /// mins, else below 32.
    const SIGNED: bool = false;
    /// What an unsigned code has to be reduced by.
    const ZERO: i16 = 0;
    /// The sub-blocks of a quarter.
    const ORDER: Order;
    /// How many of a quarter's chunks are used.
    const CHUNKS: usize;

    /// What the codes of quarter `Q` are made of: bytes of the rows, where they lie
    /// apart already brought together. Those behind [`Layout::CHUNKS`] are
    /// never looked at.
    fn chunks<S: Simd, const Q: usize>(set: S, source: &impl Source<S>) -> [S::Bytes; 4];

    /// The codes of the four sub-blocks of quarter `Q`. Every byte is made of the
    /// bytes at its place in the chunks.
    #[inline(always)]
    fn codes<S: Simd, const Q: usize>(_set: S, chunks: [S::Bytes; 4]) -> [S::Bytes; 4] {
        chunks
    }

    /// What [`Layout::scales`] and [`Layout::mins`] share.
    #[inline(always)]
    fn heads<S: Simd>(set: S, _quads: &Quads<'_, UNIT>) -> Heads<S> {
        Heads::none(set)
    }

    /// The scales of the four blocks of group `Q / 2`, or where they are fine
    /// of half `Q % 2` of each, an element for each row.
    ///
    /// If not said otherwise: the half with which each of eight blocks begins.
    #[inline(always)]
    fn scales<S: Simd, const Q: usize>(
        set: S,
        quads: &Quads<'_, UNIT>,
        _heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        four!(i => halves(set, quads, (4 * (Q / 2) + i) * (UNIT / 8)))
    }

    /// What is subtracted, likewise.
    #[inline(always)]
    fn mins<S: Simd, const Q: usize>(
        set: S,
        _quads: &Quads<'_, UNIT>,
        _heads: &Heads<S>,
    ) -> [S::Floats; 4] {
        [set.splat(0.0); 4]
    }

    /// The codes of the four blocks of group `G` of one row, the halves of a
    /// block side by side.
    #[inline(always)]
    fn row_codes<S: Pair, const G: usize>(set: S, unit: &[u8; UNIT]) -> [S::Bytes; 4] {
        // What serves for [`Order::Halves`]: the chunks of the two quarters of
        // a group lie one behind the other.
        let source = Contiguous(unit);
        if G == 0 {
            Self::codes::<S, 0>(set, Self::chunks::<S, 0>(set, &source))
        } else {
            Self::codes::<S, 2>(set, Self::chunks::<S, 2>(set, &source))
        }
    }

    /// The scales of one row: of all eight blocks, or where they are fine of
    /// the halves of the blocks of group `G` side by side.
    #[inline(always)]
    fn row_scales<S: Pair, const G: usize>(set: S, unit: &[u8; UNIT]) -> S::Floats {
        row_halves(set, unit, 0)
    }

    /// What is subtracted, likewise.
    #[inline(always)]
    fn row_mins<S: Pair, const G: usize>(set: S, _unit: &[u8; UNIT]) -> S::Floats {
        set.splat(0.0)
    }
}

/// Where a vector of code bytes comes from.
pub(super) trait Source<S: Simd> {
    /// 16 bytes for each lane, those at `offset` for the first.
    fn chunk(&self, set: S, offset: usize) -> S::Bytes;
}

impl<S: Simd, const UNIT: usize> Source<S> for Units<'_, UNIT> {
    #[inline(always)]
    fn chunk(&self, set: S, offset: usize) -> S::Bytes {
        set.load(four!(lane => bytes_at(self[lane], offset)))
    }
}

/// A unit of one row, the lanes being consecutive chunks.
struct Contiguous<'a, const UNIT: usize>(&'a [u8; UNIT]);

impl<S: Pair, const UNIT: usize> Source<S> for Contiguous<'_, UNIT> {
    #[inline(always)]
    fn chunk(&self, set: S, offset: usize) -> S::Bytes {
        set.read(bytes_at::<32>(self.0, offset))
    }
}

/// The same byte everywhere.
#[inline(always)]
fn splat<S: Simd>(set: S, byte: u8) -> S::Bytes {
    set.splat4([byte; 4])
}

/// The low and the high nibble of each byte.
#[inline(always)]
fn nibbles<S: Simd>(set: S, bytes: S::Bytes) -> [S::Bytes; 2] {
    let mask = splat(set, 0x0f);
    [set.and(bytes, mask), set.and(set.shr(bytes, 4), mask)]
}

/// The half at `offset` of each row.
#[inline(always)]
fn halves<S: Simd, const UNIT: usize>(set: S, quads: &Quads<'_, UNIT>, offset: usize) -> S::Floats {
    set.halves(four!(lane => four!(i => half_at(quads[i][lane], offset))))
}

/// The halves at `offset` of the eight blocks of a row's unit.
#[inline(always)]
fn row_halves<S: Pair, const UNIT: usize>(set: S, unit: &[u8; UNIT], offset: usize) -> S::Floats {
    let step = UNIT / 8;
    set.halves([
        four!(i => half_at(unit, i * step + offset)),
        four!(i => half_at(unit, (4 + i) * step + offset)),
        [0; 4],
        [0; 4],
    ])
}

/// The half at `offset`, everywhere.
#[inline(always)]
fn one_half<S: Simd, const UNIT: usize>(set: S, unit: &[u8; UNIT], offset: usize) -> S::Floats {
    set.halves([[half_at(unit, offset); 4]; MAX_LANES])
}

/// The bits of the half at `offset`.
#[inline(always)]
fn half_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(*bytes_at(bytes, offset))
}

/// An index for [`Simd::shuffle`] that puts byte `first + step * i` into byte
/// `place` of the four of element `i`, and zeros elsewhere.
const fn spread(first: u8, step: u8, place: usize) -> [u8; 16] {
    let mut index = [0x80; 16];
    let mut i = 0;
    while i < 4 {
        index[4 * i + place] = first + step * i as u8;
        i += 1;
    }
    index
}

/// An index as [`spread`] makes them for each of two lanes.
const fn spread_pair(first: [u8; 2], step: u8, place: usize) -> [u8; 32] {
    let lanes = [spread(first[0], step, place), spread(first[1], step, place)];
    let mut index = [0; 32];
    let mut i = 0;
    while i < 32 {
        index[i] = lanes[i / 16][i % 16];
        i += 1;
    }
    index
}

/// An index for [`Simd::shuffle`] that puts byte `byte` of each element into
/// byte `place` of it, and zeros elsewhere.
const fn one_byte(byte: usize, place: usize) -> [u8; 16] {
    let mut index = [0x80; 16];
    let mut i = 0;
    while i < 4 {
        index[4 * i + place] = (4 * i + byte) as u8;
        i += 1;
    }
    index
}

const UNSIGNED: [[u8; 16]; 4] = [
    one_byte(0, 0),
    one_byte(1, 0),
    one_byte(2, 0),
    one_byte(3, 0),
];

const SIGNED: [[u8; 16]; 4] = [
    one_byte(0, 3),
    one_byte(1, 3),
    one_byte(2, 3),
    one_byte(3, 3),
];

/// Byte `byte` of each element, as a float.
#[inline(always)]
fn unsigned_byte<S: Simd>(set: S, word: S::Bytes, byte: usize) -> S::Floats {
    set.to_floats(set.ints(set.shuffle(word, set.splat16(&UNSIGNED[byte]))))
}

/// Byte `byte` of each element, a signed one, as a float.
#[inline(always)]
fn signed_byte<S: Simd>(set: S, word: S::Bytes, byte: usize) -> S::Floats {
    let ints = set.ints(set.shuffle(word, set.splat16(&SIGNED[byte])));
    set.to_floats(set.shr_ints(ints, 24))
}

/// `N` bytes from `offset` on.
#[inline(always)]
fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> &[u8; N] {
    bytes[offset..]
        .first_chunk()
        .expect("offsets within a unit are constants")
}

/// 16 bytes for each lane, made by `f` of its row.
#[inline(always)]
fn made<S: Simd, const UNIT: usize>(
    set: S,
    units: &Units<'_, UNIT>,
    f: impl Fn(&[u8; UNIT]) -> [u8; 16],
) -> S::Bytes {
    let made: [[u8; 16]; MAX_LANES] =
        four!(lane => if lane < S::LANES { f(units[lane]) } else { [0; 16] });
    set.load([&made[0], &made[1], &made[2], &made[3]])
}
