//! Frames: a header of fixed size, and a body of the length that it names.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0..2 | version of the protocol, little-endian |
//! | 2 | kind of the body |
//! | 3 | 0 |
//! | 4..8 | length of the body in bytes, little-endian |

use super::{PROTOCOL_VERSION, WireError};
use serde::{Serialize, de::DeserializeOwned};

/// Bytes of a header.
pub const HEADER_BYTES: usize = 8;

/// Most bytes of a body: a full frame of tokens at five bytes each, and room
/// for what stands beside them.
pub const BODY_BYTES_MAX: u32 = 128 << 10;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which message the body holds.
    pub kind: u8,
    /// Bytes of the body.
    pub body_bytes: u32,
}

impl Header {
    /// Reads a header, which is refused before anything is allocated for its
    /// body.
    pub fn parse(bytes: [u8; HEADER_BYTES]) -> Result<Self, WireError> {
        Self::parse_up_to(bytes, BODY_BYTES_MAX as usize)
    }

    /// The same for a body of up to `max` bytes.
    pub fn parse_up_to(bytes: [u8; HEADER_BYTES], max: usize) -> Result<Self, WireError> {
        let [version_low, version_high, kind, _, length @ ..] = bytes;
        let found = u16::from_le_bytes([version_low, version_high]);
        if found != PROTOCOL_VERSION {
            return Err(WireError::Version { found });
        }
        let body_bytes = u32::from_le_bytes(length);
        if body_bytes as usize > max {
            return Err(WireError::TooLong {
                bytes: body_bytes,
                max,
            });
        }
        Ok(Self { kind, body_bytes })
    }
}

/// A set of messages that one end sends.
pub trait MessageSet: Sized {
    /// The kind of this message.
    fn kind(&self) -> u8;
    /// Appends its body.
    fn write_body(&self, out: Vec<u8>) -> Result<Vec<u8>, WireError>;
    /// Reads a body and holds its numbers against the limits.
    fn read_body(kind: u8, body: &[u8]) -> Result<Self, WireError>;
}

/// The frame of a message.
pub fn encode<M: MessageSet>(message: &M) -> Result<Vec<u8>, WireError> {
    let mut frame = message.write_body(vec![0; HEADER_BYTES])?;
    let bytes = frame.len() - HEADER_BYTES;
    let body_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    if body_bytes > BODY_BYTES_MAX {
        return Err(WireError::TooLong {
            bytes: body_bytes,
            max: BODY_BYTES_MAX as usize,
        });
    }
    frame[..2].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    frame[2] = message.kind();
    frame[4..HEADER_BYTES].copy_from_slice(&body_bytes.to_le_bytes());
    Ok(frame)
}

/// The message in a body whose header has been read.
pub fn decode<M: MessageSet>(header: Header, body: &[u8]) -> Result<M, WireError> {
    M::read_body(header.kind, body)
}

/// Appends `value` in postcard.
pub(super) fn write<T: Serialize>(
    kind: &'static str,
    value: &T,
    out: Vec<u8>,
) -> Result<Vec<u8>, WireError> {
    postcard::to_extend(value, out).map_err(|error| WireError::Body {
        kind,
        reason: error.to_string(),
    })
}

/// Reads a value in postcard that takes all of `body`.
pub(super) fn read<T: DeserializeOwned>(kind: &'static str, body: &[u8]) -> Result<T, WireError> {
    let failed = |reason: String| WireError::Body { kind, reason };
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(failed(format!("{} bytes are left over", rest.len()))),
        Err(error) => Err(failed(error.to_string())),
    }
}
