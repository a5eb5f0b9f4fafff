use std::time::{Duration, Instant};

/// Failures in a row that open a breaker.
const FAILURES_MAX: u32 = 3;
/// How long a breaker stays open at first, and at most.
const OPEN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(60)];
/// How long the one attempt of a half-open breaker may take.
const PROBE: Duration = Duration::from_secs(10);

/// Keeps attempts away from a node that keeps failing. Nothing here reads a
/// clock.
///
/// Closed, it lets everything through. After three failures in a
/// row it opens and lets nothing through, for 2 s at first. Then it is half
/// open: one attempt goes through, whose success closes it, and whose failure
/// opens it for twice as long as before, up to 60 s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    state: State,
    opened_for: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// An attempt is under way; without a word of it, another may begin then.
    HalfOpen {
        until: Instant,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed { failures: 0 },
            opened_for: OPEN[0],
        }
    }
}

impl Breaker {
    /// When the next attempt may begin; at once where that is not after `now`.
    pub fn next(&self, now: Instant) -> Instant {
        match self.state {
            State::Closed { .. } => now,
            State::Open { until } | State::HalfOpen { until } => until,
        }
    }

    /// Takes in that an attempt begins, which [`Breaker::next`] allowed.
    pub fn began(&mut self, now: Instant) {
        if !matches!(self.state, State::Closed { .. }) {
            let until = now + PROBE;
            self.state = State::HalfOpen { until };
        }
    }

    /// Takes in that an attempt succeeded.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Takes in that an attempt failed.
    pub fn failed(&mut self, now: Instant) {
        match &mut self.state {
            State::Closed { failures } => {
                *failures += 1;
                if *failures >= FAILURES_MAX {
                    let until = now + self.opened_for;
                    self.state = State::Open { until };
                }
            }
            State::HalfOpen { .. } => {
                self.opened_for = (self.opened_for * 2).min(OPEN[1]);
                let until = now + self.opened_for;
                self.state = State::Open { until };
            }
            // One that began before the breaker opened.
            State::Open { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_probes_and_closes() {
        let begin = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(breaker.next(begin), begin);
            breaker.failed(begin);
        }
        let mut now = begin;
        for wait in [2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(breaker.next(now), now + wait * S);
            now += wait * S;
            breaker.began(now);
            assert!(breaker.next(now) > now, "one attempt only");
            breaker.failed(now);
        }
        now = breaker.next(now);
        breaker.began(now);
        breaker.succeeded();
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn a_probe_without_a_word_does_not_block_for_ever() {
        let begin = Instant::now();
        let mut breaker = Breaker::default();
        (0..FAILURES_MAX).for_each(|_| breaker.failed(begin));
        let probe = breaker.next(begin);
        breaker.began(probe);
        assert_eq!(breaker.next(probe), probe + PROBE);
    }

    #[test]
    fn success_forgets_failures() {
        let begin = Instant::now();
        let mut breaker = Breaker::default();
        for _ in 0..100 {
            (1..FAILURES_MAX).for_each(|_| breaker.failed(begin));
            breaker.succeeded();
            assert_eq!(breaker.next(begin), begin);
        }
    }
}
