//! A model whose middle layers a node computes.

use crate::{exit::Usage, verb::run::draft::Guessing};
use anyhow::Context as _;
use clap::Args;
use outrigger_offload::{
    remote::{LateDecoder, NodeLink, Remote, RemoteStage, RemoteStageConfig},
    wire::NumberFormat,
};
use outrigger_runtime::{
    decoder::{Decoder, LocalDecoder, Provenance, SpeculativeDecoder},
    loaded::{LoadedModel, RunOptions},
};
use std::{ops::Range, str::FromStr};
use tokio::runtime::Handle;

/// How a model is split.
#[derive(Debug, Clone, Args)]
pub(super) struct SplitArgs {
    /// With --mode split, the layers that the node computes, the first from 0 and the last
    /// excluded; `A..` means all from A on [default: 1..]
    ///
    /// This machine computes the rest, always with the embedding and the head. With the layers
    /// from 0 on, what crosses is a row of the embedding for each token, which is the token in
    /// another spelling; a layer here costs little. What crosses can be turned back into text all
    /// the same.
    #[arg(long, value_name = "A..B")]
    split_layers: Option<Layers>,
    /// With --mode split, how the values of hidden states cross: f32, or bf16 or q8, which take a
    /// half or 0.28 of the bytes and lose some bits, so that the text may be another
    /// [default: f32]
    #[arg(long, value_name = "FORMAT", value_parser = numbers)]
    split_numbers: Option<NumberFormat>,
}

/// Layers as a user names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layers {
    start: usize,
    end: Option<usize>,
}

impl Default for Layers {
    fn default() -> Self {
        Self {
            start: 1,
            end: None,
        }
    }
}

impl FromStr for Layers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "layers are A..B or A.., such as 1..15".to_owned();
        let (start, end) = text.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str| text.parse().map_err(|_| wrong());
        let end = (!end.is_empty()).then(|| number(end)).transpose()?;
        Ok(Self {
            start: number(start)?,
            end,
        })
    }
}

fn numbers(name: &str) -> Result<NumberFormat, String> {
    let found = NumberFormat::ALL.into_iter().find(|f| f.name() == name);
    found.ok_or_else(|| "there are f32, bf16 and q8".into())
}

/// A model, and the node that has a part of it.
pub(super) struct Split<'a> {
    pub(super) remote: Remote<NodeLink>,
    pub(super) runtime: Handle,
    pub(super) loaded: &'a LoadedModel,
    pub(super) options: &'a RunOptions,
    /// SHA-256 of the tensors.
    pub(super) model: [u8; 32],
    /// The node's.
    pub(super) provenance: Provenance,
}

impl SplitArgs {
    /// The decoder over a model that is split. With a draft, a round trip is
    /// paid for several tokens.
    pub(super) fn decoder(
        &self,
        split: Split<'_>,
        guessing: Option<Guessing>,
    ) -> anyhow::Result<Box<dyn Decoder>> {
        let Split {
            loaded, options, ..
        } = split;
        let config = RemoteStageConfig {
            layers: self.layers(loaded.model().layers.len())?,
            width: loaded.model().width,
            model: split.model,
            kv: options.kv_format,
            numbers: self.split_numbers.unwrap_or_default(),
            kernel_set: split.provenance.kernel_set,
        };
        let stage = RemoteStage::new(split.remote, split.runtime, config);
        let stage = stage.context("the model's hidden states are too wide to cross")?;
        let pipeline = loaded.pipeline_around(&options.team()?, options, Box::new(stage))?;
        let decoder = LocalDecoder::over(pipeline, loaded, &split.provenance.source)?;
        Ok(match guessing {
            Some(Guessing { draft, lengths }) => Box::new(SpeculativeDecoder::over(
                Box::new(decoder),
                loaded.tokenizer().clone(),
                draft,
                lengths,
            )?),
            None => Box::new(decoder),
        })
    }

    /// The layers of a model of so many that the node computes.
    pub(super) fn layers(&self, layers: usize) -> Result<Range<usize>, Usage> {
        let Layers { start, end } = self.split_layers.unwrap_or_default();
        let range = start..end.unwrap_or(layers);
        if range.is_empty() || range.end > layers {
            let why = format!(
                "--split-layers {}..{} is no run of this model's layers, which are 0..{layers}",
                range.start, range.end
            );
            return Err(Usage(why));
        }
        Ok(range)
    }
}

/// This machine, laid out once it is needed: until then only its part of the
/// model takes memory.
pub(super) fn late(
    loaded: &LoadedModel,
    options: &RunOptions,
    provenance: &Provenance,
) -> Box<dyn Decoder> {
    let context = loaded.model().context;
    let (loaded, options) = (loaded.clone(), *options);
    let make = move || {
        let local = LocalDecoder::new(&loaded, &options)?;
        Ok(Box::new(local) as Box<dyn Decoder>)
    };
    Box::new(LateDecoder::new(
        Box::new(make),
        context,
        provenance.clone(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(text: Option<&str>, layers: usize) -> Result<Range<usize>, String> {
        let split_layers = text.map(str::parse).transpose()?;
        let args = SplitArgs {
            split_layers,
            split_numbers: None,
        };
        args.layers(layers).map_err(|usage| usage.0)
    }

    #[test]
    fn layers_are_read_and_held_against_the_model() {
        assert_eq!(layers(None, 16), Ok(1..16));
        assert_eq!(layers(Some("0..3"), 16), Ok(0..3));
        assert_eq!(layers(Some("4.."), 16), Ok(4..16));
        for wrong in [
            "3..3", "5..2", "0..17", "16..", "1-3", "..", "a..b", "-1..2",
        ] {
            assert!(layers(Some(wrong), 16).is_err(), "{wrong}");
        }
        assert!(layers(None, 1).is_err());
    }
}
