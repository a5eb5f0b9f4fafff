//! The thread team: one program on every thread, barriers inside.
//!
//! A forward pass is a few hundred short phases, each of which needs the
//! results of the one before. Forking and joining a pool for each of them costs
//! more than many of the phases do, so the team runs one [`Program`] on all
//! its threads with a single broadcast and separates the phases by a
//! [`Barrier`](barrier::Barrier) of its own.

mod barrier;
mod buffer;
mod run;

pub use buffer::SharedBuffer;
pub use run::{Chunks, Halt, Member, Program, Run, RunError, Team, TeamError};
