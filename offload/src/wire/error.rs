//! What can be wrong with bytes that came over the wire.

use super::PROTOCOL_VERSION;

/// A frame that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The frame is of another version of the protocol.
    #[error("the peer speaks version {found} of the protocol, this is version {PROTOCOL_VERSION}")]
    Version {
        /// The version in its header.
        found: u16,
    },
    /// A frame of no known kind.
    #[error("a frame of kind {kind} is not known")]
    Kind {
        /// The kind in its header.
        kind: u8,
    },
    /// The body is longer than such a frame's may be.
    #[error("a frame of {bytes} bytes is longer than the {max} that are allowed")]
    TooLong {
        /// The length in its header.
        bytes: u32,
        /// The longest that is taken.
        max: usize,
    },
    /// The body is not what its kind says.
    #[error("the body of a `{kind}` frame cannot be read: {reason}")]
    Body {
        /// The frame's kind.
        kind: &'static str,
        /// What postcard found.
        reason: String,
    },
    /// A number in the body is beyond its limit.
    #[error("a `{kind}` frame has {found} {what} where {max} are allowed")]
    Limit {
        /// The frame's kind.
        kind: &'static str,
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much there may be.
        max: usize,
    },
}
