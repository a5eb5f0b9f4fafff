//! A machine that says what a test wants.

use super::{Source, Telemetry};

/// Says what it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fake(pub(crate) Telemetry);

impl Source for Fake {
    fn read(&self) -> Telemetry {
        self.0
    }
}
