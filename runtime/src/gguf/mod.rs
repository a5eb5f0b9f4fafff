//! GGUF files: the parser, the mapping and the writer.

mod metadata;

pub use metadata::{Array, Metadata, MetadataError, Value};
