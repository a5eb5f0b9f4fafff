//! Bytes of a model that keep what they lie in alive.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use super::error::GgufError;
use super::map::Mapping;

/// What the bytes of one GGUF file lie in.
pub(super) enum Part {
    Mapped(Mapping),
    Embedded(&'static [u8]),
}

impl Part {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped(mapping) => mapping.bytes(),
            Self::Embedded(bytes) => bytes,
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Mapped(mapping) => Some(mapping.path()),
            Self::Embedded(_) => None,
        }
    }

    /// The file's name for an error message.
    pub(super) fn label(&self) -> String {
        match self.path() {
            Some(path) => path.display().to_string(),
            None => "the embedded model".into(),
        }
    }

    pub(super) fn check_intact(&self) -> Result<(), GgufError> {
        match self {
            Self::Mapped(mapping) => mapping.check_intact(),
            Self::Embedded(_) => Ok(()),
        }
    }
}

/// The bytes of a tensor, or some of them, borrowed from the mapped file.
///
/// A handle: cloning and slicing copy no weights, and the mapping lives as
/// long as any handle to it.
#[derive(Clone)]
pub struct TensorBytes {
    part: Arc<Part>,
    range: Range<usize>,
}

impl TensorBytes {
    /// The bytes `range` of `part`; `None` if it has fewer.
    pub(super) fn new(part: Arc<Part>, range: Range<usize>) -> Option<Self> {
        part.bytes().get(range.clone())?;
        Some(Self { part, range })
    }

    /// The bytes in `range`, counted from the start of these.
    ///
    /// # Panics
    /// If `range` reaches past the end, as slicing does.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "bytes {range:?} of a tensor that has {}",
            self.len()
        );
        Self {
            part: Arc::clone(&self.part),
            range: self.range.start + range.start..self.range.start + range.end,
        }
    }

    /// The file that the bytes are mapped from; `None` for an embedded model.
    pub fn path(&self) -> Option<&Path> {
        self.part.path()
    }

    /// Where the bytes begin, counted from the start of their file.
    pub fn file_offset(&self) -> usize {
        self.range.start
    }
}

impl Deref for TensorBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.part.bytes()[self.range.clone()]
    }
}

impl fmt::Debug for TensorBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorBytes")
            .field("file", &self.part.label())
            .field("range", &self.range)
            .finish()
    }
}
