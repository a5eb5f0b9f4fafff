//! The way to the nodes that were named.

use crate::{exit::Usage, folders, verb::pair::identities};
use outrigger_offload::{
    digests::digest,
    identity::identify,
    remote::{NodeAt, NodeLink, Renewed},
    transport::{Endpoint, LinkConfig, bind_edge},
    trust::ClientName,
    wire::{Hello, ModelIdentity},
};
use outrigger_runtime::loaded::LoadedModel;
use std::collections::BTreeSet;
use tokio::runtime::Runtime;

/// Most nodes in order of preference.
const NODES_MAX: usize = 16;

/// A link that is being made, and what this machine is to it.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) link: NodeLink,
    /// What it goes over.
    pub(super) endpoint: Endpoint,
    /// The nodes, as a user is told of them.
    pub(super) names: String,
    /// What this machine has.
    pub(super) here: ModelIdentity,
}

impl Way {
    /// Begins to make a link to the first of some nodes that can be had.
    pub(super) fn begin(
        names: &[String],
        loaded: &LoadedModel,
        kernel_set: &str,
        require_bitwise: bool,
        runtime: &Runtime,
    ) -> anyhow::Result<Self> {
        if names.len() > NODES_MAX {
            return Err(Usage(format!("at most {NODES_MAX} nodes can be named")).into());
        }
        let kept = identities()?;
        let mut seen = BTreeSet::new();
        let mut nodes = Vec::with_capacity(names.len());
        for name in names {
            let name: ClientName = name.parse()?;
            let identity = kept.load(&name)?;
            if seen.insert(name.clone()) {
                nodes.push(NodeAt {
                    name: name.to_string(),
                    address: identity.address().parse()?,
                    identity,
                });
            }
        }
        let names: Vec<_> = nodes.iter().map(|node| node.name.clone()).collect();
        let cache = folders::cache().map(|folder| folder.join("digests.json"));
        let tensors = digest(loaded.model().gguf(), cache.as_deref());
        let here = identify(loaded, kernel_set, tensors);
        let hello = Hello {
            tokenizer: here.tokenizer,
            model: Some(here.clone()),
            require_bitwise,
        };
        let renewed: Renewed = Box::new(move |name, identity| {
            let kept = name.parse().map(|name| kept.save(&name, identity));
            if let Ok(Err(error)) = kept {
                tracing::warn!("the certificate for {name} was renewed and not kept: {error}");
            }
        });
        let (endpoint, link) = runtime.block_on(async {
            let endpoint = bind_edge()?;
            let config = LinkConfig::default();
            let near = endpoint.clone();
            let link = NodeLink::over(near, nodes, config, hello, Some(renewed));
            link.begin();
            anyhow::Ok((endpoint, link))
        })?;
        Ok(Self {
            link,
            endpoint,
            names: names.join(", "),
            here,
        })
    }
}
