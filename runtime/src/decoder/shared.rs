//! Many transcripts over one pipeline, computed in shared passes.

use super::{
    DecodeError, Decoded, PROMPT_CHUNK, Provenance,
    sampling::{Computed, Sampling},
};
use crate::{
    kv::SequenceId,
    loaded::{LoadError, LoadedModel, RunOptions, Team},
    stage::{Batch, Column, Pipeline},
    tokenizer::{TokenId, Tokenizer},
    transcript::{Class, Positions, Transcript},
};
use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, atomic::AtomicBool},
};

/// A sequence's part of a pass.
pub struct Part<'a> {
    /// The sequence, which [`SharedDecoder::open`] made.
    pub sequence: SequenceId,
    /// Its tokens so far; never empty.
    pub transcript: &'a Transcript,
    /// Guesses at the tokens to come, of the vocabulary. They decide how many
    /// tokens come of the pass, and nothing else.
    pub drafted: &'a [TokenId],
    /// Most columns that the part may take, at least 1. A transcript that is
    /// behind by more takes several passes.
    pub columns_max: usize,
    /// Whether log-probabilities are wanted, and of how many other tokens.
    pub logprobs: Option<usize>,
}

/// What a pass brought a sequence.
#[derive(Debug)]
pub enum Outcome {
    /// The transcript is computed up to this position and not yet whole.
    Behind {
        /// Positions computed.
        computed: u32,
    },
    /// The tokens that follow the transcript: at least one, one more than
    /// there were guesses at most.
    Tokens(Vec<Decoded>),
    /// The sampler found no token; the sequence is as it was.
    Failed(DecodeError),
}

/// Decodes many transcripts with one model on this machine. Each gets the
/// tokens, bit for bit, that [`LocalDecoder`](super::LocalDecoder) gives it
/// alone: generated columns do not see what stands beside them.
pub struct SharedDecoder {
    pipeline: Pipeline,
    tokenizer: Arc<Tokenizer>,
    context: u32,
    sequences: BTreeMap<SequenceId, Sequence>,
    batch: Batch,
    /// Of each part of the pass under way, its columns.
    spans: Vec<Span>,
    provenance: Provenance,
}

struct Sequence {
    /// What the KV cache holds.
    cached: Positions,
    sampling: Sampling,
}

struct Span {
    /// Where the transcript is computed to.
    end: u32,
    /// The part's wanted columns among all of the pass.
    rows: Range<usize>,
}

impl SharedDecoder {
    /// A decoder for a loaded model, with room for
    /// [`RunOptions::sequences`] transcripts of full length.
    pub fn new(loaded: &LoadedModel, options: &RunOptions) -> Result<Self, LoadError> {
        Self::on(&options.team()?, loaded, options)
    }

    /// The same on a team that others use as well.
    pub fn on(
        team: &Arc<Team>,
        loaded: &LoadedModel,
        options: &RunOptions,
    ) -> Result<Self, LoadError> {
        let pipeline = loaded.pipeline_on(team, options)?;
        let model = loaded.model();
        Ok(Self {
            provenance: Provenance {
                source: "local".into(),
                model: model.title().into(),
                kernel_set: pipeline.kernel_set(),
            },
            tokenizer: loaded.tokenizer().clone(),
            context: model.context,
            pipeline,
            sequences: BTreeMap::new(),
            batch: Batch::default(),
            spans: Vec::new(),
        })
    }

    /// Positions that a sequence may have.
    pub fn context(&self) -> u32 {
        self.context
    }

    /// Most columns in one pass.
    pub fn columns_max(&self) -> usize {
        self.pipeline.columns_max()
    }

    /// Where its tokens come from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Makes an empty sequence.
    pub fn open(&mut self, id: SequenceId) -> Result<(), DecodeError> {
        self.pipeline.create(id)?;
        let sequence = Sequence {
            cached: Positions::new(),
            sampling: Sampling::new(self.tokenizer.clone(), self.pipeline.vocab()),
        };
        self.sequences.insert(id, sequence);
        Ok(())
    }

    /// Forgets a sequence; no error if there is none.
    pub fn close(&mut self, id: SequenceId) -> Result<(), DecodeError> {
        self.sequences.remove(&id);
        Ok(self.pipeline.release(id)?)
    }

    /// Positions of a transcript that are still to be computed before a token
    /// comes of it, its last included.
    pub fn behind(&self, id: SequenceId, transcript: &Transcript) -> u32 {
        let len = transcript.len();
        let cached = self.sequences.get(&id).map_or(0, |sequence| {
            sequence.cached.common_prefix(transcript.positions())
        });
        len - cached.min(len.saturating_sub(1))
    }

    /// Computes one pass over `parts`, each of another sequence. `outcomes`
    /// holds one for each part after, in their order; after an error none, and
    /// the sequences are as they were.
    pub fn pass(
        &mut self,
        parts: &[Part<'_>],
        cancel: &AtomicBool,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), DecodeError> {
        outcomes.clear();
        self.batch.clear();
        self.spans.clear();
        for part in parts {
            self.prepare(part)?;
        }
        self.pipeline.forward(&mut self.batch, cancel)?;
        for (index, part) in parts.iter().enumerate() {
            outcomes.push(self.finish(index, part));
        }
        Ok(())
    }

    /// Appends a part's columns to the batch.
    fn prepare(&mut self, part: &Part<'_>) -> Result<(), DecodeError> {
        let transcript = part.transcript;
        if transcript.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        if transcript.len() > self.context {
            return Err(DecodeError::PromptTooLong {
                tokens: transcript.tokens().len(),
                context: self.context,
            });
        }
        let id = part.sequence;
        let Some(sequence) = self.sequences.get_mut(&id) else {
            return Err(DecodeError::UnknownSequence(id));
        };
        sequence.sampling.sampler(transcript.sampling())?;
        let (positions, len) = (transcript.positions(), transcript.len());
        // The last position is computed even if it was before: its logits are
        // wanted.
        let common = sequence.cached.common_prefix(positions).min(len - 1);
        let held = self.pipeline.len(id).unwrap_or(0);
        let start = self.pipeline.truncate(id, common.min(held))?;
        sequence.cached.truncate(start);

        let end = chunk_end(positions, start, part.columns_max);
        let room = (self.context - end) as usize;
        let further = match end == len {
            true => &part.drafted[..part.drafted.len().min(room)],
            false => &[],
        };
        let class = positions.segment_at(start).map(|segment| segment.class);
        let known = &transcript.tokens()[start as usize..end as usize];
        let wanted = self.batch.wanted();
        let first = self.batch.columns.len();
        for (position, &token) in (start..).zip(known.iter().chain(further)) {
            let column = Column {
                sequence: id,
                position,
                class: class.filter(|_| position < end).unwrap_or(Class::Generated),
                wanted: position + 1 >= len,
            };
            self.batch.push(column, token);
        }
        let rows = self.batch.columns[first..].iter().filter(|c| c.wanted);
        self.spans.push(Span {
            end,
            rows: wanted..wanted + rows.count(),
        });
        Ok(())
    }

    /// Takes in what the pass computed of a part, and samples.
    fn finish(&mut self, index: usize, part: &Part<'_>) -> Outcome {
        let Span { end, rows } = &self.spans[index];
        let Some(sequence) = self.sequences.get_mut(&part.sequence) else {
            return Outcome::Failed(DecodeError::UnknownSequence(part.sequence));
        };
        let transcript = part.transcript;
        sequence.cached.follow(transcript.positions(), *end);
        if rows.is_empty() {
            return Outcome::Behind { computed: *end };
        }
        let further = &part.drafted[..rows.len() - 1];
        for &token in further {
            sequence.cached.push_generated(token);
        }
        let computed = Computed {
            transcript,
            drafted: further,
            tokens: sequence.cached.tokens(),
            logprobs: part.logprobs,
        };
        let (vocab, output) = (self.pipeline.vocab(), &self.batch.output);
        let logits = |row| &output[(rows.start + row) * vocab..][..vocab];
        let mut tokens = Vec::with_capacity(rows.len());
        match sequence.sampling.choose(&computed, logits, &mut tokens) {
            Ok(()) => Outcome::Tokens(tokens),
            Err(error) => Outcome::Failed(error),
        }
    }
}

/// Where the columns of one pass over a transcript end that begin at `start`:
/// with the segment, on the prompt's grid, or where room ends.
pub(super) fn chunk_end(positions: &Positions, start: u32, columns_max: usize) -> u32 {
    let Some(segment) = positions.segment_at(start) else {
        return start;
    };
    let grid_end = match segment.class {
        Class::Prompt => {
            let offset = start - segment.positions.start;
            segment.positions.start + (offset / PROMPT_CHUNK + 1) * PROMPT_CHUNK
        }
        Class::Generated => u32::MAX,
    };
    let columns_max = u32::try_from(columns_max.max(1)).unwrap_or(u32::MAX);
    segment
        .positions
        .end
        .min(grid_end)
        .min(start.saturating_add(columns_max))
}
