//! Products through strips: some rows converted to bytes, interleaved so that
//! each lane element belongs to one row, then multiplied with many columns.
//! The conversion pays from a few columns on.
//!
//! A strip is a run of *chunks* of up to [`CHUNK`] units. A chunk is eight
//! *passes*, one for each partial sum: what is added to it, unit by unit. That
//! way the partial sums of all columns of a tile stay in registers for a pass
//! (storing a vector of 512 bits costs as much as two products), and what is
//! read of the columns for a chunk stays in the first level of cache. What a
//! unit gives to a pass is a *piece* of one segment, or of two where scales are
//! fine: vectors of codes, each with four consecutive codes of every row, then
//! one of scales and, where there are any, one of mins.

use std::marker::PhantomData;

use super::layout::{Heads, Layout, Order, Quads};
use super::{Rows, Tail};
use crate::cpu::activation::Q8Group;
use crate::cpu::isa::{Isa, per_dot_isa};
use crate::cpu::simd::{MAX_BYTES, MAX_LANES, Simd, four};

/// Units of a chunk: as many as let eight columns' activations stay in 32 KiB.
const CHUNK: usize = 8;

/// Columns that share one pass over a strip.
pub(super) const COLUMNS: usize = 8;

/// Passes of a chunk, which is the number of partial sums.
const PASSES: usize = 8;

/// The most bytes per row and 256 values, on any instruction set: a vector has
/// four bytes of each row.
pub(super) const MAX_UNIT_BYTES: usize = 4 * Of::<true, true, false>::UNIT;

/// What there is to know of a format, and how the vectors of its pieces are
/// arranged.
trait Shape {
    /// Whether there are two segments, each with scales of its own.
    const FINE: bool;
    const MINS: bool;
    const SIGNED: bool;
    const SEGMENTS: usize = if Self::FINE { 2 } else { 1 };
    /// Vectors of codes in a segment.
    const CODES: usize = 8 / Self::SEGMENTS;
    /// Vectors of a segment.
    const SEGMENT: usize = Self::CODES + if Self::MINS { 2 } else { 1 };
    /// Vectors of a piece.
    const PIECE: usize = Self::SEGMENTS * Self::SEGMENT;
    /// Vectors of a unit.
    const UNIT: usize = PASSES * Self::PIECE;
}

/// The shapes that occur; formats share their products' code through them.
struct Of<const FINE: bool, const MINS: bool, const SIGNED: bool>;

impl<const F: bool, const M: bool, const S: bool> Shape for Of<F, M, S> {
    const FINE: bool = F;
    const MINS: bool = M;
    const SIGNED: bool = S;
}

/// The shape of format `F`.
struct ShapeOf<const UNIT: usize, F>(PhantomData<F>);

impl<const UNIT: usize, F: Layout<UNIT>> Shape for ShapeOf<UNIT, F> {
    const FINE: bool = F::FINE;
    const MINS: bool = F::MINS;
    const SIGNED: bool = F::SIGNED;
}

/// How strips are laid out, which depends on the instruction set.
#[derive(Clone, Copy, Default)]
pub(super) struct Strips {
    /// Rows of a strip.
    pub(super) rows: usize,
    /// Bytes of a strip.
    pub(super) bytes: usize,
}

per_dot_isa! {
    /// Converts `rows` into strips, one after the other, the last of which may
    /// be filled up with any rows.
    pub(super) fn convert[const UNIT: usize, F: Layout<UNIT>,][UNIT, F,](
        rows: Rows<'_>,
        strips: &mut [u8],
        made: &mut Strips,
    ) = every_strip;
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
        bytes: units * ShapeOf::<UNIT, F>::UNIT * 16 * S::LANES,
    };
    let strips = strips.chunks_exact_mut(made.bytes);
    for (first, strip) in (0..rows.count()).step_by(made.rows).zip(strips) {
        let last = rows.count().min(first + made.rows);
        convert_strip::<UNIT, F, S>(set, &rows.slice(first..last), strip);
    }
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
    let rows = four!(i => four!(lane => {
        let row: &[u8] = rows.row((4 * (lane % S::LANES) + i).min(last));
        row.as_chunks::<UNIT>()
    }));
    let whole = rows[0][0].0.len();
    let unit_bytes = ShapeOf::<UNIT, F>::UNIT * 16 * S::LANES;
    for (index, chunk) in strip.chunks_mut(CHUNK * unit_bytes).enumerate() {
        let count = chunk.len() / unit_bytes;
        for unit in 0..count {
            let at = CHUNK * index + unit;
            if at < whole {
                let quads = four!(i => four!(lane => &rows[i][lane].0[at]));
                convert_unit::<UNIT, F, S>(set, &quads, chunk, (unit, count));
            } else {
                let tails = four!(i => {
                    Tail::<UNIT, MAX_LANES, 0>::new(four!(lane => rows[i][lane].1), [], 0)
                });
                let quads = four!(i => tails[i].units.each_ref());
                convert_unit::<UNIT, F, S>(set, &quads, chunk, (unit, count));
            }
        }
    }
}

/// Converts unit number `unit` of the `count` that `chunk` holds.
#[inline(always)]
fn convert_unit<const UNIT: usize, F: Layout<UNIT>, S: Simd>(
    set: S,
    quads: &Quads<'_, UNIT>,
    chunk: &mut [u8],
    (unit, count): (usize, usize),
) {
    let heads = F::heads(set, quads);
    quarter::<UNIT, F, S, 0>(set, quads, &heads, chunk, (unit, count));
    quarter::<UNIT, F, S, 1>(set, quads, &heads, chunk, (unit, count));
    quarter::<UNIT, F, S, 2>(set, quads, &heads, chunk, (unit, count));
    quarter::<UNIT, F, S, 3>(set, quads, &heads, chunk, (unit, count));
}

/// Converts quarter `Q` of a unit, and its scales and mins.
#[inline(always)]
fn quarter<const UNIT: usize, F: Layout<UNIT>, S: Simd, const Q: usize>(
    set: S,
    quads: &Quads<'_, UNIT>,
    heads: &Heads<S>,
    chunk: &mut [u8],
    (unit, count): (usize, usize),
) {
    let bytes = 16 * S::LANES;
    let mut chunks = [[set.splat4([0; 4]); 4]; 4];
    let of_quads = four!(i => F::chunks::<S, Q>(set, &quads[i]));
    for at in 0..F::CHUNKS {
        chunks[at] = set.transpose(four!(i => of_quads[i][at]));
    }
    let starts = four!(i => {
        let (block, half) = match F::ORDER {
            Order::Blocks => (2 * Q + i / 2, i % 2),
            Order::Halves => (4 * (Q / 2) + i, Q % 2),
        };
        place::<ShapeOf<UNIT, F>>(block, half, (unit, count)) * bytes
    });
    for column in 0..4 {
        let codes = F::codes::<S, Q>(set, four!(at => chunks[at][column]));
        for i in 0..4 {
            let codes = if F::SIGNED {
                set.bias(codes[i])
            } else {
                codes[i]
            };
            set.write(codes, &mut chunk[starts[i] + column * bytes..]);
        }
    }
    if F::FINE || Q.is_multiple_of(2) {
        // Behind the codes of each segment: of four blocks, or of a half of
        // each.
        let starts = four!(i => {
            let half = if F::FINE { Q % 2 } else { 0 };
            let first = place::<ShapeOf<UNIT, F>>(4 * (Q / 2) + i, half, (unit, count));
            (first + ShapeOf::<UNIT, F>::CODES) * bytes
        });
        let scales = F::scales::<S, Q>(set, quads, heads);
        for i in 0..4 {
            set.write(set.bytes(scales[i]), &mut chunk[starts[i]..]);
        }
        if F::MINS {
            let mins = F::mins::<S, Q>(set, quads, heads);
            for i in 0..4 {
                set.write(set.bytes(mins[i]), &mut chunk[starts[i] + bytes..]);
            }
        }
    }
}

/// Where half `half` of block `block` of unit `unit` lies in a chunk of `count`
/// units: the first vector of it.
#[inline(always)]
fn place<H: Shape>(block: usize, half: usize, (unit, count): (usize, usize)) -> usize {
    let (pass, vector) = if H::FINE {
        (4 * half + block % 4, (block / 4) * H::SEGMENT)
    } else {
        (block, 4 * half)
    };
    (pass * count + unit) * H::PIECE + vector
}

/// What products are made of, and where they go: of column `c` and row `r` to
/// `c * stride + r`.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    /// Strips one after the other, of `strip_bytes` each.
    pub(super) strips: &'a [u8],
    pub(super) strip_bytes: usize,
    /// Rows in the strips.
    pub(super) rows: usize,
    /// What unsigned codes have to be reduced by.
    pub(super) zero: i16,
    /// At most [`COLUMNS`], all of one length.
    pub(super) columns: &'a [&'a [Q8Group]],
    /// The columns of the next tile, to be asked for meanwhile.
    pub(super) ahead: &'a [&'a [u8]],
    /// Weights that will be used next, likewise.
    pub(super) next: &'a [u8],
    pub(super) stride: usize,
}

per_dot_isa! {
    /// The products of rows with columns for strips of a format with these
    /// properties.
    fn shaped[
        const FINE: bool, const MINS: bool, const SIGNED: bool,
    ][FINE, MINS, SIGNED,](
        operands: Operands<'_>,
        products: &mut [f32],
    ) = every_tile;
}

/// The products of rows with columns.
pub(super) fn products<const UNIT: usize, F: Layout<UNIT>>(
    isa: Isa,
    operands: Operands<'_>,
    products: &mut [f32],
) {
    let multiply = match (F::FINE, F::MINS, F::SIGNED) {
        (false, true, _) => shaped::<false, true, false>,
        (false, false, true) => shaped::<false, false, true>,
        (false, false, false) => shaped::<false, false, false>,
        (true, true, _) => shaped::<true, true, false>,
        (true, false, _) => shaped::<true, false, false>,
    };
    multiply(isa, operands, products);
}

#[inline(always)]
fn every_tile<const FINE: bool, const MINS: bool, const SIGNED: bool, S: Simd>(
    set: S,
    mut operands: Operands<'_>,
    mut products: &mut [f32],
) {
    if SIGNED {
        operands.zero = S::BIAS;
    }
    while !operands.columns.is_empty() {
        macro_rules! tile {
            ($width:literal) => {
                tile::<Of<FINE, MINS, SIGNED>, S, $width>(set, &operands, products)
            };
        }
        let width = match operands.columns.len() {
            8.. => tile!(8),
            6..8 => tile!(6),
            4..6 => tile!(4),
            2..4 => tile!(2),
            _ => tile!(1),
        };
        operands.columns = &operands.columns[width..];
        operands.ahead = &[];
        operands.next = &[];
        products = products
            .get_mut(width * operands.stride..)
            .unwrap_or_default();
    }
}

/// The products with the first `C` columns; gives `C`.
#[inline(always)]
fn tile<H: Shape, S: Simd, const C: usize>(
    set: S,
    operands: &Operands<'_>,
    products: &mut [f32],
) -> usize {
    let bytes = 16 * S::LANES;
    let mut columns = [operands.columns[0]; C];
    columns.copy_from_slice(&operands.columns[..C]);
    let groups = columns[0].len();
    // Kept from strip to strip, as filling it would cost as much as some
    // products.
    let mut sums = [[set.splat(0.0); C]; PASSES];
    let pieces = operands.strips.len() / (H::PIECE * bytes);
    let mut ahead = Ahead::new(operands.ahead, pieces);
    let mut next = operands
        .next
        .chunks(operands.next.len().div_ceil(pieces).max(1));
    for (index, strip) in operands
        .strips
        .chunks_exact(operands.strip_bytes)
        .enumerate()
    {
        for (index, chunk) in strip.chunks(CHUNK * H::UNIT * bytes).enumerate() {
            let start = 2 * CHUNK * index;
            let end = groups.min(start + 2 * CHUNK);
            let mut parts = [&columns[0][start..end]; C];
            for column in 1..C {
                parts[column] = &columns[column][start..end];
            }
            for (pass, pieces) in chunk.chunks_exact(chunk.len() / PASSES).enumerate() {
                let mut sum = [set.splat(0.0); C];
                if index > 0 {
                    sum = sums[pass];
                }
                for (unit, piece) in pieces.chunks_exact(H::PIECE * bytes).enumerate() {
                    ahead.step(set);
                    if let Some(weights) = next.next() {
                        for line in 0..weights.len().div_ceil(64) {
                            set.prefetch_far(weights, 64 * line);
                        }
                    }
                    for segment in 0..H::SEGMENTS {
                        let block = if H::FINE {
                            4 * segment + pass % 4
                        } else {
                            pass
                        };
                        let at = 2 * unit + block / 4;
                        // The last unit of a row may want for its second group.
                        if at < end - start {
                            let mut groups = [&parts[0][at]; C];
                            for column in 1..C {
                                groups[column] = &parts[column][at];
                            }
                            let segment = &piece[segment * H::SEGMENT * bytes..];
                            add_segment::<H, S, C>(
                                set,
                                segment,
                                operands.zero,
                                groups,
                                pass,
                                &mut sum,
                            );
                        }
                    }
                }
                sums[pass] = sum;
            }
        }
        let first = 4 * S::LANES * index;
        let count = (operands.rows - first).min(4 * S::LANES);
        let mut rows = [0; MAX_BYTES];
        for column in 0..C {
            let p = four!(i => set.add(sums[i][column], sums[i + 4][column]));
            let (even, odd) = (set.add(p[0], p[2]), set.add(p[1], p[3]));
            set.write(set.bytes(set.add(even, odd)), &mut rows);
            let out = &mut products[column * operands.stride + first..][..count];
            for (out, bytes) in out.iter_mut().zip(rows.as_chunks().0) {
                *out = f32::from_le_bytes(*bytes);
            }
        }
    }
    C
}

/// Memory that is asked for little by little.
struct Ahead<'a> {
    parts: &'a [&'a [u8]],
    /// Where in the first of them.
    offset: usize,
    /// Cache lines at a time.
    lines: usize,
}

impl<'a> Ahead<'a> {
    /// All of `parts` in `steps` steps.
    fn new(parts: &'a [&'a [u8]], steps: usize) -> Self {
        let lines: usize = parts.iter().map(|part| part.len().div_ceil(64)).sum();
        // Each part takes whole steps.
        let steps = steps.saturating_sub(parts.len()).max(1);
        Ahead {
            parts,
            offset: 0,
            lines: lines.div_ceil(steps),
        }
    }

    #[inline(always)]
    fn step<S: Simd>(&mut self, set: S) {
        let Some((part, rest)) = self.parts.split_first() else {
            return;
        };
        for line in 0..self.lines {
            set.prefetch(part, self.offset + 64 * line);
        }
        self.offset += 64 * self.lines;
        if self.offset >= part.len() {
            self.offset = 0;
            self.parts = rest;
        }
    }
}

/// Adds a segment's terms, in pass `pass`.
#[inline(always)]
fn add_segment<H: Shape, S: Simd, const C: usize>(
    set: S,
    segment: &[u8],
    zero: i16,
    groups: [&Q8Group; C],
    pass: usize,
    sums: &mut [S::Floats; C],
) {
    let bytes = 16 * S::LANES;
    let segment = &segment[..H::SEGMENT * bytes];
    let (in_group, half) = (pass % 4, pass / 4);
    let mut integers = [set.zero(); C];
    if zero != 0 {
        let factors = sum_factors(set, H::FINE, half, -zero);
        for column in 0..C {
            let sums: &[[u8; 4]; 4] = bytemuck::cast_ref(&groups[column].sums);
            integers[column] = set.pairs(set.zero(), set.splat4(sums[in_group]), factors);
        }
    }
    for first in (0..H::CODES).step_by(4) {
        let codes = four!(i => set.read(&segment[(first + i) * bytes..]));
        let place = if H::FINE { 4 * half } else { first };
        macro_rules! step {
            ($($i:literal),*) => {
                for column in 0..C {
                    let quants: &[[[u8; 4]; 8]; 4] = bytemuck::cast_ref(&groups[column].quants);
                    let x = [$(set.splat4(quants[in_group][place + $i])),*];
                    integers[column] = dot::<H, S, _>(set, integers[column], [$(codes[$i]),*], x);
                }
            };
        }
        if S::CHAINED {
            step!(0);
            step!(1);
            step!(2);
            step!(3);
        } else if H::FINE && !H::MINS {
            // Codes are below 64: two add up to less than 128.
            step!(0, 1);
            step!(2, 3);
        } else {
            step!(0, 1, 2, 3);
        }
    }
    let scales = set.floats(set.read(&segment[H::CODES * bytes..]));
    for column in 0..C {
        let x = groups[column];
        let sum = &mut sums[column];
        let x_scale = x.scales[in_group];
        let scale = set.mul(scales, set.splat(x_scale));
        *sum = set.mul_add(scale, set.to_floats(integers[column]), *sum);
        if H::MINS {
            let mins = set.floats(set.read(&segment[(H::CODES + 1) * bytes..]));
            let total = if H::FINE {
                x_scale * f32::from(x.sums[2 * in_group + half])
            } else {
                x.totals[in_group]
            };
            *sum = set.mul_sub(mins, set.splat(total), *sum);
        }
    }
}

/// Adds products.
#[inline(always)]
fn dot<H: Shape, S: Simd, const N: usize>(
    set: S,
    mut sum: S::Ints,
    codes: [S::Bytes; N],
    x: [S::Bytes; N],
) -> S::Ints {
    if H::SIGNED {
        for i in 0..N {
            sum = set.dot_signed(sum, codes[i], x[i]);
        }
        sum
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
