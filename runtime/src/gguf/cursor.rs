//! A reader over bytes that never reads, counts or allocates past their end.

use super::error::{ParseError, shown};

/// What the parser is reading, for the error message.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    Header,
    Key(u64),
    Value(&'a str),
    Tensor(u64),
    NamedTensor(&'a str),
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header => f.write_str("the header"),
            Self::Key(index) => write!(f, "metadata key number {index}"),
            Self::Value(key) => write!(f, "metadata key `{}`", shown(key)),
            Self::Tensor(index) => write!(f, "the name of tensor number {index}"),
            Self::NamedTensor(name) => write!(f, "the description of tensor `{}`", shown(name)),
        }
    }
}

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn take(&mut self, len: u64, place: Place<'_>) -> Result<&'a [u8], ParseError> {
        let taken = usize::try_from(len)
            .ok()
            .and_then(|len| self.rest().get(..len))
            .ok_or_else(|| ParseError::Truncated {
                place: place.to_string(),
                len: self.len(),
            })?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        place: Place<'_>,
    ) -> Result<[u8; N], ParseError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64, place)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self, place: Place<'_>) -> Result<u32, ParseError> {
        self.array(place).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, place: Place<'_>) -> Result<u64, ParseError> {
        self.array(place).map(u64::from_le_bytes)
    }

    /// Reads a count of items that take at least `bytes_each` in the file,
    /// and refuses it when the rest of the file has no room for them.
    pub(super) fn count(
        &mut self,
        place: Place<'_>,
        what: &'static str,
        bytes_each: usize,
    ) -> Result<usize, ParseError> {
        let count = self.u64(place)?;
        self.room(count, place, what, bytes_each)
    }

    /// Checks a count that was read before.
    pub(super) fn room(
        &self,
        count: u64,
        place: Place<'_>,
        what: &'static str,
        bytes_each: usize,
    ) -> Result<usize, ParseError> {
        usize::try_from(count)
            .ok()
            .filter(|count| {
                count
                    .checked_mul(bytes_each)
                    .is_some_and(|bytes| bytes <= self.rest().len())
            })
            .ok_or_else(|| ParseError::Count {
                place: place.to_string(),
                what,
                count,
                len: self.len(),
            })
    }

    pub(super) fn string(&mut self, place: Place<'_>) -> Result<&'a str, ParseError> {
        let len = self.count(place, "bytes in a string", 1)?;
        let bytes = self.take(len as u64, place)?;
        std::str::from_utf8(bytes).map_err(|_| ParseError::Utf8 {
            place: place.to_string(),
        })
    }
}
