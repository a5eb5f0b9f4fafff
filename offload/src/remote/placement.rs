//! What a placed generation asks of its surroundings, and tells them.

use super::Reach;
use crate::{
    Waiter,
    policy::{Decision, Mode, Policy, Signals, Watched},
};
use outrigger_runtime::decoder::Decoder;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A decoder for each mode that can be had.
pub type Decoders = BTreeMap<Mode, Box<dyn Decoder>>;

/// Where a policy comes from.
pub enum PolicySource {
    /// It stays as it is.
    Fixed(Arc<Policy>),
    /// A file that may be edited meanwhile.
    Watched(Watched),
}

impl PolicySource {
    /// The policy as it is now.
    pub fn policy(&self) -> Arc<Policy> {
        match self {
            Self::Fixed(policy) => policy.clone(),
            Self::Watched(watched) => watched.policy(),
        }
    }
}

/// Why a policy gave no decoder.
#[derive(Debug, thiserror::Error)]
#[error("the policy allows nothing that could go on: {reason}")]
pub struct NothingAllowed {
    pub(super) reason: String,
}

/// Who goes on after a failure.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// A mode of the policy's choice; `behind` are the positions that this
    /// machine computes first, where it is this machine.
    Mode {
        /// The mode.
        mode: Mode,
        /// Positions to be computed again.
        behind: Option<u32>,
    },
    /// Another model on this machine.
    Fallback {
        /// Its name.
        model: String,
        /// Positions to be computed first.
        behind: Option<u32>,
    },
    /// Nobody, until a node is back or so much time has passed.
    Wait(Duration),
    /// Nobody.
    Nobody,
}

/// What a user is told of placements.
#[derive(Debug)]
pub enum Placement<'a> {
    /// A policy chose another mode.
    Changed(&'a Decision),
    /// A mode failed.
    Failed {
        /// The mode.
        mode: Mode,
        /// What happened.
        why: &'a str,
        /// What now.
        next: Next,
    },
    /// Nobody may begin to write before a node is there.
    Waiting {
        /// Why.
        why: &'a str,
        /// How long at most.
        most: Duration,
    },
    /// Another model writes from the beginning, because no node answers.
    Instead {
        /// Its name.
        model: &'a str,
    },
    /// A node goes on that had failed, or had not answered yet.
    Resumed {
        /// How.
        mode: Mode,
    },
}

/// What a placed decoder asks and tells.
pub struct Surroundings {
    /// What is known of the edge, the link and the node, without the times
    /// that the decoder measures.
    pub sense: Box<dyn FnMut() -> Signals + Send>,
    /// Whether the node answers.
    pub reach: Box<dyn Reach>,
    /// Hears of placements.
    pub tell: Box<dyn FnMut(Placement<'_>) + Send>,
}

/// Decoders of a node that is another than at the last call, in place of those
/// before.
pub type Arrivals = Box<dyn FnMut() -> Option<Decoders> + Send>;

/// Makes the decoder of the fallback model of this path.
pub type Fallback = Box<dyn FnMut(&str) -> Result<Box<dyn Decoder>, String> + Send>;

/// How a generation waits for a node where nobody else may go on.
pub struct Patience {
    /// What it waits on.
    pub waiter: Waiter,
    /// How long at most.
    pub most: Duration,
}
