//! What a decision may rest on.

use serde::{Deserialize, Serialize};

/// How far a request may be shown to others. The request says it; what follows
/// from it is for the policy's gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privacy {
    /// Anyone may read it.
    Public,
    /// Only machines of the same owner may read it.
    Internal,
    /// Only this machine may read it.
    Private,
}

impl Privacy {
    /// All classes.
    pub const ALL: [Self; 3] = [Self::Public, Self::Internal, Self::Private];

    /// The name in conditions and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Private => "private",
        }
    }
}

/// What is known of the link, the node, the edge and the request at one time.
///
/// What is not known is `None` (in JSON `null` or left out). It is never taken
/// for zero, false or a typical value, with three exceptions that a decision
/// names in its notes: an unknown `loss` counts as none, an unknown bandwidth
/// is not counted where only token ids cross, and without `rtt_var_ms` half of
/// the RTT is taken, as QUIC does after its first sample (RFC 9002, 5.3). A
/// number that is not finite or is negative counts as unknown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signals {
    /// Whether a node answers.
    pub online: Option<bool>,
    /// Whether the link is paid for by volume.
    pub metered: Option<bool>,
    /// Round trip, smoothed, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Mean deviation of the round trip, in milliseconds.
    pub rtt_var_ms: Option<f64>,
    /// 95th percentile of the round trip, in milliseconds.
    pub rtt_p95_ms: Option<f64>,
    /// Bandwidth from edge to node, in megabits (10^6 bits) per second.
    pub up_mbit_s: Option<f64>,
    /// Bandwidth from node to edge, in megabits (10^6 bits) per second.
    pub down_mbit_s: Option<f64>,
    /// Share of packets lost each way, from 0 to 1.
    pub loss: Option<f64>,

    /// Steps that wait at the node. Times of the node include the wait, so
    /// only gates use it.
    pub queue_depth: Option<f64>,
    /// Whether the node has the edge's target model.
    pub node_model_matches: Option<bool>,
    /// Whether the node's model has the edge's tokenizer.
    pub node_tokenizer_matches: Option<bool>,
    /// Whether the node computes with the edge's kernel set, bit for bit.
    pub node_kernels_match: Option<bool>,
    /// Whether the node has a model that drafts for its own.
    pub node_has_draft: Option<bool>,
    /// Whether the edge has the target model.
    pub edge_has_model: Option<bool>,
    /// Whether the edge has a model that drafts.
    pub edge_has_draft: Option<bool>,

    /// A decode step of the target on the edge, in milliseconds.
    pub t_local_ms: Option<f64>,
    /// A decode step of the target at the node with its wait, in milliseconds.
    pub t_cloud_ms: Option<f64>,
    /// A verify pass at the node of no columns, with its wait, in milliseconds.
    pub t_verify_base_ms: Option<f64>,
    /// What each column adds to a verify pass, in milliseconds.
    pub t_verify_per_token_ms: Option<f64>,
    /// A draft step on the edge, in milliseconds.
    pub t_draft_ms: Option<f64>,
    /// A draft step at the node, in milliseconds.
    pub t_node_draft_ms: Option<f64>,
    /// A decode step of the edge's layers of a split, in milliseconds.
    pub t_edge_split_ms: Option<f64>,
    /// A decode step of the node's layers of a split, in milliseconds.
    pub t_node_split_ms: Option<f64>,
    /// Reading a prompt on the edge, in milliseconds per token.
    pub prefill_local_ms: Option<f64>,
    /// Reading a prompt at the node, in milliseconds per token.
    pub prefill_cloud_ms: Option<f64>,
    /// Reading a prompt with the layers split, in milliseconds per token.
    pub prefill_split_ms: Option<f64>,
    /// For each place in a draft of the edge, the share of drafts accepted
    /// there among those accepted up to there, from 0 to 1. Past its end the
    /// last is taken to go on. Gates see the mean.
    pub acceptance: Vec<f32>,
    /// The same for drafts of the node.
    pub node_acceptance: Vec<f32>,
    /// One hidden state on the wire, in bytes.
    pub hidden_bytes: Option<f64>,

    /// Tokens of the request's prompt.
    pub prompt_tokens: Option<f64>,
    /// Tokens so far, prompt and answer.
    pub context_tokens: Option<f64>,
    /// Privacy class of the request.
    pub privacy: Option<Privacy>,
    /// Time within which the first token is due, in milliseconds.
    pub deadline_ms: Option<f64>,
    /// Spent so far, in the currency of the node's price.
    pub cost_so_far: Option<f64>,
    /// Tokens that nodes have computed for this user so far.
    pub cloud_tokens_so_far: Option<f64>,

    /// Share of time in which work waits for memory, or of memory in use where
    /// the system does not measure that, from 0 to 1.
    pub memory_pressure: Option<f64>,
    /// Whether the edge runs on its battery.
    pub on_battery: Option<bool>,
    /// Charge of the battery, from 0 to 1.
    pub charge: Option<f64>,
    /// Temperature of the hottest sensor, in degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Whether the edge computes slower because it is hot.
    pub throttled: Option<bool>,
    /// Runnable tasks over the last minute, per processor.
    pub load: Option<f64>,
    /// Power that computing takes on the edge beyond idling, in watts.
    pub edge_power_w: Option<f64>,
}
