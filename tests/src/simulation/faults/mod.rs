//! Generations whose node and link fail, each drawn from a seed.

mod play;
mod record;
mod scenario;
mod tally;

pub use play::play;
pub use record::{Event, Played, Record};
pub use scenario::{Fault, Kind, Player, Scenario};
pub use tally::Tally;
