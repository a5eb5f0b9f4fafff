//! How many tokens to draft for a window, and how many to have under way, by
//! what was measured.

use crate::policy::formula::{Acceptance, Pipeline, sequential_ms};
use std::{ops::RangeInclusive, time::Duration};

/// Places of a run of guesses that are told apart; further ones count as the
/// last.
const PLACES: usize = 16;

/// The rate of acceptance that is assumed before any was measured.
const PRIOR: f64 = 0.7;

/// Guesses that are right at a lesser chance are not made.
const WORTH: f64 = 0.02;

/// What is drafted before anything was measured, in tokens.
const LENGTH: usize = 4;

/// A share of trials that succeeded, of which the latest count most.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    trials: f64,
    successes: f64,
}

impl Rate {
    /// What a trial still counts after the next one: about 100 matter.
    const KEPT: f64 = 0.99;

    fn tried(&mut self, success: bool) {
        self.trials = self.trials * Self::KEPT + 1.0;
        self.successes = self.successes * Self::KEPT + f64::from(u8::from(success));
    }

    /// The rate, as if `weight` trials at `prior` had come first.
    fn estimate(&self, prior: f64, weight: f64) -> f64 {
        (self.successes + prior * weight) / (self.trials + weight)
    }
}

/// The line through the latest passes: milliseconds over columns.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    weight: f64,
    columns: f64,
    ms: f64,
    columns_squared: f64,
    columns_ms: f64,
}

impl Line {
    /// What a pass still counts after the next one: about 50 matter.
    const KEPT: f64 = 0.98;
    /// A pass that took longer than so many times the mean was held up.
    const LATE: f64 = 4.0;

    fn measured(&mut self, columns: f64, ms: f64) {
        let ms = match self.weight > 0.0 {
            true => ms.min(self.ms / self.weight * Self::LATE),
            false => ms,
        };
        let add = |sum: &mut f64, value: f64| *sum = *sum * Self::KEPT + value;
        add(&mut self.weight, 1.0);
        add(&mut self.columns, columns);
        add(&mut self.ms, ms);
        add(&mut self.columns_squared, columns * columns);
        add(&mut self.columns_ms, columns * ms);
    }

    /// The time of a pass without columns, and that of each; least squares,
    /// neither below 0. `None` before the first.
    fn fit(&self) -> Option<(f64, f64)> {
        if self.weight <= 0.0 {
            return None;
        }
        let (columns, ms) = (self.columns / self.weight, self.ms / self.weight);
        let spread = self.columns_squared / self.weight - columns * columns;
        // Where all had nearly as many, nothing is known of others.
        if spread < 0.25 {
            return Some((ms, 0.0));
        }
        let slope = (self.columns_ms / self.weight - columns * ms) / spread;
        let slope = slope.clamp(0.0, ms / columns);
        Some((ms - slope * columns, slope))
    }
}

/// How many tokens to draft before they are sent, and to have under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Guesses of a window.
    pub(crate) length: usize,
    /// Guesses that may be unconfirmed: what is on its way and a window.
    pub(crate) ahead: u32,
}

/// What was measured of a draft, of the node and of the way to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    draft_ms: Option<f64>,
    verify: Line,
    pooled: Rate,
    places: [Rate; PLACES],
}

impl Pace {
    /// Weight of the latest drafted token in their mean time.
    const LATEST: f64 = 0.1;

    /// Takes in the time of a drafted token.
    pub(crate) fn drafted(&mut self, time: Duration) {
        let ms = time.as_secs_f64() * 1e3;
        self.draft_ms = Some(match self.draft_ms {
            Some(mean) => mean + Self::LATEST * (ms.min(mean * 4.0 + 0.1) - mean),
            None => ms,
        });
    }

    /// Takes in a pass of the node.
    pub(crate) fn verified(&mut self, columns: u32, took_ms: f32) {
        let ms = f64::from(took_ms);
        if ms.is_finite() && ms >= 0.0 && columns > 0 {
            self.verify.measured(f64::from(columns), ms);
        }
    }

    /// Takes in whether the guess was right that stood behind `place` right
    /// ones.
    pub(crate) fn judged(&mut self, place: usize, right: bool) {
        self.places[place.min(PLACES - 1)].tried(right);
        self.pooled.tried(right);
    }

    fn acceptance(&self) -> Option<Acceptance> {
        let pooled = self.pooled.estimate(PRIOR, 4.0);
        let rates = self.places.map(|rate| rate.estimate(pooled, 8.0) as f32);
        Acceptance::new(&rates)
    }

    /// How many tokens to draft, up to `max`, where nothing is drafted while
    /// they are verified and both ends are one: 0 where none pays.
    pub(crate) fn length(&self, max: usize) -> usize {
        let Some(verify) = self.verify.fit() else {
            // Nothing is gained against a pass that was never timed.
            return 0;
        };
        let Some((draft_ms, acceptance)) = self.draft_ms.zip(self.acceptance()) else {
            return LENGTH.min(max);
        };
        let token_ms = |length: usize| {
            let drafts = u32::try_from(length).unwrap_or(u32::MAX);
            let verify_ms = verify.0 + verify.1 * (f64::from(drafts) + 1.0);
            let committed = acceptance.committed(drafts);
            sequential_ms(drafts, draft_ms, 0.0, verify_ms, committed)
        };
        let (mut best, mut best_ms) = (0, token_ms(0));
        for length in 1..=max {
            let ms = token_ms(length);
            if ms < best_ms {
                (best, best_ms) = (length, ms);
            }
        }
        best
    }

    /// The window that takes least time per token, of a length in `lengths`.
    /// At most `in_flight_max` tokens are under way at once.
    pub(crate) fn window(
        &self,
        lengths: &RangeInclusive<usize>,
        exchange: Option<Duration>,
        in_flight_max: u32,
    ) -> Window {
        let (min, max) = ((*lengths.start()).max(1), (*lengths.end()).max(1));
        let min = min.min(max);
        let acceptance = self.acceptance();
        let reaches = |ahead: &u32| match &acceptance {
            Some(acceptance) => acceptance.reach(*ahead) >= WORTH,
            None => false,
        };
        let worth = (1..in_flight_max).take_while(reaches).count() as u32 + 1;
        let known = self.draft_ms.zip(self.verify.fit()).zip(exchange);
        let Some((((draft_ms, verify), exchange), acceptance)) = known.zip(acceptance) else {
            let length = LENGTH.clamp(min, max);
            return Window {
                length,
                ahead: worth.max(length as u32),
            };
        };
        let exchange_ms = exchange.as_secs_f64() * 1e3;
        let run = acceptance.run();
        let pipeline = |length: usize| {
            let drafts = u32::try_from(length).unwrap_or(u32::MAX);
            let verify_ms = verify.0 + verify.1 * f64::from(drafts + 1);
            let draft_ms = draft_ms * f64::from(drafts);
            Pipeline {
                drafts,
                draft_ms,
                step_ms: draft_ms.max(verify_ms),
                whole_windows: acceptance.whole_windows(drafts),
                run,
                exchange_ms,
                verify_ms,
                in_flight_max,
            }
        };
        let mut best = pipeline(min);
        for length in min..=max {
            let other = pipeline(length);
            if other.token_ms() < best.token_ms() {
                best = other;
            }
        }
        // As many as are confirmed, or drafted, while an answer is under way.
        let token_ms = best.step_ms / f64::from(best.drafts);
        let late = (exchange_ms + best.verify_ms) / token_ms.max(1e-3);
        let ahead = (late.ceil() as u32).saturating_add(best.drafts);
        Window {
            length: best.drafts as usize,
            ahead: ahead.min(worth).max(best.drafts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: f64) -> Duration {
        Duration::from_secs_f64(ms / 1e3)
    }

    fn pace(draft: f64, base: f64, column: f64, rate: f64) -> Pace {
        let mut pace = Pace::default();
        let mut credit = 0.0;
        for index in 0..400 {
            pace.drafted(ms(draft));
            let columns = 2 + index % 7;
            pace.verified(columns, (base + column * f64::from(columns)) as f32);
            credit += rate;
            pace.judged(index as usize / 10 % 5, credit >= 1.0);
            credit -= credit.floor();
        }
        pace
    }

    #[test]
    fn a_line_is_found_again() {
        let (base, column) = pace(5.0, 20.0, 1.5, 0.8).verify.fit().unwrap();
        assert!((base - 20.0).abs() < 0.1, "{base}");
        assert!((column - 1.5).abs() < 0.02, "{column}");
        let mut same = Line::default();
        (0..9).for_each(|_| same.measured(4.0, 30.0));
        assert_eq!(same.fit(), Some((30.0, 0.0)));
    }

    #[test]
    fn a_fast_draft_makes_longer_windows() {
        let length = |pace: Pace| pace.window(&(1..=16), Some(ms(40.0)), 64).length;
        let fast = length(pace(2.0, 30.0, 0.0, 0.9));
        let slow = length(pace(40.0, 30.0, 0.0, 0.9));
        assert_eq!(slow, 1);
        assert!(fast >= 8, "{fast}");
    }

    #[test]
    fn as_many_are_under_way_as_the_link_holds() {
        let ahead = |rtt, most| {
            pace(10.0, 10.0, 0.0, 0.8)
                .window(&(1..=1), Some(ms(rtt)), most)
                .ahead
        };
        assert_eq!(ahead(0.0, 64), 2);
        assert_eq!(ahead(100.0, 64), 12);
        assert_eq!(ahead(100.0, 8), 8);
        // 0.8^17 is above one in fifty, 0.8^18 is not.
        assert!((17..=19).contains(&ahead(10_000.0, 64)));
    }

    #[test]
    fn a_draft_beside_the_model_drafts_as_far_as_it_pays() {
        assert!(pace(1.0, 30.0, 0.1, 0.9).length(7) >= 6);
        assert_eq!(pace(40.0, 30.0, 0.1, 0.5).length(7), 0);
        assert_eq!(pace(1.0, 30.0, 0.1, 0.9).length(2), 2);
        assert_eq!(Pace::default().length(7), 0);
    }

    #[test]
    fn nothing_measured_gives_something() {
        let window = Pace::default().window(&(1..=7), None, 64);
        let wanted = Window {
            length: LENGTH,
            ahead: 11,
        };
        assert_eq!(window, wanted);
        assert_eq!(Pace::default().window(&(0..=0), None, 0).length, 1);
    }
}
