//! Products with f32 activations: of F32, F16 and BF16 weights where they lie,
//! of all other formats after decoding a row.

use super::Rows;
use crate::cpu::isa::per_isa;
use crate::cpu::lanes::{LANES, Lanes, sixteen};
use crate::format::{Format, decode_blocks};

/// Values that one step takes from a row: two vectors, so that there are two
/// chains of sums.
const STEP: usize = 2 * LANES;

/// Weights that vectors are made of directly.
pub(super) trait Weight {
    /// Bytes per value.
    const BYTES: usize;

    /// Sixteen values from as many times [`Weight::BYTES`] bytes.
    fn load<L: Lanes>(set: L, bytes: &[u8]) -> L::F;
}

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct BF16;

/// The first bytes of `bytes`.
#[inline(always)]
fn first<const N: usize>(bytes: &[u8]) -> &[u8; N] {
    bytes
        .first_chunk()
        .expect("steps are cut to the length of vectors")
}

impl Weight for F32 {
    const BYTES: usize = 4;

    #[inline(always)]
    fn load<L: Lanes>(set: L, bytes: &[u8]) -> L::F {
        set.load_f32_bytes(first(bytes))
    }
}

impl Weight for F16 {
    const BYTES: usize = 2;

    #[inline(always)]
    fn load<L: Lanes>(set: L, bytes: &[u8]) -> L::F {
        set.load_f16_bytes(first(bytes))
    }
}

impl Weight for BF16 {
    const BYTES: usize = 2;

    #[inline(always)]
    fn load<L: Lanes>(set: L, bytes: &[u8]) -> L::F {
        set.load_bf16_bytes(first(bytes))
    }
}

per_isa! {
    /// The values of a row of any format.
    pub(super) fn decode[][](format: Format, row: &[u8], values: &mut [f32]) = decode_row;
}

#[inline(always)]
fn decode_row<S>(_: S, format: Format, row: &[u8], values: &mut [f32]) {
    decode_blocks(format, row, values);
}

per_isa! {
    /// The products of `rows` with columns of `cols` values:
    /// `products[column * rows.count() + row]`.
    pub(super) fn products[W: Weight,][W,](
        rows: Rows<'_>,
        cols: usize,
        columns: &[f32],
        products: &mut [f32],
    ) = every_row;
}

#[inline(always)]
fn every_row<W: Weight, L: Lanes>(
    set: L,
    rows: Rows<'_>,
    cols: usize,
    columns: &[f32],
    products: &mut [f32],
) {
    let (row_count, count) = (rows.count(), columns.len() / cols);
    // As many sums side by side as the registers have room for.
    let (row_step, column_step) = if L::TILES >= 4 { (2, 4) } else { (1, 2) };
    let mut column = 0;
    while column < count {
        let left = count - column;
        let width = match left {
            4.. if column_step == 4 => 4,
            2.. => 2,
            _ => 1,
        };
        let tile = &columns[column * cols..(column + width) * cols];
        let mut row = 0;
        while row < row_count {
            let height = if row_count - row >= 2 && row_step == 2 {
                2
            } else {
                1
            };
            let weights = &rows.weights[row * rows.row_bytes..(row + height) * rows.row_bytes];
            let to = &mut products[column * row_count + row..];
            match (height, width) {
                (2, 4) => put::<W, L, 2, 4>(set, weights, cols, tile, to, row_count),
                (2, 2) => put::<W, L, 2, 2>(set, weights, cols, tile, to, row_count),
                (2, _) => put::<W, L, 2, 1>(set, weights, cols, tile, to, row_count),
                (_, 4) => put::<W, L, 1, 4>(set, weights, cols, tile, to, row_count),
                (_, 2) => put::<W, L, 1, 2>(set, weights, cols, tile, to, row_count),
                _ => put::<W, L, 1, 1>(set, weights, cols, tile, to, row_count),
            }
            row += height;
        }
        column += width;
    }
}

/// The products of `R` rows with `C` columns, to `products[column * stride +
/// row]`.
#[inline(always)]
fn put<W: Weight, L: Lanes, const R: usize, const C: usize>(
    set: L,
    weights: &[u8],
    cols: usize,
    columns: &[f32],
    products: &mut [f32],
    stride: usize,
) {
    let mut sums = [[[set.splat(0.0); 2]; C]; R];
    let steps = cols / STEP;
    for step in 0..steps {
        let at = step * STEP;
        for half in 0..2 {
            let start = at + half * LANES;
            let mut w = [set.splat(0.0); R];
            for row in 0..R {
                w[row] = W::load(set, &weights[(row * cols + start) * W::BYTES..]);
            }
            for column in 0..C {
                let x = set.load(sixteen(columns, column * cols + start));
                for row in 0..R {
                    let sum = &mut sums[row][column][half];
                    *sum = set.mul_add(w[row], x, *sum);
                }
            }
        }
    }
    let tail = cols - steps * STEP;
    if tail > 0 {
        for row in 0..R {
            let mut bytes = [0; STEP * 4];
            let end = (row + 1) * cols * W::BYTES;
            bytes[..tail * W::BYTES].copy_from_slice(&weights[end - tail * W::BYTES..end]);
            for column in 0..C {
                let mut values = [0.0; STEP];
                let end = (column + 1) * cols;
                values[..tail].copy_from_slice(&columns[end - tail..end]);
                for half in 0..2 {
                    let w = W::load(set, &bytes[half * LANES * W::BYTES..]);
                    let x = set.load(sixteen(&values, half * LANES));
                    let sum = &mut sums[row][column][half];
                    *sum = set.mul_add(w, x, *sum);
                }
            }
        }
    }
    for row in 0..R {
        for column in 0..C {
            let [low, high] = sums[row][column];
            products[column * stride + row] = set.sum(set.add(low, high));
        }
    }
}
