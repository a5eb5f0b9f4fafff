//! GGUF files: the parser, the mapping and the writer.
//!
//! Versions 2 and 3, little-endian. [`parse`] turns bytes into a [`Header`]
//! without I/O and trusts nothing: arithmetic is checked, a count is held
//! against the bytes that are left before anything is reserved for it, and
//! what it allocates is bounded by a constant times the file's size.
//! [`Gguf::open`] maps a file, or all the parts of a split model, and lends
//! out the tensors' bytes where they lie.
//!
//! Limits beyond those of the format: at most [`DIMS_MAX`] dimensions, none of
//! them 0; tensor names of 1 to [`NAME_BYTES_MAX`] bytes; arrays nested at most
//! [`ARRAY_DEPTH_MAX`] deep; an alignment from [`ALIGNMENT_MIN`] to
//! [`ALIGNMENT_MAX`]; strings are UTF-8; tensors share no bytes, though they
//! may lie in any order and with gaps.

mod bytes;
mod cursor;
mod error;
mod file;
mod map;
mod metadata;
#[cfg(test)]
mod opening;
mod parse;
#[cfg(test)]
mod roundtrip;
mod split;
mod tensor;
mod write;

pub use bytes::TensorBytes;
pub use error::{
    ALIGNMENT_DEFAULT, ALIGNMENT_MAX, ALIGNMENT_MIN, ARRAY_DEPTH_MAX, DIMS_MAX, GgufError,
    KEY_BYTES_MAX, NAME_BYTES_MAX, ParseError,
};
pub use file::Gguf;
pub use metadata::{Array, Metadata, MetadataError, Value};
pub use outrigger_kernels::format::Format;
pub use parse::{Header, parse};
pub use tensor::TensorInfo;
pub use write::{TensorShape, WriteError, Writer};
