//! The modes over a grid of links and machines: measured, predicted, picked.

mod axes;
mod measure;
mod row;

pub use axes::{Axes, Cell, Rates};
pub use measure::measure;
pub use row::{MODES, Measured, Row, rows};
