//! Split generations: the node computes a run of layers, and the edge the
//! rest.

mod command;
mod generations;
mod run;
mod source;
mod stream;

pub use command::{StageCommand, States};
pub use generations::Stages;
pub use source::{ModelStages, StageSource};
