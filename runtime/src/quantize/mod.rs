//! Quantization: from one GGUF file to another whose matrices take other
//! formats.
//!
//! A [`Plan`] says what every tensor becomes; [`Plan::write`] computes it,
//! piece after piece, and never holds a whole tensor. Blocks are made by an
//! [`Encoder`]: [`Native`] has the formats for which there is one way only to
//! round, `Ggml` (feature `ggml`) all that ggml can make. With `Ggml` the file
//! is, byte for byte, the one that llama.cpp's `llama-quantize` writes.

mod encoder;
mod importance;
mod plan;
#[cfg(test)]
mod tests;
mod write;

pub use encoder::{EncodeError, Encoder, Native, Rows};
pub use importance::{IMPORTANCE_MAX, ImportanceError, ImportanceMatrix};
pub use plan::{Plan, PlanError, PlannedTensor};
pub use write::QuantizeError;
