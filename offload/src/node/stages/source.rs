//! What computes the layers that edges ask for.

use outrigger_runtime::{
    kv::ROLLBACK,
    loaded::{LoadError, LoadedModel, RunOptions, Team},
    stage::{Span, Stage},
};
use std::{ops::Range, sync::Arc};

/// Makes stages of a model's layers.
pub trait StageSource: Send {
    /// Layers of the model.
    fn layers(&self) -> usize;
    /// Values in a hidden state.
    fn width(&self) -> usize;
    /// Positions that a sequence may have.
    fn context(&self) -> u32;
    /// The name of the format in which keys and values are stored.
    fn kv(&self) -> &str;
    /// Positions by which a sequence of these layers may go back without
    /// beginning anew.
    fn rollback(&self, layers: Range<usize>) -> u32;
    /// A stage of layers that the model has, without its ends.
    fn stage(&self, layers: Range<usize>) -> Result<Box<dyn Stage>, LoadError>;
}

/// Stages of a model on this machine. They share its weights, which stay
/// where the file is mapped, and a team of threads.
pub struct ModelStages {
    loaded: LoadedModel,
    team: Arc<Team>,
    options: RunOptions,
}

impl ModelStages {
    /// Stages with room for [`RunOptions::sequences`] generations each.
    pub fn new(loaded: LoadedModel, team: Arc<Team>, options: RunOptions) -> Self {
        Self {
            loaded,
            team,
            options,
        }
    }
}

impl StageSource for ModelStages {
    fn layers(&self) -> usize {
        self.loaded.model().layers.len()
    }

    fn width(&self) -> usize {
        self.loaded.model().width
    }

    fn context(&self) -> u32 {
        self.loaded.model().context
    }

    fn kv(&self) -> &str {
        self.options.kv_format.name()
    }

    fn rollback(&self, layers: Range<usize>) -> u32 {
        let shape = self.loaded.model().kv_shape(layers);
        match shape.iter().any(|layer| layer.window.is_some()) {
            true => ROLLBACK,
            false => u32::MAX,
        }
    }

    fn stage(&self, layers: Range<usize>) -> Result<Box<dyn Stage>, LoadError> {
        let span = Span {
            embed: false,
            layers,
            head: false,
        };
        let stage = (self.loaded).stage_on(&self.team, &self.options, span)?;
        Ok(Box::new(stage))
    }
}
