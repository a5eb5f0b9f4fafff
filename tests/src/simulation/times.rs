//! What computing takes.

use std::time::Duration;

/// What the steps of the models take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// A decode step of the target on the edge.
    pub local_ms: u32,
    /// Reading a prompt on the edge, per token.
    pub prefill_local_ms: u32,
    /// A step of one column at the node.
    pub cloud_ms: u32,
    /// What each further column adds there, where tokens are decoded or
    /// verified.
    pub column_ms: u32,
    /// Reading a prompt at the node, per token.
    pub prefill_cloud_ms: u32,
    /// A token of the draft on the edge.
    pub draft_ms: u32,
    /// A token of the draft at the node.
    pub node_draft_ms: u32,
}

impl Times {
    /// A verify pass of so many columns at the node.
    pub fn verify(&self, columns: u32) -> Duration {
        ms(self.cloud_ms + self.column_ms * columns.saturating_sub(1))
    }
}

pub(super) fn ms(count: u32) -> Duration {
    Duration::from_millis(count.into())
}
