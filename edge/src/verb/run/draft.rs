//! Which draft guesses tokens for a model.

use crate::{
    bundled,
    config::{Config, DraftChoice, draft_choice},
    exit::Usage,
};
use anyhow::Context as _;
use clap::Args;
use outrigger_runtime::{
    decoder::{DRAFT_MAX, Decoder, Draft, DraftSource, LocalDecoder, SpeculativeDecoder},
    gguf::Gguf,
    loaded::{LoadedModel, RunOptions},
    model::ModelOptions,
};
use std::{num::NonZeroUsize, ops::RangeInclusive};

/// Flags of speculative decoding.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Speculation options")]
pub(super) struct DraftArgs {
    /// Drafts tokens that the model verifies several at a time: MODEL is the GGUF file of a
    /// smaller model with the same vocabulary, `bundled` (for the bundled model), `ngram` (what
    /// followed earlier in the text), or `none` [default: none]
    ///
    /// The text is the same with and without, bit for bit; only the speed differs.
    #[arg(
        long,
        value_name = "MODEL",
        env = "OUTRIGGER_DRAFT",
        hide_env_values = true,
        value_parser = |text: &str| draft_choice(text)
    )]
    draft: Option<DraftChoice>,
    /// Most tokens drafted for one pass of the model, 1 to 7 [default: 7]
    ///
    /// How many up to there is chosen by what pays.
    #[arg(
        long,
        value_name = "N",
        env = "OUTRIGGER_DRAFT_MAX",
        hide_env_values = true
    )]
    draft_max: Option<NonZeroUsize>,
    /// Fewest tokens drafted for one pass of the model [default: 0]
    #[arg(
        long,
        value_name = "N",
        env = "OUTRIGGER_DRAFT_MIN",
        hide_env_values = true
    )]
    draft_min: Option<usize>,
}

/// A draft for a target elsewhere.
pub(super) struct Guessing {
    pub(super) draft: Box<dyn Draft>,
    /// How many tokens it may guess at a time.
    pub(super) lengths: RangeInclusive<usize>,
}

impl DraftArgs {
    /// The decoder for a model, with the draft that was asked for.
    pub(super) fn decoder(
        &self,
        config: &Config,
        loaded: &LoadedModel,
        options: &RunOptions,
    ) -> anyhow::Result<Box<dyn Decoder>> {
        let lengths = self.lengths(config)?;
        let model = self.model(config, loaded)?;
        let Some(source) = self.source(config, model.as_ref()) else {
            return Ok(Box::new(LocalDecoder::new(loaded, options)?));
        };
        let decoder = SpeculativeDecoder::new(loaded, source, options, lengths)?;
        Ok(Box::new(decoder))
    }

    /// The draft that was asked for, for a target elsewhere; `None` if none
    /// was.
    pub(super) fn draft(
        &self,
        config: &Config,
        loaded: &LoadedModel,
        options: &RunOptions,
    ) -> anyhow::Result<Option<Guessing>> {
        let lengths = self.lengths(config)?;
        let model = self.model(config, loaded)?;
        let Some(source) = self.source(config, model.as_ref()) else {
            return Ok(None);
        };
        let draft = SpeculativeDecoder::draft(loaded, source, &options.team()?, options)?;
        Ok(Some(Guessing { draft, lengths }))
    }

    fn lengths(&self, config: &Config) -> anyhow::Result<RangeInclusive<usize>> {
        let config = &config.draft;
        let max = self.draft_max.or(config.max);
        let max = max.map_or(DRAFT_MAX, NonZeroUsize::get);
        let min = self.draft_min.or(config.min).unwrap_or(0);
        if max > DRAFT_MAX || min > max {
            let why = format!(
                "--draft-max is {max} and --draft-min {min}; a pass verifies 1 to {DRAFT_MAX} \
                 drafted tokens, and the least is not above the most"
            );
            return Err(Usage(why).into());
        }
        Ok(min..=max)
    }

    /// Whether a draft was asked for.
    pub(super) fn is_given(&self, config: &Config) -> bool {
        !matches!(self.choice(config), None | Some(DraftChoice::None))
    }

    fn choice<'a>(&'a self, config: &'a Config) -> Option<&'a DraftChoice> {
        self.draft.as_ref().or(config.draft.choice.as_ref())
    }

    /// The draft model, where one was asked for.
    fn model(&self, config: &Config, target: &LoadedModel) -> anyhow::Result<Option<LoadedModel>> {
        Ok(match self.choice(config) {
            Some(DraftChoice::Bundled) => {
                Some(load(bundled::draft()?, target).context("the bundled draft")?)
            }
            Some(DraftChoice::File(path)) => {
                let gguf = Gguf::open(path)?;
                Some(load(gguf, target).with_context(|| path.display().to_string())?)
            }
            None | Some(DraftChoice::None | DraftChoice::Ngram) => None,
        })
    }

    fn source<'a>(
        &self,
        config: &Config,
        model: Option<&'a LoadedModel>,
    ) -> Option<DraftSource<'a>> {
        match self.choice(config) {
            Some(DraftChoice::Ngram) => Some(DraftSource::Lookup),
            _ => model.map(DraftSource::Model),
        }
    }
}

/// The draft model, with as long a context as the model it drafts for has.
fn load(gguf: Gguf, target: &LoadedModel) -> anyhow::Result<LoadedModel> {
    let options = ModelOptions {
        context: Some(target.model().context),
        ..ModelOptions::default()
    };
    Ok(LoadedModel::from_gguf(gguf, &options)?)
}
