//! What happened in a run.

use super::{super::language::mix, Fault, Scenario};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A fault began.
    Fault(Fault),
    /// The user was told that the node has failed.
    Failed {
        /// What the user was told.
        why: String,
    },
    /// The user was told that the node goes on.
    Back,
    /// So many tokens are written.
    Wrote {
        /// Tokens in all.
        tokens: u32,
        /// What the edge took to compute what others had decoded, since the
        /// event before, in milliseconds.
        rebuilt_ms: u64,
    },
}

/// The events of a run with their times since it began.
#[derive(Debug, Clone)]
pub struct Record {
    began: Instant,
    events: Arc<Mutex<Vec<(Duration, Event)>>>,
}

impl Record {
    /// Nothing yet.
    pub(super) fn begin() -> Self {
        Self {
            began: Instant::now(),
            events: Arc::default(),
        }
    }

    pub(super) fn note(&self, event: Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push((self.began.elapsed(), event));
    }

    pub(super) fn events(&self) -> Vec<(Duration, Event)> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.clone()
    }
}

/// A run that was played.
#[derive(Debug)]
pub struct Played {
    /// What was to happen.
    pub scenario: Scenario,
    /// What did, in order.
    pub events: Vec<(Duration, Event)>,
    /// A hash of the events, their times, and every datagram sent.
    pub digest: u64,
    /// What is wrong with it.
    pub faults_found: Vec<String>,
    /// From each fault that made the node fail to when the user was told.
    pub detections: Vec<Duration>,
    /// From when the user was told to the next token, and how much of that
    /// went into computing what others had decoded.
    pub takeovers: Vec<(Duration, Duration)>,
}

impl Played {
    pub(super) fn of(
        scenario: Scenario,
        events: Vec<(Duration, Event)>,
        trace: [u8; 32],
        faults_found: Vec<String>,
    ) -> Self {
        let digest = format!("{events:?}")
            .bytes()
            .chain(trace)
            .fold(scenario.seed, |hash, byte| mix(hash ^ u64::from(byte)));
        let mut played = Self {
            scenario,
            events,
            digest,
            faults_found,
            detections: Vec::new(),
            takeovers: Vec::new(),
        };
        played.time();
        played
    }

    /// Finds what was detected and taken over, and holds it against the
    /// bounds.
    fn time(&mut self) {
        let mut begun: Vec<(Duration, Fault)> = Vec::new();
        let mut failed = None;
        // While the edge writes by itself it asks the node again between two
        // tokens; what befell the node before cannot be noticed sooner.
        let (mut alone, mut asked) = (false, Duration::ZERO);
        for (at, event) in &self.events {
            match event {
                Event::Fault(fault) => begun.push((*at, *fault)),
                Event::Back => {
                    alone = false;
                    begun.clear();
                }
                Event::Failed { .. } => {
                    failed = Some(*at);
                    let since = if alone { asked } else { Duration::ZERO };
                    alone = true;
                    match detected(*at, since, &begun, &self.scenario) {
                        Ok(after) => self.detections.extend(after),
                        Err(found) => self.faults_found.push(found),
                    }
                    begun.clear();
                }
                Event::Wrote { rebuilt_ms, .. } => {
                    asked = *at;
                    if let Some(failed) = failed.take() {
                        let rebuilt = Duration::from_millis(*rebuilt_ms);
                        self.takeovers.push((*at - failed, rebuilt));
                    }
                }
            }
        }
        let step = Duration::from_millis(self.scenario.times.local_ms.into());
        for (takeover, rebuilt) in &self.takeovers {
            let bound = match self.scenario.warm {
                true => TAKEOVER,
                false => (*rebuilt + step).mul_f64(1.1),
            };
            if *takeover > bound {
                let (after, rebuilt) = (takeover.as_millis(), rebuilt.as_millis());
                let found = format!("a takeover took {after} ms, {rebuilt} ms of it to rebuild");
                self.faults_found.push(found);
            }
        }
    }
}

/// How soon the user is told of a failure where the round trip is 40 ms at
/// most.
const DETECTION: Duration = Duration::from_millis(500);
/// How soon a machine that computed along gives the next token.
const TAKEOVER: Duration = Duration::from_millis(300);

/// How long it took until a user was told at `at` that the node has failed,
/// which was asked `since` or earlier, and nothing where that was no death. An error if it took too long, or
/// nothing of what had `begun` explains it.
fn detected(
    at: Duration,
    since: Duration,
    begun: &[(Duration, Fault)],
    scenario: &Scenario,
) -> Result<Option<Duration>, String> {
    let explains = |(began, fault): &(Duration, Fault)| {
        let end = fault.lasts().map(|lasts| *began + lasts + DETECTION);
        end.is_none_or(|end| at <= end)
    };
    let Some(cause) = begun.iter().position(explains) else {
        return Err(format!(
            "at {} ms the node failed for nothing",
            at.as_millis()
        ));
    };
    let (began, fault) = begun[cause];
    if fault == Fault::Address {
        return Ok(None);
    }
    let stalls = begun[..cause].iter().map(|(_, fault)| match fault {
        Fault::Stall(lasts) => *lasts,
        _ => Duration::ZERO,
    });
    let stalled = stalls.max().unwrap_or_default();
    let took = at - began.max(since);
    match took <= detection_bound(scenario, stalled) {
        true => Ok(Some(took)),
        false => Err(format!("a failure was told after {} ms", took.as_millis())),
    }
}

/// Round trips beyond 40 ms are waited for with their spread, and so is a stall
/// that the link has come through: it has shown how long an answer may take.
fn detection_bound(scenario: &Scenario, stalled: Duration) -> Duration {
    let longer = scenario.rtt_ms.saturating_sub(40);
    DETECTION + Duration::from_millis(u64::from(longer) * 4) + stalled.mul_f64(1.25)
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => write!(f, "fault: {fault:?}"),
            Self::Failed { why } => write!(f, "told: {why}"),
            Self::Back => f.write_str("told: the node goes on"),
            Self::Wrote { tokens, rebuilt_ms } => {
                write!(f, "{tokens} tokens, {rebuilt_ms} ms rebuilding")
            }
        }
    }
}
