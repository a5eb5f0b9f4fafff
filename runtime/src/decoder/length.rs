//! How many tokens to draft.
//!
//! Drafting k tokens and verifying them in one pass of k + 1 columns yields
//! 1 + a1 + a1 a2 + ... + a1 ... ak tokens on average, where ai is the chance
//! that the i-th is right if those before it were (Leviathan et al., "Fast
//! Inference from Transformers via Speculative Decoding", 2023, with a chance
//! per place). All that goes into tokens per second is measured as it comes:
//! the chances, the time of a pass with each number of columns, and the time of
//! a drafted token. What has not been measured is assumed to be good, so that
//! it is tried.

use super::draft::Confidence;
use std::time::Duration;

/// Most tokens drafted at once: with the committed token before them they fill
/// a tile of the kernels, whose columns share one reading of the weights.
pub const DRAFT_MAX: usize = 7;

/// Seconds, smoothed over some of the latest measurements.
#[derive(Debug, Clone, Copy, Default)]
struct Cost(Option<f64>);

impl Cost {
    const SHARE: f64 = 0.2;

    fn measured(&mut self, time: Duration, units: usize) {
        let seconds = time.as_secs_f64() / units as f64;
        self.0 = Some(match self.0 {
            // A pass that the system interrupted says little about the next.
            Some(mean) => mean + Self::SHARE * (seconds.clamp(mean / 2.0, mean * 2.0) - mean),
            None => seconds,
        });
    }
}

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

/// What is known of guesses of one confidence.
#[derive(Debug, Clone, Copy)]
struct Grade {
    pooled: Rate,
    places: [Rate; DRAFT_MAX],
    /// Steps without a guess since the last.
    idle: u32,
    /// Steps without a guess after which one is tried.
    patience: u32,
}

impl Grade {
    const PRIOR: f64 = 0.7;
    const PATIENCE_MIN: u32 = 16;
    const PATIENCE_MAX: u32 = 1024;

    /// The chance that the guess at `place` is right if those before it were.
    fn chance(&self, place: usize) -> f64 {
        let pooled = self.pooled.estimate(Self::PRIOR, 4.0);
        self.places[place].estimate(pooled, 8.0)
    }
}

impl Default for Grade {
    fn default() -> Self {
        Self {
            pooled: Rate::default(),
            places: [Rate::default(); DRAFT_MAX],
            idle: 0,
            patience: Self::PATIENCE_MIN,
        }
    }
}

/// Chooses the number of tokens to draft by what it was told of earlier steps.
#[derive(Debug, Default)]
pub(super) struct DraftLength {
    /// Time of a pass, by its columns less one.
    passes: [Cost; DRAFT_MAX + 1],
    /// Time of a drafted token.
    drafting: Cost,
    grades: [Grade; Confidence::GRADES],
    steps: u64,
}

/// What a step with drafted tokens brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Verified {
    pub(super) confidence: Confidence,
    pub(super) drafted: usize,
    pub(super) accepted: usize,
    /// Whether the text ended with the last accepted token, so that the one
    /// behind it was not judged.
    pub(super) ended: bool,
}

impl DraftLength {
    /// Steps between two that take another length than the best known.
    const EXPLORE_EVERY: u64 = 16;

    /// The length to take, from `min` to `max`; `max` is at most [`DRAFT_MAX`].
    pub(super) fn choose(&mut self, confidence: Confidence, min: usize, max: usize) -> usize {
        if min >= max {
            return max;
        }
        // Nothing is gained or lost against a pass that was never timed.
        if self.passes[0].0.is_none() {
            return min;
        }
        self.steps += 1;
        let best = self.best(confidence, min, max);
        let grade = &mut self.grades[confidence.grade()];
        if best == 0 {
            grade.idle += 1;
            if grade.idle < grade.patience {
                return 0;
            }
            grade.idle = 0;
            grade.patience = (grade.patience * 2).min(Grade::PATIENCE_MAX);
            return 1;
        }
        grade.patience = Grade::PATIENCE_MIN;
        // Costs and chances change; the neighbours are looked at in turn.
        if !self.steps.is_multiple_of(Self::EXPLORE_EVERY) {
            return best;
        }
        let longer = (self.steps / Self::EXPLORE_EVERY).is_multiple_of(2);
        let other = if longer { best + 1 } else { best - 1 };
        other.clamp(min, max)
    }

    /// The length with the most expected tokens per second.
    fn best(&self, confidence: Confidence, min: usize, max: usize) -> usize {
        let grade = &self.grades[confidence.grade()];
        let (mut best, mut best_rate) = (min, 0.0);
        let (mut tokens, mut reached) = (1.0, 1.0);
        for length in 0..=max {
            if length > 0 {
                reached *= grade.chance(length - 1);
                tokens += reached;
            }
            let rate = tokens / self.seconds(length);
            if length >= min && rate > best_rate {
                (best, best_rate) = (length, rate);
            }
        }
        best
    }

    /// Expected time of a step that drafts `length` tokens.
    fn seconds(&self, length: usize) -> f64 {
        let single = self.passes[0].0.unwrap_or_default();
        let drafting = self.drafting.0.unwrap_or(single / 32.0);
        self.pass(length) + drafting * length as f64
    }

    /// Expected time of a pass of `length` + 1 columns: as measured, else on
    /// the line between the neighbours, else a little more than the one below.
    fn pass(&self, length: usize) -> f64 {
        let measured = |index: &usize| self.passes[*index].0.is_some();
        let at = |index: usize| self.passes[index].0.unwrap_or_default();
        let below = (0..=length).rev().find(measured).unwrap_or(0);
        let above = (length..self.passes.len()).find(measured);
        let further = (length - below) as f64;
        match above {
            Some(above) if above > below => {
                at(below) + (at(above) - at(below)) * further / (above - below) as f64
            }
            _ => at(below) + at(0) * further / 32.0,
        }
    }

    /// Takes in the time of a pass over `drafted` tokens and the one before.
    pub(super) fn passed(&mut self, drafted: usize, time: Duration) {
        if let Some(cost) = self.passes.get_mut(drafted) {
            cost.measured(time, 1);
        }
    }

    /// Takes in the time that drafting took.
    pub(super) fn drafted(&mut self, tokens: usize, time: Duration) {
        if tokens > 0 {
            self.drafting.measured(time, tokens);
        }
    }

    /// Takes in what was accepted.
    pub(super) fn verified(&mut self, step: Verified) {
        let grade = &mut self.grades[step.confidence.grade()];
        let judged = step.drafted.min(step.accepted + usize::from(!step.ended));
        for (place, rate) in grade.places.iter_mut().enumerate().take(judged) {
            rate.tried(place < step.accepted);
            grade.pooled.tried(place < step.accepted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine on which everything takes a set time, and a draft that is
    /// right at a set rate.
    struct World {
        /// Milliseconds of a pass, by its columns less one.
        pass: [f64; DRAFT_MAX + 1],
        drafting: f64,
        chance: f64,
        state: u64,
    }

    impl World {
        fn uniform(&mut self) -> f64 {
            self.state = self
                .state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.state >> 11) as f64 / (1u64 << 53) as f64
        }

        /// Steps of a decoder; tokens per millisecond, and how often each
        /// length was taken.
        fn run(&mut self, length: &mut DraftLength, steps: usize) -> (f64, [usize; DRAFT_MAX + 1]) {
            let confidence = Confidence::new(0);
            let (mut tokens, mut time) = (0.0, 0.0);
            let mut taken = [0; DRAFT_MAX + 1];
            let duration = |ms: f64| Duration::from_secs_f64(ms / 1e3);
            for _ in 0..steps {
                let drafted = length.choose(confidence, 0, DRAFT_MAX);
                taken[drafted] += 1;
                length.drafted(drafted, duration(self.drafting * drafted as f64));
                let noise = 0.9 + 0.2 * self.uniform();
                length.passed(drafted, duration(self.pass[drafted] * noise));
                let mut accepted = 0;
                while accepted < drafted && self.uniform() < self.chance {
                    accepted += 1;
                }
                length.verified(Verified {
                    confidence,
                    drafted,
                    accepted,
                    ended: false,
                });
                tokens += 1.0 + accepted as f64;
                time += self.pass[drafted] + self.drafting * drafted as f64;
            }
            (tokens / time, taken)
        }

        /// Tokens per millisecond at the best fixed length.
        fn optimum(&self) -> (usize, f64) {
            let rate = |length: usize| {
                let tokens: f64 = (0..=length).map(|i| self.chance.powi(i as i32)).sum();
                tokens / (self.pass[length] + self.drafting * length as f64)
            };
            let all = (0..=DRAFT_MAX).map(|length| (length, rate(length)));
            all.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
        }
    }

    #[test]
    fn it_comes_close_to_the_best_fixed_length() {
        let steep = [10.0, 15.5, 21.0, 27.0, 32.0, 38.0, 44.0, 50.0];
        let flat = [10.0, 10.5, 11.0, 11.5, 12.0, 12.5, 13.0, 13.5];
        let stairs = [10.0, 12.0, 12.0, 12.0, 30.0, 30.0, 30.0, 30.0];
        for (pass, drafting, chance) in [
            (steep, 1.0, 0.3),
            (steep, 1.0, 0.9),
            (steep, 0.0, 0.5),
            (flat, 1.0, 0.7),
            (flat, 1.0, 0.95),
            (flat, 0.0, 0.2),
            (flat, 12.0, 0.5),
            (stairs, 0.5, 0.8),
        ] {
            let mut world = World {
                pass,
                drafting,
                chance,
                state: 7,
            };
            let mut length = DraftLength::default();
            world.run(&mut length, 200);
            let (rate, taken) = world.run(&mut length, 2000);
            let (optimum, most) = world.optimum();
            assert!(
                rate > 0.93 * most,
                "{pass:?}, {drafting}, {chance}: {rate} of {most} at {optimum}, took {taken:?}"
            );
        }
    }

    #[test]
    fn a_draft_that_is_never_right_is_soon_left_alone() {
        let mut world = World {
            pass: [10.0; DRAFT_MAX + 1].map(|t: f64| t * 1.1),
            drafting: 3.0,
            chance: 0.0,
            state: 1,
        };
        let mut length = DraftLength::default();
        world.run(&mut length, 100);
        let (_, taken) = world.run(&mut length, 4000);
        let drafts: usize = taken[1..].iter().sum();
        assert!(drafts < 20, "{taken:?}");
        assert!(drafts > 0, "it is tried again now and then");
        world.chance = 0.9;
        world.run(&mut length, 4000);
        let (_, taken) = world.run(&mut length, 100);
        assert!(taken[0] < 20, "a draft that has become good: {taken:?}");
    }

    #[test]
    fn it_follows_when_costs_change() {
        let mut world = World {
            pass: [10.0, 10.2, 10.4, 10.6, 10.8, 11.0, 11.2, 11.4],
            drafting: 0.1,
            chance: 0.8,
            state: 3,
        };
        let mut length = DraftLength::default();
        world.run(&mut length, 500);
        world.pass = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0];
        world.run(&mut length, 300);
        let (_, taken) = world.run(&mut length, 300);
        assert!(taken[0] > 250, "{taken:?}");
    }

    #[test]
    fn bounds_are_kept() {
        let confidence = Confidence::new(2);
        let mut length = DraftLength::default();
        assert_eq!(length.choose(confidence, 3, 3), 3);
        assert_eq!(length.choose(confidence, 5, 2), 2);
        assert_eq!(
            length.choose(confidence, 0, 7),
            0,
            "a plain pass comes first"
        );
        length.passed(0, Duration::from_millis(10));
        for _ in 0..100 {
            let chosen = length.choose(confidence, 2, 4);
            assert!((2..=4).contains(&chosen));
            length.passed(chosen, Duration::from_millis(10));
            length.verified(Verified {
                confidence,
                drafted: chosen,
                accepted: 0,
                ended: false,
            });
        }
    }
}
