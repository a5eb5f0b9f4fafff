//! An opened model.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::bytes::{Part, TensorBytes};
use super::error::{ALIGNMENT_MIN, GgufError, ParseError, shown};
use super::map::Mapping;
use super::metadata::Metadata;
use super::parse::{Header, parse};
use super::split;
use super::tensor::TensorInfo;

/// A model: one GGUF file, or all the parts of a split one.
///
/// Opening reads the headers; the weights stay where they are mapped. Every
/// tensor begins at an address that is a multiple of 8.
pub struct Gguf {
    parts: Vec<Arc<Part>>,
    metadata: Metadata,
    tensors: Vec<TensorInfo>,
    index: HashMap<Box<str>, usize>,
}

impl Gguf {
    /// Opens the model at `path`. Of a split model any part may be given; the
    /// others are looked for beside it.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let given = read(Part::Mapped(Mapping::open(path)?))?;
        let parts = split::gather(path, given, |path| read(Part::Mapped(Mapping::open(path)?)))?;
        Self::join(parts)
    }

    /// Opens a model that is part of the program, as `include_bytes!` makes it.
    ///
    /// The bytes must begin at a multiple of 8, so that the values in them are
    /// aligned as they are in a mapped file.
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, GgufError> {
        let part = Part::Embedded(bytes);
        if !bytes.as_ptr().addr().is_multiple_of(ALIGNMENT_MIN as usize) {
            return Err(GgufError::Address { file: part.label() });
        }
        let read = read(part)?;
        split::refuse(&read)?;
        Self::join(vec![read])
    }

    fn join(read: Vec<ReadPart>) -> Result<Self, GgufError> {
        let mut model = Self {
            parts: Vec::with_capacity(read.len()),
            metadata: Metadata::new(),
            tensors: Vec::new(),
            index: HashMap::new(),
        };
        for (number, ReadPart { part, header }) in (0_u16..).zip(read) {
            if number == 0 {
                model.metadata = header.metadata;
            }
            for mut tensor in header.tensors {
                tensor.part = number;
                let at = model.tensors.len();
                if model.index.insert(tensor.name.clone(), at).is_some() {
                    return Err(GgufError::Parse {
                        file: part.label(),
                        error: ParseError::DuplicateTensor {
                            tensor: shown(&tensor.name),
                        },
                    });
                }
                model.tensors.push(tensor);
            }
            model.parts.push(Arc::new(part));
        }
        Ok(model)
    }

    /// The metadata; that of the first part if the model is split.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All tensors, part by part in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.index.get(name).map(|&at| &self.tensors[at])
    }

    /// The data of a tensor, where it is mapped.
    ///
    /// # Panics
    /// If `tensor` is not one of this model's.
    pub fn bytes(&self, tensor: &TensorInfo) -> &[u8] {
        &self.parts[usize::from(tensor.part)].bytes()[tensor.offset..][..tensor.bytes]
    }

    /// The data of a tensor as a handle that keeps the mapping alive.
    ///
    /// # Panics
    /// If `tensor` is not one of this model's.
    pub fn tensor_bytes(&self, tensor: &TensorInfo) -> TensorBytes {
        let part = Arc::clone(&self.parts[usize::from(tensor.part)]);
        TensorBytes::new(part, tensor.offset..tensor.offset + tensor.bytes)
            .expect("a tensor of another model was asked for")
    }

    /// The size of the model's files in bytes, headers included.
    pub fn total_bytes(&self) -> u64 {
        let sizes = self.parts.iter().map(|part| part.bytes().len() as u64);
        sizes.sum()
    }

    /// The model's file, the first one if it is split; `None` if embedded.
    pub fn path(&self) -> Option<&Path> {
        self.parts.first().and_then(|part| part.path())
    }

    /// Whether the files still have all the bytes that were mapped.
    ///
    /// To be asked after each forward pass: what was computed from a file that
    /// was made shorter meanwhile is computed from zeros (see
    /// [`crate::platform::sigbus`]) and must not be used. It costs one `fstat`
    /// a part. A file rewritten in place with as many bytes goes unnoticed;
    /// replace a model in use by renaming another over it.
    pub fn check_intact(&self) -> Result<(), GgufError> {
        self.parts.iter().try_for_each(|part| part.check_intact())
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("path", &self.path())
            .field("parts", &self.parts.len())
            .field("keys", &self.metadata.len())
            .field("tensors", &self.tensors.len())
            .finish()
    }
}

/// A file whose header has been read.
pub(super) struct ReadPart {
    pub(super) part: Part,
    pub(super) header: Header,
}

fn read(part: Part) -> Result<ReadPart, GgufError> {
    let parsed = parse(part.bytes());
    // First, because a header that was cut while it was read is also wrong.
    part.check_intact()?;
    match parsed {
        Ok(header) => Ok(ReadPart { part, header }),
        Err(error) => Err(GgufError::Parse {
            file: part.label(),
            error,
        }),
    }
}
