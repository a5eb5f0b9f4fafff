//! Why a file's model cannot be run.

use crate::gguf::{GgufError, MetadataError};

/// A model that cannot be run, with what stands in the way.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The architecture is not one that is known.
    #[error("architecture `{name}` is not supported; supported are {known}")]
    UnknownArchitecture {
        /// The name in the file.
        name: String,
        /// The names that would be understood.
        known: String,
    },
    /// A key is missing or of the wrong type.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A key's value makes no sense.
    #[error("metadata key `{key}` is {value}, but {wanted} is needed")]
    BadValue {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What it should be.
        wanted: String,
    },
    /// A tensor is missing.
    #[error("tensor `{name}` is missing; the file is not a complete {architecture} model")]
    MissingTensor {
        /// The tensor.
        name: String,
        /// The model's architecture.
        architecture: String,
    },
    /// A tensor has another shape than the metadata calls for.
    #[error("tensor `{name}` has shape {found:?}, but the metadata calls for {wanted:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape, the row length first.
        found: Vec<usize>,
        /// The shape it should have.
        wanted: Vec<usize>,
    },
    /// A tensor's type cannot serve as a weight.
    #[error("tensor `{name}` is of type {format}, which is no weight format")]
    Format {
        /// The tensor.
        name: String,
        /// Its type.
        format: &'static str,
    },
    /// A tensor that nothing would use: the model has a part that is not
    /// understood, so its output would be wrong.
    #[error(
        "tensor `{name}` is not part of the {architecture} architecture as it is known here; \
         running the model without it would give wrong results"
    )]
    UnusedTensor {
        /// The tensor.
        name: String,
        /// The model's architecture.
        architecture: String,
    },
    /// The file itself.
    #[error(transparent)]
    Gguf(#[from] GgufError),
}
