//! What a node's steps take, as the node says with its tokens.

use crate::wire::StepTimes;

/// What a node said of one answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    /// Columns that the node computed for it.
    pub columns: u32,
    /// What the node took, its queue included, in milliseconds.
    pub took_ms: f32,
    /// Generations in the same pass, this one included.
    pub sharing: u32,
}

/// The share of a new answer in a mean.
const LATEST: f64 = 0.2;
/// Columns from which on an answer tells of reading a prompt.
const PROMPT_COLUMNS: u32 = 32;
/// Columns of the verify pass that a node tries when it starts.
const TRIED_COLUMNS: f64 = 8.0;

/// Learns the times of a node's steps, from what it tried when it started and
/// from what its answers say.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeTimes {
    step_ms: f64,
    prefill_ms: f64,
    /// Mean columns and milliseconds of the passes over several.
    verify: (f64, f64),
    sharing: Option<f64>,
}

impl NodeTimes {
    /// What the node tried.
    pub fn new(tried: StepTimes) -> Self {
        Self {
            step_ms: tried.step_ms.into(),
            prefill_ms: tried.prefill_ms.into(),
            verify: (TRIED_COLUMNS, tried.verify_ms.into()),
            sharing: None,
        }
    }

    /// Takes in an answer. What a node says is not believed where it cannot be.
    pub fn take(&mut self, served: Served) {
        let ms = f64::from(served.took_ms);
        if !ms.is_finite() || ms < 0.0 || served.columns == 0 {
            return;
        }
        let columns = f64::from(served.columns);
        match served.columns {
            1 => mix(&mut self.step_ms, ms),
            PROMPT_COLUMNS.. => mix(&mut self.prefill_ms, ms / columns),
            _ => {
                mix(&mut self.verify.0, columns);
                mix(&mut self.verify.1, ms);
            }
        }
        let sharing = f64::from(served.sharing);
        mix(self.sharing.get_or_insert(sharing), sharing);
    }

    /// A step of one column, in milliseconds.
    pub fn step_ms(&self) -> f64 {
        self.step_ms
    }

    /// Reading a prompt, in milliseconds a token.
    pub fn prefill_ms(&self) -> f64 {
        self.prefill_ms
    }

    /// A verify pass: milliseconds of no columns, and of each.
    pub fn verify_ms(&self) -> (f64, f64) {
        let (columns, ms) = self.verify;
        let each = ((ms - self.step_ms) / (columns - 1.0).max(1.0)).max(0.0);
        ((ms - each * columns).max(0.0), each)
    }

    /// Generations that waited for the same pass beside this one; `None`
    /// before an answer.
    pub fn queue(&self) -> Option<f64> {
        self.sharing.map(|sharing| (sharing - 1.0).max(0.0))
    }
}

fn mix(mean: &mut f64, latest: f64) {
    *mean += LATEST * (latest - *mean);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> NodeTimes {
        NodeTimes::new(StepTimes {
            step_ms: 30.0,
            prefill_ms: 2.0,
            verify_ms: 37.0,
        })
    }

    fn answer(columns: u32, took_ms: f32) -> Served {
        Served {
            columns,
            took_ms,
            sharing: 3,
        }
    }

    #[test]
    fn what_was_tried_is_a_line() {
        let (base, each) = times().verify_ms();
        assert!((base - 29.0).abs() < 1e-9 && (each - 1.0).abs() < 1e-9);
        assert_eq!(times().queue(), None);
    }

    #[test]
    fn answers_move_their_own_times() {
        let mut times = times();
        for _ in 0..60 {
            times.take(answer(1, 60.0));
            times.take(answer(5, 70.0));
            times.take(answer(1000, 4000.0));
        }
        assert!((times.step_ms() - 60.0).abs() < 0.1);
        assert!((times.prefill_ms() - 4.0).abs() < 0.1);
        let (base, each) = times.verify_ms();
        assert!((base + 5.0 * each - 70.0).abs() < 0.5, "{base} {each}");
        assert!((times.queue().unwrap() - 2.0).abs() < 0.1);
    }

    #[test]
    fn nonsense_is_not_believed() {
        let mut times = times();
        for took_ms in [f32::NAN, f32::INFINITY, -1.0] {
            times.take(answer(1, took_ms));
        }
        times.take(answer(0, 1.0));
        assert_eq!(times, self::times());
    }
}
