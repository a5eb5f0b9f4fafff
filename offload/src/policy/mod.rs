//! What places a generation: gates that a user wrote, and a cost model.
//!
//! Nothing here reads a clock or a sensor: [`Signals`] and the time are
//! arguments. A [`Policy`] weighs them, a [`Chooser`] holds a generation's mode
//! and records each [`Decision`].

mod acceptance;
mod chart;
mod chooser;
mod condition;
mod decision;
mod error;
mod file;
pub mod formula;
mod gate;
mod hysteresis;
mod mode;
mod named;
mod predict;
mod signal;
mod signals;
mod simulate;
mod trial;
mod watched;
mod weigh;

pub use acceptance::AcceptanceMeter;
pub use chooser::Chooser;
pub use condition::{CONDITION_BYTES_MAX, Condition, ConditionError, Undecided};
pub use decision::{Bar, Candidate, Decision, Standing};
pub use error::{Fault, PolicyError};
pub use file::Policy;
pub use gate::{Effect, Gate, State};
pub use hysteresis::Hysteresis;
pub use mode::Mode;
pub use predict::{Prediction, Terms, Unfit, predict};
pub use signal::{Kind, Scalar, Signal};
pub use signals::{Privacy, Signals};
pub use simulate::{Axes, AxesError, Cell, Simulation};
pub use watched::{WatchError, Watched};
