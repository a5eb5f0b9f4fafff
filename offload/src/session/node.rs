//! A generation as the node sees it.

use crate::wire::{Append, Open, Refused, Run, Stop, Tokens, Verify, WireToken};
use outrigger_runtime::{
    decoder::Decoded, sampler::SamplerState, tokenizer::TokenId, transcript::Transcript,
};

/// The transcript of one generation, and what is wanted behind it.
///
/// Invariants:
/// 1. Only a newer epoch shortens the transcript. Within an epoch it grows,
///    and what says otherwise is late and does nothing.
/// 2. `guesses` begin where the transcript ends.
/// 3. Once a guess was wrong, no more guesses are taken in the same epoch: they
///    were made behind a token that the model did not choose.
#[derive(Debug)]
pub struct NodeSession {
    open: Open,
    transcript: Transcript,
    epoch: u32,
    /// Tokens that may come without being asked for one by one.
    running: u32,
    /// Where the last request to run of this epoch began.
    run_at: Option<u32>,
    /// The same of requests to verify.
    verify_at: Option<u32>,
    guesses: Vec<TokenId>,
    /// How long the transcript is once all verifications of this epoch are
    /// answered whose guesses were right.
    due: u32,
    /// Whether a guess of this epoch was wrong.
    rejected: bool,
    /// Whether the last token was chosen here in this epoch, so that what an
    /// edge says of the sampler's state behind it can only be a guess.
    own_state: bool,
    /// Tokens chosen so far.
    chosen: u32,
    context: u32,
}

/// What a session wants of the next pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requested<'a> {
    /// Guesses to verify.
    pub guesses: &'a [TokenId],
}

/// What a pass was for one session.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PassRecord {
    /// Milliseconds since the request, or since the tokens before.
    pub took_ms: f32,
    /// The session's columns.
    pub columns: u32,
    /// Sessions in the pass.
    pub sharing: u32,
}

impl NodeSession {
    /// A session without tokens, of up to `context` positions.
    pub fn new(open: Open, context: u32) -> Self {
        Self {
            transcript: Transcript::new(open.sampling.clone()),
            open,
            epoch: 0,
            running: 0,
            run_at: None,
            verify_at: None,
            guesses: Vec::new(),
            due: 0,
            rejected: false,
            own_state: false,
            chosen: 0,
            context,
        }
    }

    /// How it was opened.
    pub fn opened(&self) -> &Open {
        &self.open
    }

    /// The tokens so far.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The epoch of the last request.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Takes in tokens of the transcript.
    pub fn append(&mut self, append: &Append) -> Result<(), Refused> {
        let state = self.transcript.sampler_state();
        if !self.go_to(append.epoch, append.position, state)? {
            return Ok(());
        }
        let held = (self.transcript.len() - append.position) as usize;
        let known = &self.transcript.tokens()[append.position as usize..];
        let same = known.iter().zip(&append.tokens).all(|(a, b)| a == b);
        if !same {
            return Err(protocol("tokens that differ from those in this epoch"));
        }
        let new = append.tokens.get(held..).unwrap_or_default();
        if new.is_empty() {
            return Ok(());
        }
        let len = u32::try_from(new.len()).unwrap_or(u32::MAX);
        if self.transcript.len().saturating_add(len) > self.context {
            return Err(Refused::Context { max: self.context });
        }
        // They stood behind another end.
        self.guesses.clear();
        self.own_state = false;
        match (append.prompt, append.begins && held == 0) {
            (true, true) => self.transcript.push_prompt(new),
            (true, false) => self.transcript.extend_prompt(new),
            (false, _) => {
                for &token in new {
                    self.transcript.commit(token, state);
                }
            }
        }
        Ok(())
    }

    /// Takes in a request for all further tokens.
    pub fn run(&mut self, run: &Run) -> Result<(), Refused> {
        if !self.go_to(run.epoch, run.position, run.state)? {
            return Ok(());
        }
        if self.transcript.is_empty() {
            return Err(protocol("a request without a transcript"));
        }
        // The sum of two numbers that a peer names may be large. A token may
        // stand behind the last position.
        let end = u64::from(run.position) + u64::from(run.tokens_max);
        if end > u64::from(self.context) + 1 {
            return Err(Refused::Context { max: self.context });
        }
        // What comes twice is known by its place.
        if self.run_at.is_some_and(|at| run.position <= at) {
            return Ok(());
        }
        self.allow(run.tokens_max)?;
        self.run_at = Some(run.position);
        self.restore(run.position, run.state);
        // What has come since it was asked for counts.
        let ahead = self.transcript.len() - run.position;
        self.running = run.tokens_max.saturating_sub(ahead);
        Ok(())
    }

    /// Takes in guesses to verify.
    pub fn verify(&mut self, verify: &Verify) -> Result<(), Refused> {
        let again = self.verify_at.is_some_and(|at| verify.position <= at);
        if verify.epoch == self.epoch && (self.rejected || again) {
            return Ok(());
        }
        // Guesses may stand behind guesses.
        let end = self.transcript.len() as usize + self.guesses.len();
        let start = verify.position as usize;
        let wanted = u32::try_from(verify.tokens.len()).unwrap_or(u32::MAX);
        if verify.epoch == self.epoch && start > self.transcript.len() as usize && start <= end {
            self.allow(wanted.saturating_add(1))?;
            self.guess(verify);
            return Ok(());
        }
        if !self.go_to(verify.epoch, verify.position, verify.state)? {
            return Ok(());
        }
        if self.transcript.is_empty() {
            return Err(protocol("a request without a transcript"));
        }
        self.allow(wanted.saturating_add(1))?;
        self.restore(verify.position, verify.state);
        let known = &self.transcript.tokens()[start..];
        let pairs = known.iter().zip(&verify.tokens);
        let same = pairs.clone().take_while(|(a, b)| a == b).count();
        if same < known.len().min(verify.tokens.len()) {
            self.reject();
            return Ok(());
        }
        self.guess(verify);
        Ok(())
    }

    /// Ends a request to run.
    pub fn stop(&mut self, stop: Stop) {
        if stop.epoch > self.epoch {
            self.begin(stop.epoch);
        }
    }

    /// What is wanted of the next pass; `None` if nothing is.
    pub fn requested(&self) -> Option<Requested<'_>> {
        let full = self.transcript.len() > self.context;
        let due = self.transcript.len() < self.due;
        let wanted = self.running > 0 || due || !self.guesses.is_empty();
        (wanted && !full).then_some(Requested {
            guesses: &self.guesses,
        })
    }

    /// Commits what a pass chose and says what to send of it. `ends` tells a
    /// token behind which the model has nothing to say.
    pub fn chosen(
        &mut self,
        decoded: Vec<Decoded>,
        pass: PassRecord,
        ends: impl Fn(TokenId) -> bool,
    ) -> Tokens {
        let position = self.transcript.len();
        self.own_state |= !decoded.is_empty();
        let mut tokens = Vec::with_capacity(decoded.len());
        let mut right = 0;
        for token in decoded {
            self.transcript.commit(token.token, token.state);
            self.running = self.running.saturating_sub(1);
            self.chosen = self.chosen.saturating_add(1);
            if self.guesses.get(right) == Some(&token.token) {
                right += 1;
            }
            if ends(token.token) {
                self.running = 0;
            }
            tokens.push(WireToken {
                token: token.token,
                state: token.state,
                logprob: token.logprob,
                top: token.top.iter().map(|t| (t.token, t.logprob)).collect(),
            });
        }
        if right < tokens.len() && right < self.guesses.len() {
            self.reject();
        } else {
            self.guesses.drain(..right.min(self.guesses.len()));
        }
        Tokens {
            epoch: self.epoch,
            position,
            tokens,
            left: self.running,
            took_ms: pass.took_ms,
            columns: pass.columns,
            sharing: pass.sharing,
        }
    }

    /// Tokens that come without being asked for one by one.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Whether so many more tokens are within what was agreed on.
    fn allow(&self, tokens: u32) -> Result<(), Refused> {
        match self.chosen.saturating_add(tokens) <= self.open.tokens_max {
            true => Ok(()),
            false => Err(Refused::Quota),
        }
    }

    /// Drops what is wanted, after an error.
    pub fn give_up(&mut self) {
        self.running = 0;
        self.due = 0;
        self.guesses.clear();
    }

    /// Makes `position` of `epoch` the place that a request speaks of. False
    /// if the request is late.
    fn go_to(&mut self, epoch: u32, position: u32, state: SamplerState) -> Result<bool, Refused> {
        if epoch < self.epoch {
            return Ok(false);
        }
        if position > self.transcript.len() {
            return Err(protocol("a position behind the end of the transcript"));
        }
        if epoch > self.epoch {
            self.begin(epoch);
            self.transcript.truncate(position, state);
        }
        Ok(true)
    }

    /// The sampler's state at the end of the transcript, which the edge knows
    /// where the last token was not chosen here.
    fn restore(&mut self, position: u32, state: SamplerState) {
        if position == self.transcript.len() && !self.own_state {
            self.transcript.truncate(position, state);
        }
    }

    fn begin(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.rejected = false;
        self.own_state = false;
        self.run_at = None;
        self.verify_at = None;
        self.give_up();
    }

    /// Takes in the guesses of `verify`, and that the token behind all of them
    /// is wanted. Where they differ from those before, they are the newer ones.
    fn guess(&mut self, verify: &Verify) {
        self.verify_at = Some(verify.position);
        let count = u32::try_from(verify.tokens.len()).unwrap_or(u32::MAX);
        let end = verify.position.saturating_add(count).saturating_add(1);
        self.due = self.due.max(end);
        let (len, start) = (self.transcript.len(), verify.position);
        let skipped = len.saturating_sub(start) as usize;
        let tokens = verify.tokens.get(skipped..).unwrap_or_default();
        let first = start.saturating_sub(len) as usize;
        let held = self.guesses.get(first..).unwrap_or_default();
        let pairs = held.iter().zip(tokens);
        let same = pairs.take_while(|(a, b)| a == b).count();
        if same == tokens.len() {
            return;
        }
        self.guesses.truncate(first + same);
        let room = self.context.saturating_sub(len) as usize;
        let room = room.saturating_sub(self.guesses.len());
        self.guesses.extend(tokens[same..].iter().take(room));
    }

    fn reject(&mut self) {
        self.rejected = true;
        self.guesses.clear();
        self.due = 0;
    }
}

fn protocol(what: &str) -> Refused {
    Refused::Protocol { what: what.into() }
}
