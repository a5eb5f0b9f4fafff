//! What a placed generation has measured.

use crate::policy::{AcceptanceMeter, Mode, Signals};
use outrigger_runtime::decoder::Speculation;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Weight of the latest step in a mean of times.
const LATEST: f64 = 0.2;
/// Tokens without a draft after which its acceptance is no longer known: the
/// text has become another.
const STALE_TOKENS: u64 = 512;

/// Times, acceptance and tokens of one placed decoder.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Milliseconds per token of each mode.
    times: BTreeMap<Mode, f64>,
    edge: Drafted,
    node: Drafted,
    /// Tokens that nodes have computed, here and before.
    cloud_tokens: Arc<AtomicU64>,
    /// All that drafts have brought, whichever mode used them.
    record: Option<Speculation>,
}

/// How far one draft was accepted, and how long ago that was.
#[derive(Debug, Default)]
struct Drafted {
    meter: AcceptanceMeter,
    tokens_since: u64,
    /// Mean guesses and milliseconds of a window that was waited for.
    window: Option<(f64, f64)>,
}

impl Drafted {
    fn windowed(&mut self, guesses: u64, ms: f64) {
        let guesses = guesses as f64;
        let (mean_guesses, mean_ms) = self.window.get_or_insert((guesses, ms));
        *mean_guesses += LATEST * (guesses - *mean_guesses);
        *mean_ms += LATEST * (ms - *mean_ms);
    }

    /// What a guess took, in milliseconds: what is left of a window's time
    /// beside its round trip and its pass.
    fn draft_ms(&self, signals: &Signals) -> Option<f64> {
        let (guesses, ms) = self.window?;
        let pass = signals.t_verify_base_ms? + signals.t_verify_per_token_ms? * (guesses + 1.0);
        Some(((ms - signals.rtt_ms? - pass) / guesses).max(0.0))
    }
}

impl Tally {
    /// Puts what was measured among the signals.
    pub(super) fn fill(&self, signals: &mut Signals, price_per_token: Option<f64>) {
        let time = |mode| self.times.get(&mode).copied();
        signals.t_local_ms = time(Mode::Local).or(signals.t_local_ms);
        signals.t_cloud_ms = time(Mode::Stream).or(signals.t_cloud_ms);
        let measured = |drafted: &Drafted, known: &mut Vec<f32>| {
            let rates = drafted.meter.rates();
            if !rates.is_empty() {
                *known = rates;
            }
        };
        signals.t_draft_ms = self.edge.draft_ms(signals).or(signals.t_draft_ms);
        measured(&self.edge, &mut signals.acceptance);
        measured(&self.node, &mut signals.node_acceptance);
        let tokens = self.cloud_tokens.load(Relaxed) as f64;
        signals.cloud_tokens_so_far = Some(tokens);
        signals.cost_so_far = price_per_token.map(|price| price * tokens);
    }

    /// Takes in tokens of a mode, and their time where it says something.
    pub(super) fn took(&mut self, mode: Mode, tokens: usize, ms: Option<f64>) {
        let count = tokens as u64;
        for drafted in [&mut self.edge, &mut self.node] {
            drafted.tokens_since += count;
            if drafted.tokens_since > STALE_TOKENS {
                *drafted = Drafted::default();
            }
        }
        if mode.is_remote() {
            self.cloud_tokens.fetch_add(count, Relaxed);
        }
        if let Some(ms) = ms.filter(|_| tokens > 0) {
            let ms = ms / tokens as f64;
            let mean = self.times.entry(mode).or_insert(ms);
            *mean += LATEST * (ms - *mean);
        }
    }

    /// Takes in what a mode's draft has brought since `before`, and the time of
    /// that where it says something.
    pub(super) fn drafted(
        &mut self,
        mode: Mode,
        before: &Counts,
        whole: &Speculation,
        ms: Option<f64>,
    ) {
        let now = Counts::of(whole);
        let step = now.since(before);
        let record = (self.record).get_or_insert_with(|| Speculation::new(&whole.draft));
        record.target_steps += step.steps;
        record.tokens += step.tokens;
        record.drafted += step.drafted;
        record.accepted += step.accepted;
        if step.drafted == 0 {
            return;
        }
        let drafted = match mode {
            Mode::DraftAtNode => &mut self.node,
            _ => &mut self.edge,
        };
        if let (Mode::VerifySequential, 1, Some(ms)) = (mode, step.steps, ms) {
            drafted.windowed(step.drafted, ms);
        }
        match step.steps {
            1 => drafted.meter.window(step.drafted, step.accepted),
            _ => {
                let rejected = step.tokens.saturating_sub(step.accepted);
                drafted.meter.windows(step.accepted, rejected);
            }
        }
        drafted.tokens_since = 0;
        if mode.is_remote() {
            // Guesses that were thrown away were computed too.
            let wasted = step.drafted.saturating_sub(step.accepted);
            self.cloud_tokens.fetch_add(wasted, Relaxed);
        }
    }

    /// Counts on, from tokens of before.
    pub(super) fn count_on(&mut self, cloud_tokens: Arc<AtomicU64>) {
        self.cloud_tokens = cloud_tokens;
    }

    /// What all drafts have brought.
    pub(super) fn record(&self) -> Option<&Speculation> {
        self.record.as_ref()
    }
}

/// The counts of a [`Speculation`] at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    steps: u64,
    tokens: u64,
    drafted: u64,
    accepted: u64,
}

impl Counts {
    pub(super) fn of(record: &Speculation) -> Self {
        Self {
            steps: record.target_steps,
            tokens: record.tokens,
            drafted: record.drafted,
            accepted: record.accepted,
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            steps: self.steps.saturating_sub(before.steps),
            tokens: self.tokens.saturating_sub(before.tokens),
            drafted: self.drafted.saturating_sub(before.drafted),
            accepted: self.accepted.saturating_sub(before.accepted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signals() -> Signals {
        Signals {
            rtt_ms: Some(10.0),
            t_verify_base_ms: Some(25.0),
            t_verify_per_token_ms: Some(1.0),
            t_draft_ms: Some(1.0),
            ..Signals::default()
        }
    }

    /// Windows of 4 guesses, of which 2 are right.
    fn windows(tally: &mut Tally, mode: Mode, count: u64, ms: f64) {
        let mut record = Speculation::new("draft");
        for _ in 0..count {
            let before = Counts::of(&record);
            record.target_steps += 1;
            record.tokens += 3;
            record.drafted += 4;
            record.accepted += 2;
            tally.took(mode, 3, Some(ms));
            tally.drafted(mode, &before, &record, Some(ms));
        }
    }

    #[test]
    fn windows_tell_what_a_guess_takes() {
        let mut tally = Tally::default();
        windows(&mut tally, Mode::VerifySequential, 20, 60.0);
        let mut now = signals();
        tally.fill(&mut now, None);
        // 60 less 10 for the way and 30 for the pass.
        assert!((now.t_draft_ms.unwrap() - 5.0).abs() < 1e-9);
        assert_eq!(now.acceptance.len(), 3);
        assert!(now.node_acceptance.is_empty());
        assert_eq!(tally.record().unwrap().accepted, 40);
        // Three tokens of each, and two guesses that were thrown away.
        assert_eq!(now.cloud_tokens_so_far, Some(100.0));
    }

    #[test]
    fn acceptance_is_of_who_drafts_and_grows_old() {
        let mut tally = Tally::default();
        windows(&mut tally, Mode::DraftAtNode, 20, 30.0);
        let mut now = signals();
        tally.fill(&mut now, Some(0.5));
        assert!(now.acceptance.is_empty() && now.node_acceptance.len() == 3);
        assert_eq!(now.t_draft_ms, Some(1.0));
        assert_eq!(now.cost_so_far, Some(50.0));
        tally.took(Mode::Stream, 600, Some(6000.0));
        let mut later = signals();
        tally.fill(&mut later, None);
        assert!(later.node_acceptance.is_empty());
        assert_eq!((later.t_cloud_ms, later.cost_so_far), (Some(10.0), None));
    }
}
