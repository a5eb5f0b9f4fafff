//! Products of weights of any format, decoded to f32, with f32 activations.
//!
//! A strip of a row is decoded once and used for every column.

use super::MAX_TILE_COLUMNS;
use crate::cpu::isa::per_isa;
use crate::format::{Format, decode_blocks};

/// Values decoded at a time: whole blocks of every format.
const STRIP_LEN: usize = 256;

/// Partial sums per product.
const LANES: usize = 32;

/// Some rows of weights.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// The format of the weights.
    pub(super) format: Format,
    /// The rows, one after the other.
    pub(super) weights: &'a [u8],
    /// Bytes per row.
    pub(super) row_bytes: usize,
    /// Values per row.
    pub(super) cols: usize,
}

per_isa! {
    /// The products of `rows` with each column, at most [`MAX_TILE_COLUMNS`]:
    /// those of the first column with every row, then those of the second.
    pub(super) fn rows[][](
        rows: Rows<'_>,
        columns: &[f32],
        products: &mut [f32],
    ) = every_row;
}

#[inline(always)]
fn every_row<S>(_: S, rows: Rows<'_>, columns: &[f32], products: &mut [f32]) {
    let row_count = rows.weights.len() / rows.row_bytes;
    let strip_bytes = STRIP_LEN / rows.format.block_len() * rows.format.block_bytes();
    let mut strip = [0.0; STRIP_LEN];
    for (row, weights) in rows.weights.chunks_exact(rows.row_bytes).enumerate() {
        let mut sums = [[0.0; LANES]; MAX_TILE_COLUMNS];
        for (index, blocks) in weights.chunks(strip_bytes).enumerate() {
            let start = index * STRIP_LEN;
            let strip = &mut strip[..STRIP_LEN.min(rows.cols - start)];
            decode_blocks(rows.format, blocks, strip);
            for (sums, column) in sums.iter_mut().zip(columns.chunks_exact(rows.cols)) {
                add(sums, strip, &column[start..]);
            }
        }
        let products = products[row..].iter_mut().step_by(row_count);
        for (product, sums) in products.zip(&sums) {
            *product = reduce(sums);
        }
    }
}

/// Adds the products of a strip to the partial sums.
#[inline(always)]
fn add(sums: &mut [f32; LANES], weights: &[f32], column: &[f32]) {
    let mut lanes = *sums;
    let (chunks, tail) = weights.as_chunks::<LANES>();
    let (column_chunks, column_tail) = column[..weights.len()].as_chunks::<LANES>();
    for (w, x) in chunks.iter().zip(column_chunks) {
        for lane in 0..LANES {
            lanes[lane] += w[lane] * x[lane];
        }
    }
    for ((lane, w), x) in lanes.iter_mut().zip(tail).zip(column_tail) {
        *lane += w * x;
    }
    *sums = lanes;
}

/// Adds the upper half of the sums to the lower until one is left.
#[inline(always)]
fn reduce(sums: &[f32; LANES]) -> f32 {
    let mut sums = *sums;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}
