//! How an edge and a node agree on the layers that the node computes.

use super::NumberFormat;
use serde::{Deserialize, Serialize};

/// Asks for a run of layers, and begins a generation's stream of states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenStage {
    /// The edge's name for the generation, the same after a reconnect.
    pub session: u64,
    /// SHA-256 of the edge's tensors: a split needs the same model.
    pub model: [u8; 32],
    /// The first layer, from 0.
    pub first: u32,
    /// The layer behind the last.
    pub end: u32,
    /// How values are to cross, both ways.
    pub numbers: NumberFormat,
    /// The name of the format in which the edge stores keys and values.
    pub kv: String,
}

/// A node's answer to [`OpenStage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Values in a hidden state.
    pub width: u32,
    /// Most columns in a frame of states.
    pub columns_max: u32,
    /// Positions that the generation may have.
    pub context: u32,
    /// Positions of the generation that the node has from before.
    pub len: u32,
    /// Positions by which the generation may go back without beginning anew.
    pub rollback: u32,
}
