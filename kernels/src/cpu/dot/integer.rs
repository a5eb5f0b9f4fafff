//! Products of integer codes with 8-bit activations.

use std::array;

use super::products::Products;
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
    pub(super) fn rows[const UNIT: usize, F: IntegerFormat<UNIT>,][UNIT, F,](
        rows: Rows<'_>,
        columns: &[Q8Group],
        products: &mut [f32],
    ) = every_row;
}

#[inline(always)]
fn every_row<const UNIT: usize, F: IntegerFormat<UNIT>, S: Products>(
    set: S,
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
                        row_columns::<UNIT, F, S, 4>(set, weights, rest, rows),
                    );
                    4
                }
                2..4 => {
                    put(
                        products,
                        at,
                        row_count,
                        row_columns::<UNIT, F, S, 2>(set, weights, rest, rows),
                    );
                    2
                }
                _ => {
                    put(
                        products,
                        at,
                        row_count,
                        row_columns::<UNIT, F, S, 1>(set, weights, rest, rows),
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
fn row_columns<const UNIT: usize, F: IntegerFormat<UNIT>, S: Products, const C: usize>(
    set: S,
    weights: &[u8],
    columns: &[Q8Group],
    rows: Rows<'_>,
) -> [f32; C] {
    let columns: [&[Q8Group]; C] = array::from_fn(|column| {
        &columns[column * rows.groups_per_column..][..rows.groups_per_column]
    });
    let mut sums = [[0.0; 4]; C];
    let (units, tail) = weights.as_chunks::<UNIT>();
    for (unit, weights) in units.iter().enumerate() {
        for index in 0..F::GROUPS {
            let group = F::group(weights, index);
            for (sums, column) in sums.iter_mut().zip(columns) {
                add::<UNIT, F, S>(set, sums, &group, &column[unit * F::GROUPS + index]);
            }
        }
    }
    if !tail.is_empty() {
        let group = F::group(&padded(tail), 0);
        for (sums, column) in sums.iter_mut().zip(columns) {
            add::<UNIT, F, S>(set, sums, &group, &column[units.len() * F::GROUPS]);
        }
    }
    sums.map(|p| (p[0] + p[2]) + (p[1] + p[3]))
}

/// Adds the terms of four blocks to the four partial sums.
#[inline(always)]
fn add<const UNIT: usize, F: IntegerFormat<UNIT>, S: Products>(
    set: S,
    sums: &mut [f32; 4],
    w: &Group,
    x: &Q8Group,
) {
    let products = set.products(&w.codes, &x.quants);
    let x_sums: [[i16; 4]; 2] =
        array::from_fn(|half| array::from_fn(|block| x.sums[2 * block + half]));
    for block in 0..4 {
        let term = |half: usize, product: i32, sum: i16| {
            let scale = x.scales[block];
            let term = (w.scales[half][block] * scale) * product as f32;
            if F::MINS {
                term - (w.mins[half][block] * scale) * f32::from(sum)
            } else {
                term
            }
        };
        sums[block] += if F::FINE {
            term(0, products[0][block], x_sums[0][block])
                + term(1, products[1][block], x_sums[1][block])
        } else {
            term(
                0,
                products[0][block] + products[1][block],
                x_sums[0][block] + x_sums[1][block],
            )
        };
    }
}
