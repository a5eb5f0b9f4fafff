//! Chooses the mode of a generation, again and again.

use super::{
    Bar, Candidate, Decision, Mode, Policy, Signals, Standing, hysteresis::Held, predict::known,
    trial::Trials,
};
use std::{sync::Arc, time::Duration};

/// What is taken where no mode has a cost yet, in this order: what sends the
/// least first.
const UNPREDICTED: [Mode; 6] = [
    Mode::Local,
    Mode::Stream,
    Mode::DraftAtNode,
    Mode::VerifySequential,
    Mode::VerifyPipelined,
    Mode::Split,
];

/// Holds the mode of one generation and decides when to change it.
#[derive(Debug, Clone)]
pub struct Chooser {
    policy: Arc<Policy>,
    current: Option<Current>,
    trials: Trials,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    mode: Mode,
    /// When it was chosen, and at how many tokens, where they were known.
    since: Duration,
    since_tokens: Option<f64>,
}

impl Chooser {
    /// A chooser without a mode yet.
    pub fn new(policy: Arc<Policy>) -> Self {
        Self {
            policy,
            current: None,
            trials: Trials::default(),
        }
    }

    /// Goes on under another policy, from the mode it has.
    pub fn set_policy(&mut self, policy: Arc<Policy>) {
        self.policy = policy;
    }

    /// The policy it follows.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The mode now, if one could be chosen.
    pub fn mode(&self) -> Option<Mode> {
        self.current.map(|current| current.mode)
    }

    /// Decides on the mode of the next tokens. `now` is the time since any
    /// fixed moment, the same for all calls.
    pub fn decide(&mut self, signals: &Signals, now: Duration) -> Decision {
        self.decide_among(&Mode::ALL, signals, now)
    }

    /// The same where not every mode can be had.
    pub fn decide_among(&mut self, modes: &[Mode], signals: &Signals, now: Duration) -> Decision {
        let mut candidates = self.policy.weigh(signals);
        for candidate in &mut candidates {
            let barred = matches!(candidate.standing, Standing::Barred(_));
            if !barred && !modes.contains(&candidate.mode) {
                let reason = "nothing here can do it".to_owned();
                candidate.standing = Standing::Barred(Bar::Unfit { reason });
            }
        }
        let before = self.mode();
        let (choice, reason) = self.choose(&candidates, signals, now);
        let (choice, reason) = match self.try_out(choice, &candidates, signals, now) {
            Some((mode, reason)) => (Some(mode), reason),
            None => (choice, reason),
        };
        if choice != before {
            self.current = choice.map(|mode| Current {
                mode,
                since: now,
                since_tokens: known(signals.context_tokens),
            });
        }
        Decision {
            at_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            notes: self.policy.notes(signals),
            signals: signals.clone(),
            candidates,
            choice,
            changed: choice != before,
            reason,
        }
    }

    fn choose(
        &self,
        candidates: &[Candidate],
        signals: &Signals,
        now: Duration,
    ) -> (Option<Mode>, String) {
        let Some((best, best_ms)) = cheapest(candidates.iter()) else {
            return self.choose_unpredicted(candidates);
        };
        let present = self.current.and_then(|current| {
            let candidate = candidates.iter().find(|one| one.mode == current.mode)?;
            Some((current, &candidate.standing))
        });
        let (current, standing) = match present {
            Some((current, standing)) if current.mode != best => (current, standing),
            _ => return (Some(best), chosen(candidates, best, best_ms)),
        };
        let Standing::Open(prediction) = standing else {
            let mode = current.mode;
            let reason = format!("{best} at {best_ms:.1} ms a token, since {mode}: {standing}");
            return (Some(best), reason);
        };
        let present_ms = prediction.cost_ms;
        let tokens = match (known(signals.context_tokens), current.since_tokens) {
            (Some(now), Some(then)) => now - then,
            // Without a count of tokens, time alone holds a change.
            _ => f64::INFINITY,
        };
        let time = now.saturating_sub(current.since);
        let hysteresis = &self.policy.hysteresis;
        match hysteresis.holds(present_ms, best_ms, tokens, time) {
            None => {
                let reason = format!(
                    "{best} at {best_ms:.1} ms a token, instead of {} at {present_ms:.1}",
                    current.mode
                );
                (Some(best), reason)
            }
            Some(held) => {
                let why = match held {
                    Held::Ratio => "that saves too little for a change",
                    Held::Dwell => "the last change was just now",
                };
                let reason = format!(
                    "{} at {present_ms:.1} ms a token; {best} would cost {best_ms:.1}, but {why}",
                    current.mode
                );
                (Some(current.mode), reason)
            }
        }
    }

    /// A mode to be tried although nobody knows how good its draft is, because
    /// it would save enough if it were good.
    fn try_out(
        &mut self,
        choice: Option<Mode>,
        candidates: &[Candidate],
        signals: &Signals,
        now: Duration,
    ) -> Option<(Mode, String)> {
        let chosen = candidates.iter().find(|one| Some(one.mode) == choice)?;
        let below_ms = chosen.prediction()?.cost_ms * (1.0 - self.policy.hysteresis.ratio);
        let terms = &self.policy.terms;
        let hope = (self.trials).next(candidates, signals, terms, below_ms, now)?;
        Some((hope.mode, hope.reason()))
    }

    /// A mode where none has a cost: the present one, if it may go on.
    fn choose_unpredicted(&self, candidates: &[Candidate]) -> (Option<Mode>, String) {
        match unpredicted(candidates, self.mode()) {
            Some(Candidate { mode, standing }) => {
                let reason = format!("{mode}, as no mode's cost can be predicted: {standing}");
                (Some(*mode), reason)
            }
            None => (None, all_barred(candidates)),
        }
    }
}

/// What would be chosen where nothing was chosen before.
pub(super) fn first_choice(candidates: &[Candidate]) -> Option<&Candidate> {
    match cheapest(candidates.iter()) {
        Some((best, _)) => candidates.iter().find(|one| one.mode == best),
        None => unpredicted(candidates, None),
    }
}

/// A mode that may be chosen without a cost: the present one first.
fn unpredicted(candidates: &[Candidate], present: Option<Mode>) -> Option<&Candidate> {
    present.into_iter().chain(UNPREDICTED).find_map(|mode| {
        let candidate = candidates.iter().find(|one| one.mode == mode)?;
        matches!(candidate.standing, Standing::Unpredicted { .. }).then_some(candidate)
    })
}

/// The candidate that costs least, and its cost in milliseconds a token.
fn cheapest<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Option<(Mode, f64)> {
    let costs = candidates.filter_map(|one| Some((one.mode, one.prediction()?.cost_ms)));
    costs.min_by(|(_, a), (_, b)| a.total_cmp(b))
}

fn chosen(candidates: &[Candidate], best: Mode, best_ms: f64) -> String {
    let others = candidates.iter().filter(|one| one.mode != best);
    match cheapest(others) {
        Some((other, ms)) => {
            format!("{best} at {best_ms:.1} ms a token; next is {other} at {ms:.1}")
        }
        None => format!("{best} at {best_ms:.1} ms a token; no other mode has a cost"),
    }
}

fn all_barred(candidates: &[Candidate]) -> String {
    // What the policy leaves out is no news.
    let left_out = Standing::Barred(super::Bar::Policy);
    let told = candidates.iter().filter(|one| one.standing != left_out);
    let bars: Vec<String> = told
        .map(|one| format!("{}: {}", one.mode, one.standing))
        .collect();
    format!("no mode can be used: {}", bars.join("; "))
}

#[cfg(test)]
#[path = "chooser_tests.rs"]
mod tests;
