//! What was measured in the repetitions of a test.

use std::time::Duration;

/// Nanoseconds of each repetition.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    pub(super) ns: Vec<u64>,
}

impl Samples {
    pub(super) fn push(&mut self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // A clock too coarse for a test this short must not make it endless.
        self.ns.push(ns.max(1));
    }

    /// Tokens per second of each repetition.
    pub(super) fn rates(&self, tokens: usize) -> Vec<f64> {
        let rate = |&ns: &u64| tokens as f64 * 1e9 / ns as f64;
        self.ns.iter().map(rate).collect()
    }
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The standard deviation that a sample estimates; 0 for a single value.
pub(super) fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// The middle value, or the mean of the middle two.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[middle - 1] + upper) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_up() {
        let mut samples = Samples::default();
        for ms in [100, 200] {
            samples.push(Duration::from_millis(ms));
        }
        assert_eq!(samples.rates(10), [100.0, 50.0]);
        assert_eq!(mean(&[100.0, 50.0]), 75.0);
        assert!((deviation(&[100.0, 50.0]) - 35.355).abs() < 1e-3);
        assert_eq!(deviation(&[3.0]), 0.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
