//! What a node gives, in all and to each client.

use std::time::Duration;

/// The limits of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeLimits {
    /// Generations under way at once, of all clients. Default 16. The KV cache
    /// has room for as many of full length.
    pub sessions_max: usize,
    /// Generations of one client at once. Default 8.
    pub client_sessions_max: usize,
    /// Generations under way at once of which the node computes some layers
    /// and the edge the rest, of all clients. Default 4; 0 refuses to split. The
    /// KV cache of each run of layers in use has room for as many.
    pub split_sessions_max: usize,
    /// Tokens that one client may have chosen in all since the node started;
    /// `None`, the default, does not count.
    pub client_tokens_max: Option<u64>,
    /// Prompt columns in a pass that others wait for. Default 64: more read
    /// prompts faster, fewer hold up others less.
    pub prompt_columns: usize,
    /// How long a generation is kept whose edge is gone. Default 30 s.
    pub orphan: Duration,
    /// After how long a generation that asks for nothing, or whose edge does
    /// not read, may be closed for another that needs its place. Default 60 s.
    pub idle: Duration,
    /// Messages that wait to be sent to one generation's edge. Default 64.
    /// Beyond, the generation waits for its edge to read.
    pub outbox: usize,
    /// Messages of all edges that wait for the engine. Default 1024. Beyond,
    /// streams are not read.
    pub commands: usize,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            sessions_max: 16,
            client_sessions_max: 8,
            split_sessions_max: 4,
            client_tokens_max: None,
            prompt_columns: 64,
            orphan: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            outbox: 64,
            commands: 1024,
        }
    }
}
