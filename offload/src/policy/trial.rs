//! Trying a draft whose acceptance nobody has measured.

use super::{
    Candidate, Mode, Signals, Standing,
    predict::{Terms, known, predict},
};
use std::{collections::BTreeMap, time::Duration};

/// The acceptance that is hoped for where none was measured: near the highest
/// that Leviathan et al. saw of drafts that pay ("Fast Inference from
/// Transformers via Speculative Decoding", 2023, table 3). A mode that does not
/// pay even so is not tried.
const HOPED: f32 = 0.9;
/// Tokens, time and decisions after which a trial has had its chance.
const TOKENS: f64 = 32.0;
const TIME: Duration = Duration::from_secs(3);
const DECISIONS: u32 = 8;
/// Tokens after which a mode is tried again.
const AGAIN_TOKENS: f64 = 512.0;

/// The trials of one chooser: bounded, one for each mode and stretch of text.
#[derive(Debug, Clone, Default)]
pub(super) struct Trials(BTreeMap<Mode, Trial>);

#[derive(Debug, Clone, Copy)]
struct Trial {
    began: Duration,
    began_tokens: Option<f64>,
    decisions: u32,
}

/// A mode worth a trial, and what it would cost if its draft were good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hope {
    pub(super) mode: Mode,
    pub(super) cost_ms: f64,
    pub(super) unmeasured: &'static str,
}

impl Hope {
    /// Why, as one sentence.
    pub(super) fn reason(&self) -> String {
        format!(
            "{}, to measure `{}`: at {HOPED} it would cost {:.1} ms a token",
            self.mode, self.unmeasured, self.cost_ms
        )
    }
}

impl Trials {
    /// The mode to be tried next, if one could cost less than `below_ms`.
    pub(super) fn next(
        &mut self,
        candidates: &[Candidate],
        signals: &Signals,
        terms: &Terms,
        below_ms: f64,
        now: Duration,
    ) -> Option<Hope> {
        let hopeful = Signals {
            acceptance: vec![HOPED],
            node_acceptance: vec![HOPED],
            ..signals.clone()
        };
        let tokens = known(signals.context_tokens);
        let hopes = candidates.iter().filter_map(|candidate| {
            let Standing::Unpredicted { unmeasured } = candidate.standing else {
                return None;
            };
            if !matches!(unmeasured, "acceptance" | "node_acceptance") {
                return None;
            }
            let prediction = predict(candidate.mode, &hopeful, terms).ok()?;
            let hope = Hope {
                mode: candidate.mode,
                cost_ms: prediction.cost_ms,
                unmeasured,
            };
            (hope.cost_ms < below_ms && self.may(candidate.mode, tokens, now)).then_some(hope)
        });
        let best = hopes.min_by(|a, b| a.cost_ms.total_cmp(&b.cost_ms))?;
        let trial = self.0.entry(best.mode).or_insert(Trial {
            began: now,
            began_tokens: tokens,
            decisions: 0,
        });
        if trial.is_over(tokens, now) {
            *trial = Trial {
                began: now,
                began_tokens: tokens,
                decisions: 0,
            };
        }
        trial.decisions += 1;
        Some(best)
    }

    /// Whether a trial is under way, or may begin.
    fn may(&self, mode: Mode, tokens: Option<f64>, now: Duration) -> bool {
        let Some(trial) = self.0.get(&mode) else {
            return true;
        };
        !trial.is_over(tokens, now) || trial.is_forgotten(tokens)
    }
}

impl Trial {
    fn is_over(&self, tokens: Option<f64>, now: Duration) -> bool {
        let since = self.tokens_since(tokens);
        self.decisions >= DECISIONS
            || since.is_some_and(|tokens| tokens >= TOKENS)
            || now.saturating_sub(self.began) >= TIME
    }

    fn is_forgotten(&self, tokens: Option<f64>) -> bool {
        self.tokens_since(tokens)
            .is_some_and(|tokens| tokens >= AGAIN_TOKENS)
    }

    /// Tokens since it began, also where another text is shorter.
    fn tokens_since(&self, tokens: Option<f64>) -> Option<f64> {
        Some((tokens? - self.began_tokens?).abs())
    }
}
