//! Which node generates tokens, and how.

use super::draft::DraftArgs;
use crate::{
    config::{Config, OffloadMode},
    console,
    exit::Usage,
    folders,
    verb::{pair::identities, tokio_runtime},
};
use clap::Args;
use outrigger_offload::{
    digests::digest,
    identity::identify,
    remote::{FailoverDecoder, NodeLink, Remote, StreamDecoder, Takeover, VerifyTarget},
    transport::{LinkConfig, NodeAddress, bind},
    trust::ClientName,
    wire::{Hello, ModelIdentity},
};
use outrigger_runtime::{
    decoder::{Decoder, LocalDecoder, Provenance, SpeculativeDecoder},
    loaded::{LoadedModel, RunOptions},
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::runtime::Runtime;

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
}

/// How long a node may be silent while something is asked of it.
const SILENCE: Duration = Duration::from_secs(5);

/// A decoder that uses a node, and what its link runs on.
pub(super) struct Offloaded {
    pub(super) decoder: Box<dyn Decoder>,
    /// Dropped behind the decoder.
    pub(super) runtime: Runtime,
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
            return Ok(None);
        };
        let mode = self.mode.or(config.offload.mode);
        let mode = mode.unwrap_or(OffloadMode::Stream);
        let name: ClientName = name.parse()?;
        let identity = identities()?.load(&name)?;
        let address: NodeAddress = identity.address().parse()?;
        let local = LocalDecoder::new(loaded, options)?;
        let cache = folders::cache().map(|folder| folder.join("digests.json"));
        let tensors = digest(loaded.model().gguf(), cache.as_deref());
        let model = identify(loaded, &local.provenance().kernel_set, tensors);
        let hello = Hello {
            tokenizer: model.tokenizer,
            model: Some(model.clone()),
            require_bitwise: false,
        };
        let runtime = tokio_runtime()?;
        let (link, at_node) = runtime.block_on(async {
            let endpoint = bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
            let link = NodeLink::new(endpoint, address, identity, LinkConfig::default(), hello);
            let welcome = link.welcome().await;
            anyhow::Ok((link, welcome.map(|welcome| welcome.model)))
        })?;
        let at_node = match at_node {
            Ok(at_node) => at_node,
            Err(error) => {
                console::say(format_args!("{name}: {error}; going on here"));
                let decoder = draft.decoder(config, loaded, options)?;
                return Ok(Some(Offloaded { decoder, runtime }));
            }
        };
        check(&name, &model, &at_node)?;
        let remote = Remote::new(link.clone(), SILENCE);
        let handle = runtime.handle().clone();
        let provenance = |source: &str| Provenance {
            source: format!("{source}:{name}"),
            model: at_node.title.clone(),
            kernel_set: at_node.kernel_set.clone(),
        };
        let context = at_node.context.min(model.context);
        let remote: Box<dyn Decoder> = match mode {
            OffloadMode::Stream => {
                let provenance = provenance("stream");
                Box::new(StreamDecoder::new(remote, handle, context, provenance))
            }
            OffloadMode::Verify => {
                let guessing = draft.draft(config, loaded, options)?.ok_or_else(|| {
                    Usage("--mode verify needs a --draft, which guesses on this machine".into())
                })?;
                let vocab = loaded.model().vocab;
                let provenance = provenance("verify");
                let target = VerifyTarget::new(remote, handle, context, vocab, provenance);
                let tokenizer = loaded.tokenizer().clone();
                Box::new(SpeculativeDecoder::over(
                    Box::new(target),
                    tokenizer,
                    guessing.draft,
                    guessing.lengths,
                )?)
            }
        };
        let tell = move |takeover| match takeover {
            Takeover::Local { why } => console::say(format_args!("\n{name}: {why}; going on here")),
            Takeover::Remote => console::say(format_args!("\n{name} goes on")),
        };
        let decoder = FailoverDecoder::new(remote, Box::new(local), Box::new(link), Box::new(tell));
        Ok(Some(Offloaded {
            decoder: Box::new(decoder),
            runtime,
        }))
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
