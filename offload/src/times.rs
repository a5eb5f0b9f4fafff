//! What the steps of a model take on this machine, by trying a few.

use crate::wire::StepTimes;
use outrigger_runtime::{
    decoder::{
        DecodeError, DecodeRequest, Decoded, Decoder, Draft, DraftRequest, Outcome, Part,
        SharedDecoder,
    },
    kv::SequenceId,
    sampler::SamplerParams,
    tokenizer::TokenId,
    transcript::Transcript,
};
use std::{sync::atomic::AtomicBool, time::Instant};

/// Tokens of the prompt that is tried.
const PROMPT: usize = 32;
/// Steps of each kind that are tried; the fastest counts, because others wait
/// for cores and pages.
const STEPS: usize = 4;
const VERIFIES: usize = 2;
/// Guesses of a verify pass, which has one more column.
const GUESSES: [TokenId; 7] = [0; 7];

fn transcript(context: u32) -> Transcript {
    let mut transcript = Transcript::new(SamplerParams {
        seed: Some(0),
        ..SamplerParams::default()
    });
    let len = PROMPT.min(context as usize / 2).max(1);
    transcript.push_prompt(&vec![0; len]);
    transcript
}

/// What a decoder takes for a step and for a token of a prompt, in
/// milliseconds. It remembers nothing of the trial that a transcript would see.
pub fn of_decoder(decoder: &mut dyn Decoder) -> Result<(f32, f32), DecodeError> {
    let mut trial = Trial::new(decoder.context(), |transcript, _| {
        let mut out = Vec::new();
        let request = DecodeRequest {
            transcript,
            tokens_max: 1,
            logprobs: None,
            cancel: &AtomicBool::new(false),
            progress: &mut |_| (),
        };
        decoder.decode(request, &mut out)?;
        Ok(out.into_iter().next())
    });
    let prefill_ms = trial.prefill()?;
    Ok((trial.fastest(STEPS, &[])?, prefill_ms))
}

/// The same for the decoder of a node, which serves nobody yet.
pub fn of_shared(decoder: &mut SharedDecoder) -> Result<StepTimes, DecodeError> {
    let sequence = SequenceId(0);
    let context = decoder.context();
    decoder.open(sequence)?;
    let mut outcomes = Vec::new();
    let mut trial = Trial::new(context, |transcript, guesses| {
        let part = Part {
            sequence,
            transcript,
            drafted: guesses,
            columns_max: PROMPT,
            logprobs: None,
        };
        decoder.pass(&[part], &AtomicBool::new(false), &mut outcomes)?;
        match outcomes.pop() {
            Some(Outcome::Tokens(tokens)) => Ok(tokens.into_iter().next()),
            Some(Outcome::Failed(error)) => Err(error),
            Some(Outcome::Behind { .. }) | None => Ok(None),
        }
    });
    let times = trial.times(context);
    decoder.close(sequence)?;
    times
}

/// What a token takes to draft, in milliseconds; `None` where the draft does
/// not say a word.
pub fn of_draft(draft: &mut dyn Draft, context: u32) -> Result<Option<f32>, DecodeError> {
    let mut transcript = transcript(context);
    let state = transcript.sampler_state();
    transcript.commit(0, state);
    let (cancel, mut progress) = (AtomicBool::new(false), |_| ());
    let mut guesses = Vec::new();
    let mut fastest = None;
    for _ in 0..=VERIFIES {
        let mut request = DraftRequest {
            transcript: &transcript,
            tokens_max: STEPS,
            cancel: &cancel,
            progress: &mut progress,
        };
        draft.catch_up(&mut request)?;
        guesses.clear();
        let started = Instant::now();
        draft.propose(&mut request, &mut guesses)?;
        if !guesses.is_empty() {
            let ms = milliseconds(started) / guesses.len() as f32;
            fastest = Some(fastest.map_or(ms, |least: f32| least.min(ms)));
        }
    }
    Ok(fastest)
}

/// Times steps on a transcript that grows. `step` computes what the transcript
/// lacks and some guesses, and gives the token behind it.
struct Trial<F> {
    transcript: Transcript,
    step: F,
}

impl<F: FnMut(&Transcript, &[TokenId]) -> Result<Option<Decoded>, DecodeError>> Trial<F> {
    fn new(context: u32, step: F) -> Self {
        let transcript = transcript(context);
        Self { transcript, step }
    }

    fn prefill(&mut self) -> Result<f32, DecodeError> {
        let prompt = self.transcript.len();
        Ok(self.fastest(1, &[])? / prompt as f32)
    }

    /// The least time of some steps.
    fn fastest(&mut self, steps: usize, guesses: &[TokenId]) -> Result<f32, DecodeError> {
        let mut fastest = f32::INFINITY;
        for _ in 0..steps {
            let started = Instant::now();
            let token = (self.step)(&self.transcript, guesses)?;
            fastest = fastest.min(milliseconds(started));
            if let Some(token) = token {
                self.transcript.commit(token.token, token.state);
            }
        }
        Ok(fastest)
    }

    fn times(&mut self, context: u32) -> Result<StepTimes, DecodeError> {
        let prefill_ms = self.prefill()?;
        let step_ms = self.fastest(STEPS, &[])?;
        let taken = self.transcript.len() as usize + VERIFIES;
        let room = (context as usize).saturating_sub(taken);
        let guesses = &GUESSES[..GUESSES.len().min(room)];
        let verify_ms = self.fastest(VERIFIES, guesses)?;
        Ok(StepTimes {
            step_ms,
            prefill_ms,
            verify_ms,
        })
    }
}

fn milliseconds(since: Instant) -> f32 {
    since.elapsed().as_secs_f32() * 1e3
}
