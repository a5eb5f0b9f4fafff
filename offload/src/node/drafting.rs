//! Drafting at the node: a smaller model guesses for generations that asked
//! for it, in passes that they share.

use crate::pace::Pace;
use outrigger_runtime::{
    decoder::{DecodeError, Decoded, Outcome, Part, SharedDecoder},
    kv::SequenceId,
    tokenizer::TokenId,
    transcript::{Class, Transcript},
};
use std::{collections::BTreeMap, sync::atomic::AtomicBool, time::Duration};

/// What is asked of a draft for one generation.
pub struct Drafting<'a> {
    /// Its sequence.
    pub sequence: SequenceId,
    /// Its tokens so far; never empty.
    pub transcript: &'a Transcript,
    /// Most guesses wanted, at least 1.
    pub tokens_max: usize,
    /// The guesses; empty before.
    pub guesses: &'a mut Vec<TokenId>,
}

/// Most tokens drafted for one pass: with the one before them they fill a tile
/// of the kernels.
const DRAFT_MAX: usize = 7;

/// Passes without guesses after which one is tried.
const PATIENCE: u32 = 64;

/// The guesses for one generation, and how many pay.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    pub(super) tokens: Vec<TokenId>,
    pace: Pace,
    /// Passes without guesses since the last that had some.
    idle: u32,
    /// Whether the draft has caught up, so that its time is that of guessing.
    caught_up: bool,
}

impl Guesses {
    /// How many to make for the next pass, of `max` that are of use.
    pub(super) fn wanted(&mut self, max: usize) -> usize {
        let best = self.pace.length(max.min(DRAFT_MAX));
        if best > 0 || max == 0 {
            self.idle = 0;
            return best;
        }
        self.idle += 1;
        match self.idle.is_multiple_of(PATIENCE) {
            true => 1,
            false => 0,
        }
    }

    /// Takes in what guessing took.
    pub(super) fn drafted(&mut self, time: Duration) {
        let count = u32::try_from(self.tokens.len()).unwrap_or(u32::MAX);
        if count > 0 && std::mem::replace(&mut self.caught_up, true) {
            self.pace.drafted(time / count);
        }
    }

    /// Takes in what a pass over the first `tried` of them chose, and forgets
    /// them. `ends` tells a token behind which none is chosen.
    pub(super) fn judge(
        &mut self,
        tried: usize,
        chosen: &[Decoded],
        took_ms: f32,
        ends: impl Fn(TokenId) -> bool,
    ) {
        self.pace
            .verified(u32::try_from(tried + 1).unwrap_or(u32::MAX), took_ms);
        for (place, (guess, token)) in self.tokens[..tried].iter().zip(chosen).enumerate() {
            self.pace.judged(place, *guess == token.token);
            if *guess != token.token || ends(token.token) {
                break;
            }
        }
        self.tokens.clear();
    }
}

/// A smaller model with the node's vocabulary. It draws with the same noise
/// for the same position as the model that verifies, so that it is right as
/// often as their distributions overlap.
pub struct NodeDraft {
    decoder: SharedDecoder,
    /// Of each sequence, what was taken in and the guesses behind it.
    ahead: BTreeMap<SequenceId, Transcript>,
    outcomes: Vec<Outcome>,
}

/// Columns of a prompt that the draft reads while others wait.
const PROMPT_COLUMNS: usize = 64;

impl NodeDraft {
    /// A draft with room for as many sequences as the model that it drafts for.
    pub fn new(decoder: SharedDecoder) -> Self {
        Self {
            decoder,
            ahead: BTreeMap::new(),
            outcomes: Vec::new(),
        }
    }

    pub(super) fn open(&mut self, id: SequenceId) -> Result<(), DecodeError> {
        self.decoder.open(id)
    }

    pub(super) fn close(&mut self, id: SequenceId) -> Result<(), DecodeError> {
        self.ahead.remove(&id);
        self.decoder.close(id)
    }

    /// Guesses for all of these. A prompt that the draft has not read is read
    /// over several calls.
    pub(super) fn draft(
        &mut self,
        wanted: &mut [Drafting<'_>],
        cancel: &AtomicBool,
        ends: impl Fn(TokenId) -> bool,
    ) -> Result<(), DecodeError> {
        for one in wanted.iter() {
            self.follow(one.sequence, one.transcript);
        }
        let context = self.decoder.context();
        let more = |one: &Drafting<'_>, ahead: &Transcript| {
            let done = one.guesses.last().is_some_and(|&token| ends(token));
            !done && one.guesses.len() < one.tokens_max && ahead.len() <= context
        };
        // Those that are not done, by their places.
        let mut active: Vec<usize> = (0..wanted.len()).collect();
        loop {
            let mut parts = Vec::with_capacity(active.len());
            let mut room = self.decoder.columns_max();
            active.retain(|&index| {
                let one = &wanted[index];
                let Some(ahead) = self.ahead.get(&one.sequence) else {
                    return false;
                };
                let behind = self.decoder.behind(one.sequence, ahead) as usize;
                let columns = behind.min(PROMPT_COLUMNS);
                let wants = more(one, ahead) && columns <= room;
                if wants {
                    room -= columns;
                    parts.push(Part {
                        sequence: one.sequence,
                        transcript: ahead,
                        drafted: &[],
                        columns_max: columns,
                        logprobs: None,
                    });
                }
                wants
            });
            if parts.is_empty() {
                return Ok(());
            }
            self.decoder.pass(&parts, cancel, &mut self.outcomes)?;
            drop(parts);
            let mut outcomes = self.outcomes.drain(..);
            active.retain(|&index| {
                let one = &mut wanted[index];
                let tokens = match outcomes.next() {
                    Some(Outcome::Tokens(tokens)) => tokens,
                    _ => return false,
                };
                let Some(ahead) = self.ahead.get_mut(&one.sequence) else {
                    return false;
                };
                for token in tokens {
                    one.guesses.push(token.token);
                    ahead.commit(token.token, token.state);
                }
                true
            });
        }
    }

    /// Makes what is known of a sequence this transcript.
    fn follow(&mut self, id: SequenceId, transcript: &Transcript) {
        let Some(ahead) = self.ahead.get_mut(&id) else {
            self.ahead.insert(id, transcript.clone());
            return;
        };
        let positions = transcript.positions();
        let common = ahead.positions().common_prefix(positions);
        let rest = positions.segment_at(common);
        let generated = rest.is_none_or(|segment| {
            segment.class == Class::Generated && segment.positions.end == positions.len()
        });
        let state = transcript.sampler_state();
        if !generated || ahead.sampling() != transcript.sampling() {
            ahead.clone_from(transcript);
            return;
        }
        ahead.truncate(common, state);
        for &token in &transcript.tokens()[common as usize..] {
            ahead.commit(token, state);
        }
    }
}
