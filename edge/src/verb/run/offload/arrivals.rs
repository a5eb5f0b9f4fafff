//! The decoders of a node that has come.

use super::{Board, way::Way};
use crate::{
    config::Config,
    verb::run::draft::{DraftArgs, Guessing},
};
use outrigger_offload::{
    policy::{Mode, Signals},
    remote::{Decoders, Linked, NodeLink, Remote, StreamDecoder, VerifyTarget},
    times,
};
use outrigger_runtime::{
    decoder::{Provenance, SpeculativeDecoder},
    loaded::{LoadedModel, RunOptions},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::runtime::Handle;

/// How long a node may be silent while something is asked of it.
const SILENCE: Duration = Duration::from_secs(5);

/// Makes a decoder for each mode of the node at the other end.
pub(super) struct Arrivals {
    pub(super) way: Way,
    pub(super) runtime: Handle,
    /// Whether the node was asked for in a way that lets its model be another.
    pub(super) asked: bool,
    /// Whether costs are weighed, for which times must be known.
    pub(super) timed: bool,
    pub(super) loaded: LoadedModel,
    pub(super) options: RunOptions,
    pub(super) config: Config,
    pub(super) draft: DraftArgs,
    /// What is known of the node.
    pub(super) known: Arc<Mutex<Signals>>,
    pub(super) board: Arc<Board>,
    /// The name of the node that decoders were last made for.
    pub(super) seen: Option<String>,
    /// What drafting takes, once it was tried.
    pub(super) draft_ms: Option<f32>,
}

impl Arrivals {
    /// Gives decoders whenever the node is another than before.
    pub(super) fn into_source(mut self) -> impl FnMut() -> Option<Decoders> + Send {
        move || {
            let linked = self.way.link.linked()?;
            if self.seen.as_ref() == Some(&linked.name) {
                return None;
            }
            self.seen = Some(linked.name.clone());
            Some(self.decoders(&linked))
        }
    }

    fn decoders(&mut self, linked: &Linked) -> Decoders {
        let (here, there) = (self.way.here.clone(), &linked.welcome.model);
        let same = here.model == there.model;
        let mut decoders = Decoders::new();
        if !same && !self.asked {
            self.board.say(format_args!(
                "{} has {} in {}, and this machine has {} in {}, so it could not go on in the \
                 same text; going on here; --mode or --policy use the node all the same",
                linked.name, there.title, there.quant, here.title, here.quant
            ));
            return decoders;
        }
        if !same {
            self.board.say(format_args!(
                "{} writes with {} in {}, which this machine does not have",
                linked.name, there.title, there.quant
            ));
        } else if here.kernel_set != there.kernel_set {
            self.board.say(format_args!(
                "{} computes with {}, this machine with {}: the same weights, not the same bits",
                linked.name, there.kernel_set, here.kernel_set
            ));
        }
        let context = there.context.min(here.context);
        decoders.insert(
            Mode::Stream,
            Box::new(StreamDecoder::new(
                self.remote(),
                self.runtime.clone(),
                context,
                provenance(linked, "stream"),
            )),
        );
        match self.verify(linked, context) {
            Ok(Some(verify)) => {
                decoders.insert(Mode::VerifySequential, Box::new(verify));
            }
            Ok(None) => {}
            Err(error) => tracing::warn!("no draft for {}: {error:#}", linked.name),
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.node_model_matches = Some(same);
        // The node lets nobody in whose tokenizer is another.
        known.node_tokenizer_matches = Some(true);
        known.node_kernels_match = Some(same && here.kernel_set == there.kernel_set);
        known.node_has_draft = Some(linked.welcome.drafts);
        // The text is that of the node's model.
        known.edge_has_model = Some(same);
        known.edge_has_draft = Some(decoders.contains_key(&Mode::VerifySequential));
        known.t_draft_ms = self.draft_ms.map(f64::from);
        decoders
    }

    fn verify(
        &mut self,
        linked: &Linked,
        context: u32,
    ) -> anyhow::Result<Option<SpeculativeDecoder>> {
        let guessing = (self.draft).draft(&self.config, &self.loaded, &self.options)?;
        let Some(Guessing { mut draft, lengths }) = guessing else {
            return Ok(None);
        };
        if self.timed && self.draft_ms.is_none() {
            self.draft_ms = times::of_draft(draft.as_mut(), context)?;
        }
        let target = VerifyTarget::new(
            self.remote(),
            self.runtime.clone(),
            context,
            self.loaded.model().vocab,
            provenance(linked, "verify"),
        );
        let tokenizer = self.loaded.tokenizer().clone();
        let decoder = SpeculativeDecoder::over(Box::new(target), tokenizer, draft, lengths)?;
        Ok(Some(decoder))
    }

    fn remote(&self) -> Remote<NodeLink> {
        Remote::new(self.way.link.clone(), SILENCE)
    }
}

fn provenance(linked: &Linked, mode: &str) -> Provenance {
    Provenance {
        source: format!("{mode}:{}", linked.name),
        model: linked.welcome.model.title.clone(),
        kernel_set: linked.welcome.model.kernel_set.clone(),
    }
}
