//! A model file opened for use: weights, tokenizer, chat template.

use crate::{
    gguf::{Gguf, GgufError},
    kv::{KvConfig, KvError, KvFormat},
    model::{Model, ModelError, ModelOptions},
    platform::cpus,
    stage::{CpuStage, CpuStageConfig, Pipeline, PipelineError, Span, Stage, StageError},
    template::{ChatTemplate, TemplateError},
    tokenizer::{Tokenizer, TokenizerError},
};
use outrigger_kernels::cpu::isa::Isa;
pub use outrigger_kernels::team::{Team, TeamError};
use std::{ops::Range, path::Path, sync::Arc};

/// Why a model cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each is the error of the part it is named after
pub enum LoadError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error(transparent)]
    Kv(#[from] KvError),
    #[error(transparent)]
    Team(#[from] TeamError),
    #[error(transparent)]
    Stage(#[from] StageError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The tokenizer has ids that the model has no embedding for.
    #[error("the tokenizer has {tokens} tokens, but the model has embeddings for {embeddings}")]
    Vocabulary { tokens: usize, embeddings: usize },
    /// A context of no positions was asked for.
    #[error("a context of 0 positions cannot hold a token; ask for at least 1")]
    NoContext,
}

/// How a model is laid out for running.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunOptions {
    /// Threads of the team; by default the cores this process may use.
    pub threads: Option<usize>,
    /// How keys and values are stored; f16 by default.
    pub kv_format: KvFormat,
    /// Most columns in one pass; 512 by default. More columns read the weights
    /// less often during a long prompt and take more memory.
    pub columns_max: usize,
    /// Sequences that the KV cache has room for at full length; 1 by default.
    pub sequences: usize,
    /// The instruction set of the kernels; the best of this processor by
    /// default. The results are the same with each.
    pub isa: Option<Isa>,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            threads: None,
            kv_format: KvFormat::F16,
            columns_max: 512,
            sequences: 1,
            isa: None,
        }
    }
}

impl RunOptions {
    /// The threads that they ask for.
    pub fn team(&self) -> Result<Arc<Team>, TeamError> {
        let threads = self.threads.unwrap_or_else(cpus::usable);
        Team::new(threads).map(Arc::new)
    }
}

/// A model file with everything that is read from it.
#[derive(Clone)]
pub struct LoadedModel {
    model: Arc<Model>,
    tokenizer: Arc<Tokenizer>,
}

impl LoadedModel {
    /// Opens a model file, or the parts of one.
    pub fn open(path: &Path, options: &ModelOptions) -> Result<Self, LoadError> {
        Self::from_gguf(Gguf::open(path)?, options)
    }

    /// Takes a model from an opened file.
    pub fn from_gguf(gguf: Gguf, options: &ModelOptions) -> Result<Self, LoadError> {
        if options.context == Some(0) {
            return Err(LoadError::NoContext);
        }
        let gguf = Arc::new(gguf);
        let model = Model::load(gguf.clone(), options)?;
        let tokenizer = Tokenizer::from_metadata(gguf.metadata())?;
        let (tokens, embeddings) = (tokenizer.vocab_len(), model.vocab);
        if tokens > embeddings {
            return Err(LoadError::Vocabulary { tokens, embeddings });
        }
        Ok(Self {
            model: Arc::new(model),
            tokenizer: Arc::new(tokenizer),
        })
    }

    /// The description of the model and its weights.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The chat template, or its variant `name`; `None` if there is none.
    pub fn template(&self, name: Option<&str>) -> Result<Option<ChatTemplate>, TemplateError> {
        ChatTemplate::from_metadata(self.model.gguf().metadata(), name)
    }

    /// Lays the whole model out on this machine's processor.
    pub fn pipeline(&self, options: &RunOptions) -> Result<Pipeline, LoadError> {
        self.pipeline_on(&options.team()?, options)
    }

    /// The same on a team that is there already. Models that take turns share
    /// one: the threads of a second would wait on the same cores.
    pub fn pipeline_on(
        &self,
        team: &Arc<Team>,
        options: &RunOptions,
    ) -> Result<Pipeline, LoadError> {
        self.lay_out(team, options, self.model.context)
    }

    /// The same for sequences of up to `context` positions.
    pub(crate) fn lay_out(
        &self,
        team: &Arc<Team>,
        options: &RunOptions,
        context: u32,
    ) -> Result<Pipeline, LoadError> {
        let span = Span::whole(self.model.layers.len());
        let stage = self.stage(team, options, context, span)?;
        Ok(Pipeline::new(vec![Box::new(stage)])?)
    }

    /// Lays a part of the model out on this machine's processor. Of the
    /// weights no others are read.
    ///
    /// # Panics
    /// If the model does not have the layers of `span`.
    pub fn stage_on(
        &self,
        team: &Arc<Team>,
        options: &RunOptions,
        span: Span,
    ) -> Result<CpuStage, LoadError> {
        self.stage(team, options, self.model.context, span)
    }

    /// Lays out what stands before and behind `middle` on this machine's
    /// processor.
    pub fn pipeline_around(
        &self,
        team: &Arc<Team>,
        options: &RunOptions,
        middle: Box<dyn Stage>,
    ) -> Result<Pipeline, LoadError> {
        let layers = self.model.layers.len();
        let Range { start, end } = middle.span().layers;
        if start > end || end > layers {
            return Err(PipelineError::Layers { start, end, layers }.into());
        }
        let before = Span {
            embed: true,
            layers: 0..start,
            head: false,
        };
        let behind = Span {
            embed: false,
            layers: end..layers,
            head: true,
        };
        Ok(Pipeline::new(vec![
            Box::new(self.stage_on(team, options, before)?),
            middle,
            Box::new(self.stage_on(team, options, behind)?),
        ])?)
    }

    fn stage(
        &self,
        team: &Arc<Team>,
        options: &RunOptions,
        context: u32,
        span: Span,
    ) -> Result<CpuStage, LoadError> {
        let kv = KvConfig::for_context(
            &self.model.kv_shape(span.layers.clone()),
            options.kv_format,
            context,
            options.sequences,
        )?;
        let config = CpuStageConfig {
            span,
            kv,
            columns_max: options.columns_max,
            isa: options.isa.unwrap_or_else(Isa::detect),
        };
        Ok(CpuStage::new(self.model.clone(), team.clone(), config)?)
    }
}
