//! The parser: bytes in, description out, no I/O.

use std::collections::HashSet;

use outrigger_kernels::format::Format;

use super::cursor::{Cursor, Place};
use super::error::{
    ALIGNMENT_DEFAULT, ALIGNMENT_MAX, ALIGNMENT_MIN, ARRAY_DEPTH_MAX, DIMS_MAX, KEY_BYTES_MAX,
    NAME_BYTES_MAX, ParseError, shown,
};
use super::metadata::{Array, Metadata, Value};
use super::tensor::{self, TensorInfo};

/// Everything a GGUF file says before its tensors' data.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// GGUF's version: 2 or 3.
    pub version: u32,
    /// The key-value pairs.
    pub metadata: Metadata,
    /// The tensors, in file order.
    pub tensors: Vec<TensorInfo>,
    /// What every tensor's offset is a multiple of, in bytes.
    pub alignment: u32,
    /// Where the data section begins, in bytes from the start of the file.
    pub data_offset: usize,
}

/// The key that sets the alignment of a file's data.
pub(super) const ALIGNMENT_KEY: &str = "general.alignment";

/// Fewest bytes of a key-value pair: a key of one byte, a type, one byte.
const PAIR_BYTES_MIN: usize = 8 + 1 + 4 + 1;
/// Fewest bytes of a tensor's description: a name of one byte, one dimension.
const TENSOR_BYTES_MIN: usize = 8 + 1 + 4 + 8 + 4 + 8;
const STRING_BYTES_MIN: usize = 8;
const ARRAY_BYTES_MIN: usize = 4 + 8;

/// Reads the header of a whole GGUF file and holds it against the file's size.
///
/// Only the header's bytes are read. What is allocated is bounded by a
/// constant times the length of `file`: every count is held against the bytes
/// that are left before anything is reserved for it.
pub fn parse(file: &[u8]) -> Result<Header, ParseError> {
    let mut cursor = Cursor::new(file);
    let magic = cursor.array(Place::Header)?;
    if magic != *b"GGUF" {
        return Err(ParseError::Magic { found: magic });
    }
    let version = cursor.u32(Place::Header)?;
    match version {
        2 | 3 => {}
        // A small number read in the wrong order of bytes.
        _ if version.trailing_zeros() >= 16 && version != 0 => return Err(ParseError::BigEndian),
        _ => return Err(ParseError::Version { version }),
    }
    let tensor_count = cursor.u64(Place::Header)?;
    let pair_count = cursor.count(Place::Header, "metadata keys", PAIR_BYTES_MIN)?;
    let tensor_count = cursor.room(tensor_count, Place::Header, "tensors", TENSOR_BYTES_MIN)?;

    let metadata = read_metadata(&mut cursor, pair_count)?;
    let alignment = alignment(&metadata)?;
    cursor.room(
        tensor_count as u64,
        Place::Header,
        "tensors",
        TENSOR_BYTES_MIN,
    )?;
    let mut tensors = read_tensors(&mut cursor, tensor_count)?;
    let data_offset = cursor
        .position()
        .checked_next_multiple_of(alignment as usize)
        .ok_or_else(|| ParseError::Truncated {
            place: Place::Header.to_string(),
            len: file.len() as u64,
        })?;
    place_tensors(&mut tensors, alignment, data_offset, file.len())?;
    Ok(Header {
        version,
        metadata,
        tensors,
        alignment,
        data_offset,
    })
}

/// The alignment that a file of this metadata has.
pub(super) fn alignment(metadata: &Metadata) -> Result<u32, ParseError> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(ALIGNMENT_DEFAULT),
        Some(&Value::U32(value)) => {
            if value.is_power_of_two() && (ALIGNMENT_MIN..=ALIGNMENT_MAX).contains(&value) {
                Ok(value)
            } else {
                Err(ParseError::Alignment { value })
            }
        }
        Some(other) => Err(ParseError::AlignmentType {
            found: other.type_name(),
        }),
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, count: usize) -> Result<Metadata, ParseError> {
    let mut metadata = Metadata::new();
    for index in 0..count as u64 {
        let place = Place::Key(index);
        let key = cursor.string(place)?;
        if key.is_empty() {
            return Err(ParseError::EmptyKey { index });
        }
        if key.len() as u64 > KEY_BYTES_MAX {
            let len = key.len() as u64;
            return Err(ParseError::LongKey { index, len });
        }
        if metadata.get(key).is_some() {
            return Err(ParseError::DuplicateKey { key: shown(key) });
        }
        let number = cursor.u32(Place::Value(key))?;
        let value = read_value(cursor, key, number)?;
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn read_value(cursor: &mut Cursor<'_>, key: &str, number: u32) -> Result<Value, ParseError> {
    let place = Place::Value(key);
    Ok(match number {
        0 => Value::U8(u8::from_le_bytes(cursor.array(place)?)),
        1 => Value::I8(i8::from_le_bytes(cursor.array(place)?)),
        2 => Value::U16(u16::from_le_bytes(cursor.array(place)?)),
        3 => Value::I16(i16::from_le_bytes(cursor.array(place)?)),
        4 => Value::U32(u32::from_le_bytes(cursor.array(place)?)),
        5 => Value::I32(i32::from_le_bytes(cursor.array(place)?)),
        6 => Value::F32(f32::from_le_bytes(cursor.array(place)?)),
        7 => Value::Bool(boolean(key, cursor.array::<1>(place)?[0])?),
        8 => Value::String(cursor.string(place)?.into()),
        9 => Value::Array(read_array(cursor, key, 1)?),
        10 => Value::U64(u64::from_le_bytes(cursor.array(place)?)),
        11 => Value::I64(i64::from_le_bytes(cursor.array(place)?)),
        12 => Value::F64(f64::from_le_bytes(cursor.array(place)?)),
        _ => {
            let key = shown(key);
            return Err(ParseError::ValueType { key, number });
        }
    })
}

fn boolean(key: &str, byte: u8) -> Result<bool, ParseError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ParseError::Bool {
            key: shown(key),
            byte,
        }),
    }
}

fn read_array(cursor: &mut Cursor<'_>, key: &str, depth: usize) -> Result<Array, ParseError> {
    if depth > ARRAY_DEPTH_MAX {
        return Err(ParseError::ArrayDepth { key: shown(key) });
    }
    let place = Place::Value(key);
    let number = cursor.u32(place)?;
    Ok(match number {
        0 => Array::U8(numbers(cursor, key, u8::from_le_bytes)?),
        1 => Array::I8(numbers(cursor, key, i8::from_le_bytes)?),
        2 => Array::U16(numbers(cursor, key, u16::from_le_bytes)?),
        3 => Array::I16(numbers(cursor, key, i16::from_le_bytes)?),
        4 => Array::U32(numbers(cursor, key, u32::from_le_bytes)?),
        5 => Array::I32(numbers(cursor, key, i32::from_le_bytes)?),
        6 => Array::F32(numbers(cursor, key, f32::from_le_bytes)?),
        7 => {
            let count = cursor.count(place, "array elements", 1)?;
            let bytes = cursor.take(count as u64, place)?;
            let flags: Result<_, _> = bytes.iter().map(|&byte| boolean(key, byte)).collect();
            Array::Bool(flags?)
        }
        8 => {
            let count = cursor.count(place, "array elements", STRING_BYTES_MIN)?;
            let mut strings = Vec::with_capacity(count);
            for _ in 0..count {
                strings.push(cursor.string(place)?.into());
            }
            Array::String(strings)
        }
        9 => {
            let count = cursor.count(place, "array elements", ARRAY_BYTES_MIN)?;
            let mut arrays = Vec::with_capacity(count);
            for _ in 0..count {
                arrays.push(read_array(cursor, key, depth + 1)?);
            }
            Array::Array(arrays)
        }
        10 => Array::U64(numbers(cursor, key, u64::from_le_bytes)?),
        11 => Array::I64(numbers(cursor, key, i64::from_le_bytes)?),
        12 => Array::F64(numbers(cursor, key, f64::from_le_bytes)?),
        _ => {
            let key = shown(key);
            return Err(ParseError::ValueType { key, number });
        }
    })
}

fn numbers<T, const N: usize>(
    cursor: &mut Cursor<'_>,
    key: &str,
    from_le_bytes: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, ParseError> {
    let place = Place::Value(key);
    let count = cursor.count(place, "array elements", N)?;
    let bytes = cursor.take((count * N) as u64, place)?;
    let (elements, _) = bytes.as_chunks::<N>();
    Ok(elements.iter().map(|&bytes| from_le_bytes(bytes)).collect())
}

fn read_tensors(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<TensorInfo>, ParseError> {
    let mut tensors = Vec::with_capacity(count);
    let mut names = HashSet::with_capacity(count);
    for index in 0..count as u64 {
        let place = Place::Tensor(index);
        let name = cursor.string(place)?;
        check_name(index, name)?;
        if !names.insert(name) {
            let tensor = shown(name);
            return Err(ParseError::DuplicateTensor { tensor });
        }
        let place = Place::NamedTensor(name);
        let dim_count = cursor.u32(place)?;
        let mut dims = [0; DIMS_MAX];
        let dims = usize::try_from(dim_count)
            .ok()
            .and_then(|count| dims.get_mut(..count))
            .ok_or_else(|| ParseError::DimsCount {
                tensor: shown(name),
                count: dim_count,
            })?;
        for dim in dims.iter_mut() {
            *dim = cursor.u64(place)?;
        }
        let number = cursor.u32(place)?;
        let offset = cursor.u64(place)?;
        let format = Format::from_ggml_type(number).ok_or_else(|| ParseError::Format {
            tensor: shown(name),
            number,
        })?;
        let bytes = tensor::size(name, dims, format)?;
        let offset = usize::try_from(offset).map_err(|_| ParseError::PastEnd {
            tensor: shown(name),
            offset,
            bytes: bytes as u64,
            len: cursor.len(),
        })?;
        tensors.push(TensorInfo {
            name: name.into(),
            // `size` has held every dimension against `usize`.
            dims: dims.iter().map(|&dim| dim as usize).collect(),
            format,
            offset,
            bytes,
            part: 0,
        });
    }
    Ok(tensors)
}

/// The rules for a tensor's name, in files read and written.
pub(super) fn check_name(index: u64, name: &str) -> Result<(), ParseError> {
    if name.is_empty() {
        return Err(ParseError::EmptyName { index });
    }
    let len = name.len() as u64;
    if len > NAME_BYTES_MAX {
        return Err(ParseError::LongName { index, len });
    }
    Ok(())
}

/// Makes offsets count from the start of the file, once each tensor is known
/// to lie inside it, aligned, and apart from the others.
///
/// Order and gaps are free. Sharing bytes is not, though nothing here would
/// break: no writer does it, so it is a sign of damage, and without it the
/// sum of the tensors' sizes is bounded by the file's.
fn place_tensors(
    tensors: &mut [TensorInfo],
    alignment: u32,
    data_offset: usize,
    len: usize,
) -> Result<(), ParseError> {
    for tensor in tensors.iter_mut() {
        if tensor.offset % alignment as usize != 0 {
            return Err(ParseError::Misaligned {
                tensor: shown(&tensor.name),
                offset: tensor.offset as u64,
                alignment,
            });
        }
        let past_end = || ParseError::PastEnd {
            tensor: shown(&tensor.name),
            offset: tensor.offset as u64,
            bytes: tensor.bytes as u64,
            len: len as u64,
        };
        let start = data_offset.checked_add(tensor.offset);
        let end = start.and_then(|start| start.checked_add(tensor.bytes));
        let (Some(start), Some(_)) = (start, end.filter(|&end| end <= len)) else {
            return Err(past_end());
        };
        tensor.offset = start;
    }
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_unstable_by_key(|tensor| tensor.offset);
    for pair in order.windows(2) {
        let [first, second] = pair else { continue };
        if first.offset + first.bytes > second.offset {
            return Err(ParseError::Overlap {
                tensor: shown(&second.name),
                other: shown(&first.name),
            });
        }
    }
    Ok(())
}
