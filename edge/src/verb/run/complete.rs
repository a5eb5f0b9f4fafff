//! One prompt, one continuation.

use super::{gauge::Gauge, offload::DecisionRecord};
use crate::{console, exit::Interrupted, interrupt};
use anyhow::Context as _;
use outrigger_offload::remote::Traffic;
use outrigger_runtime::{
    decoder::{
        DecodeError, Decoder, FinishReason, Generation, GenerationOptions, Progress, ProvenanceRun,
        Speculation,
    },
    loaded::LoadedModel,
    sampler::SamplerParams,
    tokenizer::{EncodeOptions, TokenId, Tokenizer},
    transcript::Transcript,
};
use serde::Serialize;
use std::{
    borrow::Cow,
    io::{IsTerminal, Write, stderr, stdout},
    time::Duration,
};

pub(super) struct Completion<'a> {
    pub(super) loaded: &'a LoadedModel,
    pub(super) decoder: Box<dyn Decoder>,
    pub(super) options: GenerationOptions,
    pub(super) json: bool,
    pub(super) gauge: Gauge,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    text: &'a str,
    tokens: Vec<TokenId>,
    /// `None` where it broke off.
    finish_reason: Option<FinishReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    seed: Option<u64>,
    timings: Timings,
    provenance: &'a [ProvenanceRun],
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<Vec<DecisionRecord>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speculation: Option<SpeculationReport<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<TokenLogprobs<'a>>>,
}

#[derive(Serialize)]
struct Timings {
    ttft_ms: Option<f64>,
    tpot_ms: Option<f64>,
    prompt_tokens: u32,
    generated_tokens: usize,
    /// Bytes of UDP datagrams, the prompt's included.
    bytes_up_per_token: Option<f64>,
    bytes_down_per_token: Option<f64>,
}

#[derive(Serialize)]
struct SpeculationReport<'a> {
    draft: &'a str,
    target_steps: u64,
    drafted: u64,
    accepted: u64,
    acceptance_rate: Option<f64>,
    tokens_per_step: Option<f64>,
}

impl<'a> From<&'a Speculation> for SpeculationReport<'a> {
    fn from(record: &'a Speculation) -> Self {
        Self {
            draft: &record.draft,
            target_steps: record.target_steps,
            drafted: record.drafted,
            accepted: record.accepted,
            acceptance_rate: record.acceptance_rate().map(thousandths),
            tokens_per_step: record.tokens_per_step().map(thousandths),
        }
    }
}

#[derive(Serialize)]
struct TokenLogprobs<'a> {
    token: Cow<'a, str>,
    id: TokenId,
    logprob: Option<f32>,
    top: Vec<TopLogprob<'a>>,
}

#[derive(Serialize)]
struct TopLogprob<'a> {
    token: Cow<'a, str>,
    id: TokenId,
    logprob: f32,
}

impl Completion<'_> {
    pub(super) fn run(mut self, sampling: SamplerParams, prompt: &str) -> anyhow::Result<()> {
        let tokenizer = self.loaded.tokenizer();
        let seed = sampling.seed;
        let mut transcript = Transcript::new(sampling);
        transcript.push_prompt(&prompt_tokens(tokenizer, prompt)?);
        let seed = seed.or(transcript.sampling().seed);
        let mut generation = Generation::new(transcript, tokenizer.clone(), self.options.clone())?;
        let cancel = interrupt::flag();
        let before = self.gauge.traffic();
        let mut bar = PromptBar::new();
        let mut text = String::new();
        let mut out = stdout();
        let on_terminal = out.is_terminal() && !self.json;
        if on_terminal {
            // The prompt in grey, so that the text reads as a whole.
            let prompt = console::visible(prompt).to_string();
            write!(out, "\x1b[2m{prompt}\x1b[0m")?;
            out.flush()?;
            self.gauge
                .wrote(&prompt, &generation, self.decoder.as_ref());
        }
        let result = loop {
            let gauge = &self.gauge;
            let mut progress = |progress| {
                gauge.clear();
                bar.show(progress);
            };
            let step = generation.step(self.decoder.as_mut(), cancel, &mut progress);
            bar.clear();
            gauge.clear();
            let step = match step {
                Ok(step) => step,
                Err(error) => break Err(error),
            };
            text += step.text;
            let finished = step.finished;
            let mut shown = String::new();
            if !self.json {
                if on_terminal {
                    shown = console::visible(step.text).to_string();
                    write!(out, "{shown}")?;
                } else {
                    out.write_all(step.text.as_bytes())?;
                }
                out.flush()?;
            }
            if let Some(reason) = finished {
                break Ok(reason);
            }
            gauge.wrote(&shown, &generation, self.decoder.as_ref());
        };
        let reason = match result {
            Ok(reason) => reason,
            Err(error) => {
                // What there is of the text is not lost.
                if self.json && !text.is_empty() {
                    self.report(&generation, &text, Err(&error), seed, self.crossed(before))?;
                } else if !text.is_empty() {
                    writeln!(out)?;
                }
                return Err(error.into());
            }
        };
        let crossed = self.crossed(before);
        if let Some(crossed) = crossed {
            tracing::info!("{}", bytes_per_token(crossed, &generation));
        }
        if self.json {
            self.report(&generation, &text, Ok(reason), seed, crossed)?;
        } else {
            writeln!(out)?;
            if on_terminal && stderr().is_terminal() {
                writeln!(stderr(), "{}", summary(&generation, reason, seed, crossed))?;
            }
        }
        if reason == FinishReason::Cancelled {
            return Err(Interrupted.into());
        }
        Ok(())
    }

    /// What has crossed since `before`, when there may have been no link yet.
    fn crossed(&self, before: Option<Traffic>) -> Option<Traffic> {
        Some(self.gauge.traffic()?.since(before.unwrap_or_default()))
    }

    fn report(
        &self,
        generation: &Generation,
        text: &str,
        reason: Result<FinishReason, &DecodeError>,
        seed: Option<u64>,
        crossed: Option<Traffic>,
    ) -> anyhow::Result<()> {
        let tokenizer = self.loaded.tokenizer();
        let records = generation.records();
        let logprobs = self.options.logprobs.map(|_| {
            let each = records.iter().map(|record| TokenLogprobs {
                token: piece(tokenizer, record.token),
                id: record.token,
                logprob: record.logprob,
                top: (record.top.iter())
                    .map(|top| TopLogprob {
                        token: piece(tokenizer, top.token),
                        id: top.token,
                        logprob: top.logprob,
                    })
                    .collect(),
            });
            each.collect()
        });
        console::print_json(&Report {
            text,
            tokens: records.iter().map(|r| r.token).collect(),
            finish_reason: reason.ok(),
            error: reason.err().map(ToString::to_string),
            seed,
            timings: Timings {
                ttft_ms: generation.time_to_first_token().map(milliseconds),
                tpot_ms: generation.time_per_output_token().map(milliseconds),
                prompt_tokens: generation.prompt_tokens(),
                generated_tokens: records.len(),
                bytes_up_per_token: crossed.map(|c| per_token(c.sent, generation)),
                bytes_down_per_token: crossed.map(|c| per_token(c.received, generation)),
            },
            provenance: generation.provenance(),
            decisions: self.gauge.decisions(),
            speculation: generation.speculation().map(Into::into),
            logprobs,
        })
    }
}

/// The ids of a prompt. Control tokens may be written out in it: whoever
/// writes the whole prompt may also write those.
fn prompt_tokens(tokenizer: &Tokenizer, prompt: &str) -> anyhow::Result<Vec<TokenId>> {
    let options = EncodeOptions {
        add_special: true,
        parse_special: true,
    };
    let mut tokens = tokenizer.encode(prompt, options).context("the prompt")?;
    // An EOS at its end would ask the model to go on after the end.
    if tokenizer.add_eos() {
        tokens.pop();
    }
    if tokens.is_empty() {
        tokens.extend(tokenizer.bos());
    }
    Ok(tokens)
}

/// What a token reads as on its own: its bytes, or a control token's name.
fn piece(tokenizer: &Tokenizer, token: TokenId) -> Cow<'_, str> {
    match tokenizer.token_bytes(token) {
        Some(bytes) if !bytes.is_empty() => String::from_utf8_lossy(bytes),
        _ => tokenizer.token_text(token).unwrap_or_default().into(),
    }
}

fn milliseconds(time: Duration) -> f64 {
    thousandths(time.as_secs_f64() * 1e3)
}

fn thousandths(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn per_token(bytes: u64, generation: &Generation) -> f64 {
    thousandths(bytes as f64 / generation.records().len().max(1) as f64)
}

fn bytes_per_token(crossed: Traffic, generation: &Generation) -> String {
    format!(
        "{:.0} bytes up and {:.0} down per token",
        per_token(crossed.sent, generation),
        per_token(crossed.received, generation)
    )
}

/// The line below a text on a terminal.
pub(super) fn summary(
    generation: &Generation,
    reason: FinishReason,
    seed: Option<u64>,
    crossed: Option<Traffic>,
) -> String {
    let mut parts = vec![
        format!("{} prompt tokens", generation.prompt_tokens()),
        format!("{} generated", generation.records().len()),
    ];
    if let Some(time) = generation.time_to_first_token() {
        parts.push(format!("first after {:.0} ms", milliseconds(time)));
    }
    if let Some(time) = generation.time_per_output_token() {
        let rate = 1.0 / time.as_secs_f64();
        parts.push(format!("{rate:.1} tokens/s"));
    }
    if let Some(record) = generation.speculation()
        && let Some(tokens) = record.tokens_per_step()
    {
        parts.push(format!("{tokens:.2} tokens per pass by {}", record.draft));
    }
    if let Some(crossed) = crossed {
        parts.push(bytes_per_token(crossed, generation));
    }
    match reason {
        FinishReason::Context => parts.push("the context is full (-c makes it larger)".into()),
        FinishReason::Cancelled => parts.push("interrupted".into()),
        FinishReason::Stop | FinishReason::Length => {}
    }
    if let Some(seed) = seed {
        parts.push(format!("seed {seed}"));
    }
    format!("\x1b[2m[{}]\x1b[0m", parts.join(", "))
}

/// Progress of a long prompt, on a terminal's stderr.
pub(super) struct PromptBar {
    bar: Option<indicatif::ProgressBar>,
    since: std::time::Instant,
}

impl PromptBar {
    pub(super) fn new() -> Self {
        Self {
            bar: None,
            since: std::time::Instant::now(),
        }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        // Short prompts are done before a bar could be read.
        if self.bar.is_none() && self.since.elapsed() > Duration::from_millis(500) {
            let bar = indicatif::ProgressBar::new(progress.total.into());
            let style = indicatif::ProgressStyle::with_template(
                "reading the prompt {wide_bar} {pos}/{len} tokens, {eta} left",
            );
            if let Ok(style) = style {
                bar.set_style(style);
            }
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(progress.done.into());
        }
    }

    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
