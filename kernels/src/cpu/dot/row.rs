//! Products of a row with one or two columns, straight from the blocks: for
//! decoding, where the weights are read once, in order, and memory is what
//! limits.

use super::layout::Layout;
use super::{Rows, Tail};
use crate::cpu::activation::Q8Group;
use crate::cpu::isa::per_narrow_isa;
use crate::cpu::simd::{Pair, Simd, four};

/// How far ahead of its use memory is asked for, in bytes. Processors see that
/// it is read in order, but stop at the end of each page. This is what a thread
/// reads in a quarter of a microsecond, twice what memory takes to answer when
/// several ask.
const AHEAD: usize = 4096;

per_narrow_isa! {
    /// The products of all of `rows` with `C` columns, those of the first
    /// column with every row, then those of the second.
    pub(super) fn products[const UNIT: usize, F: Layout<UNIT>, const C: usize,][UNIT, F, C,](
        rows: Rows<'_>,
        columns: [&[Q8Group]; C],
        products: &mut [f32],
    ) = every_row;
}

#[inline(always)]
fn every_row<const UNIT: usize, F: Layout<UNIT>, const C: usize, S: Simd>(
    set: S,
    rows: Rows<'_>,
    columns: [&[Q8Group]; C],
    products: &mut [f32],
) {
    let count = rows.count();
    for (at, row) in rows.weights.chunks_exact(rows.row_bytes).enumerate() {
        let sums = row_sums::<UNIT, F, S::Narrow, C>(set.narrow(), row, columns);
        for column in 0..C {
            products[column * count + at] = sums[column];
        }
    }
}

/// The products of one row.
#[inline(always)]
fn row_sums<const UNIT: usize, F: Layout<UNIT>, S: Pair, const C: usize>(
    set: S,
    row: &[u8],
    columns: [&[Q8Group]; C],
) -> [f32; C] {
    let mut sums = [set.splat(0.0); C];
    let (units, tail) = row.as_chunks::<UNIT>();
    let count = units.len();
    // Said once, so that the loop need not check.
    let mut pairs: [&[[Q8Group; 2]]; C] = [&[]; C];
    for column in 0..C {
        pairs[column] = &columns[column].as_chunks().0[..count];
    }
    for (at, weights) in units.iter().enumerate() {
        for line in 0..UNIT.div_ceil(64) {
            set.prefetch(weights, AHEAD + 64 * line);
        }
        let mut groups = [&pairs[0][at]; C];
        for column in 1..C {
            groups[column] = &pairs[column][at];
        }
        unit::<UNIT, F, S, C>(set, weights, groups, &mut sums);
    }
    if !tail.is_empty() {
        let tail = Tail::<UNIT, 1, C>::new([tail], columns, 2 * count);
        unit::<UNIT, F, S, C>(set, &tail.units[0], tail.columns.each_ref(), &mut sums);
    }
    let mut products = [0.0; C];
    for column in 0..C {
        products[column] = set.sum(sums[column]);
    }
    products
}

/// Adds the products of one unit to the partial sums.
#[inline(always)]
fn unit<const UNIT: usize, F: Layout<UNIT>, S: Pair, const C: usize>(
    set: S,
    unit: &[u8; UNIT],
    columns: [&[Q8Group; 2]; C],
    sums: &mut [S::Floats; C],
) {
    let zero = if F::SIGNED { S::BIAS } else { F::ZERO };
    if F::FINE {
        fine_group::<UNIT, F, S, C, 0>(set, unit, columns, zero, sums);
        fine_group::<UNIT, F, S, C, 1>(set, unit, columns, zero, sums);
        return;
    }
    let first = group_integers::<UNIT, F, S, C, 0>(set, unit, columns);
    let second = group_integers::<UNIT, F, S, C, 1>(set, unit, columns);
    let weight_scales = F::row_scales::<S, 0>(set, unit);
    for column in 0..C {
        let [low, high] = columns[column];
        let mut integers = set.fold(first[column], second[column]);
        if zero != 0 {
            let x_sums = both(
                set,
                bytemuck::cast_ref(&low.sums),
                bytemuck::cast_ref(&high.sums),
            );
            let [a, b] = (-zero).to_le_bytes();
            integers = set.pairs(integers, x_sums, set.splat4([a, b, a, b]));
        }
        let x_scales = both_floats(set, &low.scales, &high.scales);
        let scales = set.mul(weight_scales, x_scales);
        sums[column] = set.mul_add(scales, set.to_floats(integers), sums[column]);
        if F::MINS {
            let totals = both_floats(set, &low.totals, &high.totals);
            sums[column] = set.mul_sub(F::row_mins::<S, 0>(set, unit), totals, sums[column]);
        }
    }
}

/// Adds the products of group `G` of a unit of a format with fine scales.
#[inline(always)]
fn fine_group<const UNIT: usize, F: Layout<UNIT>, S: Pair, const C: usize, const G: usize>(
    set: S,
    unit: &[u8; UNIT],
    columns: [&[Q8Group; 2]; C],
    zero: i16,
    sums: &mut [S::Floats; C],
) {
    let integers = group_integers::<UNIT, F, S, C, G>(set, unit, columns);
    let weight_scales = F::row_scales::<S, G>(set, unit);
    for column in 0..C {
        let x = &columns[column][G];
        let x_sums = set.splat16(bytemuck::cast_ref(&x.sums));
        let mut integers = integers[column];
        if zero != 0 {
            integers = set.pairs(integers, x_sums, half_factors(set, -zero));
        }
        let x_scales = set.splat_floats(&x.scales);
        let scales = set.mul(weight_scales, x_scales);
        sums[column] = set.mul_add(scales, set.to_floats(integers), sums[column]);
        if F::MINS {
            let halves = set.pairs(set.zero(), x_sums, half_factors(set, 1));
            let totals = set.mul(x_scales, set.to_floats(halves));
            sums[column] = set.mul_sub(F::row_mins::<S, G>(set, unit), totals, sums[column]);
        }
    }
}

/// The integer products of the four blocks of group `G`, of each half in a
/// lane.
#[inline(always)]
fn group_integers<const UNIT: usize, F: Layout<UNIT>, S: Pair, const C: usize, const G: usize>(
    set: S,
    unit: &[u8; UNIT],
    columns: [&[Q8Group; 2]; C],
) -> [S::Ints; C] {
    let mut codes = F::row_codes::<S, G>(set, unit);
    if F::SIGNED {
        codes = four!(i => set.bias(codes[i]));
    }
    let mut integers = [set.zero(); C];
    for column in 0..C {
        let quants: &[[u8; 32]; 4] = bytemuck::cast_ref(&columns[column][G].quants);
        integers[column] = set.sum4(four!(i => {
            let x = set.read(&quants[i]);
            if F::SIGNED {
                set.dot_signed(set.zero(), codes[i], x)
            } else {
                set.dot(set.zero(), [codes[i]], [x])
            }
        }));
    }
    integers
}

/// What to multiply the sums of the two halves of each block with, to get
/// `factor` times that of the first half in the first lane, of the second in
/// the second.
#[inline(always)]
fn half_factors<S: Pair>(set: S, factor: i16) -> S::Bytes {
    let [low, high] = factor.to_le_bytes();
    let mut factors = [0; 32];
    for lane in 0..2 {
        for i in 0..4 {
            factors[16 * lane + 4 * i + 2 * lane] = low;
            factors[16 * lane + 4 * i + 2 * lane + 1] = high;
        }
    }
    set.read(&factors)
}

/// One for each lane.
#[inline(always)]
fn both<S: Pair>(set: S, first: &[u8; 16], second: &[u8; 16]) -> S::Bytes {
    set.load([first, second, first, second])
}

#[inline(always)]
fn both_floats<S: Pair>(set: S, first: &[f32; 4], second: &[f32; 4]) -> S::Floats {
    set.floats(both(
        set,
        bytemuck::cast_ref(first),
        bytemuck::cast_ref(second),
    ))
}
