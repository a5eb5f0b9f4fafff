//! Products through strips: some rows converted to bytes, interleaved so that
//! each lane element belongs to one row, then multiplied with many columns.
//! The conversion pays from a few columns on.
//!
//! A strip is a record per unit: 64 vectors of codes (sub-block by sub-block,
//! in each four vectors with four consecutive codes of every row), then the
//! vectors of scales and, where there are any, mins: one per block, or per
//! sub-block where scales are fine.

use std::array;

use super::layout::{Layout, Order};
use super::{Rows, Tail};
use crate::cpu::activation::Q8Group;
use crate::cpu::isa::{Isa, per_isa};
use crate::cpu::simd::{MAX_BYTES, MAX_LANES, Simd, four};

/// Vectors of codes in a record.
const CODES: usize = 64;

/// The most vectors of a record: codes, fine scales and fine mins. A vector
/// has four bytes of each row.
const MAX_RECORD: usize = CODES + 2 * 16;

/// The most bytes per row and 256 values, on any instruction set.
pub(super) const MAX_UNIT_BYTES: usize = MAX_RECORD * 4;

per_isa! {
    /// Converts `rows` into strips, one after the other, the last of which may
    /// be filled up with any rows.
    pub(super) fn convert[const UNIT: usize, F: Layout<UNIT>,][UNIT, F,](
        rows: Rows<'_>,
        strips: &mut [u8],
        made: &mut Strips,
    ) = every_strip;
}

/// How strips are laid out, which depends on the instruction set.
#[derive(Clone, Copy, Default)]
pub(super) struct Strips {
    /// Rows of a strip.
    pub(super) rows: usize,
    /// Bytes of a strip.
    pub(super) bytes: usize,
}

#[inline(always)]
fn every_strip<const UNIT: usize, F: Layout<UNIT>, S: Simd>(
    set: S,
    rows: Rows<'_>,
    strips: &mut [u8],
    made: &mut Strips,
) {
    let units = rows.row_bytes.div_ceil(UNIT);
    *made = Strips {
        rows: 4 * S::LANES,
        bytes: units * record_vectors::<UNIT, F>() * 16 * S::LANES,
    };
    let strips = strips.chunks_exact_mut(made.bytes);
    for (first, strip) in (0..rows.count()).step_by(made.rows).zip(strips) {
        let last = rows.count().min(first + made.rows);
        convert_strip::<UNIT, F, S>(set, &rows.slice(first..last), strip);
    }
}

/// What the products of a strip have to know of its format.
trait Shape {
    const FINE: bool;
    const MINS: bool;
    const SIGNED: bool;
    /// Vectors of scales, and as many of mins where there are any.
    const SCALES: usize = if Self::FINE { 16 } else { 8 };
    /// Vectors of a record.
    const RECORD: usize = CODES + Self::SCALES * if Self::MINS { 2 } else { 1 };
}

/// The shapes that occur; formats share their products' code through them.
struct Of<const FINE: bool, const MINS: bool, const SIGNED: bool>;

impl<const F: bool, const M: bool, const S: bool> Shape for Of<F, M, S> {
    const FINE: bool = F;
    const MINS: bool = M;
    const SIGNED: bool = S;
}

/// Converts `rows`, as many as a strip has or fewer.
#[inline(always)]
fn convert_strip<const UNIT: usize, F: Layout<UNIT>, S: Simd>(
    set: S,
    rows: &Rows<'_>,
    strip: &mut [u8],
) {
    let last = rows.count() - 1;
    // Row `4 * lane + i` is lane `lane` of quad `i`.
    let units = four!(i => four!(lane => {
        let row: &[u8] = rows.row((4 * (lane % S::LANES) + i).min(last));
        row.as_chunks::<UNIT>()
    }));
    let whole = units[0][0].0.len();
    let record = record_vectors::<UNIT, F>() * 16 * S::LANES;
    let mut records = strip.chunks_exact_mut(record);
    for (at, record) in records.by_ref().take(whole).enumerate() {
        let quads = four!(i => four!(lane => &units[i][lane].0[at]));
        convert_unit::<UNIT, F, S>(set, &quads, record);
    }
    if !units[0][0].1.is_empty()
        && let Some(record) = records.next()
    {
        let tails =
            four!(i => Tail::<UNIT, MAX_LANES, 0>::new(four!(lane => units[i][lane].1), [], 0));
        let quads = four!(i => tails[i].units.each_ref());
        convert_unit::<UNIT, F, S>(set, &quads, record);
    }
}

const fn record_vectors<const UNIT: usize, F: Layout<UNIT>>() -> usize {
    let scales = if F::FINE { 16 } else { 8 };
    CODES + scales * if F::MINS { 2 } else { 1 }
}

#[inline(always)]
fn convert_unit<const UNIT: usize, F: Layout<UNIT>, S: Simd>(
    set: S,
    quads: &[[&[u8; UNIT]; MAX_LANES]; 4],
    record: &mut [u8],
) {
    quarter::<UNIT, F, S, 0>(set, quads, record);
    quarter::<UNIT, F, S, 1>(set, quads, record);
    quarter::<UNIT, F, S, 2>(set, quads, record);
    quarter::<UNIT, F, S, 3>(set, quads, record);
}

/// Converts quarter `Q` of a unit, and its scales and mins.
#[inline(always)]
fn quarter<const UNIT: usize, F: Layout<UNIT>, S: Simd, const Q: usize>(
    set: S,
    quads: &[[&[u8; UNIT]; MAX_LANES]; 4],
    record: &mut [u8],
) {
    let bytes = 16 * S::LANES;
    let mut chunks = [[set.splat4([0; 4]); 4]; 4];
    let of_quads = four!(i => F::chunks::<S, Q>(set, &quads[i]));
    for chunk in 0..F::CHUNKS {
        chunks[chunk] = set.transpose(four!(i => of_quads[i][chunk]));
    }
    for column in 0..4 {
        let codes = F::codes::<S, Q>(set, four!(chunk => chunks[chunk][column]));
        for i in 0..4 {
            let codes = if F::SIGNED {
                set.bias(codes[i])
            } else {
                codes[i]
            };
            let sub_block = match F::ORDER {
                Order::Blocks => 4 * Q + i,
                Order::Halves => 8 * (Q / 2) + 2 * i + Q % 2,
            };
            set.write(codes, &mut record[(4 * sub_block + column) * bytes..]);
        }
    }
    if F::FINE || Q.is_multiple_of(2) {
        let (_, factors) = record.split_at_mut(CODES * bytes);
        let blocks = four!(i => set.bytes(F::scales::<S, Q>(set, &quads[i])));
        put_factors::<UNIT, F, S>(set, factors, Q, blocks);
        if F::MINS {
            let (_, mins) = factors.split_at_mut(factors.len() / 2);
            let blocks = four!(i => set.bytes(F::mins::<S, Q>(set, &quads[i])));
            put_factors::<UNIT, F, S>(set, mins, Q, blocks);
        }
    }
}

/// Writes the scales or mins of four blocks, or of a half of each, given as
/// the layout gives them for each quad.
#[inline(always)]
fn put_factors<const UNIT: usize, F: Layout<UNIT>, S: Simd>(
    set: S,
    factors: &mut [u8],
    quarter: usize,
    blocks: [S::Bytes; 4],
) {
    let blocks = set.transpose(blocks);
    for i in 0..4 {
        let at = if F::FINE {
            2 * (4 * (quarter / 2) + i) + quarter % 2
        } else {
            2 * quarter + i
        };
        set.write(blocks[i], &mut factors[at * 16 * S::LANES..]);
    }
}

per_isa! {
    /// The products of a strip's rows with each of `columns`, at most
    /// [`MAX_TILE_COLUMNS`], for strips of a format with these properties.
    fn shaped[
        const FINE: bool, const MINS: bool, const SIGNED: bool,
    ][FINE, MINS, SIGNED,](
        strip: &[u8],
        zero: i16,
        columns: &[&[Q8Group]],
        products: &mut [f32],
        place: Place<'_>,
    ) = every_tile;
}

/// The products of a strip's rows with each of `columns`, at most
/// [`MAX_TILE_COLUMNS`].
pub(super) fn products<const UNIT: usize, F: Layout<UNIT>>(
    isa: Isa,
    strip: &[u8],
    columns: &[&[Q8Group]],
    products: &mut [f32],
    place: Place<'_>,
) {
    let multiply = match (F::FINE, F::MINS, F::SIGNED) {
        (false, true, _) => shaped::<false, true, false>,
        (false, false, true) => shaped::<false, false, true>,
        (false, false, false) => shaped::<false, false, false>,
        (true, true, _) => shaped::<true, true, false>,
        (true, false, _) => shaped::<true, false, false>,
    };
    multiply(isa, strip, F::ZERO, columns, products, place);
}

/// Where the products of a strip go: of column `c` and row `r` to
/// `c * stride + r`, for `r` below `rows`.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) stride: usize,
    pub(super) rows: usize,
    /// Memory that will be used next, to be asked for meanwhile.
    pub(super) next: &'a [u8],
}

#[inline(always)]
fn every_tile<const FINE: bool, const MINS: bool, const SIGNED: bool, S: Simd>(
    set: S,
    strip: &[u8],
    zero: i16,
    mut columns: &[&[Q8Group]],
    products: &mut [f32],
    place: Place<'_>,
) {
    let zero = if SIGNED { S::BIAS } else { zero };
    let mut first = 0;
    while !columns.is_empty() {
        let at = &mut products[first * place.stride..];
        macro_rules! tile {
            ($width:literal) => {
                tile::<Of<FINE, MINS, SIGNED>, S, $width>(set, strip, zero, columns, at, place)
            };
        }
        let width = match columns.len() {
            8.. => tile!(8),
            6..8 => tile!(6),
            4..6 => tile!(4),
            2..4 => tile!(2),
            _ => tile!(1),
        };
        first += width;
        columns = &columns[width..];
    }
}

/// The products with the first `C` columns; gives `C`.
#[inline(always)]
fn tile<H: Shape, S: Simd, const C: usize>(
    set: S,
    strip: &[u8],
    zero: i16,
    columns: &[&[Q8Group]],
    products: &mut [f32],
    place: Place<'_>,
) -> usize {
    let bytes = 16 * S::LANES;
    let columns: [&[Q8Group]; C] = array::from_fn(|column| columns[column]);
    let mut sums = [[set.splat(0.0); C]; 8];
    let lines = place
        .next
        .len()
        .div_ceil(64 * (strip.len() / (H::RECORD * bytes)).max(1));
    for (unit, record) in strip.chunks_exact(H::RECORD * bytes).enumerate() {
        for line in 0..lines {
            set.prefetch_far(place.next, 64 * (unit * lines + line));
        }
        for block in 0..8 {
            let at = 2 * unit + block / 4;
            // The last unit of a row may want for its second group.
            if at >= columns[0].len() {
                break;
            }
            let mut groups = [&columns[0][at]; C];
            for column in 1..C {
                groups[column] = &columns[column][at];
            }
            add_block::<H, S, C>(set, record, zero, groups, block, &mut sums);
        }
    }
    let mut rows = [0; MAX_BYTES];
    for column in 0..C {
        let p = four!(i => set.add(sums[i][column], sums[i + 4][column]));
        let (even, odd) = (set.add(p[0], p[2]), set.add(p[1], p[3]));
        set.write(set.bytes(set.add(even, odd)), &mut rows);
        let out = &mut products[column * place.stride..][..place.rows];
        for (out, bytes) in out.iter_mut().zip(rows.as_chunks().0) {
            *out = f32::from_le_bytes(*bytes);
        }
    }
    C
}

/// Adds the terms of block `block` of a unit, in whose activations' group the
/// block is number `block % 4`.
#[inline(always)]
fn add_block<H: Shape, S: Simd, const C: usize>(
    set: S,
    record: &[u8],
    zero: i16,
    groups: [&Q8Group; C],
    block: usize,
    sums: &mut [[S::Floats; C]; 8],
) {
    let bytes = 16 * S::LANES;
    let in_group = block % 4;
    let codes = &record[8 * block * bytes..][..8 * bytes];
    let factors = &record[CODES * bytes..];
    let mut integers = [set.zero(); C];
    for half in 0..2 {
        if zero != 0 && (H::FINE || half == 0) {
            for column in 0..C {
                let sums: &[[u8; 4]; 4] = bytemuck::cast_ref(&groups[column].sums);
                let sums = set.splat4(sums[in_group]);
                let zeros = sum_factors(set, H::FINE, half, -zero);
                integers[column] = set.pairs(set.zero(), sums, zeros);
            }
        }
        let codes = four!(i => set.read(&codes[(4 * half + i) * bytes..]));
        for column in 0..C {
            let quants: &[[[u8; 4]; 8]; 4] = bytemuck::cast_ref(&groups[column].quants);
            let quants = &quants[in_group];
            let x = four!(i => set.splat4(quants[4 * half + i]));
            integers[column] = fours::<H, S>(set, integers[column], codes, x);
        }
        if H::FINE {
            let at = 2 * block + half;
            let scales = set.floats(set.read(&factors[at * bytes..]));
            for column in 0..C {
                let x_scale = groups[column].scales[in_group];
                let sum = &mut sums[4 * half + in_group][column];
                let scale = set.mul(scales, set.splat(x_scale));
                *sum = set.mul_add(scale, set.to_floats(integers[column]), *sum);
                if H::MINS {
                    let mins = set.floats(set.read(&factors[(H::SCALES + at) * bytes..]));
                    let total = x_scale * f32::from(groups[column].sums[2 * in_group + half]);
                    *sum = set.mul_sub(mins, set.splat(total), *sum);
                }
                integers[column] = set.zero();
            }
        }
    }
    if !H::FINE {
        let scales = set.floats(set.read(&factors[block * bytes..]));
        for column in 0..C {
            let sum = &mut sums[block][column];
            let scale = set.mul(scales, set.splat(groups[column].scales[in_group]));
            *sum = set.mul_add(scale, set.to_floats(integers[column]), *sum);
            if H::MINS {
                let mins = set.floats(set.read(&factors[(H::SCALES + block) * bytes..]));
                let total = set.splat(groups[column].totals[in_group]);
                *sum = set.mul_sub(mins, total, *sum);
            }
        }
    }
}

/// Adds the products of a sub-block.
#[inline(always)]
fn fours<H: Shape, S: Simd>(
    set: S,
    sum: S::Ints,
    codes: [S::Bytes; 4],
    x: [S::Bytes; 4],
) -> S::Ints {
    if H::SIGNED {
        let sum = set.dot_signed(set.dot_signed(sum, codes[0], x[0]), codes[1], x[1]);
        set.dot_signed(set.dot_signed(sum, codes[2], x[2]), codes[3], x[3])
    } else if H::FINE && !H::MINS {
        // Codes are below 64: two add up to less than 128.
        let sum = set.dot(sum, [codes[0], codes[1]], [x[0], x[1]]);
        set.dot(sum, [codes[2], codes[3]], [x[2], x[3]])
    } else {
        set.dot(sum, codes, x)
    }
}

/// What to multiply the sums of the two halves of each block with, to get
/// `factor` times the sum of both, or of half `half` where scales are fine.
#[inline(always)]
fn sum_factors<S: Simd>(set: S, fine: bool, half: usize, factor: i16) -> S::Bytes {
    let [low, high] = factor.to_le_bytes();
    set.splat4(match (fine, half) {
        (false, _) => [low, high, low, high],
        (true, 0) => [low, high, 0, 0],
        (true, _) => [0, 0, low, high],
    })
}
