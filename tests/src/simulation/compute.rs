//! A node's model: a clock that knows the language.

use super::{Language, Times, draft::Guesser, memory::Memory, times::ms};
use outrigger_offload::node::{Compute, Drafting};
use outrigger_runtime::{
    decoder::{DecodeError, Outcome, Part},
    kv::SequenceId,
    tokenizer::TokenId,
    transcript::Transcript,
};
use std::{collections::BTreeMap, time::Duration};

/// Positions of a generation.
pub(super) const CONTEXT: u32 = 8192;
/// Columns of a pass.
const COLUMNS_MAX: usize = 512;
/// A part with more columns than this reads a prompt; what the engine takes
/// for decoding is below.
const DECODING: usize = 8;

/// Computes passes by waiting.
pub struct ClockCompute {
    language: Language,
    guesser: Guesser,
    times: Times,
    sequences: BTreeMap<SequenceId, Memory>,
}

impl ClockCompute {
    pub(super) fn new(language: Language, guesser: Guesser, times: Times) -> Self {
        Self {
            language,
            guesser,
            times,
            sequences: BTreeMap::new(),
        }
    }

    /// What a pass takes: columns that decode or verify share a step, those of
    /// prompts come on top.
    fn takes(&self, behind: &[usize], guesses: usize) -> Duration {
        let decoding: usize = behind.iter().filter(|&&count| count <= DECODING).sum();
        let reading = behind.iter().sum::<usize>() - decoding;
        let columns = decoding + guesses;
        let step = match columns {
            0 => Duration::ZERO,
            columns => self.times.verify(columns as u32),
        };
        step + ms(self.times.prefill_cloud_ms) * reading as u32
    }
}

impl Compute for ClockCompute {
    fn context(&self) -> u32 {
        CONTEXT
    }

    fn columns_max(&self) -> usize {
        COLUMNS_MAX
    }

    fn ends(&self, token: TokenId) -> bool {
        self.language.tokenizer().is_end_of_generation(token)
    }

    fn open(&mut self, id: SequenceId) -> Result<(), DecodeError> {
        self.sequences.insert(id, Memory::default());
        Ok(())
    }

    fn close(&mut self, id: SequenceId) -> Result<(), DecodeError> {
        let closed = self.sequences.remove(&id);
        closed.map(drop).ok_or(DecodeError::UnknownSequence(id))
    }

    fn behind(&self, id: SequenceId, transcript: &Transcript) -> u32 {
        let memory = self.sequences.get(&id);
        memory.map_or(transcript.len(), |memory| memory.behind(transcript))
    }

    async fn pass(
        &mut self,
        parts: &[Part<'_>],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), DecodeError> {
        outcomes.clear();
        let (mut columns, mut guesses) = (Vec::with_capacity(parts.len()), 0);
        for part in parts {
            let behind = self.behind(part.sequence, part.transcript) as usize;
            columns.push(behind.min(part.columns_max));
            guesses += part.drafted.len();
        }
        tokio::time::sleep(self.takes(&columns, guesses)).await;
        for (part, columns) in parts.iter().zip(columns) {
            let id = part.sequence;
            let memory = self.sequences.get_mut(&id);
            let memory = memory.ok_or(DecodeError::UnknownSequence(id))?;
            let len = part.transcript.len();
            let end = len - memory.behind(part.transcript) + columns as u32;
            memory.compute(part.transcript, end);
            if end < len {
                outcomes.push(Outcome::Behind { computed: end });
                continue;
            }
            let chosen = self.language.choose(part.transcript, part.drafted);
            memory.accept(&chosen);
            outcomes.push(Outcome::Tokens(chosen));
        }
        Ok(())
    }

    fn drafts(&self) -> bool {
        true
    }

    async fn draft(&mut self, wanted: &mut [Drafting<'_>]) {
        let most = wanted.iter().map(|one| one.tokens_max).max();
        // Generations share the draft's passes.
        let takes = ms(self.times.node_draft_ms) * most.unwrap_or(0) as u32;
        tokio::time::sleep(takes).await;
        for one in wanted {
            let mut text = one.transcript.tokens().to_vec();
            for place in 0..one.tokens_max {
                let token = self.guesser.guess(&text, place);
                text.push(token);
                one.guesses.push(token);
            }
        }
    }
}
