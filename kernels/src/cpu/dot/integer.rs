//! Products of integer codes with 8-bit activations.

use crate::cpu::activation::Q8Group;
use crate::cpu::isa::per_isa;
use crate::format::{Group, IntegerFormat, padded};

/// Some rows of weights.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// The rows, one after the other.
    pub(super) weights: &'a [u8],
    /// Bytes per row.
    pub(super) row_bytes: usize,
    /// Groups per column of activations.
    pub(super) groups_per_column: usize,
}

per_isa! {
    /// The products of `rows` with each column: those of the first column with
    /// every row, then those of the second.
    pub(super) fn rows[const UNIT: usize, F: IntegerFormat<UNIT>][UNIT, F](
        rows: Rows<'_>,
        columns: &[Q8Group],
        products: &mut [f32],
    ) = every_row;
}

#[inline(always)]
fn every_row<const UNIT: usize, F: IntegerFormat<UNIT>>(
    rows: Rows<'_>,
    columns: &[Q8Group],
    products: &mut [f32],
) {
    let row_count = rows.weights.len() / rows.row_bytes;
    for (row, weights) in rows.weights.chunks_exact(rows.row_bytes).enumerate() {
        let mut at = row;
        let mut rest = columns;
        // The widths differ in speed alone; a wider one decodes the weights
        // for more columns at once but needs more registers.
        while !rest.is_empty() {
            let left = rest.len() / rows.groups_per_column;
            let width = match left {
                4.. => {
                    put(
                        products,
                        at,
                        row_count,
                        row_columns::<UNIT, F, 4>(weights, rest, rows),
                    );
                    4
                }
                2..4 => {
                    put(
                        products,
                        at,
                        row_count,
                        row_columns::<UNIT, F, 2>(weights, rest, rows),
                    );
                    2
                }
                _ => {
                    put(
                        products,
                        at,
                        row_count,
                        row_columns::<UNIT, F, 1>(weights, rest, rows),
                    );
                    1
                }
            };
            at += width * row_count;
            rest = &rest[width * rows.groups_per_column..];
        }
    }
}

/// Writes `sums` to every `step`-th place from `at` on.
#[inline(always)]
fn put<const C: usize>(products: &mut [f32], at: usize, step: usize, sums: [f32; C]) {
    for (product, sum) in products[at..].iter_mut().step_by(step).zip(sums) {
        *product = sum;
    }
}

/// The products of one row with the first `C` columns of `columns`.
#[inline(always)]
fn row_columns<const UNIT: usize, F: IntegerFormat<UNIT>, const C: usize>(
    weights: &[u8],
    columns: &[Q8Group],
    rows: Rows<'_>,
) -> [f32; C] {
    let columns: [&[Q8Group]; C] = std::array::from_fn(|column| {
        &columns[column * rows.groups_per_column..][..rows.groups_per_column]
    });
    let mut sums = [[0.0; 4]; C];
    let (units, tail) = weights.as_chunks::<UNIT>();
    for (unit, weights) in units.iter().enumerate() {
        for index in 0..F::GROUPS {
            let group = F::group(weights, index);
            for (sums, column) in sums.iter_mut().zip(columns) {
                add::<UNIT, F>(sums, &group, &column[unit * F::GROUPS + index]);
            }
        }
    }
    if !tail.is_empty() {
        let group = F::group(&padded(tail), 0);
        for (sums, column) in sums.iter_mut().zip(columns) {
            add::<UNIT, F>(sums, &group, &column[units.len() * F::GROUPS]);
        }
    }
    sums.map(|p| (p[0] + p[2]) + (p[1] + p[3]))
}

/// Adds the terms of four blocks to the four partial sums.
#[inline(always)]
fn add<const UNIT: usize, F: IntegerFormat<UNIT>>(sums: &mut [f32; 4], w: &Group, x: &Q8Group) {
    let mut terms = [0.0; 4];
    if F::FINE {
        let mut products = [0; 8];
        for (half, product) in products.iter_mut().enumerate() {
            let start = half % 2 * 16;
            *product = products_sum::<16>(&w.codes[half / 2][start..], &x.quants[half * 16..]);
        }
        let mut halves = [0.0; 8];
        for half in 0..8 {
            let scale = x.scales[half / 2];
            halves[half] = (w.scales[half] * scale) * products[half] as f32;
            if F::MINS {
                halves[half] -= (w.mins[half] * scale) * f32::from(x.sums[half]);
            }
        }
        for (block, term) in terms.iter_mut().enumerate() {
            *term = halves[2 * block] + halves[2 * block + 1];
        }
    } else {
        let mut products = [0; 4];
        for (block, product) in products.iter_mut().enumerate() {
            *product = products_sum::<32>(&w.codes[block], &x.quants[block * 32..]);
        }
        for (block, term) in terms.iter_mut().enumerate() {
            let scale = x.scales[block];
            *term = (w.scales[2 * block] * scale) * products[block] as f32;
            if F::MINS {
                let sum = x.sums[2 * block] + x.sums[2 * block + 1];
                *term -= (w.mins[2 * block] * scale) * f32::from(sum);
            }
        }
    }
    for (sum, term) in sums.iter_mut().zip(terms) {
        *sum += term;
    }
}

/// The exact sum of the products of the first `N` codes.
#[inline(always)]
fn products_sum<const N: usize>(a: &[i8], b: &[i8]) -> i32 {
    let (a, b) = (&a[..N], &b[..N]);
    let mut sum = 0;
    for i in 0..N {
        // Fits: 128 * 128 < 2^15.
        sum += i32::from(i16::from(a[i]) * i16::from(b[i]));
    }
    sum
}
