//! A node that verifies what a draft on this machine guesses, which drafts on
//! while it waits.

use super::{
    Client, Connect, Remote, RemoteError, Traffic,
    ahead::{Ahead, Judged},
    stream::{RUN_MAX, drain, session},
};
use crate::{
    Waiter,
    pace::{Pace, Window},
    wire::{Accepted, DRAFT_TOKENS_MAX},
};
use outrigger_runtime::{
    decoder::{
        DecodeError, DecodeRequest, Decoded, Decoder, Draft, DraftRequest, Progress, Provenance,
        Speculation,
    },
    tokenizer::{TokenId, Tokenizer},
    transcript::{Class, Transcript},
};
use std::{
    ops::RangeInclusive,
    sync::{Arc, atomic::Ordering, mpsc::sync_channel},
    time::Instant,
};

/// Answers after which the window is chosen again while all guesses are right.
const CHOOSE_EVERY: u64 = 8;

/// What a [`PipelinedDecoder`] is made of, beside the node.
pub struct Pipelining {
    /// What guesses. Its vocabulary is the node's.
    pub draft: Box<dyn Draft>,
    /// Says which tokens end a text.
    pub tokenizer: Arc<Tokenizer>,
    /// Values in a row of the node's logits; all guesses are below.
    pub vocab: usize,
    /// Positions that the node's model has.
    pub context: u32,
    /// How many guesses may go up at once, within 1 to [`DRAFT_TOKENS_MAX`].
    pub lengths: RangeInclusive<usize>,
    /// Most guesses under way.
    pub in_flight_max: u32,
    /// What its tokens are said to come from.
    pub provenance: Provenance,
}

/// Lets a node verify guesses, and goes on guessing behind them while they are
/// under way: where they are right, a round trip is not waited for.
///
/// After a wrong guess those behind it are thrown away at both ends, and
/// drafting begins anew behind the token that the node chose. The text is what
/// the node would decode by itself. How many guesses go up at a time is chosen
/// by what was measured.
pub struct PipelinedDecoder<C: Connect> {
    remote: Remote<C>,
    waiter: Waiter,
    client: Option<Client<C::Write>>,
    /// `None` once it has failed: the node then decodes by itself.
    draft: Option<Box<dyn Draft>>,
    tokenizer: Arc<Tokenizer>,
    vocab: usize,
    context: u32,
    lengths: RangeInclusive<usize>,
    in_flight_max: u32,
    provenance: Provenance,
    ahead: Ahead,
    /// Whether the draft has nothing to say behind `ahead`.
    at_a_loss: bool,
    /// Whether the node has to read before its next tokens.
    reading: bool,
    pace: Pace,
    window: Window,
    /// Answers of the node so far.
    answers: u64,
    guesses: Vec<TokenId>,
    record: Speculation,
    now: fn() -> Instant,
}

impl<C: Connect> PipelinedDecoder<C> {
    /// A decoder over a node. It must be used outside of the runtime that it
    /// waits on.
    pub fn new(remote: Remote<C>, waiter: impl Into<Waiter>, with: Pipelining) -> Self {
        let pace = Pace::default();
        let most = |length: usize| length.clamp(1, DRAFT_TOKENS_MAX);
        let lengths = most(*with.lengths.start())..=most(*with.lengths.end());
        Self {
            remote,
            waiter: waiter.into(),
            client: None,
            record: Speculation::new(with.draft.name()),
            draft: Some(with.draft),
            tokenizer: with.tokenizer,
            vocab: with.vocab,
            context: with.context,
            window: pace.window(&lengths, None, with.in_flight_max),
            lengths,
            in_flight_max: with.in_flight_max,
            provenance: with.provenance,
            ahead: Ahead::new(),
            at_a_loss: false,
            reading: false,
            pace,
            answers: 0,
            guesses: Vec::with_capacity(1),
            now: Instant::now,
        }
    }

    /// The same by another clock, such as a simulation's.
    pub fn with_clock(mut self, now: fn() -> Instant) -> Self {
        self.now = now;
        self
    }

    /// Bytes of the frames so far, without what QUIC and UDP add.
    pub fn traffic(&self) -> Traffic {
        self.remote.traffic()
    }

    /// Goes on from the transcript: with what is under way, if that stands
    /// behind it.
    fn attach(&mut self, request: &DecodeRequest<'_>) -> Result<(), RemoteError> {
        let transcript = request.transcript;
        let waiter = self.waiter.clone();
        waiter.wait(async {
            let client = session(
                &mut self.client,
                &self.remote,
                transcript,
                request.logprobs,
                false,
            )
            .await?;
            if client.has(transcript) && self.ahead.confirmed() == transcript.len() {
                return Ok::<_, RemoteError>(());
            }
            self.reading = client.known_len() < transcript.len();
            client.follow(transcript).await?;
            self.ahead.restart(transcript);
            self.at_a_loss = false;
            // What was asked before the transcript was another.
            if client.awaits() {
                client.begin_epoch();
            }
            // What it has to read first it need not wait for a guess with.
            if self.reading && self.draft.is_some() {
                client.run(transcript, 1).await?;
            }
            Ok(())
        })?;
        let Some(draft) = self.draft.as_mut().filter(|_| self.reading) else {
            return Ok(());
        };
        let mut ask = DraftRequest {
            transcript,
            tokens_max: 1,
            cancel: request.cancel,
            progress: &mut |_| (),
        };
        match draft.catch_up(&mut ask) {
            Err(DecodeError::Cancelled) => return Err(RemoteError::Cancelled),
            Err(error) => self.give_up_draft(&error),
            Ok(()) => {}
        }
        Ok(())
    }

    fn give_up_draft(&mut self, error: &DecodeError) {
        if let Some(draft) = self.draft.take() {
            tracing::warn!("going on without the draft {}: {error}", draft.name());
        }
    }

    /// Whether another guess is of use. There is none behind the end of a
    /// text, nor where no token would be taken.
    fn may_guess(&self, request: &DecodeRequest<'_>) -> bool {
        let wanted = u32::try_from(request.tokens_max).unwrap_or(u32::MAX);
        let end = request.transcript.len().saturating_add(wanted - 1);
        let ends = |token| self.tokenizer.is_end_of_generation(token);
        self.draft.is_some()
            && !self.at_a_loss
            && self.ahead.transcript().len() < end.min(self.context)
            && self.ahead.guessed() < self.window.ahead
            && !self.ahead.last_guess().is_some_and(ends)
    }

    /// Drafts one token.
    fn guess(&mut self, request: &DecodeRequest<'_>) -> Result<(), RemoteError> {
        let transcript = self.ahead.transcript();
        let Some(draft) = self.draft.as_mut() else {
            return Ok(());
        };
        self.guesses.clear();
        if draft.confidence(transcript).is_none() {
            self.at_a_loss = true;
            return Ok(());
        }
        let mut ask = DraftRequest {
            transcript,
            tokens_max: 1,
            cancel: request.cancel,
            progress: &mut |_| (),
        };
        let started = (self.now)();
        let proposed = draft.propose(&mut ask, &mut self.guesses);
        match proposed {
            Ok(()) => {}
            Err(DecodeError::Cancelled) => return Err(RemoteError::Cancelled),
            Err(error) => {
                self.give_up_draft(&error);
                return Ok(());
            }
        }
        self.pace.drafted((self.now)() - started);
        let state = draft.sampler_state();
        let guess = self.guesses.first().copied();
        match guess.filter(|&guess| (guess as usize) < self.vocab) {
            Some(guess) => {
                self.record.drafted += 1;
                self.ahead.guess(guess, state);
            }
            None => self.at_a_loss = true,
        }
        Ok(())
    }

    /// Drafts and sends until tokens have come.
    fn advance(&mut self, request: &mut DecodeRequest<'_>) -> Result<Vec<Decoded>, RemoteError> {
        self.attach(request)?;
        let waiter = self.waiter.clone();
        loop {
            let Some(client) = self.client.as_mut() else {
                return Err(RemoteError::Closed);
            };
            let progress = &mut *request.progress;
            let mut report = |accepted| progress(in_progress(accepted));
            if let Some(tokens) = client.try_tokens(&mut report)? {
                return Ok(tokens);
            }
            if request.cancel.load(Ordering::Relaxed) {
                return Err(RemoteError::Cancelled);
            }
            let may_guess = self.may_guess(request);
            if may_guess {
                self.guess(request)?;
            }
            let Some(client) = self.client.as_mut() else {
                return Err(RemoteError::Closed);
            };
            let (position, state, guesses) = self.ahead.unsent();
            let full = guesses.len() >= self.window.length;
            let done = !may_guess || self.at_a_loss || self.draft.is_none();
            if full || done && (!guesses.is_empty() || !client.awaits()) {
                if self.draft.is_some() || !guesses.is_empty() {
                    waiter.wait(client.verify_at(position, state, guesses))?;
                    self.ahead.set_sent();
                } else if client.left() == 0 {
                    let wanted = u32::try_from(request.tokens_max).unwrap_or(u32::MAX);
                    let room = self.context.saturating_sub(request.transcript.len()) + 1;
                    let wanted = wanted.min(room).min(RUN_MAX);
                    waiter.wait(client.run(request.transcript, wanted))?;
                }
            } else if done {
                let (told, mut tell) = sync_channel::<Accepted>(1);
                let mut report = |accepted| {
                    let _ = told.try_send(accepted);
                };
                let tokens = waiter.wait(client.tokens(request.cancel, &mut report));
                drain(&mut tell, request.progress);
                return tokens;
            }
        }
    }

    /// Takes in what the node chose.
    fn take(&mut self, tokens: &[Decoded]) {
        let generated = follows_generated(self.ahead.transcript(), self.ahead.confirmed());
        let mut anew = false;
        for decoded in tokens {
            match self.ahead.confirm(decoded.token, decoded.state) {
                Judged::Right { place } => {
                    self.record.accepted += 1;
                    self.pace.judged(place, true);
                    continue;
                }
                Judged::Wrong { place, sent } => {
                    self.pace.judged(place, false);
                    if let Some(client) = self.client.as_mut().filter(|_| sent) {
                        client.begin_epoch();
                    }
                }
                Judged::Unguessed => {}
            }
            self.at_a_loss = false;
            anew = true;
        }
        let Some(client) = &self.client else { return };
        if generated {
            self.record.target_steps += 1;
            self.record.tokens += tokens.len() as u64;
        }
        // A pass that read a prompt says nothing about verifying.
        let read = std::mem::take(&mut self.reading) || !generated;
        if let Some(answer) = client.answer().filter(|_| !read) {
            self.pace.verified(answer.columns, answer.took_ms);
        }
        self.answers += 1;
        if anew || self.answers.is_multiple_of(CHOOSE_EVERY) {
            let exchange = client.exchange();
            self.window = (self.pace).window(&self.lengths, exchange, self.in_flight_max);
        }
    }
}

/// Whether the last of `len` tokens is one that a decoder chose.
fn follows_generated(transcript: &Transcript, len: u32) -> bool {
    let segment = transcript.positions().segment_at(len.saturating_sub(1));
    segment.is_some_and(|segment| segment.class == Class::Generated)
}

fn in_progress(accepted: Accepted) -> Progress {
    Progress {
        done: accepted.done,
        total: accepted.total,
    }
}

impl<C: Connect> Decoder for PipelinedDecoder<C> {
    fn decode(
        &mut self,
        mut request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        let transcript = request.transcript;
        if transcript.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        if transcript.len() > self.context {
            return Err(DecodeError::PromptTooLong {
                tokens: transcript.tokens().len(),
                context: self.context,
            });
        }
        self.remote.work(true);
        let advanced = self.advance(&mut request);
        self.remote.work(false);
        match advanced {
            Ok(mut tokens) => {
                self.take(&tokens);
                tokens.truncate(request.tokens_max);
                out.append(&mut tokens);
                Ok(())
            }
            Err(error) => {
                // What is under way no longer goes with the transcript.
                self.client = None;
                Err(self.remote.explain(error).into())
            }
        }
    }

    fn context(&self) -> u32 {
        self.context
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    fn speculation(&self) -> Option<&Speculation> {
        Some(&self.record)
    }
}
