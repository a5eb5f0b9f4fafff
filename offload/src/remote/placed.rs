//! A generation that a policy places, again and again.

use super::{
    Arrivals, Decoders, Fallback, Next, NothingAllowed, Patience, Placement, PolicySource,
    RemoteError, Surroundings,
    tally::{Counts, Tally},
};
use crate::{
    policy::{Chooser, Decision, Mode, Signals},
    transport::Backoff,
};
use outrigger_runtime::{
    decoder::{DecodeError, DecodeRequest, Decoded, Decoder, Provenance, Speculation},
    transcript::{Class, Transcript},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Tokens after which a placement is thought over.
const TOKENS: usize = 8;
/// Time after which it is.
const INTERVAL: Duration = Duration::from_millis(500);
/// How often a wait looks whether a node is back, or it was cancelled.
const LOOK: Duration = Duration::from_millis(20);
/// How long a node that failed is left alone at first, and at most, even if
/// its link is up.
const HELD: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(30)];
/// Tokens in a row that make up for its failures.
const TRUSTED_TOKENS: usize = 32;

/// Who writes the next tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    At(Mode),
    /// The fallback model, here.
    Fallback,
    Nowhere,
}

/// Decodes in the mode that a policy chooses at token boundaries.
///
/// A mode that fails costs no token: the policy is asked again without the
/// node, and another mode goes on from the transcript. Where none may, the
/// fallback model does, or the generation waits until a node is back.
pub struct PlacedDecoder {
    decoders: Decoders,
    policy: PolicySource,
    chooser: Chooser,
    surroundings: Surroundings,
    arrivals: Option<Arrivals>,
    fallback: Option<Fallback>,
    fallback_decoder: Option<Box<dyn Decoder>>,
    patience: Option<Patience>,
    price_per_token: Option<f64>,
    tally: Tally,
    place: Place,
    /// Why there is no place, of the latest decision.
    reason: String,
    /// Where the last tokens came from.
    provenance: Provenance,
    zero: Instant,
    decided: Option<Instant>,
    /// Tokens since the last decision, and since the place changed.
    tokens: usize,
    streak: usize,
    /// Whether a node is missed that had been there or was to come.
    missed: bool,
    backoff: Backoff,
    failures: u32,
    /// Until when no node is used.
    held: Option<Instant>,
    /// Since when nobody has written.
    waiting: Option<Instant>,
}

impl PlacedDecoder {
    /// A decoder over those of some modes, of which there is at least one.
    pub fn new(
        decoders: Decoders,
        policy: PolicySource,
        surroundings: Surroundings,
    ) -> Option<Self> {
        let (&mode, first) = decoders.first_key_value()?;
        Some(Self {
            provenance: first.provenance().clone(),
            chooser: Chooser::new(policy.policy()),
            decoders,
            policy,
            missed: !surroundings.reach.is_back(),
            surroundings,
            arrivals: None,
            fallback: None,
            fallback_decoder: None,
            patience: None,
            price_per_token: None,
            tally: Tally::default(),
            place: Place::At(mode),
            reason: String::new(),
            zero: Instant::now(),
            decided: None,
            tokens: 0,
            streak: 0,
            backoff: Backoff::new(HELD[0], HELD[1], fastrand::u64(..)),
            failures: 0,
            held: None,
            waiting: None,
        })
    }

    /// Takes the decoders of nodes that come later.
    pub fn with_arrivals(mut self, arrivals: Arrivals) -> Self {
        self.arrivals = Some(arrivals);
        self
    }

    /// Lets the policy's fallback model go on where this machine has not the
    /// node's.
    pub fn with_fallback(mut self, fallback: Fallback) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// Waits for a node where nobody else may go on.
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Counts the tokens that nodes compute on from `tokens`, and what they
    /// cost, in any currency for each of them, where that is known.
    pub fn with_costs(mut self, tokens: Arc<AtomicU64>, per_token: Option<f64>) -> Self {
        self.tally.count_on(tokens);
        self.price_per_token = per_token;
        self
    }

    fn is_due(&self) -> bool {
        let old = |at: Instant| at.elapsed() >= INTERVAL;
        self.decided.is_none_or(old) || self.tokens >= TOKENS
    }

    /// Whether a node may be asked now.
    fn is_online(&self) -> bool {
        let held = self.held.is_some_and(|until| Instant::now() < until);
        self.surroundings.reach.is_back() && !held
    }

    fn signals(&mut self, transcript: &Transcript, online: bool) -> Signals {
        let mut signals = (self.surroundings.sense)();
        signals.online = Some(online);
        self.tally.fill(&mut signals, self.price_per_token);
        signals.context_tokens = Some(f64::from(transcript.len()));
        let segments = transcript.positions().segments();
        let prompt = segments.iter().rfind(|s| s.class == Class::Prompt);
        signals.prompt_tokens = prompt.map(|segment| f64::from(segment.positions.end));
        signals
    }

    /// Asks the policy.
    fn decide(&mut self, transcript: &Transcript, online: bool) {
        if let Some(arrived) = self.arrivals.as_mut().and_then(|arrivals| arrivals()) {
            self.decoders.retain(|mode, _| !mode.is_remote());
            self.decoders.extend(arrived);
        }
        self.chooser.set_policy(self.policy.policy());
        let signals = self.signals(transcript, online);
        let modes: Vec<Mode> = self.decoders.keys().copied().collect();
        let now = self.zero.elapsed();
        let decision = self.chooser.decide_among(&modes, &signals, now);
        self.decided = Some(Instant::now());
        self.tokens = 0;
        let place = match decision.choice {
            Some(mode) => Place::At(mode),
            None if !online && self.falls_back() => Place::Fallback,
            None => Place::Nowhere,
        };
        if place != self.place {
            self.place = place;
            self.streak = 0;
        }
        self.note(decision);
    }

    fn note(&mut self, decision: Decision) {
        if decision.changed {
            (self.surroundings.tell)(Placement::Changed(&decision));
        }
        self.reason = decision.reason;
    }

    /// Whether there is a fallback model; it is opened where it is needed.
    fn falls_back(&mut self) -> bool {
        if self.fallback_decoder.is_some() {
            return true;
        }
        let policy = self.chooser.policy();
        let path = policy.fallback_model.as_deref();
        let (Some(path), Some(open)) = (path, self.fallback.as_mut()) else {
            return false;
        };
        match open(path) {
            Ok(decoder) => self.fallback_decoder = Some(decoder),
            Err(why) => {
                tracing::warn!("the fallback model cannot be used: {why}");
                // It is not tried again at each token.
                self.fallback = None;
            }
        }
        self.fallback_decoder.is_some()
    }

    /// Takes in that a mode of a node failed, and asks who goes on.
    fn fail(
        &mut self,
        mode: Mode,
        transcript: &Transcript,
        error: &(dyn std::error::Error + 'static),
    ) {
        self.surroundings.reach.failed();
        self.failures = self.failures.saturating_add(1);
        let refused = error.downcast_ref::<RemoteError>();
        let refused = refused.is_some_and(|error| !error.is_passing());
        let wait = match refused {
            true => HELD[1],
            false => self.backoff.wait(self.failures),
        };
        self.held = Some(Instant::now() + wait);
        self.missed = true;
        self.streak = 0;
        self.decide(transcript, false);
        let next = match self.place {
            Place::At(mode) => Next::Mode {
                mode,
                behind: self
                    .decoders
                    .get(&mode)
                    .and_then(|decoder| decoder.behind(transcript)),
            },
            Place::Fallback => match &self.fallback_decoder {
                Some(decoder) => Next::Fallback {
                    model: decoder.provenance().model.clone(),
                    behind: decoder.behind(transcript),
                },
                None => Next::Nobody,
            },
            Place::Nowhere => match &self.patience {
                Some(patience) => {
                    self.waiting.get_or_insert_with(Instant::now);
                    Next::Wait(patience.most)
                }
                None => Next::Nobody,
            },
        };
        let why = error.to_string();
        (self.surroundings.tell)(Placement::Failed {
            mode,
            why: &why,
            next,
        });
    }

    /// Waits until somebody may go on.
    fn wait(&mut self, request: &DecodeRequest<'_>) -> Result<(), DecodeError> {
        let nothing = |reason: String| DecodeError::Elsewhere(Box::new(NothingAllowed { reason }));
        let Some(patience) = &self.patience else {
            return Err(nothing(self.reason.clone()));
        };
        let (waiter, most) = (patience.waiter.clone(), patience.most);
        if self.waiting.is_none() {
            let why = &self.reason;
            (self.surroundings.tell)(Placement::Waiting { why, most });
        }
        let since = *self.waiting.get_or_insert_with(Instant::now);
        loop {
            if request.cancel.load(Relaxed) {
                return Err(DecodeError::Cancelled);
            }
            let online = self.is_online();
            // A policy that was edited may allow what it did not.
            if online || *self.policy.policy() != *self.chooser.policy() {
                self.decide(request.transcript, online);
                if self.place != Place::Nowhere {
                    return Ok(());
                }
            }
            if online {
                // It is not for want of a node that nobody writes.
                return Err(nothing(self.reason.clone()));
            }
            if let Some(why) = self.surroundings.reach.refused() {
                return Err(nothing(format!("{}; {why}", self.reason)));
            }
            if since.elapsed() >= most {
                let waited = most.as_secs();
                return Err(nothing(format!("{}; waited {waited} s", self.reason)));
            }
            // A timer is made where it runs.
            waiter.wait(async { tokio::time::sleep(LOOK).await });
        }
    }

    fn tell_instead(&mut self) {
        if let Some(decoder) = &self.fallback_decoder {
            let model = &decoder.provenance().model;
            (self.surroundings.tell)(Placement::Instead { model });
        }
    }

    fn decoder(&mut self) -> Option<&mut Box<dyn Decoder>> {
        match self.place {
            Place::At(mode) => self.decoders.get_mut(&mode),
            Place::Fallback => self.fallback_decoder.as_mut(),
            Place::Nowhere => None,
        }
    }

    /// Asks the decoder of the place there is.
    fn step(
        &mut self,
        request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        let transcript = request.transcript;
        let remote = matches!(self.place, Place::At(mode) if mode.is_remote());
        let warm = remote && self.chooser.policy().keep_local_warm;
        let local = self.decoders.get_mut(&Mode::Local).filter(|_| warm);
        if let Some(local) = local {
            local.follow(transcript);
        }
        let last = transcript.positions().segments().last();
        let behind_prompt = last.is_some_and(|segment| segment.class == Class::Prompt);
        // What is computed first is not the time of a token.
        let settled = self.streak > 0 && !behind_prompt;
        let before = out.len();
        let place = self.place;
        let Some(decoder) = self.decoder() else {
            let reason = self.reason.clone();
            return Err(DecodeError::Elsewhere(Box::new(NothingAllowed { reason })));
        };
        let counts = decoder.speculation().map(Counts::of).unwrap_or_default();
        let started = Instant::now();
        decoder.decode(request, out)?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let new = out.len() - before;
        self.written(place, new, settled.then_some(ms), &counts);
        Ok(())
    }

    /// Takes in tokens that were written.
    fn written(&mut self, place: Place, new: usize, ms: Option<f64>, counts: &Counts) {
        self.tokens += new;
        self.streak += new;
        self.waiting = None;
        let decoder = match place {
            Place::At(mode) => self.decoders.get(&mode),
            _ => self.fallback_decoder.as_ref(),
        };
        let Some(decoder) = decoder else { return };
        let from = decoder.provenance();
        let source = match place {
            Place::Fallback => "fallback",
            _ => from.source.as_str(),
        };
        if self.provenance.source != source
            || self.provenance.model != from.model
            || self.provenance.kernel_set != from.kernel_set
        {
            self.provenance = Provenance {
                source: source.to_owned(),
                ..from.clone()
            };
        }
        let Place::At(mode) = place else { return };
        self.tally.took(mode, new, ms);
        if let Some(record) = decoder.speculation() {
            self.tally.drafted(mode, counts, record, ms);
        }
        if !mode.is_remote() {
            return;
        }
        if self.streak >= TRUSTED_TOKENS {
            self.failures = 0;
        }
        if std::mem::take(&mut self.missed) {
            (self.surroundings.tell)(Placement::Resumed { mode });
        }
    }
}

impl Decoder for PlacedDecoder {
    fn decode(
        &mut self,
        mut request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        if self.is_due() {
            let (begins, was) = (self.decided.is_none(), self.place);
            let online = self.is_online();
            self.decide(request.transcript, online);
            if self.place == Place::Fallback && (begins || was != Place::Fallback) {
                self.tell_instead();
            }
        }
        // A node that fails is left alone for a while, so that it is others
        // that are asked next, and waits end.
        loop {
            if self.place == Place::Nowhere {
                self.wait(&request)?;
            }
            let result = self.step(request.again(), out);
            match (result, self.place) {
                (Err(DecodeError::Elsewhere(error)), Place::At(mode)) if mode.is_remote() => {
                    self.fail(mode, request.transcript, error.as_ref());
                    if self.place == Place::Nowhere && self.patience.is_none() {
                        return Err(DecodeError::Elsewhere(error));
                    }
                }
                (result, _) => return result,
            }
        }
    }

    fn context(&self) -> u32 {
        let contexts = self.decoders.values().map(|decoder| decoder.context());
        contexts.min().unwrap_or(0)
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    fn speculation(&self) -> Option<&Speculation> {
        self.tally.record()
    }
}

#[cfg(test)]
#[path = "placed_tests.rs"]
mod tests;
