//! Files written by hand.

use crate::allocator::read;

pub(crate) const F32: u32 = 0;
pub(crate) const Q4_0: u32 = 2;

#[track_caller]
pub(crate) fn refused(file: &Bytes, sentence: &str) {
    assert_eq!(read(&file.0).unwrap_err(), sentence);
}

/// A file written by hand, so that anything can be wrong with it.
#[derive(Clone)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Bytes {
    pub(crate) fn header(tensors: u64, keys: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(keys)
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn string(self, text: &str) -> Self {
        self.u64(text.len() as u64).raw(text.as_bytes())
    }

    pub(crate) fn u32_key(self, key: &str, value: u32) -> Self {
        self.string(key).u32(4).u32(value)
    }

    pub(crate) fn array_key(self, key: &str, element: u32, count: u64) -> Self {
        self.string(key).u32(9).u32(element).u64(count)
    }

    pub(crate) fn tensor(self, name: &str, dims: &[u64], format: u32, offset: u64) -> Self {
        let named = self.string(name).u32(dims.len() as u32);
        let shaped = dims.iter().fold(named, |bytes, &dim| bytes.u64(dim));
        shaped.u32(format).u64(offset)
    }

    /// Zeros up to the data section, and `bytes` of them in it.
    pub(crate) fn data(mut self, bytes: usize) -> Self {
        let start = self.0.len().next_multiple_of(32);
        self.0.resize(start + bytes, 0);
        self
    }
}
