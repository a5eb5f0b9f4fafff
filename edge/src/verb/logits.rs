//! `logits`: what a model predicts at each of some tokens.

use super::Session;
use crate::{
    console, interrupt,
    model::{self, ModelArgs, RunArgs},
    npy::NpyWriter,
    progress::Progress,
    token_ids,
};
use anyhow::{Context as _, bail};
use clap::{Args, ValueHint};
use outrigger_runtime::{
    kv::{KvFormat, SequenceId},
    model::ModelOptions,
    stage::{Batch, Column},
    transcript::Class,
};
use std::path::PathBuf;

/// Writes a model's logits at each of the given tokens to a NumPy file
///
/// The array is float32 of shape (tokens, vocabulary). The ids are taken as they are: nothing is
/// put before them. Keys and values are cached as f32 unless --kv says otherwise, because this is
/// the verb to compare models with; --ctx-size is the number of tokens unless given.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger logits -m model.gguf --tokens 1,15043,3186 -o logits.npy
  outrigger tokenize -m model.gguf --ids 'Hello world' > ids.json
  outrigger logits -m model.gguf --tokens @ids.json -o logits.npy")]
pub(crate) struct Logits {
    /// Token ids such as 1,2,3, or @FILE with a JSON array of them
    #[arg(long, value_name = "IDS|@FILE")]
    tokens: String,
    /// The file to write
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// Bytes of logits that are held at a time.
const LOGITS_BYTES: usize = 64 << 20;

impl Logits {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<()> {
        let tokens = token_ids::parse_or_read(&self.tokens).context("--tokens")?;
        let len = u32::try_from(tokens.len()).context("--tokens")?;
        if len == 0 {
            bail!("--tokens names no token; give at least one id");
        }
        let config = &session.config;
        let context = self.run.context(config).unwrap_or(len);
        if len > context {
            bail!("{len} tokens do not fit a context of {context}; raise --ctx-size");
        }
        let model = self.model.load(
            config,
            &ModelOptions {
                context: Some(context),
                ..ModelOptions::default()
            },
        )?;
        let name = model::name(model.model().gguf());
        let mut pipeline = model
            .pipeline(&self.run.options(config, KvFormat::F32))
            .with_context(|| name.clone())?;

        let vocab = pipeline.vocab();
        let columns = (LOGITS_BYTES / (4 * vocab)).clamp(1, pipeline.columns_max());
        let sequence = SequenceId(0);
        pipeline.create(sequence)?;
        let mut out = NpyWriter::create(&self.output, tokens.len(), vocab)?;
        let mut progress = Progress::new(len.into(), "tokens");
        let cancel = interrupt::flag();
        let mut batch = Batch::default();
        for (tokens, start) in tokens.chunks(columns).zip((0_u32..).step_by(columns)) {
            batch.clear();
            for (&token, position) in tokens.iter().zip(start..) {
                let column = Column {
                    sequence,
                    position,
                    class: Class::Prompt,
                    wanted: true,
                };
                batch.push(column, token);
            }
            let result = pipeline.forward(&mut batch, cancel);
            interrupt::check()?;
            result.with_context(|| name.clone())?;
            out.append(&batch.output)?;
            progress.advance(tokens.len() as u64);
        }
        out.finish()?;
        if session.json {
            let kernels = pipeline.kernel_set();
            console::print_json(&serde_json::json!({
                "file": self.output.display().to_string(),
                "shape": [tokens.len(), vocab],
                "kernels": kernels,
            }))?;
        }
        Ok(())
    }
}
