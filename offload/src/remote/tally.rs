//! What a placed generation has measured.

use crate::policy::{AcceptanceMeter, Mode, Signals};
use outrigger_runtime::decoder::Speculation;
use std::collections::BTreeMap;

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
    /// Tokens that nodes have computed.
    cloud_tokens: u64,
    /// All that drafts have brought, whichever mode used them.
    record: Option<Speculation>,
}

/// How far one draft was accepted, and how long ago that was.
#[derive(Debug, Default)]
struct Drafted {
    meter: AcceptanceMeter,
    tokens_since: u64,
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
        measured(&self.edge, &mut signals.acceptance);
        measured(&self.node, &mut signals.node_acceptance);
        let tokens = self.cloud_tokens as f64 + signals.cloud_tokens_so_far.unwrap_or(0.0);
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
            self.cloud_tokens += count;
        }
        if let Some(ms) = ms.filter(|_| tokens > 0) {
            let ms = ms / tokens as f64;
            let mean = self.times.entry(mode).or_insert(ms);
            *mean += LATEST * (ms - *mean);
        }
    }

    /// Takes in what a mode's draft has brought since `before`.
    pub(super) fn drafted(&mut self, mode: Mode, before: &Counts, whole: &Speculation) {
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
            self.cloud_tokens += step.drafted.saturating_sub(step.accepted);
        }
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
