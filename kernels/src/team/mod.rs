//! The thread team: one program on every thread, barriers inside.
//!
//! A forward pass is a few hundred short phases, each of which needs the
//! results of the one before. Forking and joining a pool for each of them costs
//! more than many of the phases do, so the team runs one [`Program`] on all
//! its threads and separates the phases by a [`Barrier`](barrier::Barrier) of
//! its own. The threads stay in the pool between programs
//! ([`Crew`](crew::Crew)).
//!
//! Nobody waits for a thread, only for work that a thread has taken: where the
//! machine has other things to do, the threads that do run share out what there
//! is.

mod barrier;
mod bell;
mod buffer;
mod crew;
mod member;
mod run;
mod spin;
mod threads;

pub use buffer::SharedBuffer;
pub use member::{Chunks, Halt, Member};
pub use run::{Program, Run, RunError};
pub use threads::{Team, TeamError};
