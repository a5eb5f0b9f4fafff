//! What can go wrong in a KV cache.

use super::SequenceId;
use outrigger_kernels::cpu::kv::KEY_TILE;

/// An operation on a KV cache that could not be done. The cache is as before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KvError {
    /// All pages are in use.
    #[error(
        "the KV cache is full: {needed} pages are needed and {free} of {total} are free; \
         use a shorter context or a larger KV budget"
    )]
    Full {
        /// Pages the operation needs.
        needed: usize,
        /// Pages that are free.
        free: usize,
        /// Pages in the pool.
        total: usize,
    },
    /// The sequence holds as many pages as it may.
    #[error("{sequence} may hold {quota} pages of KV cache and needs {needed}")]
    Quota {
        /// The sequence.
        sequence: SequenceId,
        /// Its quota.
        quota: usize,
        /// What it would hold.
        needed: usize,
    },
    /// The sequence would outgrow the context.
    #[error("{sequence} would have {needed} positions, but the context holds {max}")]
    ContextExceeded {
        /// The sequence.
        sequence: SequenceId,
        /// Positions it would have.
        needed: u64,
        /// Positions a sequence may have.
        max: u32,
    },
    /// No such sequence.
    #[error("{0} does not exist")]
    Unknown(SequenceId),
    /// The sequence is there already.
    #[error("{0} exists already")]
    Exists(SequenceId),
    /// A length beyond the sequence's own was asked for.
    #[error("{sequence} has {len} positions, not {asked}")]
    Beyond {
        /// The sequence.
        sequence: SequenceId,
        /// Its length.
        len: u32,
        /// The length asked for.
        asked: u32,
    },
    /// The head size does not fit the format.
    #[error("a KV cache in {format} cannot hold heads of {values} values; use f16 or f32")]
    HeadSize {
        /// The format.
        format: &'static str,
        /// Values in a head.
        values: usize,
    },
    /// A page's size is not a multiple of what keys are stored by.
    #[error("a page of {0} positions is not a positive multiple of {KEY_TILE}")]
    PagePositions(usize),
    /// The sizes overflow, or the system does not have the memory.
    #[error("there is no memory for a KV cache of {positions} positions; use a shorter context")]
    TooLarge {
        /// Positions asked for.
        positions: u32,
    },
    /// A snapshot of another model or another cache format.
    #[error("the KV snapshot was taken of another model or cache format")]
    SnapshotMismatch,
}
