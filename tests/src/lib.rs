//! What the tests that cross crates share: where the fixtures are and how
//! their arrays are read, reference models, and how a model is run.

pub mod drafts;
pub mod fixtures;
pub mod local;
pub mod npy;
pub mod reference;
pub mod rewrite;
pub mod simulation;
pub mod stages;
