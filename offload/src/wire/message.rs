//! What the two ends say to each other.

use super::{
    DRAFT_TOKENS_MAX, DRY_BREAKERS_MAX, LOGIT_BIAS_MAX, OpenStage, Staged, TOKENS_PER_FRAME_MAX,
    TOP_LOGPROBS_MAX, WireError,
    frame::{MessageSet, read, write},
};
use outrigger_runtime::{
    sampler::{SamplerParams, SamplerState},
    tokenizer::TokenId,
};
use serde::{Deserialize, Serialize};

/// What a model is to the other end. Weights never cross the wire: both ends
/// map their own file, and these say whether the files go together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// SHA-256 of all tensors: names, types, shapes and bytes.
    pub model: [u8; 32],
    /// SHA-256 of the vocabulary and of what decides how text is cut into it.
    pub tokenizer: [u8; 32],
    /// The model's title, for people.
    pub title: String,
    /// Names of the tensors' types, the most frequent first.
    pub quant: String,
    /// The code that computes; equal names mean equal bits.
    pub kernel_set: String,
    /// Positions that a sequence may have.
    pub context: u32,
    /// Values in a row of logits.
    pub vocab: u32,
}

/// An edge's introduction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The edge's own target model; `None` if it has none.
    pub model: Option<ModelIdentity>,
    /// The digest of the tokenizer that its token ids are of.
    pub tokenizer: [u8; 32],
    /// Whether it wants bits and not only weights to be the same.
    pub require_bitwise: bool,
}

/// A node's answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The node's model.
    pub model: ModelIdentity,
    /// Generations that this edge may have under way at once.
    pub sessions_max: u32,
    /// Whether the node can draft for itself.
    pub drafts: bool,
    /// What its steps take while nobody else is served.
    pub times: StepTimes,
}

/// What a model's steps take, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepTimes {
    /// A step of one column.
    pub step_ms: f32,
    /// Reading a prompt, per token.
    pub prefill_ms: f32,
    /// A verify pass of 8 columns.
    pub verify_ms: f32,
}

/// A refusal, before anything was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refused {
    /// The tokenizers differ, so ids do not mean the same.
    Tokenizer,
    /// The models differ where the same was asked for.
    Model,
    /// The kernel sets differ where the same bits were asked for.
    KernelSet {
        /// The node's.
        node: String,
    },
    /// The node takes no more work.
    Draining,
    /// As many generations as may be are under way.
    Sessions {
        /// How many may be.
        max: u32,
    },
    /// The transcript is longer than a sequence may be.
    Context {
        /// How long it may be.
        max: u32,
    },
    /// The client has used up what it may use.
    Quota,
    /// A message does not fit what came before it.
    Protocol {
        /// What is wrong.
        what: String,
    },
    /// The node does not compute layers for others.
    Split,
    /// The layers asked for are not a run of the model's.
    Layers {
        /// How many it has.
        layers: u32,
    },
    /// As many different runs of layers as may be are in use.
    Stages {
        /// How many may be.
        max: u32,
    },
    /// Keys and values are stored in another format.
    KvFormat {
        /// The node's.
        node: String,
    },
}

/// Begins a generation on a stream of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// The edge's name for it, the same after a reconnect.
    pub session: u64,
    /// How tokens are chosen; the seed is set.
    pub sampling: SamplerParams,
    /// Whether log-probabilities are wanted, and of how many other tokens.
    pub logprobs: Option<u8>,
    /// Most tokens that the node will choose for it.
    pub tokens_max: u32,
    /// Whether the node's draft, if it has one, is to guess for it while it
    /// runs.
    pub draft: bool,
}

/// Tokens of the transcript, from `position` on. What the node has beyond it
/// in an older epoch is forgotten; what it has already is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// Rises whenever the edge goes back.
    pub epoch: u32,
    /// Position of the first token.
    pub position: u32,
    /// Whether they are a prompt's, else generated.
    pub prompt: bool,
    /// Whether they begin a prompt, else they continue what is before them.
    pub begins: bool,
    /// The tokens.
    pub tokens: Vec<TokenId>,
}

/// Asks for the tokens behind the transcript, as fast as they come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The epoch.
    pub epoch: u32,
    /// The transcript's length.
    pub position: u32,
    /// Most tokens wanted.
    pub tokens_max: u32,
    /// The sampler's state there.
    pub state: SamplerState,
}

/// Asks which of some guesses the model would have chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verify {
    /// The epoch.
    pub epoch: u32,
    /// The transcript's length.
    pub position: u32,
    /// The sampler's state there.
    pub state: SamplerState,
    /// The guesses, from `position` on.
    pub tokens: Vec<TokenId>,
}

/// Ends a [`Run`]. The transcript stays, with what the node chose meanwhile;
/// so what follows takes an epoch behind this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// The epoch that begins with it.
    pub epoch: u32,
}

/// Ends a connection in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye;

/// One token that the node chose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WireToken {
    /// The token.
    pub token: TokenId,
    /// The sampler's state once it is committed.
    pub state: SamplerState,
    /// Its log-probability, where asked for.
    pub logprob: Option<f32>,
    /// The most likely tokens in its place with their log-probabilities.
    pub top: Vec<(TokenId, f32)>,
}

/// Tokens of the model's choice, from `position` on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    /// The epoch of the request.
    pub epoch: u32,
    /// Position of the first.
    pub position: u32,
    /// The tokens, at least one.
    pub tokens: Vec<WireToken>,
    /// Tokens that will come behind these without being asked for: none behind
    /// one at which the model ends its text.
    pub left: u32,
    /// Milliseconds from taking the request, or from the token before, to
    /// these: what the node itself took.
    pub took_ms: f32,
    /// Columns of this generation in the pass that they come of.
    pub columns: u32,
    /// Generations that shared the node meanwhile, this one included.
    pub sharing: u32,
}

/// How far the node has come in a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The epoch.
    pub epoch: u32,
    /// Positions computed.
    pub done: u32,
    /// Positions to compute.
    pub total: u32,
}

/// Why a generation cannot go on at the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The request was refused.
    Refused(Refused),
    /// The model or the sampler failed.
    Decode(String),
    /// The node is going away.
    Draining,
}

/// Says that a request failed. Nothing behind the tokens already sent counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The epoch of the request.
    pub epoch: u32,
    /// Why.
    pub failure: Failure,
}

macro_rules! messages {
    (
        $(#[$doc:meta])*
        $set:ident { $($kind:literal $name:literal $variant:ident($body:ty),)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)] // each is said at its body
        pub enum $set {
            $($variant($body),)*
        }

        impl MessageSet for $set {
            fn kind(&self) -> u8 {
                match self {
                    $(Self::$variant(_) => $kind,)*
                }
            }

            fn write_body(&self, out: Vec<u8>) -> Result<Vec<u8>, WireError> {
                match self {
                    $(Self::$variant(body) => write($name, body, out),)*
                }
            }

            fn read_body(kind: u8, body: &[u8]) -> Result<Self, WireError> {
                let message = match kind {
                    $($kind => Self::$variant(read($name, body)?),)*
                    kind => return Err(WireError::Kind { kind }),
                };
                message.check()?;
                Ok(message)
            }
        }
    };
}

messages! {
    /// What an edge sends.
    ToNode {
        1 "hello" Hello(Hello),
        2 "open" Open(Open),
        3 "append" Append(Append),
        4 "run" Run(Run),
        5 "verify" Verify(Verify),
        6 "stop" Stop(Stop),
        7 "goodbye" Goodbye(Goodbye),
        8 "ping" Ping(u64),
        16 "stage" OpenStage(OpenStage),
    }
}

messages! {
    /// What a node sends.
    ToEdge {
        65 "welcome" Welcome(Box<Welcome>),
        66 "refused" Refused(Refused),
        67 "accepted" Accepted(Accepted),
        68 "tokens" Tokens(Tokens),
        69 "failed" Failed(Failed),
        70 "pong" Pong(u64),
        80 "staged" Staged(Staged),
    }
}

impl ToNode {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Append(append) => limit(
                "append",
                "tokens",
                append.tokens.len(),
                TOKENS_PER_FRAME_MAX,
            ),
            Self::Verify(verify) => {
                limit("verify", "tokens", verify.tokens.len(), DRAFT_TOKENS_MAX)
            }
            Self::Open(open) => {
                let top = open.logprobs.map_or(0, usize::from);
                limit("open", "alternatives", top, TOP_LOGPROBS_MAX)?;
                let biases = open.sampling.logit_bias.len();
                limit("open", "biases", biases, LOGIT_BIAS_MAX)?;
                let breakers = open.sampling.dry_sequence_breakers.len();
                limit("open", "breakers", breakers, DRY_BREAKERS_MAX)
            }
            _ => Ok(()),
        }
    }
}

impl ToEdge {
    fn check(&self) -> Result<(), WireError> {
        match self {
            Self::Tokens(tokens) => {
                limit(
                    "tokens",
                    "tokens",
                    tokens.tokens.len(),
                    TOKENS_PER_FRAME_MAX,
                )?;
                let top = tokens.tokens.iter().map(|token| token.top.len());
                limit(
                    "tokens",
                    "alternatives",
                    top.max().unwrap_or(0),
                    TOP_LOGPROBS_MAX,
                )
            }
            _ => Ok(()),
        }
    }
}

fn limit(
    kind: &'static str,
    what: &'static str,
    found: usize,
    max: usize,
) -> Result<(), WireError> {
    if found <= max {
        return Ok(());
    }
    Err(WireError::Limit {
        kind,
        what,
        found,
        max,
    })
}
