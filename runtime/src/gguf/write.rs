//! The writer: a GGUF file as a stream, never whole in memory.

use std::collections::HashSet;
use std::io::{self, Write};

use outrigger_kernels::format::Format;

use super::error::{ARRAY_DEPTH_MAX, KEY_BYTES_MAX, ParseError, shown};
use super::metadata::{Array, Metadata, Value};
use super::parse::{alignment, check_name};
use super::tensor::{TensorInfo, size};

/// A tensor that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorShape {
    /// The name; unique in the file.
    pub name: String,
    /// The sizes in ggml's order, the fastest first.
    pub dims: Vec<usize>,
    /// How the values are stored.
    pub format: Format,
}

/// Why a GGUF file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output refused.
    #[error("cannot write the GGUF file: {0}")]
    Io(#[from] io::Error),
    /// The file would be one that the parser refuses.
    #[error("the GGUF file would be invalid: {0}")]
    Invalid(#[from] ParseError),
    /// More data than the declared tensors hold.
    #[error("{bytes} bytes too many were written for the tensors that were declared")]
    Excess {
        /// Bytes beyond the end.
        bytes: usize,
    },
    /// Less data than the declared tensors hold.
    #[error("tensor `{tensor}` lacks {bytes} of its bytes")]
    Lacking {
        /// The first tensor that is not complete.
        tensor: String,
        /// Bytes it lacks.
        bytes: usize,
    },
}

/// Writes a GGUF file of version 3: the header at once, then the tensors' data
/// in the order they were declared, in pieces of any size.
///
/// Whatever the parser would refuse is refused before a byte is written. The
/// header is all that is held in memory; wrap `out` in a `BufWriter` if the
/// pieces are small.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    alignment: usize,
    tensors: Vec<TensorInfo>,
    /// The tensor whose data comes next, and how many bytes of it are written.
    current: usize,
    written: usize,
}

impl<W: Write> Writer<W> {
    /// Writes the header. The alignment is that of the key
    /// `general.alignment`, or 32.
    pub fn new(
        mut out: W,
        metadata: &Metadata,
        tensors: &[TensorShape],
    ) -> Result<Self, WriteError> {
        let alignment = alignment(metadata)? as usize;
        let mut tensors = declare(tensors, alignment)?;
        let mut header = Header { bytes: Vec::new() };
        header.preamble(tensors.len(), metadata.len());
        header.metadata(metadata)?;
        for tensor in &tensors {
            header.tensor(tensor);
        }
        let mut header = header.bytes;
        header.resize(header.len().next_multiple_of(alignment), 0);
        for tensor in &mut tensors {
            tensor.offset =
                (tensor.offset.checked_add(header.len())).ok_or_else(|| overflow(tensor))?;
        }
        out.write_all(&header)?;
        Ok(Self {
            out,
            alignment,
            tensors,
            current: 0,
            written: 0,
        })
    }

    /// The tensors as they will be in the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor whose data is to be appended next; `None` when all is there.
    pub fn next_tensor(&self) -> Option<&TensorInfo> {
        self.tensors.get(self.current)
    }

    /// Appends tensor data. A piece may hold part of a tensor, or the end of
    /// one and the beginning of the next.
    pub fn append(&mut self, mut data: &[u8]) -> Result<(), WriteError> {
        while !data.is_empty() {
            let Some(tensor) = self.tensors.get(self.current) else {
                return Err(WriteError::Excess { bytes: data.len() });
            };
            let lacking = tensor.bytes - self.written;
            let (piece, rest) = data.split_at(lacking.min(data.len()));
            self.out.write_all(piece)?;
            self.written += piece.len();
            if self.written == tensor.bytes {
                pad(&mut self.out, tensor.bytes, self.alignment)?;
                self.current += 1;
                self.written = 0;
            }
            data = rest;
        }
        Ok(())
    }

    /// Ends the file and returns the output, flushed.
    pub fn finish(mut self) -> Result<W, WriteError> {
        if let Some(tensor) = self.next_tensor() {
            return Err(WriteError::Lacking {
                tensor: shown(&tensor.name),
                bytes: tensor.bytes - self.written,
            });
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Zeros from the end of `bytes` bytes to the next multiple of `alignment`.
fn pad(out: &mut impl Write, bytes: usize, alignment: usize) -> io::Result<()> {
    let lacking = bytes.next_multiple_of(alignment) - bytes;
    io::copy(&mut io::Read::take(io::repeat(0), lacking as u64), out)?;
    Ok(())
}

fn overflow(tensor: &TensorInfo) -> ParseError {
    ParseError::Overflow {
        tensor: shown(&tensor.name),
        dims: tensor.dims.iter().map(|&dim| dim as u64).collect(),
    }
}

/// Checks the tensors and gives each its offset in the data section.
fn declare(shapes: &[TensorShape], alignment: usize) -> Result<Vec<TensorInfo>, ParseError> {
    let mut names = HashSet::new();
    let mut end = 0_usize;
    let mut tensors = Vec::with_capacity(shapes.len());
    for (index, shape) in (0..).zip(shapes) {
        check_name(index, &shape.name)?;
        if !names.insert(&shape.name) {
            return Err(ParseError::DuplicateTensor {
                tensor: shown(&shape.name),
            });
        }
        let dims: Vec<u64> = shape.dims.iter().map(|&dim| dim as u64).collect();
        let tensor = TensorInfo {
            name: shape.name.as_str().into(),
            dims: shape.dims.as_slice().into(),
            format: shape.format,
            offset: end,
            bytes: size(&shape.name, &dims, shape.format)?,
            part: 0,
        };
        end = end
            .checked_add(tensor.bytes)
            .and_then(|end| end.checked_next_multiple_of(alignment))
            .ok_or_else(|| overflow(&tensor))?;
        tensors.push(tensor);
    }
    Ok(tensors)
}

/// The header as it grows.
struct Header {
    bytes: Vec<u8>,
}

impl Header {
    fn preamble(&mut self, tensors: usize, pairs: usize) {
        self.raw(b"GGUF");
        self.raw(&3_u32.to_le_bytes());
        self.count(tensors);
        self.count(pairs);
    }

    fn metadata(&mut self, metadata: &Metadata) -> Result<(), ParseError> {
        for (index, (key, value)) in (0..).zip(metadata.iter()) {
            let len = key.len() as u64;
            if len == 0 {
                return Err(ParseError::EmptyKey { index });
            }
            if len > KEY_BYTES_MAX {
                return Err(ParseError::LongKey { index, len });
            }
            self.string(key);
            self.value(key, value)?;
        }
        Ok(())
    }

    fn tensor(&mut self, tensor: &TensorInfo) {
        self.string(&tensor.name);
        self.raw(&(tensor.dims.len() as u32).to_le_bytes());
        for &dim in &tensor.dims {
            self.count(dim);
        }
        self.raw(&tensor.format.ggml_type().to_le_bytes());
        self.count(tensor.offset);
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn count(&mut self, count: usize) {
        self.raw(&(count as u64).to_le_bytes());
    }

    fn kind(&mut self, number: u32) {
        self.raw(&number.to_le_bytes());
    }

    fn string(&mut self, string: &str) {
        self.count(string.len());
        self.raw(string.as_bytes());
    }

    fn scalar<const N: usize>(&mut self, kind: u32, bytes: [u8; N]) {
        self.kind(kind);
        self.raw(&bytes);
    }

    fn numbers<T: Copy, const N: usize>(
        &mut self,
        kind: u32,
        values: &[T],
        bytes: impl Fn(T) -> [u8; N],
    ) {
        self.kind(kind);
        self.count(values.len());
        self.bytes
            .extend(values.iter().flat_map(|&value| bytes(value)));
    }

    fn value(&mut self, key: &str, value: &Value) -> Result<(), ParseError> {
        match value {
            Value::U8(v) => self.scalar(0, v.to_le_bytes()),
            Value::I8(v) => self.scalar(1, v.to_le_bytes()),
            Value::U16(v) => self.scalar(2, v.to_le_bytes()),
            Value::I16(v) => self.scalar(3, v.to_le_bytes()),
            Value::U32(v) => self.scalar(4, v.to_le_bytes()),
            Value::I32(v) => self.scalar(5, v.to_le_bytes()),
            Value::F32(v) => self.scalar(6, v.to_le_bytes()),
            Value::Bool(v) => self.scalar(7, [u8::from(*v)]),
            Value::String(v) => {
                self.kind(8);
                self.string(v);
            }
            Value::Array(v) => {
                self.kind(9);
                self.array(key, v, 1)?;
            }
            Value::U64(v) => self.scalar(10, v.to_le_bytes()),
            Value::I64(v) => self.scalar(11, v.to_le_bytes()),
            Value::F64(v) => self.scalar(12, v.to_le_bytes()),
        }
        Ok(())
    }

    fn array(&mut self, key: &str, array: &Array, depth: usize) -> Result<(), ParseError> {
        if depth > ARRAY_DEPTH_MAX {
            return Err(ParseError::ArrayDepth { key: shown(key) });
        }
        match array {
            Array::U8(v) => self.numbers(0, v, u8::to_le_bytes),
            Array::I8(v) => self.numbers(1, v, i8::to_le_bytes),
            Array::U16(v) => self.numbers(2, v, u16::to_le_bytes),
            Array::I16(v) => self.numbers(3, v, i16::to_le_bytes),
            Array::U32(v) => self.numbers(4, v, u32::to_le_bytes),
            Array::I32(v) => self.numbers(5, v, i32::to_le_bytes),
            Array::F32(v) => self.numbers(6, v, f32::to_le_bytes),
            Array::Bool(v) => self.numbers(7, v, |flag| [u8::from(flag)]),
            Array::String(v) => {
                self.kind(8);
                self.count(v.len());
                v.iter().for_each(|string| self.string(string));
            }
            Array::Array(v) => {
                self.kind(9);
                self.count(v.len());
                for array in v {
                    self.array(key, array, depth + 1)?;
                }
            }
            Array::U64(v) => self.numbers(10, v, u64::to_le_bytes),
            Array::I64(v) => self.numbers(11, v, i64::to_le_bytes),
            Array::F64(v) => self.numbers(12, v, f64::to_le_bytes),
        }
        Ok(())
    }
}
