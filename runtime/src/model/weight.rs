//! Weights as they lie in the mapped file.

use crate::gguf::TensorBytes;
use outrigger_kernels::{cpu::dot, format::Format};
use std::{ops::Range, sync::Arc};

/// A short vector of weights (a norm, a bias), copied out as f32.
pub type Vector = Arc<[f32]>;

/// A matrix of quantized rows, borrowed from the mapped file.
#[derive(Debug, Clone)]
pub struct Matrix {
    bytes: TensorBytes,
    format: Format,
    rows: usize,
    cols: usize,
    row_bytes: usize,
}

impl Matrix {
    /// `rows` rows of `cols` values; `None` if `bytes` has another size.
    pub fn new(bytes: TensorBytes, format: Format, rows: usize, cols: usize) -> Option<Self> {
        dot::Matrix::new(format, &bytes, rows, cols).ok()?;
        let row_bytes = format.row_bytes(cols)?;
        Some(Self {
            bytes,
            format,
            rows,
            cols,
            row_bytes,
        })
    }

    /// The matrix as kernels take it.
    pub fn view(&self) -> dot::Matrix<'_> {
        dot::Matrix::new(self.format, &self.bytes, self.rows, self.cols)
            .expect("`new` and `slice` make whole rows of a weight format")
    }

    /// How the values are stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Number of rows: the length of the product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Values in a row: the length of the vector it is multiplied with.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// All rows, one after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same as a handle that keeps the mapping alive.
    pub fn data(&self) -> &TensorBytes {
        &self.bytes
    }

    /// One row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, index: usize) -> &[u8] {
        &self.bytes[index * self.row_bytes..(index + 1) * self.row_bytes]
    }

    /// Some of the rows, as a matrix.
    ///
    /// # Panics
    /// If `rows` reaches past the end.
    pub fn slice(&self, rows: Range<usize>) -> Self {
        Self {
            bytes: self
                .bytes
                .slice(rows.start * self.row_bytes..rows.end * self.row_bytes),
            rows: rows.len(),
            ..self.clone()
        }
    }
}

/// The same matrix of every expert, stacked in one tensor.
#[derive(Debug, Clone)]
pub struct ExpertMatrices {
    stack: Matrix,
    experts: usize,
}

impl ExpertMatrices {
    /// Takes a matrix whose rows are those of `experts` matrices of one size.
    pub fn new(stack: Matrix, experts: usize) -> Option<Self> {
        (experts > 0 && stack.rows().is_multiple_of(experts)).then_some(Self { stack, experts })
    }

    /// The matrix of one expert.
    ///
    /// # Panics
    /// If there is no such expert.
    pub fn expert(&self, index: usize) -> Matrix {
        let rows = self.rows();
        self.stack.slice(index * rows..(index + 1) * rows)
    }

    /// All experts' matrices, row after row.
    pub fn stack(&self) -> &Matrix {
        &self.stack
    }

    /// Rows of one expert's matrix.
    pub fn rows(&self) -> usize {
        self.stack.rows() / self.experts
    }
}
