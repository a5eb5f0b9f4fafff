//! `outrigger node`: serves a model to paired edges.

mod draft;
mod drain;
mod service;

use super::{Session, pair::NodeState};
use crate::{
    config::{Config, DraftChoice, NodeConfig, draft_choice, kv_format},
    console::{self, LogFormat},
    exit::Usage,
    folders,
    model::{IsaArgs, ModelArgs},
};
use anyhow::Context as _;
use clap::{Args, ValueHint};
use draft::open_draft;
use drain::{Ending, Signals};
use outrigger_offload::{
    digests::digest,
    identity::identify,
    node::{
        Engine, ModelCompute, ModelStages, Node as Served, Stages,
        observe::{Observed, bind_observer},
    },
    times,
    transport::{LinkConfig, bind, listen},
};
use outrigger_runtime::{
    decoder::SharedDecoder, kv::KvFormat, loaded::RunOptions, model::ModelOptions,
};
use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

/// Serves a model to paired edges, which share its passes
///
/// Edges are let in by certificates that `outrigger pair` hands out. SIGTERM ends the node when
/// the generations under way have come to an end; a second one ends it at once.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Node {
    /// Reads settings from a TOML file, as --config does
    #[arg(short = 'c', value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Where it listens [default: 127.0.0.1:7443]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "OUTRIGGER_LISTEN",
        hide_env_values = true
    )]
    listen: Option<SocketAddr>,
    /// Where metrics and health are told over HTTP, on this machine only [default: nowhere]
    ///
    /// GET /metrics is for Prometheus; /health and /ready say with 200 or 503 whether the node
    /// lives and takes work.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "OUTRIGGER_METRICS",
        hide_env_values = true
    )]
    metrics: Option<SocketAddr>,
    /// How long generations under way may take once SIGTERM has come [default: 120]
    #[arg(
        long,
        value_name = "SECONDS",
        env = "OUTRIGGER_DRAIN",
        hide_env_values = true
    )]
    drain: Option<u64>,
    #[command(flatten)]
    state: NodeState,
    #[command(flatten)]
    model: ModelArgs,
    /// Threads that compute [default: the processors this process may use]
    #[arg(
        short,
        long,
        value_name = "N",
        env = "OUTRIGGER_THREADS",
        hide_env_values = true
    )]
    threads: Option<NonZeroUsize>,
    /// Positions that a generation may have [default: 8192, or the model's if fewer]
    #[arg(
        long,
        value_name = "N",
        env = "OUTRIGGER_CTX_SIZE",
        hide_env_values = true
    )]
    ctx_size: Option<NonZeroU32>,
    /// How keys and values are cached: f16, f32 or q8_0
    #[arg(
        long,
        value_name = "FORMAT",
        env = "OUTRIGGER_KV",
        hide_env_values = true,
        value_parser = kv_format
    )]
    kv: Option<KvFormat>,
    /// Guesses tokens for edges that ask for it: the GGUF file of a smaller model with the same
    /// vocabulary, `bundled` (for the bundled model) or `none` [default: none]
    #[arg(
        long,
        value_name = "MODEL",
        env = "OUTRIGGER_NODE_DRAFT",
        hide_env_values = true,
        value_parser = |text: &str| draft_choice(text)
    )]
    draft: Option<DraftChoice>,
    #[command(flatten)]
    isa: IsaArgs,
}

const EXAMPLES: &str = "\
Examples:
  outrigger node -m model.gguf
      serves to this machine, to try it out
  outrigger node -c configs/cloud-node.toml
      serves as the file says";

/// How long generations under way may take at the end where nothing else is said.
const DRAIN: Duration = Duration::from_secs(120);
/// Positions of a generation where nothing else is said.
const CONTEXT_LIMIT: u32 = 8192;

impl Node {
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<()> {
        let named;
        let config = match &self.file {
            Some(file) => {
                named = Config::load(Some(file))?;
                &named
            }
            None => &session.config,
        };
        let NodeConfig {
            listen: configured,
            metrics,
            drain,
            state,
            limits,
            draft,
        } = &config.node;
        let runtime = super::tokio_runtime()?;
        // Told from here on, for loading takes its time.
        let observed = Observed::new(env!("CARGO_PKG_VERSION"));
        if let Some(address) = self.metrics.or(*metrics) {
            let told = runtime.block_on(bind_observer(address));
            let told = told.map_err(|error| Usage(error.to_string()))?;
            let address = told.local_addr()?;
            match session.log_format {
                LogFormat::Text => {
                    console::say(format_args!("metrics at http://{address}/metrics"));
                }
                LogFormat::Json => tracing::info!(%address, "metrics"),
            }
            runtime.spawn(observed.clone().answer(told));
        }
        let loaded = self.model.load(
            config,
            &ModelOptions {
                context: (self.ctx_size.or(config.run.context)).map(NonZeroU32::get),
                context_limit: Some(CONTEXT_LIMIT),
            },
        )?;
        let options = RunOptions {
            threads: self.threads.or(config.run.threads).map(NonZeroUsize::get),
            kv_format: self.kv.or(config.run.kv).unwrap_or(KvFormat::F16),
            sequences: limits.sessions_max,
            isa: self.isa.isa,
            ..RunOptions::default()
        };
        let authority = Arc::new(self.state.authority(state.as_ref())?);
        let team = options.team()?;
        let mut decoder = SharedDecoder::on(&team, &loaded, &options)?;
        let times = times::of_shared(&mut decoder)?;
        let cache = folders::cache().map(|folder| folder.join("digests.json"));
        let tensors = digest(loaded.model().gguf(), cache.as_deref());
        let identity = identify(&loaded, &decoder.provenance().kernel_set, tensors);
        let stop = Arc::new(AtomicBool::new(false));
        let mut compute = ModelCompute::new(decoder, loaded.tokenizer().clone(), stop);
        let draft = self.draft.as_ref().or(draft.as_ref());
        let draft = draft.map_or(Ok(None), |draft| open_draft(draft, &loaded, &options))?;
        let drafts = draft.is_some();
        if let Some(draft) = draft {
            compute = compute.with_draft(draft);
        }
        let split = RunOptions {
            sequences: limits.split_sessions_max,
            ..options
        };
        let stages = ModelStages::new(loaded.clone(), team, split);
        let (engine, handle) = Engine::new(compute, *limits);
        let engine = engine.with_stages(Stages::new(stages, *limits));
        let (ended, end) = oneshot::channel();
        thread::Builder::new()
            .name("outrigger-engine".into())
            .spawn(move || {
                // The engine's own time; its passes block this thread alone.
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build();
                let result = runtime.map(|runtime| runtime.block_on(engine.run()));
                // Nobody waits any more where this fails.
                let _ = ended.send(result);
            })?;
        let default = SocketAddr::from(([127, 0, 0, 1], 7443));
        let address = self.listen.or(*configured).unwrap_or(default);
        let title = identity.title.clone();
        let mut node = Served::new(identity.clone(), times, handle.clone(), *limits);
        if drafts {
            node = node.with_draft();
        }
        runtime.block_on(async {
            let mut signals = Signals::catch()?;
            let endpoint = bind(address)
                .map_err(|error| Usage(format!("{address} cannot be listened on: {error}")))?;
            let mut listener = listen(endpoint, authority.clone(), &LinkConfig::default())?;
            let links = listener.gauge();
            observed.serves(identity, times, &handle, links, limits.sessions_max);
            let (address, authority) = (listener.local_addr()?, authority.fingerprint());
            match session.log_format {
                LogFormat::Text => {
                    console::say(format_args!("{title} at {address}, authority {authority}"));
                }
                LogFormat::Json => tracing::info!(model = title, %address, %authority, "serving"),
            }
            service::ready();
            let mut end = end;
            tokio::select! {
                () = node.listen(&mut listener) => anyhow::bail!("the listener has ended"),
                ended = &mut end => {
                    engine_ended(ended)?;
                    anyhow::bail!("the engine has ended, though nobody asked it to");
                }
                () = signals.next() => {}
            }
            service::stopping();
            let mut ending = Ending {
                node: &node,
                listener: &listener,
                observed: &observed,
                commands: &handle.commands,
                engine: end,
                within: self
                    .drain
                    .map(Duration::from_secs)
                    .or(*drain)
                    .unwrap_or(DRAIN),
            };
            ending.drain(&mut signals).await
        })
    }
}

/// What became of the engine.
fn engine_ended(
    ended: Result<std::io::Result<()>, oneshot::error::RecvError>,
) -> anyhow::Result<()> {
    let result = ended.context("the engine has ended without a word; a panic is on stderr")?;
    result.context("the engine could not run")
}
