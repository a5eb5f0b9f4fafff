//! Which node generates tokens, and how.

use super::{
    draft::{DraftArgs, Guessing},
    split::{self, Split, SplitArgs},
};
use crate::{
    config::{Config, OffloadMode},
    console,
    exit::Usage,
    folders,
    telemetry::{Linux, Source as _},
    verb::{pair::identities, tokio_runtime},
};
use anyhow::Context as _;
use clap::{Args, ValueHint};
use outrigger_offload::{
    digests::digest,
    identity::identify,
    policy::{Chooser, Mode, Privacy, Signals, Watched},
    remote::{
        FailoverDecoder, NodeLink, PipelinedDecoder, Pipelining, PlacedDecoder, Placement,
        PolicySource, Remote, RemoteError, StreamDecoder, Surroundings, Takeover, VerifyTarget,
    },
    times,
    transport::{Endpoint, LinkConfig, NodeAddress, bind},
    trust::ClientName,
    wire::{Hello, ModelIdentity, StepTimes, Welcome},
};
use outrigger_runtime::{
    decoder::{Decoder, LocalDecoder, Provenance, SpeculativeDecoder},
    loaded::{LoadedModel, RunOptions},
};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};
use tokio::runtime::{Handle, Runtime};

/// Flags of offload.
#[derive(Debug, Args)]
#[command(next_help_heading = "Offload options")]
pub(super) struct OffloadArgs {
    /// Lets a node generate tokens: NAME is what `outrigger pair` was given [default: none, and
    /// nothing leaves this machine]
    ///
    /// The text is the one that this machine would write. Where the node fails, this machine goes
    /// on from the last token.
    #[arg(
        long,
        value_name = "NAME",
        env = "OUTRIGGER_NODE",
        hide_env_values = true
    )]
    node: Option<String>,
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
    #[command(flatten)]
    split: SplitArgs,
}

/// How long the last word to a node may take to go out.
const FAREWELL: Duration = Duration::from_millis(50);
/// How long a node may be silent while something is asked of it.
const SILENCE: Duration = Duration::from_secs(5);

/// Most guesses on their way to a node and back.
const IN_FLIGHT_MAX: u32 = 64;

/// A decoder that uses a node, and what its link runs on.
pub(super) struct Offloaded {
    pub(super) decoder: Box<dyn Decoder>,
    /// The link that it uses; `None` where the node was not reached.
    pub(super) link: Option<NodeLink>,
    /// Dropped behind the decoder.
    pub(super) runtime: LinkRuntime,
}

/// What a link runs on. When it is dropped the node is told, which would
/// otherwise keep the link's place until it has been silent for long.
pub(super) struct LinkRuntime {
    runtime: Runtime,
    endpoint: Option<Endpoint>,
}

impl Drop for LinkRuntime {
    fn drop(&mut self) {
        let Some(endpoint) = &self.endpoint else {
            return;
        };
        endpoint.close(0u32.into(), b"");
        let told = async { tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await };
        // The word is out; nobody waits for an answer.
        let _ = self.runtime.block_on(told);
    }
}

/// A node that was reached.
struct Reached {
    name: ClientName,
    link: NodeLink,
    /// What this machine has.
    here: ModelIdentity,
    /// What the node says.
    welcome: Welcome,
    endpoint: Endpoint,
    runtime: Handle,
}

impl OffloadArgs {
    /// The decoder over the node that was named, with this machine behind it;
    /// `None` if none was.
    pub(super) fn decoder(
        &self,
        config: &Config,
        loaded: &LoadedModel,
        options: &RunOptions,
        draft: &DraftArgs,
    ) -> anyhow::Result<Option<Offloaded>> {
        let Some(name) = self.node.as_ref().or(config.offload.node.as_ref()) else {
            return match self.policy {
                Some(_) => Err(Usage("--policy needs a --node to place tokens at".into()).into()),
                None => Ok(None),
            };
        };
        let name: ClientName = name.parse()?;
        let policy = self.policy.as_deref().map(Watched::open).transpose()?;
        let mut local = LocalDecoder::new(loaded, options)?;
        let runtime = tokio_runtime()?;
        let reached = match reach(&name, loaded, &local, &runtime)? {
            Ok(reached) => reached,
            Err(error) => {
                if let Some(policy) = &policy {
                    may_go_on(&name, &error, policy)?;
                }
                console::say(format_args!("{name}: {error}; going on here"));
                let decoder = draft.decoder(config, loaded, options)?;
                let runtime = LinkRuntime {
                    runtime,
                    endpoint: None,
                };
                let link = None;
                return Ok(Some(Offloaded {
                    decoder,
                    link,
                    runtime,
                }));
            }
        };
        let endpoint = Some(reached.endpoint.clone());
        let runtime = LinkRuntime { runtime, endpoint };
        let link = reached.link.clone();
        let guessing = draft.draft(config, loaded, options)?;
        let mode = self.mode.or(config.offload.mode);
        let decoder: Box<dyn Decoder> = match policy {
            Some(policy) => {
                let times = times::of_decoder(&mut local)?;
                let verify = guessing.map(|g| reached.verify(loaded, g)).transpose()?;
                Box::new(reached.placed(local, times, verify, policy)?)
            }
            None => {
                let mut local: Box<dyn Decoder> = Box::new(local);
                let remote = match (mode.unwrap_or(OffloadMode::Stream), guessing) {
                    (OffloadMode::Split, guessing) => {
                        local = split::late(loaded, options, local.provenance());
                        (self.split).decoder(reached.split(loaded, options), guessing)?
                    }
                    (OffloadMode::Stream, _) => reached.stream(),
                    (OffloadMode::Verify, Some(guessing)) => reached.verify(loaded, guessing)?,
                    (OffloadMode::VerifyPipelined, Some(guessing)) => {
                        reached.pipelined(loaded, guessing)
                    }
                    (OffloadMode::Verify | OffloadMode::VerifyPipelined, None) => {
                        let why = "this --mode needs a --draft, which guesses on this machine";
                        return Err(Usage(why.into()).into());
                    }
                    (OffloadMode::DraftAtNode, _) => reached.draft_at_node()?,
                };
                let tell = move |takeover| match takeover {
                    Takeover::Local { why } => {
                        console::say(format_args!("\n{name}: {why}; going on here"));
                    }
                    Takeover::Remote => console::say(format_args!("\n{name} goes on")),
                };
                let link = Box::new(reached.link.clone());
                Box::new(FailoverDecoder::new(remote, local, link, Box::new(tell)))
            }
        };
        Ok(Some(Offloaded {
            decoder,
            link: Some(link),
            runtime,
        }))
    }
}

/// Whether a policy lets this machine write where the node is not to be had.
fn may_go_on(name: &ClientName, error: &RemoteError, policy: &Watched) -> anyhow::Result<()> {
    let signals = Signals {
        online: Some(false),
        edge_has_model: Some(true),
        privacy: Some(Privacy::Internal),
        ..Signals::default()
    };
    let decision = Chooser::new(policy.policy()).decide(&signals, Duration::ZERO);
    match decision.choice {
        Some(Mode::Local) => Ok(()),
        _ => anyhow::bail!("{name}: {error}; and without it, {}", decision.reason),
    }
}

/// Links to a node; the inner error is one that this machine can do without.
fn reach(
    name: &ClientName,
    loaded: &LoadedModel,
    local: &LocalDecoder,
    runtime: &Runtime,
) -> anyhow::Result<Result<Reached, RemoteError>> {
    let identity = identities()?.load(name)?;
    let address: NodeAddress = identity.address().parse()?;
    let cache = folders::cache().map(|folder| folder.join("digests.json"));
    let tensors = digest(loaded.model().gguf(), cache.as_deref());
    let here = identify(loaded, &local.provenance().kernel_set, tensors);
    let hello = Hello {
        tokenizer: here.tokenizer,
        model: Some(here.clone()),
        require_bitwise: false,
    };
    let (endpoint, link, welcome) = runtime.block_on(async {
        let endpoint = bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
        let near = endpoint.clone();
        let link = NodeLink::new(near, address, identity, LinkConfig::default(), hello);
        let welcome = link.welcome().await;
        anyhow::Ok((endpoint, link, welcome))
    })?;
    let welcome = match welcome {
        Ok(welcome) => welcome,
        Err(error) => return Ok(Err(error)),
    };
    check(name, &here, &welcome.model)?;
    Ok(Ok(Reached {
        name: name.clone(),
        link,
        here,
        welcome,
        endpoint,
        runtime: runtime.handle().clone(),
    }))
}

impl Reached {
    fn remote(&self) -> Remote<NodeLink> {
        Remote::new(self.link.clone(), SILENCE)
    }

    fn context(&self) -> u32 {
        self.welcome.model.context.min(self.here.context)
    }

    fn provenance(&self, mode: &str) -> Provenance {
        Provenance {
            source: format!("{mode}:{}", self.name),
            model: self.welcome.model.title.clone(),
            kernel_set: self.welcome.model.kernel_set.clone(),
        }
    }

    fn stream(&self) -> Box<dyn Decoder> {
        Box::new(StreamDecoder::new(
            self.remote(),
            self.runtime.clone(),
            self.context(),
            self.provenance("stream"),
        ))
    }

    fn verify(&self, loaded: &LoadedModel, guessing: Guessing) -> anyhow::Result<Box<dyn Decoder>> {
        let target = VerifyTarget::new(
            self.remote(),
            self.runtime.clone(),
            self.context(),
            loaded.model().vocab,
            self.provenance("verify"),
        );
        Ok(Box::new(SpeculativeDecoder::over(
            Box::new(target),
            loaded.tokenizer().clone(),
            guessing.draft,
            guessing.lengths,
        )?))
    }

    fn split<'a>(&self, loaded: &'a LoadedModel, options: &'a RunOptions) -> Split<'a> {
        Split {
            remote: self.remote(),
            runtime: self.runtime.clone(),
            loaded,
            options,
            model: self.here.model,
            provenance: self.provenance("split"),
        }
    }

    fn pipelined(&self, loaded: &LoadedModel, guessing: Guessing) -> Box<dyn Decoder> {
        let with = Pipelining {
            draft: guessing.draft,
            tokenizer: loaded.tokenizer().clone(),
            vocab: loaded.model().vocab,
            context: self.context(),
            lengths: guessing.lengths,
            in_flight_max: IN_FLIGHT_MAX,
            provenance: self.provenance("verify_pipelined"),
        };
        let (remote, runtime) = (self.remote(), self.runtime.clone());
        Box::new(PipelinedDecoder::new(remote, runtime, with))
    }

    fn draft_at_node(&self) -> anyhow::Result<Box<dyn Decoder>> {
        if !self.welcome.drafts {
            let why = format!(
                "{} has no draft; it is given one with `outrigger node --draft`",
                self.name
            );
            return Err(Usage(why).into());
        }
        let stream = StreamDecoder::new(
            self.remote(),
            self.runtime.clone(),
            self.context(),
            self.provenance("draft_at_node"),
        );
        Ok(Box::new(stream.with_draft_at_node()))
    }

    /// A decoder that follows a policy.
    fn placed(
        &self,
        local: LocalDecoder,
        times: StepTimes,
        verify: Option<Box<dyn Decoder>>,
        policy: Watched,
    ) -> anyhow::Result<PlacedDecoder> {
        let fixed = Signals {
            node_model_matches: Some(true),
            node_tokenizer_matches: Some(true),
            node_kernels_match: Some(self.here.kernel_set == self.welcome.model.kernel_set),
            node_has_draft: Some(self.welcome.drafts),
            edge_has_model: Some(true),
            edge_has_draft: Some(verify.is_some()),
            t_local_ms: Some(times.step_ms.into()),
            prefill_local_ms: Some(times.prefill_ms.into()),
            t_cloud_ms: Some(self.welcome.times.step_ms.into()),
            prefill_cloud_ms: Some(self.welcome.times.prefill_ms.into()),
            privacy: Some(Privacy::Internal),
            ..Signals::default()
        };
        let mut decoders: BTreeMap<Mode, Box<dyn Decoder>> = BTreeMap::new();
        decoders.insert(Mode::Local, Box::new(local));
        decoders.insert(Mode::Stream, self.stream());
        if let Some(verify) = verify {
            decoders.insert(Mode::VerifySequential, verify);
        }
        let machine = Linux::here();
        let link = self.link.clone();
        let sense = move || {
            let mut signals = fixed.clone();
            machine.read().fill(&mut signals);
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            let estimate = link.estimate();
            let estimate = estimate.as_ref();
            let srtt = estimate.and_then(|estimate| estimate.srtt());
            signals.rtt_ms = srtt.or(link.rtt()).map(ms);
            signals.rtt_var_ms = estimate.and_then(|e| e.rttvar()).map(ms);
            signals.rtt_p95_ms = estimate.and_then(|e| e.rtt_p95()).map(ms);
            signals.loss = estimate.map(|estimate| estimate.loss());
            signals
        };
        let name = self.name.clone();
        let tell = move |placement: Placement<'_>| match placement {
            Placement::Changed(decision) => {
                tracing::info!("placed: {}", decision.reason);
            }
            Placement::Failed { mode, why } => {
                console::say(format_args!("\n{name}, {mode}: {why}; going on here"));
            }
        };
        let surroundings = Surroundings {
            sense: Box::new(sense),
            reach: Box::new(self.link.clone()),
            tell: Box::new(tell),
        };
        let placed = PlacedDecoder::new(decoders, PolicySource::Watched(policy), surroundings);
        placed.context("there is no decoder to place")
    }
}

/// Whether this machine could go on from what the node says.
fn check(name: &ClientName, here: &ModelIdentity, there: &ModelIdentity) -> anyhow::Result<()> {
    if here.model != there.model {
        let why = format!(
            "{name} has {} in {}, and this machine has {} in {}, so it could not go on by itself \
             in the same text; give both the same file",
            there.title, there.quant, here.title, here.quant
        );
        return Err(Usage(why).into());
    }
    if here.kernel_set != there.kernel_set {
        tracing::warn!(
            "{name} computes with {}, this machine with {}: the same weights, not the same bits",
            there.kernel_set,
            here.kernel_set
        );
    }
    Ok(())
}
