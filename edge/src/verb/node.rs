//! `outrigger node`: serves a model to paired edges.

use super::{Session, pair::NodeState};
use crate::{
    config::{Config, NodeConfig, kv_format},
    console,
    exit::Usage,
    folders,
    model::{IsaArgs, ModelArgs},
};
use anyhow::Context as _;
use clap::{Args, ValueHint};
use outrigger_offload::{
    digests::digest,
    identity::identify,
    node::{Command, Engine, ModelCompute, ModelStages, Node as Served, Stages},
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
};

/// Serves a model to paired edges, which share its passes
///
/// Edges are let in by certificates that `outrigger pair` hands out. SIGTERM ends the node when
/// the generations under way have come to an end.
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
    #[command(flatten)]
    isa: IsaArgs,
}

const EXAMPLES: &str = "\
Examples:
  outrigger node -m model.gguf
      serves to this machine, to try it out
  outrigger node -c configs/cloud-node.toml
      serves as the file says";

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
        let loaded = self.model.load(
            config,
            &ModelOptions {
                context: (self.ctx_size.or(config.run.context)).map(NonZeroU32::get),
                context_limit: Some(CONTEXT_LIMIT),
            },
        )?;
        let NodeConfig {
            listen: configured,
            state,
            limits,
        } = &config.node;
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
        let compute = ModelCompute::new(decoder, loaded.tokenizer().clone(), stop);
        let split = RunOptions {
            sequences: limits.split_sessions_max,
            ..options
        };
        let stages = ModelStages::new(loaded.clone(), team, split);
        let (engine, handle) = Engine::new(compute, *limits);
        let engine = engine.with_stages(Stages::new(stages, *limits));
        let (ended, end) = tokio::sync::oneshot::channel();
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
        let node = Served::new(identity, times, handle.clone(), *limits);
        super::tokio_runtime()?.block_on(async {
            let endpoint = bind(address)
                .map_err(|error| Usage(format!("{address} cannot be listened on: {error}")))?;
            let mut listener = listen(endpoint, authority.clone(), &LinkConfig::default())?;
            console::say(format_args!(
                "{title} at {}, authority {}",
                listener.local_addr()?,
                authority.fingerprint()
            ));
            let drain = drained(&handle.commands);
            tokio::select! {
                () = node.listen(&mut listener) => anyhow::bail!("the listener has ended"),
                ended = drain => ended?,
            }
            listener.drain();
            // Edges are told over the links, which end when all is said.
            let result = end.await.context("the engine has ended without a word")?;
            result.context("the engine could not run")
        })
    }
}

/// Waits for SIGTERM and tells the engine.
async fn drained(commands: &tokio::sync::mpsc::Sender<Command>) -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate())?.recv().await;
        tracing::info!("draining");
        // An engine that has ended has nothing left to finish.
        let _ = commands.send(Command::Drain).await;
        Ok(())
    }
    #[cfg(not(unix))]
    {
        let _ = commands;
        std::future::pending().await
    }
}
