//! From a plan to a file.

use super::{EncodeError, Encoder, Plan, PlannedTensor, Rows};
use crate::gguf::{GgufError, WriteError, Writer};
use outrigger_kernels::format::dequantize;
use rayon::{ThreadPool, ThreadPoolBuilder, prelude::*};
use std::{io::Write, num::NonZeroUsize};

/// Values that a thread decodes and encodes at a time, or a row if that is
/// longer.
const PIECE_VALUES: usize = 1 << 15;
/// Pieces a thread should find in a slab.
const PIECES_PER_THREAD: usize = 16;

/// Why a quantized file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The output refused.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The model's file was cut meanwhile.
    #[error(transparent)]
    Source(#[from] GgufError),
    /// A tensor cannot be encoded.
    #[error("tensor `{tensor}` cannot be quantized: {error}")]
    Encode {
        /// The tensor.
        tensor: String,
        /// Why not.
        error: EncodeError,
    },
    /// The system refused a thread.
    #[error("the threads cannot be started: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// The caller asked for an end.
    #[error("cancelled")]
    Cancelled,
}

impl Plan<'_> {
    /// Bytes of tensor data that [`Plan::write`] will read.
    pub fn source_bytes(&self) -> u64 {
        let bytes = self.tensors().iter().map(|t| t.source.bytes as u64);
        bytes.sum()
    }

    /// Bytes of tensor data in the new file, without what is between tensors.
    pub fn bytes(&self) -> u64 {
        let bytes = self.tensors().iter().map(|tensor| {
            let row = tensor.format.row_bytes(tensor.source.row_len());
            (row.unwrap_or(0) * tensor.source.rows()) as u64
        });
        bytes.sum()
    }

    /// Writes the file, with so many threads; the bytes do not depend on how
    /// many.
    ///
    /// Beside the header it holds, for each thread, 16 pieces of 32,768 values
    /// in the format that they will have and one in f32. `proceed` is told after each slab how many
    /// bytes of the source it took; where it answers `false`, the work ends.
    ///
    /// # Errors
    ///
    /// When the output refuses, a value cannot be stored, the source was made
    /// shorter meanwhile, or `proceed` said so. What was written then is no
    /// file.
    pub fn write<W: Write>(
        &self,
        out: W,
        encoder: &impl Encoder,
        threads: NonZeroUsize,
        mut proceed: impl FnMut(u64) -> bool,
    ) -> Result<W, QuantizeError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .thread_name(|index| format!("outrigger-quantize-{index}"))
            .build()?;
        let mut writer = Writer::new(out, self.metadata(), &self.shapes())?;
        let mut slab = Vec::new();
        for tensor in self.tensors() {
            for matrix in matrices(self.gguf.bytes(tensor.source), tensor) {
                for (source, rows) in matrix.slabs(threads.get()) {
                    if matrix.copied() {
                        writer.append(source)?;
                    } else {
                        slab.resize(rows * matrix.row_bytes_out, 0);
                        let made = matrix.encode(source, encoder, &pool, &mut slab);
                        made.map_err(|error| QuantizeError::Encode {
                            tensor: tensor.source.name.to_string(),
                            error,
                        })?;
                        writer.append(&slab)?;
                    }
                    if !proceed(source.len() as u64) {
                        return Err(QuantizeError::Cancelled);
                    }
                }
            }
        }
        self.gguf.check_intact()?;
        Ok(writer.finish()?)
    }
}

/// The matrix of one expert, or the only one.
struct Matrix<'a> {
    bytes: &'a [u8],
    tensor: &'a PlannedTensor<'a>,
    importance: Option<&'a [f32]>,
    row_bytes: usize,
    row_bytes_out: usize,
}

/// The matrices of a tensor whose data is `bytes`.
fn matrices<'a>(
    bytes: &'a [u8],
    tensor: &'a PlannedTensor<'a>,
) -> impl Iterator<Item = Matrix<'a>> {
    let source = tensor.source;
    let cols = source.row_len();
    let experts: usize = source.dims.iter().skip(2).product();
    let size = bytes.len() / experts.max(1);
    (0..experts).map(move |expert| Matrix {
        bytes: &bytes[expert * size..][..size],
        tensor,
        importance: tensor.importance.map(|all| &all[expert * cols..][..cols]),
        row_bytes: source.format.row_bytes(cols).unwrap_or(0),
        row_bytes_out: tensor.format.row_bytes(cols).unwrap_or(0),
    })
}

impl<'a> Matrix<'a> {
    fn copied(&self) -> bool {
        !self.tensor.changes()
    }

    fn cols(&self) -> usize {
        self.tensor.source.row_len()
    }

    fn piece_rows(&self) -> usize {
        PIECE_VALUES.div_ceil(self.cols())
    }

    /// The data in slabs of whole rows, and how many rows each has.
    fn slabs(&self, threads: usize) -> impl Iterator<Item = (&'a [u8], usize)> {
        let rows = self.piece_rows() * PIECES_PER_THREAD * threads;
        let row_bytes = self.row_bytes;
        let slabs = self.bytes.chunks(rows * row_bytes);
        slabs.map(move |slab| (slab, slab.len() / row_bytes))
    }

    /// Encodes the rows in `source` into `out`, in pieces on all threads.
    fn encode(
        &self,
        source: &[u8],
        encoder: &impl Encoder,
        pool: &ThreadPool,
        out: &mut [u8],
    ) -> Result<(), EncodeError> {
        let rows = self.piece_rows();
        let pieces = source.par_chunks(rows * self.row_bytes);
        let pieces = pieces.zip(out.par_chunks_mut(rows * self.row_bytes_out));
        let encode = |values: &mut Vec<f32>, (source, out): (&[u8], &mut [u8])| {
            values.resize(source.len() / self.row_bytes * self.cols(), 0.0);
            dequantize(self.tensor.source.format, source, values)?;
            let rows = Rows {
                values,
                cols: self.cols(),
                importance: self.importance,
            };
            encoder.encode(self.tensor.format, rows, out)
        };
        pool.install(|| pieces.try_for_each_init(Vec::new, encode))
    }
}
