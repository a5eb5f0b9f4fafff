//! What the steps of a model take on this machine, by trying a few.

use crate::wire::StepTimes;
use outrigger_runtime::{
    decoder::{DecodeError, DecodeRequest, Decoder, Outcome, Part, SharedDecoder},
    kv::SequenceId,
    sampler::SamplerParams,
    transcript::Transcript,
};
use std::{sync::atomic::AtomicBool, time::Instant};

/// Tokens of the prompt that is tried.
const PROMPT: usize = 32;
/// Steps that are tried; the fastest counts, because others wait for cores and
/// pages.
const STEPS: usize = 4;

fn transcript(context: u32) -> Transcript {
    let mut transcript = Transcript::new(SamplerParams {
        seed: Some(0),
        ..SamplerParams::default()
    });
    let len = PROMPT.min(context as usize / 2).max(1);
    transcript.push_prompt(&vec![0; len]);
    transcript
}

/// Tries a decoder, which remembers nothing of it that a transcript would see.
pub fn of_decoder(decoder: &mut dyn Decoder) -> Result<StepTimes, DecodeError> {
    let mut transcript = transcript(decoder.context());
    time(&mut transcript, |transcript| {
        let mut out = Vec::new();
        let request = DecodeRequest {
            transcript,
            tokens_max: 1,
            logprobs: None,
            cancel: &AtomicBool::new(false),
            progress: &mut |_| (),
        };
        decoder.decode(request, &mut out)?;
        Ok(out.pop())
    })
}

/// The same for the decoder of a node, which serves nobody yet.
pub fn of_shared(decoder: &mut SharedDecoder) -> Result<StepTimes, DecodeError> {
    let sequence = SequenceId(0);
    let mut transcript = transcript(decoder.context());
    decoder.open(sequence)?;
    let mut outcomes = Vec::new();
    let times = time(&mut transcript, |transcript| {
        let part = Part {
            sequence,
            transcript,
            drafted: &[],
            columns_max: PROMPT,
            logprobs: None,
        };
        decoder.pass(&[part], &AtomicBool::new(false), &mut outcomes)?;
        match outcomes.pop() {
            Some(Outcome::Tokens(mut tokens)) => Ok(tokens.pop()),
            Some(Outcome::Failed(error)) => Err(error),
            Some(Outcome::Behind { .. }) | None => Ok(None),
        }
    });
    decoder.close(sequence)?;
    times
}

fn time(
    transcript: &mut Transcript,
    mut step: impl FnMut(
        &Transcript,
    ) -> Result<Option<outrigger_runtime::decoder::Decoded>, DecodeError>,
) -> Result<StepTimes, DecodeError> {
    let prompt = transcript.len();
    let mut fastest = f32::INFINITY;
    let mut prefill_ms = 0.0;
    for index in 0..=STEPS {
        let started = Instant::now();
        let token = step(transcript)?;
        let ms = started.elapsed().as_secs_f32() * 1e3;
        match index {
            0 => prefill_ms = ms / prompt as f32,
            _ => fastest = fastest.min(ms),
        }
        if let Some(token) = token {
            transcript.commit(token.token, token.state);
        }
    }
    Ok(StepTimes {
        step_ms: fastest,
        prefill_ms,
    })
}
