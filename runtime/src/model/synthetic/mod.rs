//! GGUF files of a real shape with random weights: for benchmarks and tests
//! that need a model's size and not its sense.
//!
//! The file is written as a stream. For each tensor a pool of values is drawn
//! and encoded, and its rows are put together from pieces of that pool, so
//! that gigabytes take seconds while no two rows are alike.

mod layout;
mod random;
mod shape;
#[cfg(test)]
mod tests;

pub use shape::{PRESETS, SyntheticShape, VOCAB_MIN};

use super::mixture::Mixture;
use crate::gguf::{Metadata, TensorShape, WriteError, Writer};
use outrigger_kernels::format::{Format, FormatError, quantize};
use random::Random;
use std::io::Write;

/// How the matrices are stored. Norms, biases and routers are F32, as in all
/// GGUF files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyntheticFormats {
    /// All in one format.
    Uniform(Format),
    /// As a quantizer would choose them.
    Mixture(Mixture),
}

impl SyntheticFormats {
    /// One format for all matrices.
    pub fn all(format: Format) -> Self {
        Self::Uniform(format)
    }
}

/// A model that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SyntheticError {
    /// Not an architecture that can be made here.
    #[error("no synthetic model of architecture `{0}` can be made")]
    Architecture(&'static str),
    /// The vocabulary cannot hold a token per byte.
    #[error("a vocabulary of {vocab} tokens is too small; at least {VOCAB_MIN} are needed")]
    Vocabulary {
        /// Tokens asked for.
        vocab: usize,
    },
    /// A tensor's rows cannot be stored in the format.
    #[error("tensor `{tensor}` cannot be made: {error}")]
    Format {
        /// The tensor.
        tensor: String,
        /// Why not.
        error: FormatError,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A file that is to be written. What is in it may be changed before.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticModel {
    /// The keys.
    pub metadata: Metadata,
    /// The tensors. A vector whose name ends in `norm.weight` is made of
    /// values around 1, a bias of small ones, and a matrix of values that keep
    /// the size of what it is multiplied with.
    pub tensors: Vec<TensorShape>,
    /// What the values are drawn from; the same seed gives the same bytes.
    pub seed: u64,
}

impl SyntheticModel {
    /// Keys and tensors of a complete model.
    pub fn new(
        shape: &SyntheticShape,
        formats: &SyntheticFormats,
        seed: u64,
    ) -> Result<Self, SyntheticError> {
        if !["llama", "qwen2", "qwen3", "qwen3moe"].contains(&shape.architecture) {
            return Err(SyntheticError::Architecture(shape.architecture));
        }
        if shape.vocab < VOCAB_MIN {
            return Err(SyntheticError::Vocabulary { vocab: shape.vocab });
        }
        Ok(Self {
            metadata: layout::metadata(shape, formats),
            tensors: layout::tensors(shape, formats),
            seed,
        })
    }

    /// Writes the file, in pieces of about a megabyte.
    pub fn write<W: Write>(&self, out: W) -> Result<W, SyntheticError> {
        let mut writer = Writer::new(out, &self.metadata, &self.tensors)?;
        for (index, tensor) in (0..).zip(&self.tensors) {
            let mut random = Random::new(self.seed, index);
            let pool = pool(tensor, &mut random)?;
            let cols = tensor.dims.first().copied().unwrap_or(0);
            let format = tensor.format;
            let rows: usize = tensor.dims.iter().skip(1).product();
            let row = cols / format.block_len();
            let mut pieces = Vec::with_capacity(pool.len() * 2);
            for _ in 0..rows {
                for piece in 0..PIECES {
                    let blocks = (piece + 1) * row / PIECES - piece * row / PIECES;
                    let bytes = blocks * format.block_bytes();
                    let places = (pool.len() - bytes) / format.block_bytes() + 1;
                    let start = random.below(places) * format.block_bytes();
                    pieces.extend_from_slice(&pool[start..start + bytes]);
                }
                if pieces.len() >= pool.len() {
                    writer.append(&pieces)?;
                    pieces.clear();
                }
            }
            writer.append(&pieces)?;
        }
        Ok(writer.finish()?)
    }
}

/// Pieces of the pool that a row is put together from: with a thousand places
/// for each, rows that are alike do not occur.
const PIECES: usize = 4;

/// Values in a pool, if its tensor has as many.
const POOL_VALUES: usize = 1 << 20;

/// Encoded values of a tensor, at least a row.
fn pool(tensor: &TensorShape, random: &mut Random) -> Result<Vec<u8>, SyntheticError> {
    let format = tensor.format;
    let cols = tensor.dims.first().copied().unwrap_or(0);
    let all: usize = tensor.dims.iter().product();
    let values = all.min(POOL_VALUES.max(cols)) / format.block_len() * format.block_len();
    let (mean, deviation) = if tensor.name.ends_with("norm.weight") {
        (1.0, 0.1)
    } else if tensor.name.ends_with(".bias") {
        (0.0, 0.1)
    } else {
        (0.0, 1.0 / (cols.max(1) as f32).sqrt())
    };
    let values: Vec<f32> = (0..values)
        .map(|_| mean + deviation * random.normal())
        .collect();
    let bytes = values.len() / format.block_len() * format.block_bytes();
    let mut pool = vec![0; bytes];
    quantize(format, &values, &mut pool).map_err(|error| SyntheticError::Format {
        tensor: tensor.name.clone(),
        error,
    })?;
    Ok(pool)
}
