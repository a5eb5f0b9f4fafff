//! `perplexity`: how well a model predicts a text, alone or against a base.

mod base_file;
mod divergence;
mod likelihood;
mod windows;

use super::Session;
use crate::{
    console,
    exit::Usage,
    model::{self, ModelArgs, RunArgs, read_text},
    progress::Progress,
};
use anyhow::{Context as _, bail};
use base_file::{BaseReader, BaseShape, BaseWriter};
use clap::{Args, ValueHint};
use divergence::Divergence;
use likelihood::Likelihood;
use outrigger_runtime::{
    kv::KvFormat,
    loaded::LoadedModel,
    model::ModelOptions,
    tokenizer::{EncodeOptions, TokenId},
};
use std::{
    io::{self, Write},
    num::{NonZeroU32, NonZeroUsize},
    ops::Range,
    path::{Path, PathBuf},
};
use windows::WindowRunner;

/// Measures how well a model predicts a text, and how far it is from a base model
///
/// The text is cut into windows of --ctx-size tokens (512 unless given). Each is run on its own,
/// with the beginning-of-text token in place of its first one where the model asks for that, and
/// the tokens of its second half are scored. These are llama.cpp's rules, so the figures compare.
///
/// With --kl-divergence-base the predictions are saved as well; with --kl-divergence they are
/// compared with those saved of another model, whose windows are then used. The file's format is
/// llama.cpp's: either program reads what the other wrote.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger perplexity -m model.gguf -f text.txt
  outrigger perplexity -m model-f16.gguf -f text.txt --kl-divergence-base base.kld
  outrigger perplexity -m model-q4.gguf --kl-divergence-base base.kld --kl-divergence")]
pub(crate) struct Perplexity {
    /// The text; - for stdin
    #[arg(
        short,
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        required_unless_present = "kl_divergence"
    )]
    file: Option<PathBuf>,
    /// Scores the first N windows at most
    #[arg(long, value_name = "N")]
    chunks: Option<NonZeroUsize>,
    /// Begins a window every N tokens and scores its last N, instead of halves of windows that
    /// stand side by side
    #[arg(long, value_name = "N", conflicts_with_all = ["kl_base", "kl_divergence"])]
    ppl_stride: Option<NonZeroUsize>,
    /// Saves the predictions to FILE or, with --kl-divergence, reads them from it
    #[arg(
        long = "kl-divergence-base",
        alias = "save-all-logits",
        value_name = "FILE",
        value_hint = ValueHint::FilePath
    )]
    kl_base: Option<PathBuf>,
    /// Compares with the predictions saved in --kl-divergence-base
    #[arg(long, requires = "kl_base", conflicts_with = "file")]
    kl_divergence: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// Tokens in a window unless given.
const CONTEXT: u32 = 512;

/// The windows of a text.
#[derive(Debug)]
struct Layout {
    /// Tokens in a window.
    context: usize,
    /// Tokens from the start of one to the start of the next.
    stride: usize,
    /// Number of windows.
    windows: usize,
    /// The positions in a window whose next token is scored.
    scored: Range<usize>,
}

impl Layout {
    /// Windows side by side, of which the second half is scored.
    fn halves(context: usize, windows: usize) -> Self {
        Self {
            context,
            stride: context,
            windows,
            scored: context / 2..context - 1,
        }
    }

    fn window<'a>(&self, tokens: &'a [TokenId], index: usize) -> &'a [TokenId] {
        &tokens[index * self.stride..][..self.context]
    }
}

impl Perplexity {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<()> {
        match (&self.kl_base, &self.file) {
            (Some(base), _) if self.kl_divergence => self.compare(session, base),
            (_, Some(file)) => self.score(session, file),
            (_, None) => Err(Usage("no text is given; name one with --file".into()).into()),
        }
    }

    /// Scores a text, and saves the predictions if that is asked for.
    fn score(&self, session: &Session, file: &Path) -> anyhow::Result<()> {
        let text = read_text(file)?;
        let context = self.run.context(&session.config).unwrap_or(CONTEXT);
        let model = self.open(session, context)?;
        let options = EncodeOptions {
            add_special: true,
            parse_special: false,
        };
        let tokens = model.tokenizer().encode(&text, options);
        let tokens = tokens.with_context(|| file.display().to_string())?;
        let layout = self.layout(context as usize, tokens.len())?;
        let mut runner = self.runner(session, &model)?;
        let vocab = model.model().vocab;
        let mut base = match &self.kl_base {
            None => None,
            Some(path) => {
                let shape = BaseShape {
                    context: layout.context,
                    vocab,
                    windows: layout.windows,
                };
                let tokens = &tokens[..layout.context * layout.windows];
                Some(BaseWriter::create(path, shape, tokens)?)
            }
        };
        let mut likelihood = Likelihood::default();
        let mut progress = session
            .json
            .then(|| Progress::new(layout.windows as u64, "windows"));
        let mut out = io::stdout().lock();
        for index in 0..layout.windows {
            let window = layout.window(&tokens, index);
            let scored = runner.run(window, layout.scored.clone(), |logits, token| {
                likelihood.add(logits, token);
                base.as_mut().map_or(Ok(()), |base| base.append(logits))
            });
            scored.with_context(|| model::name(model.model().gguf()))?;
            match &mut progress {
                Some(progress) => progress.advance(1),
                None => {
                    write!(out, "[{}]{:.4},", index + 1, likelihood.perplexity().value)?;
                    out.flush()?;
                }
            }
        }
        drop(progress);
        if let Some(base) = base {
            base.finish()?;
        }
        let perplexity = likelihood.perplexity();
        if session.json {
            drop(out);
            return console::print_json(&serde_json::json!({
                "ppl": perplexity,
                "windows": layout.windows,
                "context": layout.context,
                "tokens_scored": likelihood.0.count,
                "kernels": runner.kernel_set(),
            }));
        }
        let likelihood::Estimate { value, error } = perplexity;
        writeln!(out, "\nFinal estimate: PPL = {value:.4} +/- {error:.5}")?;
        Ok(())
    }

    /// Compares with what was saved of a base model.
    fn compare(&self, session: &Session, base: &Path) -> anyhow::Result<()> {
        let mut base = BaseReader::open(base)?;
        let shape = base.shape();
        let context = u32::try_from(shape.context)?;
        if let Some(asked) = self.run.ctx_size.map(NonZeroU32::get)
            && asked != context
        {
            bail!("the base was saved with --ctx-size {context}, not {asked}; leave it out");
        }
        let model = self.open(session, context)?;
        if model.model().vocab != shape.vocab {
            bail!(
                "the base has a vocabulary of {} tokens, {} has {}: only models of one vocabulary \
                 compare",
                shape.vocab,
                model::name(model.model().gguf()),
                model.model().vocab,
            );
        }
        let windows = self.chunks.map_or(usize::MAX, NonZeroUsize::get);
        let layout = Layout::halves(shape.context, shape.windows.min(windows));
        let mut runner = self.runner(session, &model)?;
        let tokens = base.tokens().to_vec();
        let mut divergence = Divergence::default();
        let mut progress = session
            .json
            .then(|| Progress::new(layout.windows as u64, "windows"));
        let mut out = io::stdout().lock();
        if progress.is_none() {
            Divergence::print_heading(&mut out)?;
        }
        for index in 0..layout.windows {
            let window = layout.window(&tokens, index);
            let scored = runner.run(window, layout.scored.clone(), |logits, token| {
                divergence.add(logits, base.next_row()?, token);
                Ok(())
            });
            scored.with_context(|| model::name(model.model().gguf()))?;
            match &mut progress {
                Some(progress) => progress.advance(1),
                None => divergence.print_line(&mut out, index + 1)?,
            }
        }
        drop(progress);
        let figures = divergence.figures();
        if session.json {
            drop(out);
            return console::print_json(&figures);
        }
        figures.print(&mut out)?;
        Ok(())
    }

    fn open(&self, session: &Session, context: u32) -> anyhow::Result<LoadedModel> {
        if (context as usize) < BaseShape::CONTEXT_MIN {
            bail!("a window of {context} tokens scores none; raise --ctx-size");
        }
        let options = ModelOptions {
            context: Some(context),
            ..ModelOptions::default()
        };
        let model = self.model.load(&session.config, &options)?;
        let trained = model.model().trained_context;
        if context > trained {
            tracing::warn!("the model was trained on {trained} positions, a window has {context}");
        }
        Ok(model)
    }

    fn layout(&self, context: usize, tokens: usize) -> anyhow::Result<Layout> {
        if tokens < 2 * context {
            bail!(
                "the text has {tokens} tokens, but two windows take {}; give a longer text or \
                 lower --ctx-size",
                2 * context
            );
        }
        let mut layout = Layout::halves(context, tokens / context);
        if let Some(stride) = self.ppl_stride {
            let stride = stride.get();
            if stride >= context {
                bail!("--ppl-stride {stride} must be less than --ctx-size, which is {context}");
            }
            layout.stride = stride;
            layout.windows = (tokens - context).div_ceil(stride);
            layout.scored = context - stride - 1..context - 1;
        }
        if let Some(chunks) = self.chunks {
            layout.windows = layout.windows.min(chunks.get());
        }
        Ok(layout)
    }

    fn runner(&self, session: &Session, model: &LoadedModel) -> anyhow::Result<WindowRunner> {
        let options = self.run.options(&session.config, KvFormat::F16);
        let pipeline = model.pipeline(&options);
        let pipeline = pipeline.with_context(|| model::name(model.model().gguf()))?;
        let tokenizer = model.tokenizer();
        let bos = tokenizer.bos().filter(|_| tokenizer.add_bos());
        Ok(WindowRunner::new(pipeline, bos))
    }
}
