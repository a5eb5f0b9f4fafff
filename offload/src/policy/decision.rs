//! The record of a decision.

use super::{Mode, Prediction, Signals};
use serde::Serialize;
use std::fmt;

/// What was decided, on what grounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// When, in milliseconds since the chooser's zero.
    pub at_ms: u64,
    /// What was known.
    pub signals: Signals,
    /// Every mode with its cost or what bars it, in the order of [`Mode::ALL`].
    pub candidates: Vec<Candidate>,
    /// What was chosen; `None` if every mode is barred.
    pub choice: Option<Mode>,
    /// Whether that is another mode than before.
    pub changed: bool,
    /// Why, as one sentence.
    pub reason: String,
    /// What was taken for granted, or could not be weighed, a sentence each.
    pub notes: Vec<String>,
}

impl Decision {
    /// The prediction of what was chosen.
    pub fn prediction(&self) -> Option<&Prediction> {
        let choice = self.choice?;
        let chosen = self.candidates.iter().find(|one| one.mode == choice)?;
        chosen.prediction()
    }
}

/// A mode in a decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The mode.
    pub mode: Mode,
    /// How it stands.
    #[serde(flatten)]
    pub standing: Standing,
}

impl Candidate {
    /// Its prediction, unless it is barred.
    pub fn prediction(&self) -> Option<&Prediction> {
        match &self.standing {
            Standing::Open(prediction) => Some(prediction),
            Standing::Unpredicted { .. } | Standing::Barred(_) => None,
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(prediction) => write!(f, "{:.1} ms a token", prediction.cost_ms),
            Self::Unpredicted { unmeasured } => write!(f, "`{unmeasured}` is not measured yet"),
            Self::Barred(bar) => bar.fmt(f),
        }
    }
}

/// How a mode stands in a decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It may be chosen, at this cost.
    #[serde(rename = "predicted")]
    Open(Prediction),
    /// It may be chosen where no mode has a cost: a signal that its own rests
    /// on is not measured yet.
    Unpredicted {
        /// The signal.
        unmeasured: &'static str,
    },
    /// It may not.
    Barred(Bar),
}

/// What bars a mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Bar {
    /// The policy does not allow it.
    Policy,
    /// A gate is shut.
    Gate {
        /// Its name.
        gate: String,
        /// Its reason.
        reason: String,
    },
    /// A gate has no result, and the mode would leave the edge.
    UndecidedGate {
        /// Its name.
        gate: String,
        /// Why it has none.
        reason: String,
    },
    /// The policy wants the edge's bits, and the node is not known to give them.
    Bitwise,
    /// It cannot be used.
    Unfit {
        /// Why.
        reason: String,
    },
    /// Its first token would come too late, and another mode's would not.
    Deadline,
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy => f.write_str("the policy does not allow it"),
            Self::Gate { gate, reason } => write!(f, "gate `{gate}`: {reason}"),
            Self::UndecidedGate { gate, reason } => {
                write!(f, "gate `{gate}` cannot be decided: {reason}")
            }
            Self::Bitwise => f.write_str(
                "the policy requires the same bits, and the node is not known to compute them",
            ),
            Self::Unfit { reason } => f.write_str(reason),
            Self::Deadline => f.write_str("its first token would come after the deadline"),
        }
    }
}
