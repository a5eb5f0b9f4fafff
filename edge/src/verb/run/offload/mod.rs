//! Where tokens come from: this machine, or nodes.

mod arrivals;
mod board;
mod fallback;
mod ledger;
mod senses;
mod split;
mod way;

use super::{draft::DraftArgs, status::StatusLine};
use crate::{
    config::{Config, OffloadMode},
    exit::Usage,
    verb::tokio_runtime,
};
use anyhow::Context as _;
use arrivals::Arrivals;
pub(super) use board::{Board, DecisionRecord};
use clap::{Args, ValueHint};
use ledger::Ledger;
use outrigger_offload::{
    Waiter,
    identity::tokenizer_digest,
    policy::{Mode, Policy, Privacy, Signals, Watched},
    remote::{Decoders, Patience, PlacedDecoder, PolicySource, Surroundings, WarmDecoder},
    times,
    transport::Endpoint,
};
use outrigger_runtime::{
    decoder::{Decoder, LocalDecoder},
    loaded::{LoadedModel, RunOptions},
};
use senses::Senses;
use split::SplitArgs;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{runtime::Runtime, time::Instant};
use way::Way;

/// Flags of offload.
#[derive(Debug, Args)]
#[command(next_help_heading = "Offload options")]
pub(super) struct OffloadArgs {
    /// Lets a node generate tokens: NAME is what `outrigger pair` was given [default: none, and
    /// nothing leaves this machine]
    ///
    /// The text is the one that this machine would write. Where the node fails, this machine goes
    /// on from the last token. Of several nodes, separated by commas, the first that answers is
    /// used.
    #[arg(
        long,
        value_name = "NAME",
        env = "OUTRIGGER_NODE",
        hide_env_values = true,
        value_delimiter = ','
    )]
    node: Vec<String>,
    /// How the node is used [default: stream]
    #[arg(
        long,
        value_name = "MODE",
        env = "OUTRIGGER_OFFLOAD_MODE",
        hide_env_values = true
    )]
    mode: Option<OffloadMode>,
    /// Lets a policy choose between this machine and the modes of the node, and change its mind
    /// while text is generated; the file may be edited meanwhile
    #[arg(
        long,
        value_name = "FILE",
        env = "OUTRIGGER_POLICY",
        hide_env_values = true,
        conflicts_with = "mode",
        value_hint = ValueHint::FilePath
    )]
    policy: Option<PathBuf>,
    /// Who may read the text: public, internal (nodes of yours) or private (this machine alone)
    /// [default: internal]
    ///
    /// A policy's gates decide what follows from it; without a policy, private text stays here.
    #[arg(
        long,
        value_name = "CLASS",
        env = "OUTRIGGER_PRIVACY",
        hide_env_values = true,
        value_parser = privacy
    )]
    privacy: Option<Privacy>,
    #[command(flatten)]
    split: SplitArgs,
}

/// How long a node is waited for where only it may go on.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// How long the first token waits for the first link, from its beginning.
const SETTLE: Duration = Duration::from_millis(500);
/// How long the last word to a node may take to go out.
const FAREWELL: Duration = Duration::from_millis(50);

/// A decoder that uses nodes, and what it lives on.
pub(super) struct Offloaded {
    pub(super) decoder: Box<dyn Decoder>,
    /// What is told of it.
    pub(super) board: Arc<Board>,
    /// What nodes have computed; written down at the end.
    pub(super) ledger: Ledger,
    /// What its links run on; dropped behind the decoder.
    pub(super) runtime: LinkRuntime,
}

/// What links run on. When it is dropped the node is told, which would
/// otherwise keep a link's place until it has been silent for long.
pub(super) struct LinkRuntime {
    runtime: Runtime,
    endpoint: Endpoint,
}

impl Drop for LinkRuntime {
    fn drop(&mut self) {
        self.endpoint.close(0u32.into(), b"");
        let told = async { tokio::time::timeout(FAREWELL, self.endpoint.wait_idle()).await };
        // The word is out; nobody waits for an answer.
        let _ = self.runtime.block_on(told);
    }
}

/// Which nodes are to be used and how, from wherever it was said.
struct Wanted {
    nodes: Vec<String>,
    mode: Option<OffloadMode>,
    policy: Option<PathBuf>,
    privacy: Privacy,
}

fn privacy(name: &str) -> Result<Privacy, String> {
    let found = Privacy::ALL.into_iter().find(|class| class.name() == name);
    found.ok_or_else(|| "there are public, internal and private".into())
}

impl OffloadArgs {
    /// What is wanted of nodes, if anything is and may be.
    fn wanted(&self, config: &Config) -> anyhow::Result<Option<Wanted>> {
        let offload = &config.offload;
        let nodes = match self.node.is_empty() {
            true => offload.nodes.clone(),
            false => self.node.clone(),
        };
        if nodes.is_empty() {
            return match self.policy {
                Some(_) => Err(Usage("--policy needs a --node to place tokens at".into()).into()),
                None => Ok(None),
            };
        }
        // A flag of one kind outranks the configuration's of the other.
        let (mode, policy) = match (self.mode, &self.policy) {
            (None, None) => (offload.mode, offload.policy.clone()),
            (mode, policy) => (mode, policy.clone()),
        };
        let privacy = (self.privacy)
            .or(offload.privacy)
            .unwrap_or(Privacy::Internal);
        if privacy == Privacy::Private && policy.is_none() {
            tracing::info!("the request is private: no node is asked");
            return Ok(None);
        }
        Ok(Some(Wanted {
            nodes,
            mode,
            policy,
            privacy,
        }))
    }

    /// The decoder over the nodes that were named, with this machine behind
    /// them; `None` if none was, or may be asked.
    pub(super) fn decoder(
        &self,
        config: &Config,
        loaded: &LoadedModel,
        options: &RunOptions,
        draft: &DraftArgs,
        status: &StatusLine,
    ) -> anyhow::Result<Option<Offloaded>> {
        let Some(wanted) = self.wanted(config)? else {
            return Ok(None);
        };
        let guesses = matches!(
            wanted.mode,
            Some(OffloadMode::Verify | OffloadMode::VerifyPipelined)
        );
        if guesses && !draft.is_given(config) {
            let why = "this --mode needs a --draft, which guesses on this machine";
            return Err(Usage(why.into()).into());
        }
        let offload = &config.offload;
        let source = match &wanted.policy {
            Some(path) => PolicySource::Watched(Watched::open(path)?),
            None => {
                let mode = wanted.mode.unwrap_or(OffloadMode::Stream).mode();
                PolicySource::Fixed(Arc::new(Policy::named(mode, offload.keep_local_warm)?))
            }
        };
        let runtime = tokio_runtime()?;
        let first = source.policy();
        let mut local: Box<dyn Decoder> = match first.keep_local_warm {
            true => Box::new(WarmDecoder::new(LocalDecoder::new(loaded, options)?)?),
            false if wanted.mode == Some(OffloadMode::Split) => {
                let here = LocalDecoder::new(loaded, options)?;
                split::late(loaded, options, here.provenance())
            }
            false => draft.decoder(config, loaded, options)?,
        };
        let kernel_set = &local.provenance().kernel_set;
        let way = Way::begin(
            &wanted.nodes,
            loaded,
            kernel_set,
            first.require_bitwise,
            &runtime,
        )?;
        let begun = Instant::now();
        let mut known = Signals {
            edge_has_model: Some(true),
            privacy: Some(wanted.privacy),
            deadline_ms: offload.deadline_ms,
            ..Signals::default()
        };
        let weighed = wanted.policy.is_some();
        if weighed {
            let (step_ms, prefill_ms) = times::of_decoder(local.as_mut())?;
            known.t_local_ms = Some(step_ms.into());
            known.prefill_local_ms = Some(prefill_ms.into());
        }
        runtime.block_on(async {
            // Without a link all goes on too.
            let _ = tokio::time::timeout_at(begun + SETTLE, way.link.settled()).await;
        });

        let known = Arc::new(Mutex::new(known));
        let board = Arc::new(Board::new(&way, status.clone()));
        let arrivals = Arrivals {
            way: way.clone(),
            runtime: runtime.handle().clone(),
            asked: weighed || wanted.mode.is_some(),
            timed: weighed,
            only: (!weighed).then_some(wanted.mode.unwrap_or(OffloadMode::Stream).mode()),
            split: self.split.clone(),
            loaded: loaded.clone(),
            options: *options,
            config: config.clone(),
            draft: draft.clone(),
            known: known.clone(),
            board: board.clone(),
            seen: None,
            draft_ms: None,
        };
        let senses = Senses::new(known, way.link.clone());
        let surroundings = Surroundings {
            sense: Box::new(move || senses.read()),
            reach: Box::new(way.link.clone()),
            tell: Box::new(board::teller(board.clone())),
        };
        let tokenizer = tokenizer_digest(loaded.model().gguf().metadata());
        let patience = Patience {
            waiter: Waiter::from(runtime.handle().clone()),
            most: offload.wait_max.unwrap_or(WAIT_MAX),
        };
        let ledger = Ledger::open();
        let price = offload.price_per_million_tokens.map(|price| price / 1e6);
        let decoders = Decoders::from([(Mode::Local, local)]);
        let placed = PlacedDecoder::new(decoders, source, surroundings)
            .context("there is no decoder to place")?
            .with_arrivals(Box::new(arrivals.into_source()))
            .with_fallback(fallback::opener(
                *options,
                tokenizer,
                loaded.model().context,
            ))
            .with_patience(patience)
            .with_costs(ledger.tokens(), price);
        Ok(Some(Offloaded {
            decoder: Box::new(placed),
            board,
            ledger,
            runtime: LinkRuntime {
                runtime,
                endpoint: way.endpoint,
            },
        }))
    }
}
