//! A generation that a policy places, again and again.

use super::Reach;
use crate::policy::{Chooser, Decision, Mode, Policy, Signals, Watched};
use outrigger_runtime::decoder::{
    DecodeError, DecodeRequest, Decoded, Decoder, Provenance, Speculation,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Tokens after which a placement is thought over.
const TOKENS: usize = 8;
/// Time after which it is.
const INTERVAL: Duration = Duration::from_millis(500);
/// Weight of the latest step in a mean of times.
const LATEST: f64 = 0.2;

/// Where a policy comes from.
pub enum PolicySource {
    /// It stays as it is.
    Fixed(Arc<Policy>),
    /// A file that may be edited meanwhile.
    Watched(Watched),
}

impl PolicySource {
    fn policy(&self) -> Arc<Policy> {
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
    reason: String,
}

/// What a user is told of placements.
#[derive(Debug)]
pub enum Placement<'a> {
    /// A policy chose another mode.
    Changed(&'a Decision),
    /// A mode failed, and another goes on.
    Failed {
        /// The mode.
        mode: Mode,
        /// What happened.
        why: &'a str,
    },
}

/// What a [`PlacedDecoder`] asks and tells.
pub struct Surroundings {
    /// What is known of the edge, the link and the node, without the times
    /// that the decoder measures.
    pub sense: Box<dyn FnMut() -> Signals + Send>,
    /// Whether the node answers.
    pub reach: Box<dyn Reach>,
    /// Hears of placements.
    pub tell: Box<dyn FnMut(Placement<'_>) + Send>,
}

/// Decodes in the mode that a policy chooses at token boundaries.
///
/// A mode that fails costs no token: the policy is asked again without the
/// node, and another mode goes on from the transcript.
pub struct PlacedDecoder {
    decoders: BTreeMap<Mode, Box<dyn Decoder>>,
    policy: PolicySource,
    chooser: Chooser,
    surroundings: Surroundings,
    /// Milliseconds per token of each mode, as measured.
    measured: BTreeMap<Mode, f64>,
    mode: Mode,
    /// Where the last tokens came from.
    provenance: Provenance,
    zero: Instant,
    decided: Option<Instant>,
    tokens: usize,
}

impl PlacedDecoder {
    /// A decoder over those of some modes, of which there is at least one.
    pub fn new(
        decoders: BTreeMap<Mode, Box<dyn Decoder>>,
        policy: PolicySource,
        surroundings: Surroundings,
    ) -> Option<Self> {
        let (&mode, first) = decoders.first_key_value()?;
        Some(Self {
            provenance: first.provenance().clone(),
            chooser: Chooser::new(policy.policy()),
            decoders,
            policy,
            surroundings,
            measured: BTreeMap::new(),
            mode,
            zero: Instant::now(),
            decided: None,
            tokens: 0,
        })
    }

    fn is_due(&self) -> bool {
        let old = |at: Instant| at.elapsed() >= INTERVAL;
        self.decided.is_none_or(old) || self.tokens >= TOKENS
    }

    /// Asks the policy.
    fn decide(&mut self, request: &DecodeRequest<'_>) -> Result<(), DecodeError> {
        self.chooser.set_policy(self.policy.policy());
        let mut signals = (self.surroundings.sense)();
        let at_node = self.surroundings.reach.is_back();
        signals.online = Some(at_node);
        let time = |mode| self.measured.get(&mode).copied();
        signals.t_local_ms = time(Mode::Local).or(signals.t_local_ms);
        signals.t_cloud_ms = time(Mode::Stream).or(signals.t_cloud_ms);
        signals.context_tokens = Some(f64::from(request.transcript.len()));
        let decision = self.chooser.decide(&signals, self.zero.elapsed());
        self.decided = Some(Instant::now());
        self.tokens = 0;
        let Some(mode) = decision.choice.filter(|m| self.decoders.contains_key(m)) else {
            let reason = decision.reason;
            return Err(DecodeError::Elsewhere(Box::new(NothingAllowed { reason })));
        };
        if decision.changed {
            (self.surroundings.tell)(Placement::Changed(&decision));
        }
        self.mode = mode;
        Ok(())
    }
}

impl Decoder for PlacedDecoder {
    fn decode(
        &mut self,
        mut request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        if self.is_due() {
            self.decide(&request)?;
        }
        // Each failure takes the node away, so that the second is of the edge.
        loop {
            let mode = self.mode;
            let Some(decoder) = self.decoders.get_mut(&mode) else {
                let reason = format!("there is no decoder for {mode}");
                return Err(DecodeError::Elsewhere(Box::new(NothingAllowed { reason })));
            };
            let before = out.len();
            // A prompt's time is not that of a token.
            let fresh = self.decided.is_some_and(|_| self.tokens == 0);
            let started = Instant::now();
            match decoder.decode(request.again(), out) {
                Err(DecodeError::Elsewhere(error)) if mode.is_remote() => {
                    self.surroundings.reach.failed();
                    let why = error.to_string();
                    (self.surroundings.tell)(Placement::Failed { mode, why: &why });
                    self.decide(&request)?;
                    if self.mode.is_remote() {
                        return Err(DecodeError::Elsewhere(error));
                    }
                }
                Err(error) => return Err(error),
                Ok(()) => {
                    if self.provenance != *decoder.provenance() {
                        self.provenance = decoder.provenance().clone();
                    }
                    let new = out.len() - before;
                    self.tokens += new;
                    if !fresh && new > 0 {
                        let ms = started.elapsed().as_secs_f64() * 1e3 / new as f64;
                        let mean = self.measured.entry(mode).or_insert(ms);
                        *mean += LATEST * (ms - *mean);
                    }
                    return Ok(());
                }
            }
        }
    }

    fn context(&self) -> u32 {
        let contexts = self.decoders.values().map(|decoder| decoder.context());
        contexts.min().unwrap_or(0)
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    fn speculation(&self) -> Option<&Speculation> {
        self.decoders.get(&self.mode)?.speculation()
    }
}
