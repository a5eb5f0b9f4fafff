//! A draft and a model that verifies it.

use super::{
    DecodeError, DecodeRequest, Decoded, Decoder, LocalDecoder, Provenance, Speculation, Target,
    draft::{Confidence, Draft, DraftRequest, LookupDraft, ModelDraft, VocabularyMismatch},
    length::{DRAFT_MAX, DraftLength, Verified},
};
use crate::{
    loaded::{LoadError, LoadedModel, RunOptions},
    tokenizer::{TokenId, Tokenizer},
    transcript::{Class, Transcript},
};
use outrigger_kernels::team::Team;
use std::{ops::RangeInclusive, sync::Arc, time::Instant};

/// Why a speculative decoder cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SpeculationError {
    /// The draft model speaks another language than the model.
    #[error("{draft} cannot draft for {target}: {mismatch}")]
    Vocabulary {
        /// The draft model's name.
        draft: String,
        /// The model's name.
        target: String,
        /// What differs.
        mismatch: VocabularyMismatch,
    },
    /// The draft lengths are empty or beyond what one pass verifies.
    #[error(
        "draft lengths from {min} to {max} are not possible; the shortest is at most the longest, \
         which is at most {DRAFT_MAX}"
    )]
    Lengths {
        /// The shortest.
        min: usize,
        /// The longest.
        max: usize,
    },
    /// The model or the draft cannot be run.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What tokens are guessed by.
pub enum DraftSource<'a> {
    /// A smaller model with the same vocabulary.
    Model(&'a LoadedModel),
    /// What followed earlier in the transcript ([`LookupDraft`]).
    Lookup,
    /// Something else.
    Other(Box<dyn Draft>),
}

/// Decodes with a model, several tokens per pass where a draft guesses them.
///
/// The text is that of [`LocalDecoder`], bit for bit, log-probabilities
/// included: every token is the model's own choice from its own logits, which
/// the kernels compute alike for one column and for several, and a guess only
/// decides whether the logits behind it were computed in the same pass.
///
/// How many tokens are guessed is chosen online by what was measured. If the
/// draft fails, it is left out from then on, with a warning.
pub struct SpeculativeDecoder {
    target: Box<dyn Target>,
    tokenizer: Arc<Tokenizer>,
    vocab: usize,
    draft: Option<Box<dyn Draft>>,
    lengths: RangeInclusive<usize>,
    length: DraftLength,
    /// Guesses for the current step.
    drafted: Vec<TokenId>,
    record: Speculation,
    now: fn() -> Instant,
}

impl SpeculativeDecoder {
    /// A decoder for a loaded model. `lengths` are the numbers of tokens that
    /// may be drafted for a step, within 0 to [`DRAFT_MAX`]; a range of one
    /// takes the choice away.
    pub fn new(
        loaded: &LoadedModel,
        draft: DraftSource<'_>,
        options: &RunOptions,
        lengths: RangeInclusive<usize>,
    ) -> Result<Self, SpeculationError> {
        let (min, max) = (*lengths.start(), *lengths.end());
        if min > max || max > DRAFT_MAX {
            // Before anything is laid out.
            return Err(SpeculationError::Lengths { min, max });
        }
        let team = options.team().map_err(LoadError::from)?;
        let tokenizer = loaded.tokenizer().clone();
        let draft = Self::draft(loaded, draft, &team, options)?;
        let target = LocalDecoder::over(loaded.pipeline_on(&team, options)?, loaded, "local")?;
        Self::over(Box::new(target), tokenizer, draft, lengths)
    }

    /// A draft for a loaded model, which computes on `team`.
    pub fn draft(
        loaded: &LoadedModel,
        source: DraftSource<'_>,
        team: &Arc<Team>,
        options: &RunOptions,
    ) -> Result<Box<dyn Draft>, SpeculationError> {
        Ok(match source {
            DraftSource::Model(draft) => {
                ModelDraft::check_vocabulary(draft.tokenizer(), loaded.tokenizer()).map_err(
                    |mismatch| SpeculationError::Vocabulary {
                        draft: draft.model().title().into(),
                        target: loaded.model().title().into(),
                        mismatch,
                    },
                )?;
                Box::new(ModelDraft::new(draft, team, options)?)
            }
            DraftSource::Lookup => Box::new(LookupDraft::new()),
            DraftSource::Other(draft) => draft,
        })
    }

    /// A decoder for any target, such as one elsewhere. The draft's vocabulary
    /// is the target's.
    pub fn over(
        target: Box<dyn Target>,
        tokenizer: Arc<Tokenizer>,
        draft: Box<dyn Draft>,
        lengths: RangeInclusive<usize>,
    ) -> Result<Self, SpeculationError> {
        let (min, max) = (*lengths.start(), *lengths.end());
        if min > max || max > DRAFT_MAX {
            return Err(SpeculationError::Lengths { min, max });
        }
        Ok(Self {
            vocab: target.vocab(),
            target,
            tokenizer,
            record: Speculation::new(draft.name()),
            draft: Some(draft),
            lengths,
            length: DraftLength::default(),
            drafted: Vec::with_capacity(DRAFT_MAX + 1),
            now: Instant::now,
        })
    }

    /// The same by another clock, such as a simulation's.
    pub fn with_clock(mut self, now: fn() -> Instant) -> Self {
        self.now = now;
        self
    }

    /// Fills `drafted` with guesses, as many as pay; `None` where none are to
    /// be made.
    fn guess(
        &mut self,
        request: &mut DecodeRequest<'_>,
    ) -> Result<Option<Confidence>, DecodeError> {
        self.drafted.clear();
        let transcript = request.transcript;
        let max = self.room(request);
        let Some(draft) = self.draft.as_mut().filter(|_| max > 0) else {
            return Ok(None);
        };
        let Some(confidence) = draft.confidence(transcript) else {
            return Ok(None);
        };
        let min = *self.lengths.start();
        let count = self.length.choose(confidence, min, max);
        if count == 0 {
            return Ok(Some(confidence));
        }
        let mut ask = DraftRequest {
            transcript,
            tokens_max: count,
            cancel: request.cancel,
            progress: request.progress,
        };
        let now = self.now;
        let mut started = now();
        let guessed = draft.catch_up(&mut ask).and_then(|()| {
            started = now();
            draft.propose(&mut ask, &mut self.drafted)
        });
        match guessed {
            Ok(()) => {
                self.length.drafted(self.drafted.len(), now() - started);
                self.drop_useless(count);
            }
            Err(DecodeError::Cancelled) => return Err(DecodeError::Cancelled),
            Err(error) => {
                tracing::warn!("going on without the draft {}: {error}", draft.name());
                self.drafted.clear();
                self.draft = None;
            }
        }
        Ok(Some(confidence))
    }

    /// Most tokens that can be drafted for this step.
    fn room(&self, request: &DecodeRequest<'_>) -> usize {
        if !follows_generated(request.transcript) {
            return 0;
        }
        let left = self
            .target
            .context()
            .saturating_sub(request.transcript.len());
        (*self.lengths.end())
            .min(request.tokens_max.saturating_sub(1))
            .min(self.target.guesses_max())
            .min(left as usize)
    }

    /// Drops guesses that cannot be committed: beyond `count`, from one that
    /// is no token on, and behind the end of the text.
    fn drop_useless(&mut self, count: usize) {
        self.drafted.truncate(count);
        let outside = |&token: &TokenId| token as usize >= self.vocab;
        if let Some(index) = self.drafted.iter().position(outside) {
            self.drafted.truncate(index);
        }
        let ends = |&token: &TokenId| self.tokenizer.is_end_of_generation(token);
        if let Some(index) = self.drafted.iter().position(ends) {
            self.drafted.truncate(index + 1);
        }
    }
}

/// Whether the last token is one that a decoder chose.
fn follows_generated(transcript: &Transcript) -> bool {
    let last = transcript.len().saturating_sub(1);
    let segment = transcript.positions().segment_at(last);
    segment.is_some_and(|segment| segment.class == Class::Generated)
}

impl Decoder for SpeculativeDecoder {
    fn decode(
        &mut self,
        mut request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        let confidence = self.guess(&mut request)?;
        let drafted = self.drafted.len();
        let before = out.len();
        let started = (self.now)();
        let columns = self.target.step(&mut request, &self.drafted, out)?;
        // What a pass over a prompt or over tokens of another decoder takes
        // says nothing about verifying.
        if columns as usize != drafted + 1 || !follows_generated(request.transcript) {
            return Ok(());
        }
        let new = &out[before..];
        let pairs = new.iter().zip(&self.drafted);
        let accepted = pairs
            .take_while(|(new, guess)| new.token == **guess)
            .count();
        self.length.passed(drafted, (self.now)() - started);
        if let Some(confidence) = confidence {
            self.length.verified(Verified {
                confidence,
                drafted,
                accepted,
                ended: new.len() == accepted,
            });
        }
        self.record.target_steps += 1;
        self.record.tokens += new.len() as u64;
        self.record.drafted += drafted as u64;
        self.record.accepted += accepted as u64;
        Ok(())
    }

    fn context(&self) -> u32 {
        self.target.context()
    }

    fn provenance(&self) -> &Provenance {
        self.target.provenance()
    }

    fn speculation(&self) -> Option<&Speculation> {
        Some(&self.record)
    }

    fn behind(&self, transcript: &Transcript) -> Option<u32> {
        self.target.behind(transcript)
    }
}
