//! `outrigger run`: completes a prompt, or chats.

mod chat;
mod complete;
mod draft;
mod gauge;
mod offload;
mod sampling;
mod status;

use super::Session;
use crate::{
    exit::Usage,
    model::{ModelArgs, RunArgs, read_text},
    threads,
};
use clap::{Args, ValueHint};
use draft::DraftArgs;
use gauge::Gauge;
use offload::{OffloadArgs, Offloaded};
use outrigger_runtime::{
    decoder::GenerationOptions,
    kv::KvFormat,
    model::{Model, ModelOptions},
    template::ChatTemplate,
};
use sampling::SamplingArgs;
use status::StatusLine;
use std::{
    io::{IsTerminal, stdin},
    path::{Path, PathBuf},
};

/// Positions of the context where nothing else is said: enough for a long
/// chat. A model's own context may be so long that its cache would not fit.
const CONTEXT_LIMIT: u32 = 8192;

/// Completes a prompt, or opens a chat
///
/// With a prompt (as an argument, with -p, from a file or through a pipe) the
/// model continues it, and what it generates goes to stdout. Without one, on a
/// terminal, a chat begins.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Run {
    /// The text to continue; `-` reads it from stdin
    #[arg(value_name = "PROMPT")]
    prompt: Option<String>,
    /// The same as PROMPT
    #[arg(
        short,
        long = "prompt",
        id = "prompt_flag",
        value_name = "TEXT",
        conflicts_with = "prompt"
    )]
    prompt_flag: Option<String>,
    /// Reads the prompt from a file
    #[arg(
        short,
        long,
        value_name = "FILE",
        value_hint = ValueHint::FilePath,
        conflicts_with_all = ["prompt", "prompt_flag"]
    )]
    file: Option<PathBuf>,
    /// Chats even where a prompt is given, which is then the first message
    #[arg(long)]
    chat: bool,
    /// The system message of a chat
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Uses the chat template in FILE instead of the model's own
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    template: Option<PathBuf>,
    #[command(flatten)]
    generation: GenerationArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    run: RunArgs,
    #[command(flatten)]
    draft: DraftArgs,
    #[command(flatten)]
    offload: OffloadArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// When a generation ends and what is told of it.
#[derive(Debug, Args)]
struct GenerationArgs {
    /// Most tokens to generate [default: as many as the context holds]
    #[arg(short = 'n', long = "predict", value_name = "N")]
    tokens_max: Option<usize>,
    /// Ends the text before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Goes on where the model would end its text
    #[arg(long)]
    ignore_eos: bool,
    /// Shows control tokens in the text
    #[arg(long)]
    special: bool,
    /// With --json, the log-probability of each token and of the N most likely
    #[arg(long, value_name = "N")]
    logprobs: Option<usize>,
}

const EXAMPLES: &str = "\
Examples:
  outrigger run \"Once upon a time\"
      continues the sentence with the model that comes with the program
  outrigger run -m model.gguf
      chats; Ctrl-C stops an answer, Ctrl-D ends the chat
  outrigger run -m model.gguf -n 64 --temp 0 --json \"The capital of France is\"
      the most likely 64 tokens, with timings, as JSON
  outrigger run -m model.gguf -c 16384 -f article.txt --stop \"###\"
      continues a file in a context of 16,384 positions
  outrigger run -m large.gguf --draft small.gguf \"Write a loop in Rust:\"
      the same text in fewer passes of the large model

In a chat, /help lists what can be typed beside messages.";

impl Run {
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<()> {
        let sampling = self.sampling.params(&session.config)?;
        let prompt = self.prompt()?;
        let loaded = self.model.load(
            &session.config,
            &ModelOptions {
                context: self.run.context(&session.config),
                context_limit: Some(CONTEXT_LIMIT),
            },
        )?;
        if let Some(warning) = loaded.tokenizer().warning() {
            tracing::warn!("{warning}");
        }
        let model = loaded.model();
        if model.context > model.trained_context {
            tracing::warn!(
                "the context of {} positions is longer than the {} that the model was trained on; \
                 beyond those its text may make no sense",
                model.context,
                model.trained_context
            );
        }
        let mut options = self.run.options(&session.config, KvFormat::F16);
        if options.threads.is_none() {
            options.threads = threads::choose(&loaded, &options);
        }
        let config = &session.config;
        let status = StatusLine::new();
        let offloaded = (self.offload).decoder(config, &loaded, &options, &self.draft, &status)?;
        // The link runs for as long as the decoder, and is counted behind it.
        let (decoder, board, _behind) = match offloaded {
            Some(Offloaded {
                decoder,
                board,
                ledger,
                runtime,
            }) => (decoder, Some(board), Some((runtime, ledger))),
            None => (self.draft.decoder(config, &loaded, &options)?, None, None),
        };
        let gauge = Gauge::new(status, board);
        let generation = self.generation.options();
        match prompt {
            Some(prompt) if !self.chat => complete::Completion {
                loaded: &loaded,
                decoder,
                options: generation,
                json: session.json,
                gauge,
            }
            .run(sampling, &prompt),
            first => {
                if session.json {
                    let why = "--json needs a prompt; a chat has no JSON form";
                    return Err(Usage(why.into()).into());
                }
                let template = self.template.as_deref().map(read_template).transpose()?;
                let system = self.system.as_deref();
                chat::Repl::new(
                    &loaded, decoder, generation, gauge, template, sampling, system,
                )?
                .run(first)
            }
        }
    }

    /// The prompt, from wherever it was given.
    fn prompt(&self) -> anyhow::Result<Option<String>> {
        if let Some(file) = &self.file {
            return Ok(Some(read_text(file)?));
        }
        match self.prompt.as_ref().or(self.prompt_flag.as_ref()) {
            Some(text) if text == "-" => Ok(Some(read_text(Path::new("-"))?)),
            Some(text) => Ok(Some(text.clone())),
            None if self.chat || stdin().is_terminal() => Ok(None),
            None => Ok(Some(read_text(Path::new("-"))?)),
        }
    }
}

impl GenerationArgs {
    fn options(&self) -> GenerationOptions {
        GenerationOptions {
            tokens_max: self.tokens_max,
            stop: self.stop.clone(),
            logprobs: self.logprobs,
            ignore_eos: self.ignore_eos,
            render_special: self.special,
        }
    }
}

fn read_template(path: &Path) -> anyhow::Result<ChatTemplate> {
    let template = ChatTemplate::parse(&read_text(path)?);
    template.map_err(|e| anyhow::Error::new(e).context(path.display().to_string()))
}

/// One line about the model, for the head of a chat.
fn describe(model: &Model) -> String {
    format!(
        "{}, {}M parameters, context {}",
        model.title(),
        model.parameters() / 1_000_000,
        model.context
    )
}
