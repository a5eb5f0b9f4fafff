//! Products of weight rows with columns of activations, for generated positions
//! and prompts alike.
//!
//! The result of a row and a column depends on these two alone: not on the
//! other columns, the other rows, the thread, or the instruction set. That is
//! because each product is defined as a fixed sequence of operations:
//!
//! - **Integer formats with [`Q8Group`] activations** ([`ActivationKind::Q8`]).
//!   Block `b` of 32 columns gives the term `(w.scale * x.scale) * I`, with `I`
//!   the exact integer sum of code products, added with one rounding to partial
//!   sum `b % 8`; formats with mins then subtract `w.min * x.total` from it,
//!   again with one rounding. Formats with a scale per 16 columns give two such
//!   terms, that of half `h` of block `b` going to partial sum `4 * h + b % 4`.
//!   Rows are filled up with zeros to whole units of 256 columns. The result is
//!   `((p0 + p4) + (p2 + p6)) + ((p1 + p5) + (p3 + p7))`. How an integer sum is
//!   made is free.
//! - **Any format with f32 activations**. Column `i` goes to partial sum
//!   `i % 32` as `w * x + sum`, rounded once; then the upper half of the sums
//!   is added to the lower until one is left.

mod columns;
mod layout;
// Loops over indices: iterators would pass vectors through closures, which
// are compiled without the instruction set's features.
#[allow(clippy::needless_range_loop)]
mod real;
#[allow(clippy::needless_range_loop)]
mod row;
mod scratch;
#[allow(clippy::needless_range_loop)]
mod strip;
#[cfg(test)]
mod tests;

use std::array;
use std::ops::Range;

use thiserror::Error;

use super::activation::Q8Group;
use super::isa::Isa;
use crate::format::Format;
use layout::{Iq4Nl, Iq4Xs, Layout, Mxfp4, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};

pub use columns::{ActivationKind, Columns, Pick};
pub use scratch::Scratch;

/// Columns that share one pass over the weights.
pub const MAX_TILE_COLUMNS: usize = strip::COLUMNS;

/// Rows that share one call of a kernel.
const TILE_ROWS: usize = 128;

/// The fewest, however long they are.
const TILE_ROWS_MIN: usize = 32;

/// From how many columns on it pays to take more rows: below, the strips are
/// not read often, and the weights behind come sooner.
const MANY_COLUMNS: usize = 64;

/// What the strips of these rows may take: they are read again and again for
/// tile after tile of columns, and should stay in the second level of cache.
const TILE_BYTES: usize = 400 << 10;

/// How many rows of `units` units share one call of a kernel, which is for
/// `columns` columns.
fn tile_rows(units: usize, columns: usize) -> usize {
    if columns < MANY_COLUMNS {
        return TILE_ROWS_MIN;
    }
    let fit = TILE_BYTES / (units.max(1) * strip::MAX_UNIT_BYTES);
    let whole = fit - fit % TILE_ROWS_MIN;
    whole.clamp(TILE_ROWS_MIN, TILE_ROWS)
}

/// The most columns that are multiplied with the blocks as they are. The
/// results are the same either way; this is where converting begins to pay.
const DIRECT_COLUMNS: usize = 2;

/// Why bytes are not a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MatrixError {
    /// The format holds integers.
    #[error("{0} holds integers, not weights")]
    NotAWeight(Format),
    /// A row is empty, or not whole blocks, or too long to address.
    #[error("a row of {cols} values is not whole {format} blocks of {}", format.block_len())]
    Row {
        /// The format of the weights.
        format: Format,
        /// Values per row.
        cols: usize,
    },
    /// The bytes are not `rows` rows.
    #[error("{bytes} bytes are not {rows} rows of {row_bytes}")]
    Length {
        /// Length of the weights.
        bytes: usize,
        /// Number of rows.
        rows: usize,
        /// Bytes of one row.
        row_bytes: usize,
    },
}

/// A weight matrix where it lies: `rows` rows of `cols` values in blocks.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    format: Format,
    weights: &'a [u8],
    row_bytes: usize,
    cols: usize,
}

impl<'a> Matrix<'a> {
    /// A view of `weights`, which may lie at any address.
    ///
    /// # Errors
    ///
    /// When the format is not one of weights or the shape does not fit.
    pub fn new(
        format: Format,
        weights: &'a [u8],
        rows: usize,
        cols: usize,
    ) -> Result<Matrix<'a>, MatrixError> {
        if !format.is_weight() {
            return Err(MatrixError::NotAWeight(format));
        }
        let row_bytes = match format.row_bytes(cols) {
            Some(row_bytes) if cols > 0 => row_bytes,
            _ => return Err(MatrixError::Row { format, cols }),
        };
        if rows.checked_mul(row_bytes) != Some(weights.len()) {
            return Err(MatrixError::Length {
                bytes: weights.len(),
                rows,
                row_bytes,
            });
        }
        Ok(Matrix {
            format,
            weights,
            row_bytes,
            cols,
        })
    }

    /// The format of the weights.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The number of rows, which is the length of a product.
    pub fn rows(&self) -> usize {
        self.weights.len() / self.row_bytes
    }

    /// The values per row, which is the length of a column of activations.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The bytes of row `row`.
    ///
    /// # Panics
    ///
    /// When there is no such row.
    pub fn row(&self, row: usize) -> &'a [u8] {
        &self.weights[row * self.row_bytes..][..self.row_bytes]
    }

    /// The products of the rows in `rows` with the columns that `pick` picks.
    ///
    /// They come in pieces: `sink(index, first_row, values)` takes the products
    /// of the column picked at `index` with the rows from `first_row` (counted
    /// from the first of the matrix) on. Every pair of a row and a picked
    /// column comes once. Nothing is allocated once `scratch` is large enough.
    ///
    /// # Panics
    ///
    /// When `rows` is not within the matrix, when `columns` is not whole
    /// columns or lacks a picked one, or when they are [`Columns::Q8`] and the format's products do
    /// not take those.
    pub fn multiply(
        &self,
        isa: Isa,
        rows: Range<usize>,
        columns: Columns<'_>,
        pick: Pick<'_>,
        scratch: &mut Scratch,
        mut sink: impl FnMut(usize, usize, &[f32]),
    ) {
        // Panics when they are not whole.
        columns.count(self.cols);
        match columns {
            Columns::F32(values) => {
                self.multiply_real(isa, rows, (values, pick), scratch, &mut sink);
            }
            Columns::Q8(groups) => {
                self.multiply_q8(isa, rows, (groups, pick), scratch, &mut sink);
            }
        }
    }

    /// As [`Matrix::multiply`], with 8-bit activations. Not generic, so that
    /// the kernels are compiled here and once.
    fn multiply_q8(
        &self,
        isa: Isa,
        rows: Range<usize>,
        (columns, pick): (&[Q8Group], Pick<'_>),
        scratch: &mut Scratch,
        sink: &mut dyn FnMut(usize, usize, &[f32]),
    ) {
        let multiply = match self.format {
            Format::Q4_0 => multiply_integer::<_, Q4_0>,
            Format::Q4_1 => multiply_integer::<_, Q4_1>,
            Format::Q5_0 => multiply_integer::<_, Q5_0>,
            Format::Q5_1 => multiply_integer::<_, Q5_1>,
            Format::Q8_0 => multiply_integer::<_, Q8_0>,
            Format::Q2_K => multiply_integer::<_, Q2K>,
            Format::Q3_K => multiply_integer::<_, Q3K>,
            Format::Q4_K => multiply_integer::<_, Q4K>,
            Format::Q5_K => multiply_integer::<_, Q5K>,
            Format::Q6_K => multiply_integer::<_, Q6K>,
            Format::IQ4_NL => multiply_integer::<_, Iq4Nl>,
            Format::IQ4_XS => multiply_integer::<_, Iq4Xs>,
            Format::MXFP4 => multiply_integer::<_, Mxfp4>,
            format => panic!("products of {format} weights do not take 8-bit activations"),
        };
        let columns = Groups {
            groups: columns,
            per_column: Q8Group::count(self.cols),
            pick,
        };
        let tile_rows = tile_rows(self.cols.div_ceil(256), columns.count());
        for first_row in rows.clone().step_by(tile_rows) {
            let last_row = rows.end.min(first_row + tile_rows);
            let (weights, behind) = self.weights[first_row * self.row_bytes..]
                .split_at((last_row - first_row) * self.row_bytes);
            let rows = Rows {
                weights,
                row_bytes: self.row_bytes,
                next: &behind[..weights.len().min(behind.len())],
            };
            multiply(isa, rows, columns, scratch, &mut |column, values| {
                sink(column, first_row, values);
            });
        }
    }

    /// As [`Matrix::multiply`], with f32 activations; likewise not generic.
    fn multiply_real(
        &self,
        isa: Isa,
        rows: Range<usize>,
        (columns, pick): (&[f32], Pick<'_>),
        scratch: &mut Scratch,
        sink: &mut dyn FnMut(usize, usize, &[f32]),
    ) {
        type Multiply = fn(Isa, Rows<'_>, usize, &[f32], &mut [f32]);
        let (format, multiply): (_, Multiply) = match self.format {
            Format::F32 => (None, real::products::<real::F32>),
            Format::F16 => (None, real::products::<real::F16>),
            Format::BF16 => (None, real::products::<real::BF16>),
            format => (Some(format), real::products::<real::F32>),
        };
        let mut products = [0.0; TILE_ROWS_MIN * MAX_TILE_COLUMNS];
        for first_row in rows.clone().step_by(TILE_ROWS_MIN) {
            let last_row = rows.end.min(first_row + TILE_ROWS_MIN);
            let count = last_row - first_row;
            let mut tile = Rows {
                weights: &self.weights[first_row * self.row_bytes..last_row * self.row_bytes],
                row_bytes: self.row_bytes,
                next: &[],
            };
            if let Some(format) = format {
                let values = scratch.floats(count, self.cols);
                for (row, values) in values.chunks_exact_mut(self.cols).enumerate() {
                    real::decode(isa, format, tile.row(row), values);
                }
                tile.weights = bytemuck::cast_slice(values);
                tile.row_bytes = size_of::<f32>() * self.cols;
            }
            // Picked columns do not lie together: one at a time.
            let width = match pick {
                Pick::All => MAX_TILE_COLUMNS,
                Pick::Slots { .. } => 1,
            };
            let picked = pick.count(columns.len() / self.cols);
            for first in (0..picked).step_by(width) {
                let width = width.min(picked - first);
                let start = pick.column(first) * self.cols;
                let columns = &columns[start..start + width * self.cols];
                let products = &mut products[..count * width];
                multiply(isa, tile, self.cols, columns, products);
                for (index, values) in products.chunks_exact(count).enumerate() {
                    sink(first + index, first_row, values);
                }
            }
        }
    }
}

/// Some rows of weights.
#[derive(Clone, Copy)]
struct Rows<'a> {
    /// The rows, one after the other.
    weights: &'a [u8],
    /// Bytes per row.
    row_bytes: usize,
    /// What lies behind the rows and will be wanted next, as much or less.
    next: &'a [u8],
}

impl<'a> Rows<'a> {
    fn count(&self) -> usize {
        self.weights.len() / self.row_bytes
    }

    fn row(&self, row: usize) -> &'a [u8] {
        &self.weights[row * self.row_bytes..][..self.row_bytes]
    }

    fn slice(&self, rows: Range<usize>) -> Rows<'a> {
        Rows {
            weights: &self.weights[rows.start * self.row_bytes..rows.end * self.row_bytes],
            row_bytes: self.row_bytes,
            next: self.next,
        }
    }
}

/// Columns of 8-bit activations.
#[derive(Clone, Copy)]
struct Groups<'a> {
    groups: &'a [Q8Group],
    per_column: usize,
    pick: Pick<'a>,
}

impl<'a> Groups<'a> {
    fn count(&self) -> usize {
        self.pick.count(self.groups.len() / self.per_column)
    }

    fn column(&self, index: usize) -> &'a [Q8Group] {
        &self.groups[self.pick.column(index) * self.per_column..][..self.per_column]
    }
}

/// The end of some rows and columns: less than a unit of weights, filled up
/// with zeros, and the activations for it.
struct Tail<const UNIT: usize, const R: usize, const C: usize> {
    units: [[u8; UNIT]; R],
    columns: [[Q8Group; 2]; C],
}

impl<const UNIT: usize, const R: usize, const C: usize> Tail<UNIT, R, C> {
    /// From what is left of the rows, and from group `start` of the columns on.
    #[cold]
    fn new(rows: [&[u8]; R], columns: [&[Q8Group]; C], start: usize) -> Self {
        let mut tail = Tail {
            units: [[0; UNIT]; R],
            columns: [[Q8Group::ZERO; 2]; C],
        };
        for (unit, row) in tail.units.iter_mut().zip(rows) {
            unit[..row.len()].copy_from_slice(row);
        }
        for (groups, column) in tail.columns.iter_mut().zip(columns) {
            let rest = &column[start..];
            groups[..rest.len()].copy_from_slice(rest);
        }
        tail
    }
}

/// The products of up to [`TILE_ROWS`] rows with every column, `sink(column,
/// values)` taking those of all rows with one column.
fn multiply_integer<const UNIT: usize, F: Layout<UNIT>>(
    isa: Isa,
    rows: Rows<'_>,
    columns: Groups<'_>,
    scratch: &mut Scratch,
    sink: &mut dyn FnMut(usize, &[f32]),
) {
    let (row_count, count) = (rows.count(), columns.count());
    if count <= DIRECT_COLUMNS {
        // No longer than it must be: decoding fills it for every few rows.
        let mut products = [0.0; TILE_ROWS_MIN * DIRECT_COLUMNS];
        let products = &mut products[..row_count * count];
        match count {
            1 => row::products::<UNIT, F, 1>(isa, rows, [columns.column(0)], products),
            2 => {
                let columns = [columns.column(0), columns.column(1)];
                row::products::<UNIT, F, 2>(isa, rows, columns, products);
            }
            _ => return,
        }
        for (column, values) in products.chunks_exact(row_count).enumerate() {
            sink(column, values);
        }
        return;
    }
    let mut products = [0.0; TILE_ROWS * MAX_TILE_COLUMNS];
    let strips = scratch.strips(rows.row_bytes.div_ceil(UNIT));
    let mut made = strip::Strips::default();
    strip::convert::<UNIT, F>(isa, rows, strips, &mut made);
    let strips = &strips[..row_count.div_ceil(made.rows) * made.bytes];
    // The columns of the next tile.
    let mut ahead: [&[u8]; strip::COLUMNS] = [&[]; strip::COLUMNS];
    for first in (0..count).step_by(strip::COLUMNS) {
        let width = strip::COLUMNS.min(count - first);
        let tile: [&[Q8Group]; strip::COLUMNS] =
            array::from_fn(|column| columns.column(first + column.min(width - 1)));
        let mut parts = 0;
        for column in (first + width..count).take(strip::COLUMNS) {
            ahead[parts] = bytemuck::cast_slice(columns.column(column));
            parts += 1;
        }
        let operands = strip::Operands {
            strips,
            strip_bytes: made.bytes,
            rows: row_count,
            zero: F::ZERO,
            columns: &tile[..width],
            ahead: &ahead[..parts],
            next: if first == 0 { rows.next } else { &[] },
            stride: row_count,
        };
        strip::products::<UNIT, F>(isa, operands, &mut products);
        for (column, values) in products.chunks_exact(row_count).take(width).enumerate() {
            sink(first + column, values);
        }
    }
}
