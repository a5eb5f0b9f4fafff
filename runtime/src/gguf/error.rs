//! What can be wrong with a GGUF file.

use std::path::PathBuf;

/// What is wrong with the bytes of a GGUF file.
///
/// Every message is one sentence that names the key or tensor at fault.
/// Names that come from the file are shortened and their control characters
/// escaped, so that a hostile file cannot write to a terminal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The first four bytes are not `GGUF`.
    #[error("this is not a GGUF file: it begins with the bytes {found:02x?} instead of `GGUF`")]
    Magic {
        /// The bytes found.
        found: [u8; 4],
    },
    /// The file was written for big-endian machines.
    #[error(
        "this is a big-endian GGUF file; convert it with gguf_convert_endian.py to little-endian"
    )]
    BigEndian,
    /// A version that is obsolete or not known yet.
    #[error("GGUF version {version} is not supported; versions 2 and 3 are")]
    Version {
        /// The version found.
        version: u32,
    },
    /// The bytes end in the middle of something.
    #[error("the file is truncated: it ends after {len} bytes, inside {place}")]
    Truncated {
        /// What the parser was reading.
        place: String,
        /// Bytes there are.
        len: u64,
    },
    /// A count that the rest of the file has no room for.
    #[error("{place} has {count} {what}, more than the file's {len} bytes can hold")]
    Count {
        /// What has the count.
        place: String,
        /// What is counted.
        what: &'static str,
        /// How many there should be.
        count: u64,
        /// The size of the file in bytes.
        len: u64,
    },
    /// A string that is not UTF-8.
    #[error("{place} has a string that is not valid UTF-8")]
    Utf8 {
        /// Where the string is.
        place: String,
    },
    /// A key of no bytes.
    #[error("metadata key number {index} is empty")]
    EmptyKey {
        /// The position of the key, from 0.
        index: u64,
    },
    /// A key of more bytes than GGUF permits.
    #[error("metadata key number {index} is {len} bytes long; at most {KEY_BYTES_MAX} are allowed")]
    LongKey {
        /// The position of the key, from 0.
        index: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// A key that occurs twice.
    #[error("metadata key `{key}` occurs twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A value type GGUF does not define.
    #[error("metadata key `{key}` has the unknown value type {number}")]
    ValueType {
        /// The key.
        key: String,
        /// The type's number.
        number: u32,
    },
    /// Arrays of arrays of arrays of ...
    #[error("metadata key `{key}` nests arrays more than {ARRAY_DEPTH_MAX} deep")]
    ArrayDepth {
        /// The key.
        key: String,
    },
    /// A boolean that is neither 0 nor 1.
    #[error("metadata key `{key}` has a boolean of value {byte}; only 0 and 1 are allowed")]
    Bool {
        /// The key.
        key: String,
        /// The byte found.
        byte: u8,
    },
    /// `general.alignment` is not a `u32`.
    #[error("metadata key `general.alignment` is of type {found}, but must be u32")]
    AlignmentType {
        /// The type found.
        found: &'static str,
    },
    /// `general.alignment` is not a sensible power of two.
    #[error(
        "metadata key `general.alignment` is {value}; a power of two from {ALIGNMENT_MIN} to {ALIGNMENT_MAX} is needed"
    )]
    Alignment {
        /// The value found.
        value: u32,
    },
    /// A tensor without a name.
    #[error("tensor number {index} has an empty name")]
    EmptyName {
        /// The position of the tensor, from 0.
        index: u64,
    },
    /// A tensor name too long to be one.
    #[error(
        "the name of tensor number {index} is {len} bytes long; at most {NAME_BYTES_MAX} are allowed"
    )]
    LongName {
        /// The position of the tensor, from 0.
        index: u64,
        /// The name's length in bytes.
        len: u64,
    },
    /// Two tensors of one name.
    #[error("tensor `{tensor}` occurs twice")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
    },
    /// No dimensions, or too many.
    #[error("tensor `{tensor}` has {count} dimensions; 1 to {DIMS_MAX} are allowed")]
    DimsCount {
        /// The tensor.
        tensor: String,
        /// Its number of dimensions.
        count: u32,
    },
    /// A dimension of size 0.
    #[error("tensor `{tensor}` has size 0 in dimension {axis}")]
    ZeroDim {
        /// The tensor.
        tensor: String,
        /// The dimension, from 0 (fastest).
        axis: usize,
    },
    /// The size of a tensor does not fit the address space.
    #[error("the dimensions {dims:?} of tensor `{tensor}` overflow")]
    Overflow {
        /// The tensor.
        tensor: String,
        /// Its dimensions.
        dims: Vec<u64>,
    },
    /// A tensor type that is unknown here, so that its size cannot be told.
    #[error("tensor `{tensor}` has the unknown type number {number}")]
    Format {
        /// The tensor.
        tensor: String,
        /// ggml's number of the type.
        number: u32,
    },
    /// A row that is not a whole number of blocks.
    #[error(
        "tensor `{tensor}` has rows of {row} values, not a multiple of the {block} in a block of {format}"
    )]
    PartialBlock {
        /// The tensor.
        tensor: String,
        /// Values in a row.
        row: usize,
        /// Values in a block.
        block: usize,
        /// The tensor's type.
        format: &'static str,
    },
    /// An offset that is not a multiple of the alignment.
    #[error(
        "tensor `{tensor}` begins at offset {offset}, not a multiple of the alignment {alignment}"
    )]
    Misaligned {
        /// The tensor.
        tensor: String,
        /// Its offset in the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u32,
    },
    /// Data that would lie past the end of the file.
    #[error(
        "tensor `{tensor}` needs {bytes} bytes at offset {offset} of the data, past the end of the file ({len} bytes); was it downloaded completely?"
    )]
    PastEnd {
        /// The tensor.
        tensor: String,
        /// Its offset in the data section.
        offset: u64,
        /// Its size in bytes.
        bytes: u64,
        /// The size of the file in bytes.
        len: u64,
    },
    /// Two tensors that share bytes.
    #[error("the data of tensor `{tensor}` overlaps that of tensor `{other}`")]
    Overlap {
        /// The tensor that begins later.
        tensor: String,
        /// The tensor that begins earlier.
        other: String,
    },
}

/// Why a model cannot be opened, or used further.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The operating system refused.
    #[error("cannot {action} {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        error: std::io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("{} is not a regular file, so it cannot be mapped", path.display())]
    NotAFile {
        /// The path given.
        path: PathBuf,
    },
    /// The file's content is wrong.
    #[error("{file}: {error}")]
    Parse {
        /// The file's path, or a description of an embedded model.
        file: String,
        /// What is wrong.
        error: ParseError,
    },
    /// An embedded model that begins at an odd address.
    #[error(
        "{file} begins at an address that is not a multiple of {ALIGNMENT_MIN}; align the bytes it is embedded as"
    )]
    Address {
        /// A description of the model.
        file: String,
    },
    /// The keys of a split model are wrong.
    #[error("{file}: {reason}")]
    Split {
        /// The part's path.
        file: String,
        /// What is wrong, as a sentence.
        reason: String,
    },
    /// A part of a split model is not there.
    #[error("part {number} of {count} of the model is missing: there is no file {}", path.display())]
    MissingPart {
        /// The part's number, from 1.
        number: u16,
        /// Number of parts.
        count: u16,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file lost bytes while it was mapped, or the disk its pages.
    #[error(
        "the model file {} was truncated or became unreadable while in use; restore it and load the model again",
        path.display()
    )]
    Torn {
        /// The file.
        path: PathBuf,
    },
}

/// The longest key, in bytes: the limit of the GGUF specification.
pub const KEY_BYTES_MAX: u64 = 65_535;
/// The longest tensor name, in bytes. ggml itself stops at 63.
pub const NAME_BYTES_MAX: u64 = 256;
/// The deepest nesting of metadata arrays; an array of scalars has depth 1.
pub const ARRAY_DEPTH_MAX: usize = 4;
/// Most dimensions of a tensor, as in ggml.
pub const DIMS_MAX: usize = 4;
/// The smallest `general.alignment`, so that every tensor's values are aligned.
pub const ALIGNMENT_MIN: u32 = 8;
/// The largest `general.alignment`: a huge page.
pub const ALIGNMENT_MAX: u32 = 2 << 20;
/// The alignment of a file that does not say.
pub const ALIGNMENT_DEFAULT: u32 = 32;

/// A name from the file as an error message may show it.
pub(super) fn shown(name: &str) -> String {
    const CHARS_MAX: usize = 80;
    let mut shown = String::new();
    for char in name.chars().take(CHARS_MAX) {
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            _ => shown.extend(char.escape_debug()),
        }
    }
    if name.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
