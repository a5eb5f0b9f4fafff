//! What a change of mode must overcome.

use serde::Serialize;
use std::time::Duration;

/// How much better, and how long after the last change, another mode must be.
/// A mode that is barred is left at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Hysteresis {
    /// The share of the present cost that must be saved, from 0 to 0.9.
    /// Default 0.1.
    pub ratio: f64,
    /// Least number of tokens between two changes. Default 16.
    pub dwell_tokens: u32,
    /// Least time between two changes, in milliseconds. Default 500.
    pub dwell_ms: u32,
}

impl Default for Hysteresis {
    fn default() -> Self {
        Self {
            ratio: 0.1,
            dwell_tokens: 16,
            dwell_ms: 500,
        }
    }
}

/// Why a better mode is not taken yet.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Held {
    /// It saves too little.
    Ratio,
    /// The last change was just now.
    Dwell,
}

impl Hysteresis {
    /// What holds a change from one cost to a lower one.
    pub(super) fn holds(
        &self,
        present_ms: f64,
        best_ms: f64,
        tokens: f64,
        time: Duration,
    ) -> Option<Held> {
        if best_ms >= present_ms * (1.0 - self.ratio) {
            return Some(Held::Ratio);
        }
        let dwelt = tokens >= f64::from(self.dwell_tokens)
            && time >= Duration::from_millis(self.dwell_ms.into());
        (!dwelt).then_some(Held::Dwell)
    }
}
