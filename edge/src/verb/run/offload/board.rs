//! What is told of a placed generation.

use super::way::Way;
use crate::{printable::Printable, verb::run::status::StatusLine};
use outrigger_offload::{
    policy::{Decision, Mode, Standing},
    remote::{Next, NodeLink, Placement, Reach as _, Traffic},
};
use serde::Serialize;
use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Decisions that are kept; the oldest go.
const DECISIONS_MAX: usize = 1000;

/// Tells the user in lines, and keeps what was decided.
pub(crate) struct Board {
    names: String,
    link: NodeLink,
    status: StatusLine,
    decisions: Mutex<Vec<DecisionRecord>>,
}

/// A change of mode, and why.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DecisionRecord {
    /// Milliseconds since the decoder was made.
    at_ms: u64,
    /// Tokens of the text by then, prompt included.
    tokens: Option<f64>,
    mode: Option<Mode>,
    reason: String,
    candidates: Vec<CandidateRecord>,
}

#[derive(Debug, Clone, Serialize)]
struct CandidateRecord {
    mode: Mode,
    /// What a token was predicted to cost, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_ms: Option<f64>,
    /// Why there is no prediction.
    #[serde(skip_serializing_if = "Option::is_none")]
    why_not: Option<String>,
}

impl From<&Decision> for DecisionRecord {
    fn from(decision: &Decision) -> Self {
        let candidates = decision.candidates.iter().map(|candidate| {
            let (cost_ms, why_not) = match &candidate.standing {
                Standing::Open(prediction) => {
                    (Some((prediction.cost_ms * 1e3).round() / 1e3), None)
                }
                other => (None, Some(other.to_string())),
            };
            CandidateRecord {
                mode: candidate.mode,
                cost_ms,
                why_not,
            }
        });
        Self {
            at_ms: decision.at_ms,
            tokens: decision.signals.context_tokens,
            mode: decision.choice,
            reason: decision.reason.clone(),
            candidates: candidates.collect(),
        }
    }
}

impl Board {
    pub(super) fn new(way: &Way, status: StatusLine) -> Self {
        Self {
            names: way.names.clone(),
            link: way.link.clone(),
            status,
            decisions: Mutex::default(),
        }
    }

    /// Says something in a line of its own.
    pub(super) fn say(&self, line: fmt::Arguments<'_>) {
        let line = line.to_string();
        self.status.say(format_args!("{}", Printable::line(&line)));
    }

    /// The changes of mode so far, which are forgotten here.
    pub(crate) fn take_decisions(&self) -> Vec<DecisionRecord> {
        let decisions = self.decisions.lock();
        std::mem::take(&mut *decisions.unwrap_or_else(PoisonError::into_inner))
    }

    /// The round trip, while there is a link.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        let estimate = self.link.estimate().and_then(|estimate| estimate.srtt());
        estimate.or_else(|| self.link.rtt())
    }

    /// Bytes that have crossed so far.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        self.link.traffic()
    }

    fn node(&self) -> String {
        let linked = self.link.linked();
        linked.map_or_else(|| self.names.clone(), |linked| linked.name)
    }

    fn keep(&self, decision: &Decision) {
        let decisions = self.decisions.lock();
        let mut decisions = decisions.unwrap_or_else(PoisonError::into_inner);
        if decisions.len() == DECISIONS_MAX {
            decisions.remove(0);
        }
        decisions.push(decision.into());
    }

    fn tell(&self, placement: Placement<'_>, first: bool) {
        let node = self.node();
        match placement {
            Placement::Changed(decision) => {
                self.keep(decision);
                let here = decision.choice == Some(Mode::Local);
                let missed = here && decision.signals.online == Some(false);
                match self.link.refused() {
                    Some(why) if first && missed => {
                        self.say(format_args!("{node}: {why}; going on here"));
                    }
                    None if first && missed => {
                        self.say(format_args!("{node} does not answer yet; beginning here"));
                    }
                    _ => {}
                }
                tracing::info!("placed: {}", decision.reason);
            }
            Placement::Failed { mode, why, next } => {
                self.say(format_args!("{node}, {mode}: {why}; {}", Then(&next)));
            }
            Placement::Waiting { why, most } => {
                let most = most.as_secs();
                self.say(format_args!(
                    "waiting for {node}, {most} s at most ({why}); Ctrl-C ends"
                ));
            }
            Placement::Instead { model } => {
                self.say(format_args!("{node} does not answer; {model} writes here"));
            }
            Placement::Resumed { mode } => self.say(format_args!("{node} goes on ({mode})")),
        }
    }
}

/// Hears of placements.
pub(super) fn teller(board: std::sync::Arc<Board>) -> impl FnMut(Placement<'_>) + Send {
    let mut first = true;
    move |placement| board.tell(placement, std::mem::take(&mut first))
}

/// Who goes on, as the rest of a sentence.
struct Then<'a>(&'a Next);

impl fmt::Display for Then<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let behind = match self.0 {
            Next::Mode {
                mode: Mode::Local,
                behind,
            } => {
                f.write_str("going on here")?;
                behind
            }
            Next::Mode { mode, .. } => return write!(f, "going on with {mode}"),
            Next::Fallback { model, behind } => {
                write!(f, "{model} goes on here, which is another model")?;
                behind
            }
            Next::Wait(most) => {
                let most = most.as_secs();
                return write!(f, "waiting for it, {most} s at most; Ctrl-C ends");
            }
            Next::Nobody => return f.write_str("nobody goes on"),
        };
        match behind {
            Some(behind) if *behind > 1 => write!(f, ", reading {behind} tokens again"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_is_said() {
        let mode = Mode::Local;
        let said = |next: Next| Then(&next).to_string();
        let behind = Some(120);
        assert_eq!(
            said(Next::Mode { mode, behind }),
            "going on here, reading 120 tokens again"
        );
        let behind = Some(1);
        assert_eq!(said(Next::Mode { mode, behind }), "going on here");
        assert_eq!(
            said(Next::Wait(Duration::from_secs(5))),
            "waiting for it, 5 s at most; Ctrl-C ends"
        );
        let model = "small".to_owned();
        assert_eq!(
            said(Next::Fallback {
                model,
                behind: Some(9)
            }),
            "small goes on here, which is another model, reading 9 tokens again"
        );
    }
}
