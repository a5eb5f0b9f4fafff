//! Offload under simulated time: the node, the links, the decoders and the
//! policy as they are, with computing replaced by a clock and the network by
//! one in memory.
//!
//! A simulation runs on one thread. Decoders run on it as they do in the
//! binary and own a runtime whose clock is paused; whatever is spawned there
//! (QUIC's endpoints, the node's engine, heartbeats) moves while a decoder
//! waits, and time goes on by itself when nobody has anything to do. So a run
//! takes as long as its computing, and the same seed gives the same run.
//!
//! Times of computing and delays of links are whole milliseconds, because the
//! clock counts those.

mod acceptance;
mod compute;
mod draft;
pub mod faults;
pub mod grid;
mod ground;
mod language;
mod local;
mod memory;
mod times;

pub use acceptance::{BundledPair, bundled_pair, bundled_tokenizer};
pub use compute::ClockCompute;
pub use draft::ClockDraft;
pub use ground::{EDGE, Failure, Ground, Host, NODE, Served, Setting, Trust, address};
pub use language::Language;
pub use local::ClockDecoder;
pub use times::Times;
