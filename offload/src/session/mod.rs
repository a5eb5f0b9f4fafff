//! What the two ends of a generation know, without I/O.
//!
//! The edge alone decides what is committed. The node keeps a copy of the
//! transcript that it may run ahead of; a newer epoch takes it back.

mod node;
mod stage;
#[cfg(test)]
mod tests;

pub use node::{NodeSession, PassRecord, Requested};
pub use stage::{StageSession, Taken};
