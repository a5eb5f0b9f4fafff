//! How far drafts were accepted, as measured.

/// Places of a draft that are told apart.
const PLACES: usize = 16;
/// Guesses that must have been judged before a rate is told.
const JUDGED_MIN: f64 = 8.0;

/// A share of trials that succeeded, of which the latest count most.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    trials: f64,
    successes: f64,
}

impl Rate {
    /// What a trial still counts after the next one: about 50 matter.
    const KEPT: f64 = 0.98;

    fn tried(&mut self, success: bool) {
        self.trials = self.trials * Self::KEPT + 1.0;
        self.successes = self.successes * Self::KEPT + f64::from(u8::from(success));
    }

    /// The rate, as if `weight` trials at `prior` had come first.
    fn estimate(&self, prior: f64, weight: f64) -> f64 {
        (self.successes + prior * weight) / (self.trials + weight)
    }
}

/// Learns the acceptance of one draft, for each place of it.
#[derive(Debug, Clone, Default)]
pub struct AcceptanceMeter {
    pooled: Rate,
    places: [Rate; PLACES],
    judged: f64,
}

impl AcceptanceMeter {
    /// Nothing measured.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in one window: of `drafted` guesses the first `accepted` were
    /// right. Those behind the first wrong one say nothing.
    pub fn window(&mut self, drafted: u64, accepted: u64) {
        let judged = drafted.min(accepted.saturating_add(1));
        for place in 0..judged {
            self.pooled.tried(place < accepted);
            let place_rate = usize::try_from(place).ok();
            if let Some(rate) = place_rate.and_then(|at| self.places.get_mut(at)) {
                rate.tried(place < accepted);
            }
        }
        self.judged += judged as f64;
    }

    /// Takes in several windows of which only the sums are known: guesses that
    /// were right, and those that were the first wrong one.
    pub fn windows(&mut self, accepted: u64, rejected: u64) {
        let most = 1 << 10;
        for _ in 0..accepted.min(most) {
            self.pooled.tried(true);
        }
        for _ in 0..rejected.min(most) {
            self.pooled.tried(false);
        }
        self.judged += (accepted + rejected) as f64;
    }

    /// For each place, the share accepted there among those accepted up to
    /// there; empty before enough was measured. Places that were seldom
    /// reached lean on the others.
    pub fn rates(&self) -> Vec<f32> {
        if self.judged < JUDGED_MIN {
            return Vec::new();
        }
        let pooled = self.pooled.estimate(0.5, 1.0);
        let reached = self.places.iter().take_while(|rate| rate.trials > 0.0);
        let rates = reached.map(|rate| rate.estimate(pooled, 8.0) as f32);
        let rates: Vec<f32> = rates.collect();
        if rates.is_empty() {
            return vec![pooled as f32];
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_learnt_from_windows() {
        let mut meter = AcceptanceMeter::new();
        meter.window(4, 2);
        assert!(meter.rates().is_empty(), "3 guesses were judged");
        // The first is always right, the second half of the time.
        for window in 0..200 {
            meter.window(4, 1 + window % 2);
        }
        let rates = meter.rates();
        assert_eq!(rates.len(), 3, "{rates:?}");
        assert!(rates[0] > 0.93, "{rates:?}");
        assert!((rates[1] - 0.5).abs() < 0.1, "{rates:?}");
        assert!(rates[2] < 0.2, "{rates:?}");
    }

    #[test]
    fn sums_of_windows_give_one_rate() {
        let mut meter = AcceptanceMeter::new();
        meter.windows(1, 1);
        assert!(meter.rates().is_empty());
        for _ in 0..100 {
            meter.windows(4, 1);
        }
        let rates = meter.rates();
        assert_eq!(rates.len(), 1);
        assert!((rates[0] - 0.8).abs() < 0.1, "{rates:?}");
        meter.windows(u64::MAX / 2, 0);
    }
}
