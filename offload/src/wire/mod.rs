//! The protocol, without I/O; `docs/protocol.md` describes it.
//!
//! A connection has one control stream, on which the two ends introduce
//! themselves, and a stream for each generation. Both carry frames: a header
//! of fixed size and a body in postcard. Every step of a generation names its
//! epoch and position, so that what comes twice, late or out of order is
//! recognised and does nothing.

mod error;
mod frame;
mod message;
mod number_format;
mod stage;
mod states;

pub use error::WireError;
pub use frame::{BODY_BYTES_MAX, HEADER_BYTES, Header, MessageSet, decode, encode};
pub use message::{
    Accepted, Append, Failed, Failure, Goodbye, Hello, ModelIdentity, Open, Refused, Run,
    StepTimes, Stop, ToEdge, ToNode, Tokens, Verify, Welcome, WireToken,
};

pub use number_format::NumberFormat;
pub use stage::{OpenStage, Staged};
pub use states::{
    STATES_BYTES_MAX, STATES_COLUMNS_MAX, STATES_DOWN, STATES_FIELDS_BYTES, STATES_HEADER_BYTES,
    STATES_UP, StatesHeader, StatesShape,
};

/// The version of the protocol. Ends that differ in it do not talk.
pub const PROTOCOL_VERSION: u16 = 1;

/// Most tokens in one frame; longer prompts take several.
pub const TOKENS_PER_FRAME_MAX: usize = 16 << 10;

/// Most tokens in one verification.
pub const DRAFT_TOKENS_MAX: usize = 32;

/// Most tokens with a bias of their own, and most texts that break DRY's
/// repetitions: a node looks at each for every token, or for the vocabulary.
pub const LOGIT_BIAS_MAX: usize = 4096;
/// See [`LOGIT_BIAS_MAX`].
pub const DRY_BREAKERS_MAX: usize = 64;

/// Most alternatives reported with a token.
pub const TOP_LOGPROBS_MAX: usize = 20;
