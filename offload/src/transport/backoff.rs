use fastrand::Rng;
use std::time::Duration;

/// How long to wait before an attempt is repeated: exponential, with full
/// jitter, so that edges that lost a node together do not return together.
#[derive(Debug, Clone)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    random: Rng,
}

impl Backoff {
    /// Waits of up to `least` after the first failure, twice as much after
    /// each further one, and never more than `most`.
    pub fn new(least: Duration, most: Duration, seed: u64) -> Self {
        Self {
            least,
            most,
            random: Rng::with_seed(seed),
        }
    }

    /// The wait after the n-th failure in a row, n from 1.
    pub fn wait(&mut self, failures: u32) -> Duration {
        let doubled = 1u32.checked_shl(failures.saturating_sub(1));
        let most = doubled.and_then(|d| self.least.checked_mul(d));
        let most = most.map_or(self.most, |m| m.min(self.most));
        most.mul_f64(self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, 30 * second, 5);
        for failures in [1, 2, 3, 5, 6, 40, u32::MAX] {
            let bound = (second * 2u32.pow(failures.min(6) - 1)).min(30 * second);
            let waits: Vec<_> = (0..1000).map(|_| backoff.wait(failures)).collect();
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(*most <= bound && *most > bound.mul_f64(0.95), "{most:?}");
            assert!(*least < bound.mul_f64(0.05), "{least:?}");
        }
    }
}
