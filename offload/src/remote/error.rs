//! Why no token came from a node.

use crate::{
    frames::FrameError,
    transport::{ConnectError, NodesError},
    wire::{Failure, Refused},
};
use outrigger_runtime::decoder::DecodeError;
use std::{fmt, time::Duration};

/// An error of a remote generation. None of them costs a token: what was
/// committed stands, and another decoder may go on.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// There is no link.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is none to any of the nodes.
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// The connection failed.
    #[error("the node cannot be reached: {0}")]
    Link(#[from] FrameError),
    /// The connection was ended.
    #[error("the node has closed the connection")]
    Closed,
    /// No answer came in time.
    #[error("the node has not answered for {} ms", .0.as_millis())]
    Silent(Duration),
    /// The node does not want to.
    #[error("the node refuses: {0}")]
    Refused(Refused),
    /// The node has come back with another model.
    #[error("the node now has {now}, and not {before}, with which the text was begun")]
    OtherModel {
        /// The model that it had, in words.
        before: String,
        /// The model that it has.
        now: String,
    },
    /// The node tried and failed.
    #[error("the node failed: {0}")]
    Failed(String),
    /// The node said what it should not have.
    #[error("the node broke the protocol: {0}")]
    Protocol(&'static str),
    /// It was cancelled from here.
    #[error("cancelled")]
    Cancelled,
}

impl RemoteError {
    /// Whether trying again later may succeed with nothing changed here.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_passing(),
            Self::Nodes(error) => !matches!(error, NodesError::Refused(_) | NodesError::Nobody),
            Self::Refused(refused) => {
                matches!(refused, Refused::Draining | Refused::Sessions { .. })
            }
            Self::Link(_)
            | Self::Closed
            | Self::Silent(_)
            | Self::OtherModel { .. }
            | Self::Failed(_) => true,
            Self::Protocol(_) | Self::Cancelled => false,
        }
    }
}

impl From<Failure> for RemoteError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refused) => Self::Refused(refused),
            Failure::Decode(what) => Self::Failed(what),
            Failure::Draining => Self::Refused(Refused::Draining),
        }
    }
}

impl From<RemoteError> for DecodeError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Cancelled => Self::Cancelled,
            error => Self::Elsewhere(Box::new(error)),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokenizer => f.write_str("its model has another tokenizer"),
            Self::Model => f.write_str("its model is another one"),
            Self::KernelSet { node } => {
                write!(
                    f,
                    "it computes with {node}, which gives other bits than this machine"
                )
            }
            Self::Draining => f.write_str("it is shutting down"),
            Self::Sessions { max } => {
                write!(f, "{max} generations are under way, as many as it allows")
            }
            Self::Context { max } => write!(f, "the text is longer than its {max} positions"),
            Self::Quota => f.write_str("this client has used up what it may use"),
            Self::Protocol { what } => write!(f, "it was sent {what}"),
            Self::Split => f.write_str("it does not compute layers for others"),
            Self::Layers { layers } => write!(f, "its model has the layers 0..{layers}"),
            Self::Stages { max } => {
                write!(
                    f,
                    "other edges use {max} other runs of layers, as many as it allows"
                )
            }
            Self::KvFormat { node } => {
                write!(
                    f,
                    "it stores keys and values in {node}, and this machine does not"
                )
            }
        }
    }
}
