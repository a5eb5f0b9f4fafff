//! The decoders of a node that has come.

use super::{
    Board,
    split::{Split, SplitArgs},
    way::Way,
};
use crate::{
    config::Config,
    verb::run::draft::{DraftArgs, Guessing},
};
use outrigger_offload::{
    policy::{Mode, Signals},
    remote::{
        Decoders, Linked, NodeLink, PipelinedDecoder, Pipelining, Remote, StreamDecoder,
        VerifyTarget,
    },
    times,
};
use outrigger_runtime::{
    decoder::{Decoder, Provenance, SpeculativeDecoder},
    loaded::{LoadedModel, RunOptions},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::runtime::Handle;

/// How long a node that lives may leave a request without an answer: a long
/// prompt behind others takes its time, and a node that is gone is noticed by
/// its heartbeat.
const SILENCE: Duration = Duration::from_secs(60);

/// Most guesses on their way to a node and back.
const IN_FLIGHT_MAX: u32 = 64;

/// Makes a decoder for each mode of the node at the other end.
pub(super) struct Arrivals {
    pub(super) way: Way,
    pub(super) runtime: Handle,
    /// Whether the node was asked for in a way that lets its model be another.
    pub(super) asked: bool,
    /// Whether costs are weighed, for which times must be known.
    pub(super) timed: bool,
    /// The one mode that was named, if no policy chooses.
    pub(super) only: Option<Mode>,
    pub(super) split: SplitArgs,
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
        for mode in Mode::ALL {
            if self.only.is_some_and(|only| only != mode) {
                continue;
            }
            match self.decoder(mode, linked, context) {
                Ok(Some(decoder)) => drop(decoders.insert(mode, decoder)),
                Ok(None) if self.only == Some(mode) => self.board.say(format_args!(
                    "{} cannot be used in the mode {mode}; going on here",
                    linked.name
                )),
                Ok(None) => {}
                Err(error) => {
                    let name = &linked.name;
                    self.board
                        .say(format_args!("no {mode} with {name}: {error:#}"));
                }
            }
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.node_model_matches = Some(same);
        // The node lets nobody in whose tokenizer is another.
        known.node_tokenizer_matches = Some(true);
        known.node_kernels_match = Some(same && here.kernel_set == there.kernel_set);
        known.node_has_draft = Some(linked.welcome.drafts);
        // The text is that of the node's model.
        known.edge_has_model = Some(same);
        let drafting = [Mode::VerifySequential, Mode::VerifyPipelined];
        known.edge_has_draft = Some(drafting.iter().any(|mode| decoders.contains_key(mode)));
        known.t_draft_ms = self.draft_ms.map(f64::from);
        decoders
    }

    /// The decoder of a mode, if the node and this machine have what it takes.
    fn decoder(
        &mut self,
        mode: Mode,
        linked: &Linked,
        context: u32,
    ) -> anyhow::Result<Option<Box<dyn Decoder>>> {
        let from = provenance(linked, mode);
        let same = self.way.here.model == linked.welcome.model.model;
        Ok(match mode {
            Mode::Stream => Some(Box::new(self.stream(context, from))),
            Mode::DraftAtNode if linked.welcome.drafts => {
                let stream = self.stream(context, from);
                Some(Box::new(stream.with_draft_at_node()))
            }
            Mode::VerifySequential => match self.guessing(context)? {
                Some(guessing) => Some(Box::new(self.verify(guessing, context, from)?)),
                None => None,
            },
            Mode::VerifyPipelined => {
                let guessing = self.guessing(context)?;
                guessing.map(|g| Box::new(self.pipelined(g, context, from)) as Box<dyn Decoder>)
            }
            // What its parts take is not measured, so no policy weighs it.
            Mode::Split if same && self.only == Some(mode) => {
                let guessing = (self.draft).draft(&self.config, &self.loaded, &self.options)?;
                let split = Split {
                    remote: self.remote(),
                    runtime: self.runtime.clone(),
                    loaded: &self.loaded,
                    options: &self.options,
                    model: self.way.here.model,
                    provenance: from,
                };
                Some(self.split.decoder(split, guessing)?)
            }
            Mode::Local | Mode::DraftAtNode | Mode::Split => None,
        })
    }

    fn stream(&self, context: u32, from: Provenance) -> StreamDecoder<NodeLink> {
        StreamDecoder::new(self.remote(), self.runtime.clone(), context, from)
    }

    /// The draft that was asked for, tried where costs are weighed.
    fn guessing(&mut self, context: u32) -> anyhow::Result<Option<Guessing>> {
        let guessing = (self.draft).draft(&self.config, &self.loaded, &self.options)?;
        let Some(mut guessing) = guessing else {
            return Ok(None);
        };
        if self.timed && self.draft_ms.is_none() {
            self.draft_ms = times::of_draft(guessing.draft.as_mut(), context)?;
        }
        Ok(Some(guessing))
    }

    fn pipelined(
        &self,
        guessing: Guessing,
        context: u32,
        from: Provenance,
    ) -> PipelinedDecoder<NodeLink> {
        let with = Pipelining {
            draft: guessing.draft,
            tokenizer: self.loaded.tokenizer().clone(),
            vocab: self.loaded.model().vocab,
            context,
            lengths: guessing.lengths,
            in_flight_max: IN_FLIGHT_MAX,
            provenance: from,
        };
        PipelinedDecoder::new(self.remote(), self.runtime.clone(), with)
    }

    fn verify(
        &self,
        guessing: Guessing,
        context: u32,
        from: Provenance,
    ) -> anyhow::Result<SpeculativeDecoder> {
        let Guessing { draft, lengths } = guessing;
        let target = VerifyTarget::new(
            self.remote(),
            self.runtime.clone(),
            context,
            self.loaded.model().vocab,
            from,
        );
        let tokenizer = self.loaded.tokenizer().clone();
        let decoder = SpeculativeDecoder::over(Box::new(target), tokenizer, draft, lengths)?;
        Ok(decoder)
    }

    fn remote(&self) -> Remote<NodeLink> {
        Remote::new(self.way.link.clone(), SILENCE)
    }
}

fn provenance(linked: &Linked, mode: Mode) -> Provenance {
    Provenance {
        source: format!("{mode}:{}", linked.name),
        model: linked.welcome.model.title.clone(),
        kernel_set: linked.welcome.model.kernel_set.clone(),
    }
}
