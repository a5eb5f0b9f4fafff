//! One generation: a transcript that grows, the text that comes of it, and
//! when it ends.

use super::{DecodeError, DecodeRequest, Decoded, Decoder, Progress, Provenance, Speculation};
use crate::{
    sampler::{StopStrings, TokenLogprob},
    tokenizer::{DecodeOptions, Detokenizer, TokenId, Tokenizer},
    transcript::Transcript,
};
use serde::Serialize;
use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

/// When a generation ends, and what is kept of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationOptions {
    /// Most tokens generated; as many as the context holds by default.
    pub tokens_max: Option<usize>,
    /// Texts that end the generation and are cut from it.
    pub stop: Vec<String>,
    /// Whether log-probabilities are kept, and of how many other tokens.
    pub logprobs: Option<usize>,
    /// Goes on behind end-of-generation tokens.
    pub ignore_eos: bool,
    /// Control tokens appear in the text.
    pub render_special: bool,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended its text, or a stop string came.
    Stop,
    /// As many tokens as were asked for have been generated.
    Length,
    /// The context is full.
    Context,
    /// It was interrupted.
    Cancelled,
}

/// One generated token, as it is reported.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenRecord {
    /// The token.
    pub token: TokenId,
    /// Its log-probability, where asked for.
    pub logprob: Option<f32>,
    /// The most likely tokens in its place.
    pub top: Vec<TokenLogprob>,
}

/// A run of tokens that came from one place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProvenanceRun {
    /// Index of the first token among those generated.
    pub from: usize,
    /// Number of tokens.
    pub tokens: usize,
    /// The place.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// What one step of a generation brought.
#[derive(Debug, PartialEq)]
pub struct Step<'a> {
    /// Text that is certain now; may be empty.
    pub text: &'a str,
    /// Set once the generation has ended.
    pub finished: Option<FinishReason>,
}

/// A generation under way.
pub struct Generation {
    transcript: Transcript,
    tokenizer: Arc<Tokenizer>,
    options: GenerationOptions,
    detokenizer: Detokenizer,
    stop: StopStrings,
    /// Text of the current step.
    text: String,
    decoded: Vec<Decoded>,
    records: Vec<TokenRecord>,
    provenance: Vec<ProvenanceRun>,
    speculation: Option<Speculation>,
    prompt_tokens: u32,
    /// Tokens generated, an end-of-generation token included.
    generated: usize,
    finished: Option<FinishReason>,
    started: Instant,
    first_token: Option<Duration>,
    last_token: Duration,
}

impl Generation {
    /// Begins to continue `transcript`, whose last part is the prompt.
    pub fn new(
        transcript: Transcript,
        tokenizer: Arc<Tokenizer>,
        options: GenerationOptions,
    ) -> Result<Self, DecodeError> {
        let decode = DecodeOptions {
            render_special: options.render_special,
            continues: true,
        };
        Ok(Self {
            detokenizer: Detokenizer::new(&tokenizer, decode),
            stop: StopStrings::new(&options.stop)?,
            prompt_tokens: transcript.len(),
            transcript,
            tokenizer,
            options,
            text: String::new(),
            decoded: Vec::new(),
            records: Vec::new(),
            provenance: Vec::new(),
            speculation: None,
            generated: 0,
            finished: None,
            started: Instant::now(),
            first_token: None,
            last_token: Duration::ZERO,
        })
    }

    /// Asks `decoder` for further tokens and commits them. Each call may name
    /// another decoder. After an error nothing was committed, and the step may
    /// be tried again; after the end it returns the end again.
    pub fn step(
        &mut self,
        decoder: &mut dyn Decoder,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Step<'_>, DecodeError> {
        self.text.clear();
        if self.finished.is_none() {
            match self.advance(decoder, cancel, progress) {
                Err(DecodeError::Cancelled) => self.finish(FinishReason::Cancelled),
                result => result?,
            }
        }
        Ok(Step {
            text: &self.text,
            finished: self.finished,
        })
    }

    fn advance(
        &mut self,
        decoder: &mut dyn Decoder,
        cancel: &AtomicBool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), DecodeError> {
        let wanted = self.options.tokens_max.unwrap_or(usize::MAX);
        if self.generated >= wanted {
            self.finish(FinishReason::Length);
            return Ok(());
        }
        // The prompt's own length is the decoder's to judge.
        if self.generated > 0 && self.transcript.len() > decoder.context() {
            self.finish(FinishReason::Context);
            return Ok(());
        }
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.clear();
        let request = DecodeRequest {
            transcript: &self.transcript,
            tokens_max: wanted - self.generated,
            logprobs: self.options.logprobs,
            cancel,
            progress,
        };
        let before = decoder.speculation().map(Speculation::counts);
        let result = decoder.decode(request, &mut decoded);
        let elapsed = self.started.elapsed();
        if let (Some(before), Some(whole)) = (before, decoder.speculation()) {
            self.speculation
                .get_or_insert_with(|| Speculation::new(&whole.draft))
                .add_since(before, whole);
        }
        if result.is_ok() {
            self.first_token.get_or_insert(elapsed);
            self.last_token = elapsed;
        }
        let committed = result.and_then(|()| {
            decoded
                .drain(..)
                .try_for_each(|token| self.commit(token, decoder.provenance()))
        });
        self.decoded = decoded;
        committed
    }

    fn commit(&mut self, decoded: Decoded, provenance: &Provenance) -> Result<(), DecodeError> {
        if self.finished.is_some() {
            return Ok(());
        }
        self.transcript.commit(decoded.token, decoded.state);
        let ends = self.tokenizer.is_end_of_generation(decoded.token) && !self.options.ignore_eos;
        self.generated += 1;
        if ends {
            self.finish(FinishReason::Stop);
            return Ok(());
        }
        let index = self.records.len();
        match self.provenance.last_mut() {
            Some(run) if run.provenance == *provenance => run.tokens += 1,
            _ => self.provenance.push(ProvenanceRun {
                from: index,
                tokens: 1,
                provenance: provenance.clone(),
            }),
        }
        self.records.push(TokenRecord {
            token: decoded.token,
            logprob: decoded.logprob,
            top: decoded.top,
        });
        let text = self.detokenizer.push(&self.tokenizer, decoded.token)?;
        if self.stop.push(text, &mut self.text).is_some() {
            self.finished = Some(FinishReason::Stop);
        } else if self.options.tokens_max == Some(self.generated) {
            self.finish(FinishReason::Length);
        }
        Ok(())
    }

    /// Ends the generation and releases the text that was held back.
    fn finish(&mut self, reason: FinishReason) {
        self.finished = Some(reason);
        if self
            .stop
            .push(self.detokenizer.finish(), &mut self.text)
            .is_none()
        {
            self.stop.finish(&mut self.text);
        }
    }

    /// The transcript with all that was generated.
    pub fn into_transcript(self) -> Transcript {
        self.transcript
    }

    /// The generated tokens, without one that ended the generation.
    pub fn records(&self) -> &[TokenRecord] {
        &self.records
    }

    /// Where the tokens came from, in runs.
    pub fn provenance(&self) -> &[ProvenanceRun] {
        &self.provenance
    }

    /// What a draft brought, where a decoder used one.
    pub fn speculation(&self) -> Option<&Speculation> {
        self.speculation.as_ref()
    }

    /// Why it ended; `None` while it goes on.
    pub fn finished(&self) -> Option<FinishReason> {
        self.finished
    }

    /// Tokens that the generation began with.
    pub fn prompt_tokens(&self) -> u32 {
        self.prompt_tokens
    }

    /// From the beginning to the first token.
    pub fn time_to_first_token(&self) -> Option<Duration> {
        self.first_token
    }

    /// Mean time of the tokens behind the first.
    pub fn time_per_output_token(&self) -> Option<Duration> {
        let steps = u32::try_from(self.generated).ok()?.checked_sub(1)?;
        self.last_token
            .checked_sub(self.first_token?)?
            .checked_div(steps)
    }
}
