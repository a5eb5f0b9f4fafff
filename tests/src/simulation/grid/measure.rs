//! The time of a token, by running a mode.

use super::{
    super::{Failure, Ground, Language, Setting, Trust},
    Cell,
};
use outrigger_offload::{policy::Mode, transport::Path};
use outrigger_runtime::{
    decoder::{DecodeRequest, Decoder},
    transcript::Transcript,
};
use std::{sync::atomic::AtomicBool, time::Duration};
use tokio::time::Instant;

/// Tokens of the prompt.
const PROMPT: usize = 16;
/// Tokens before the clock is read: connecting, reading the prompt, and
/// learning what drafts are worth.
const WARM_UP: u32 = 100;

/// Milliseconds per token of a mode in a cell, over `tokens` tokens.
///
/// # Errors
/// If a token is not the one that local decoding would give, or a mode fails.
pub fn measure(
    cell: &Cell,
    mode: Mode,
    tokens: u32,
    seed: u64,
    trust: &Trust,
    language: &Language,
) -> Result<f64, Failure> {
    // A text of its own, so that cells do not share the luck of one.
    let language = &language.with_seed(seed);
    let setting = Setting {
        seed,
        trust,
        language: language.clone(),
        times: cell.times,
        acceptance: cell.rates.places.clone(),
        path: Path {
            loss: cell.loss,
            ..Path::with_round_trip(Duration::from_millis(cell.rtt_ms.into()))
        },
    };
    Ground::run(setting, |ground| {
        let _served = ground.host().serve(language)?;
        let link = ground.link()?;
        let mut decoder = match mode {
            Mode::Local => Box::new(ground.local(false)),
            Mode::Stream => ground.stream(&link),
            Mode::VerifySequential => ground.verify(&link)?,
            Mode::VerifyPipelined => ground.pipelined(&link),
            Mode::DraftAtNode => ground.draft_at_node(&link),
            mode => return Err(format!("{mode} is not measured").into()),
        };
        let mut transcript = language.prompt(PROMPT);
        let begin = transcript.len() + WARM_UP;
        let end = begin + tokens;
        let mut advance = |until: u32| -> Result<(Instant, u32), Failure> {
            while transcript.len() < until {
                step(&mut *decoder, &mut transcript, end, language)?;
            }
            Ok((Instant::now(), transcript.len()))
        };
        let (began, from) = advance(begin)?;
        let (ended, to) = advance(end)?;
        Ok((ended - began).as_secs_f64() * 1e3 / f64::from(to - from))
    })
}

/// Takes what a decoder gives next, of at most `end` tokens in all.
fn step(
    decoder: &mut dyn Decoder,
    transcript: &mut Transcript,
    end: u32,
    language: &Language,
) -> Result<(), Failure> {
    let mut out = Vec::new();
    let request = DecodeRequest {
        transcript,
        tokens_max: (end - transcript.len()) as usize,
        logprobs: None,
        cancel: &AtomicBool::new(false),
        progress: &mut |_| (),
    };
    decoder.decode(request, &mut out)?;
    for decoded in out {
        let at = transcript.len();
        if decoded.token != language.next(transcript.tokens()) {
            return Err(format!("the token at {at} is wrong").into());
        }
        transcript.commit(decoded.token, decoded.state);
    }
    Ok(())
}
