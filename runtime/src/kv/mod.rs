//! The KV cache: keys and values of past positions, in pages from one bounded
//! pool.
//!
//! A page holds [`KvConfig::page_positions`] consecutive positions of one
//! layer. A sequence is a list of pages per layer, so sequences share pages
//! (fork), layers with a sliding window let go of the pages behind it, and
//! nothing is ever moved.

mod cache;
mod error;
mod pool;
mod sequence;
mod snapshot;

pub use cache::{HeadRows, KvCache, KvPlace};
pub use error::KvError;
pub use outrigger_kernels::cpu::kv::KvFormat;
pub use sequence::SequenceId;
pub use snapshot::KvSnapshot;

/// What one layer keeps per position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerKv {
    /// Number of KV heads.
    pub heads: usize,
    /// Values in one head's key.
    pub key_len: usize,
    /// Values in one head's value.
    pub value_len: usize,
    /// Sliding window: a position sees itself and the `window - 1` before it.
    pub window: Option<u32>,
}

/// How a cache is sized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvConfig {
    /// How keys and values are stored. Default f16; f32 is exact and twice the
    /// size, q8_0 about half the size of f16 at a small loss.
    pub format: KvFormat,
    /// Positions in a page, a multiple of 16. Default 64: larger pages waste more at a
    /// sequence's end, smaller ones cost more bookkeeping.
    pub page_positions: usize,
    /// Bytes of the whole pool. They become resident only as they are used.
    pub bytes_max: usize,
    /// Longest sequence, in positions.
    pub positions_max: u32,
    /// Positions kept behind a sliding window, so that a sequence can be
    /// truncated by as many without a rebuild. Default [`ROLLBACK`]: a few
    /// windows of speculative tokens, or the undoing of a short answer.
    pub rollback: u32,
}

/// The default of [`KvConfig::rollback`].
pub const ROLLBACK: u32 = 256;

impl KvConfig {
    /// Defaults for `sequences` sequences of up to `positions` positions.
    ///
    /// The pool has room for all of them at full length.
    pub fn for_context(
        layers: &[LayerKv],
        format: KvFormat,
        positions: u32,
        sequences: usize,
    ) -> Result<Self, KvError> {
        let mut config = Self {
            format,
            page_positions: 64,
            bytes_max: 0,
            positions_max: positions,
            rollback: ROLLBACK,
        };
        let page = pool::page_bytes(layers, &config)?;
        // One page more per layer and sequence: a fork may begin inside one.
        let pages = (positions as usize).div_ceil(config.page_positions) + 1;
        config.bytes_max = page
            .checked_mul(pages)
            .and_then(|n| n.checked_mul(layers.len()))
            .and_then(|n| n.checked_mul(sequences))
            .ok_or(KvError::TooLarge { positions })?;
        Ok(config)
    }
}
