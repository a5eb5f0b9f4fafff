//! Products of weight rows with columns of activations, decode class.
//!
//! The result of a row and a column depends on these two alone: not on the
//! other columns, the other rows, the thread, or the instruction set. That is
//! because each product is defined as a fixed sequence of operations:
//!
//! - **Integer formats with [`Q8Group`] activations** ([`ActivationKind::Q8`]).
//!   Block `b` of 32 columns gives the term
//!   `(w.scale * x.scale) * I - (w.min * x.scale) * S`, with `I` the exact
//!   integer sum of code products and `S` that of the activation codes; formats
//!   with a scale per 16 columns add two such terms, the one of the first half
//!   first. The terms go to four partial sums, block `b` to sum `b % 4`; the
//!   result is `(p0 + p2) + (p1 + p3)`. How an integer sum is made is free.
//! - **Any format with f32 activations**. Column `i` goes to partial sum
//!   `i % 32` as `sum + w * x`, without contraction; then the upper half of
//!   the sums is added to the lower until one is left.

mod integer;
mod products;
mod real;
#[cfg(test)]
mod tests;

use std::ops::Range;

use thiserror::Error;

use super::activation::Q8Group;
use super::isa::Isa;
use crate::format::{
    Format, Iq4Nl, Iq4Xs, Mxfp4, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0,
};

/// Columns that share one pass over the weights.
pub const MAX_TILE_COLUMNS: usize = 8;

/// Rows that share one call of a kernel.
const TILE_ROWS: usize = 32;

/// The form in which a format's products take activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActivationKind {
    /// 32-bit floats.
    F32,
    /// 8-bit integers, see [`Q8Group`].
    Q8,
}

impl ActivationKind {
    /// The form that serves `format` best.
    pub const fn of(format: Format) -> ActivationKind {
        match format {
            Format::Q4_0
            | Format::Q4_1
            | Format::Q5_0
            | Format::Q5_1
            | Format::Q8_0
            | Format::Q2_K
            | Format::Q3_K
            | Format::Q4_K
            | Format::Q5_K
            | Format::Q6_K
            | Format::IQ4_NL
            | Format::IQ4_XS
            | Format::MXFP4 => ActivationKind::Q8,
            _ => ActivationKind::F32,
        }
    }
}

/// Columns of activations, one after the other without gaps.
#[derive(Debug, Clone, Copy)]
pub enum Columns<'a> {
    /// `cols` floats per column, `cols` being the length of a weight row.
    /// Every format takes these.
    F32(&'a [f32]),
    /// [`Q8Group::count`]`(cols)` groups per column, for the formats with
    /// [`ActivationKind::Q8`].
    Q8(&'a [Q8Group]),
}

impl<'a> Columns<'a> {
    /// The number of columns for weight rows of `cols` values.
    ///
    /// # Panics
    ///
    /// When the slice does not hold whole columns, or `cols` is 0.
    pub fn count(&self, cols: usize) -> usize {
        let (len, per_column) = match self {
            Columns::F32(values) => (values.len(), cols),
            Columns::Q8(groups) => (groups.len(), Q8Group::count(cols)),
        };
        assert!(
            len.is_multiple_of(per_column),
            "{len} activations or groups are not whole columns of {per_column}"
        );
        len / per_column
    }

    /// The columns in `range`, for weight rows of `cols` values.
    ///
    /// # Panics
    ///
    /// When `range` is not within the columns.
    pub fn slice(&self, range: Range<usize>, cols: usize) -> Columns<'a> {
        match self {
            Columns::F32(values) => Columns::F32(&values[range.start * cols..range.end * cols]),
            Columns::Q8(groups) => {
                let per_column = Q8Group::count(cols);
                Columns::Q8(&groups[range.start * per_column..range.end * per_column])
            }
        }
    }
}

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

    /// The products of the rows in `rows` with each column.
    ///
    /// They come in pieces: `sink(column, first_row, values)` takes the products
    /// of `column` (counted from the first of `columns`) with the rows from
    /// `first_row` (counted from the first of the matrix) on. Every pair of a
    /// row and a column comes once. Nothing is allocated.
    ///
    /// # Panics
    ///
    /// When `rows` is not within the matrix, when `columns` is not whole
    /// columns, or when they are [`Columns::Q8`] and the format's products do
    /// not take those.
    pub fn multiply(
        &self,
        isa: Isa,
        rows: Range<usize>,
        columns: Columns<'_>,
        mut sink: impl FnMut(usize, usize, &[f32]),
    ) {
        let count = columns.count(self.cols);
        let mut products = [0.0; TILE_ROWS * MAX_TILE_COLUMNS];
        for first_row in rows.clone().step_by(TILE_ROWS) {
            let last_row = rows.end.min(first_row + TILE_ROWS);
            let weights = &self.weights[first_row * self.row_bytes..last_row * self.row_bytes];
            for first in (0..count).step_by(MAX_TILE_COLUMNS) {
                let last = count.min(first + MAX_TILE_COLUMNS);
                let columns = columns.slice(first..last, self.cols);
                let products = &mut products[..(last_row - first_row) * (last - first)];
                self.tile(isa, weights, columns, products);
                for (column, values) in products.chunks_exact(last_row - first_row).enumerate() {
                    sink(first + column, first_row, values);
                }
            }
        }
    }

    /// The products of some rows with up to [`MAX_TILE_COLUMNS`] columns, column by column.
    fn tile(&self, isa: Isa, weights: &[u8], columns: Columns<'_>, products: &mut [f32]) {
        let groups = match columns {
            Columns::F32(values) => {
                let shape = real::Rows {
                    format: self.format,
                    weights,
                    row_bytes: self.row_bytes,
                    cols: self.cols,
                };
                return real::rows(isa, shape, values, products);
            }
            Columns::Q8(groups) => groups,
        };
        let shape = integer::Rows {
            weights,
            row_bytes: self.row_bytes,
            groups_per_column: Q8Group::count(self.cols),
        };
        match self.format {
            Format::Q4_0 => integer::rows::<_, Q4_0>(isa, shape, groups, products),
            Format::Q4_1 => integer::rows::<_, Q4_1>(isa, shape, groups, products),
            Format::Q5_0 => integer::rows::<_, Q5_0>(isa, shape, groups, products),
            Format::Q5_1 => integer::rows::<_, Q5_1>(isa, shape, groups, products),
            Format::Q8_0 => integer::rows::<_, Q8_0>(isa, shape, groups, products),
            Format::Q2_K => integer::rows::<_, Q2K>(isa, shape, groups, products),
            Format::Q3_K => integer::rows::<_, Q3K>(isa, shape, groups, products),
            Format::Q4_K => integer::rows::<_, Q4K>(isa, shape, groups, products),
            Format::Q5_K => integer::rows::<_, Q5K>(isa, shape, groups, products),
            Format::Q6_K => integer::rows::<_, Q6K>(isa, shape, groups, products),
            Format::IQ4_NL => integer::rows::<_, Iq4Nl>(isa, shape, groups, products),
            Format::IQ4_XS => integer::rows::<_, Iq4Xs>(isa, shape, groups, products),
            Format::MXFP4 => integer::rows::<_, Mxfp4>(isa, shape, groups, products),
            format => panic!("products of {format} weights do not take 8-bit activations"),
        }
    }
}
