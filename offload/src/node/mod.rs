//! The cloud node: generations of many edges in shared passes.

mod compute;
mod drafting;
mod engine;
mod limits;
mod metrics;
pub mod observe;
mod plan;
mod serve;
mod stages;
mod tally;
#[cfg(test)]
pub(crate) mod tests;

pub use compute::{Compute, ModelCompute};
pub use drafting::{Drafting, NodeDraft};
pub use engine::{Command, Engine, EngineHandle, SessionKey};
pub use limits::NodeLimits;
pub use metrics::{COLUMN_CLASSES, ClientCounts, Metrics, PASS_US_CLASSES, Snapshot};
pub use serve::Node;
pub use stages::{ModelStages, StageCommand, StageSource, Stages, States};
