//! One generation's stream to a node.

use super::{
    RemoteError, Served,
    traffic::{Meter, Traffic},
};
use crate::{
    frames::{FrameReader, FrameWriter},
    transport::priority,
    wire::{
        Accepted, Append, Goodbye, Open, Run, TOKENS_PER_FRAME_MAX, ToEdge, ToNode, Tokens, Verify,
    },
};
use outrigger_runtime::{
    decoder::Decoded,
    sampler::{SamplerState, TokenLogprob},
    tokenizer::TokenId,
    transcript::{Class, Positions, Transcript},
};
use std::{
    future::Future,
    ops::Range,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Waker},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinHandle,
    time::Instant,
};

/// Makes streams to a node.
pub trait Connect: Send + Sync + 'static {
    /// What is read from.
    type Read: AsyncRead + Unpin + Send + 'static;
    /// What is written to.
    type Write: AsyncWrite + Unpin + Send + 'static;

    /// A new stream both ways.
    fn stream(&self)
    -> impl Future<Output = Result<(Self::Read, Self::Write), RemoteError>> + Send;

    /// Told whether an answer of the node is waited for, so that its death is
    /// noticed soon.
    fn work(&self, _working: bool) {}

    /// For how long the node was silent, if a stream ended because of that.
    fn dead(&self) -> Option<Duration> {
        None
    }

    /// Told what the node says of an answer's cost.
    fn served(&self, _served: Served) {}
}

impl Connect for quinn::Connection {
    type Read = quinn::RecvStream;
    type Write = quinn::SendStream;

    async fn stream(&self) -> Result<(Self::Read, Self::Write), RemoteError> {
        let opened = self.open_bi().await;
        let (write, read) = opened.map_err(|_| RemoteError::Closed)?;
        // A stream that has ended by now needs none.
        let _ = write.set_priority(priority::DECODE);
        Ok((read, write))
    }
}

/// Messages of a node that wait to be looked at.
const INBOX: usize = 64;

/// How often a wait looks whether it was cancelled.
const CANCEL_INTERVAL: Duration = Duration::from_millis(10);

/// A node, and what is asked of it.
pub struct Remote<C> {
    connect: C,
    silence: Duration,
    sessions: AtomicU64,
    meter: Arc<Meter>,
}

impl<C: Connect> Remote<C> {
    /// A node that may be silent for `silence` while something is asked of it.
    pub fn new(connect: C, silence: Duration) -> Self {
        Self {
            connect,
            silence,
            // Not from 0: a node may still know those of an earlier run, or of
            // another remote of this one.
            sessions: AtomicU64::new(fastrand::u64(..)),
            meter: Arc::default(),
        }
    }

    /// Bytes of all generations' frames, without what QUIC and UDP add.
    pub fn traffic(&self) -> Traffic {
        self.meter.read()
    }

    /// Has the node watched over while an answer is waited for.
    pub(super) fn work(&self, working: bool) {
        self.connect.work(working);
    }

    /// The node's tokens, while it is watched over.
    pub(super) async fn tokens(
        &self,
        client: &mut Client<C::Write>,
        cancel: &AtomicBool,
        progress: &mut (dyn FnMut(Accepted) + Send),
    ) -> Result<Vec<Decoded>, RemoteError> {
        self.work(true);
        let tokens = client.tokens(cancel, progress).await;
        self.work(false);
        if let Some(answer) = client.news() {
            self.connect.served(answer);
        }
        tokens.map_err(|error| self.explain(error))
    }

    /// The reason behind an error, as far as the link knows it.
    pub(super) fn explain(&self, error: RemoteError) -> RemoteError {
        match (error, self.connect.dead()) {
            (RemoteError::Closed | RemoteError::Link(_), Some(silent)) => {
                RemoteError::Silent(silent)
            }
            (error, _) => error,
        }
    }

    pub(super) async fn stream(&self) -> Result<(C::Read, C::Write), RemoteError> {
        self.connect.stream().await
    }

    pub(super) fn silence(&self) -> Duration {
        self.silence
    }

    pub(super) fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// A name for a generation that none before had.
    pub fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}

/// One generation's stream, and what the node knows of its transcript.
///
/// Invariants:
/// 1. `known` is a beginning of what the node has in `epoch`, and grows by what
///    was sent and by tokens taken in order.
/// 2. In `epoch` the node has chosen no token at `asked` or behind it.
/// 3. Tokens of another epoch, or not at the end of `known`, are late and are
///    dropped.
pub struct Client<W: AsyncWrite + Unpin> {
    writer: FrameWriter<W>,
    inbox: mpsc::Receiver<Result<Heard, RemoteError>>,
    reader: JoinHandle<()>,
    meter: Arc<Meter>,
    known: Positions,
    epoch: u32,
    /// Tokens that come without being asked for.
    left: u32,
    asked: u32,
    /// Where the last token stands that was asked for with guesses.
    due: u32,
    /// Guesses of `epoch` whose place no token has taken.
    guessed: Vec<(u32, TokenId)>,
    /// Whether a guess of `epoch` was wrong.
    wrong: bool,
    /// A request that was made while no other was: the place of its first
    /// token, and when it was sent.
    timed: Option<(u32, Instant)>,
    /// A round trip as measured, without the node's own time.
    exchange: Option<Duration>,
    /// Tokens of the transcript sent since the last answer.
    appended: u32,
    /// What the node said of its last answer.
    answer: Option<Served>,
    /// Whether the link was told.
    told: bool,
    silence: Duration,
    opened: Open,
}

/// A message, and when it came.
struct Heard {
    at: Instant,
    message: ToEdge,
}

/// Weight of the latest in a mean of round trips.
const LATEST: f64 = 0.2;

impl<W: AsyncWrite + Unpin> Drop for Client<W> {
    fn drop(&mut self) {
        self.reader.abort();
        // As far as the stream takes it at once. A node that does not hear of
        // it keeps the generation until it is sure that nobody comes back.
        let goodbye = ToNode::Goodbye(Goodbye);
        let write = pin!(self.writer.write(&goodbye));
        let _ = write.poll(&mut Context::from_waker(Waker::noop()));
    }
}

impl<W: AsyncWrite + Unpin> Client<W> {
    /// What the node said of its last answer, once.
    fn news(&mut self) -> Option<Served> {
        self.answer
            .filter(|_| !std::mem::replace(&mut self.told, true))
    }

    /// Begins a generation.
    pub async fn open<C: Connect<Write = W>>(
        remote: &Remote<C>,
        open: Open,
    ) -> Result<Self, RemoteError> {
        let (read, write) = remote.connect.stream().await?;
        let (sender, inbox) = mpsc::channel(INBOX);
        let meter = remote.meter.clone();
        let reader = tokio::spawn(async move {
            let mut reader = FrameReader::new(read);
            loop {
                let before = reader.bytes();
                let message = reader.read().await;
                meter.received(reader.bytes() - before);
                let at = Instant::now();
                let message = match message {
                    Ok(Some(message)) => Ok(Heard { at, message }),
                    Ok(None) => Err(RemoteError::Closed),
                    Err(error) => Err(error.into()),
                };
                let last = message.is_err();
                if sender.send(message).await.is_err() || last {
                    return;
                }
            }
        });
        let mut client = Self {
            writer: FrameWriter::new(write),
            inbox,
            reader,
            meter: remote.meter.clone(),
            known: Positions::new(),
            epoch: 0,
            left: 0,
            asked: 0,
            due: 0,
            guessed: Vec::new(),
            wrong: false,
            timed: None,
            exchange: None,
            answer: None,
            told: true,
            appended: 0,
            silence: remote.silence,
            opened: open.clone(),
        };
        client.write(&ToNode::Open(open)).await?;
        Ok(client)
    }

    async fn write(&mut self, message: &ToNode) -> Result<(), RemoteError> {
        let before = self.writer.bytes();
        let written = self.writer.write(message).await;
        self.meter.sent(self.writer.bytes() - before);
        Ok(written?)
    }

    /// How it was opened.
    pub fn opened(&self) -> &Open {
        &self.opened
    }

    /// A round trip as measured over requests of this generation, without the
    /// node's own time.
    pub fn exchange(&self) -> Option<Duration> {
        self.exchange
    }

    /// What the node said beside its last tokens.
    pub fn answer(&self) -> Option<Served> {
        self.answer
    }

    /// Whether nothing will come any more: the stream has ended.
    pub fn ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// Whether tokens are to come of what was asked for.
    pub fn awaits(&self) -> bool {
        self.left > 0 || self.due > self.known.len()
    }

    /// Tokens that the node still gives without being asked.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// Length of the transcript that the node has.
    pub fn known_len(&self) -> u32 {
        self.known.len()
    }

    /// Whether the node's transcript is this one.
    pub fn has(&self, transcript: &Transcript) -> bool {
        self.known == *transcript.positions()
    }

    /// Makes the node's transcript this one, in a new epoch if it was another.
    pub async fn follow(&mut self, transcript: &Transcript) -> Result<(), RemoteError> {
        let positions = transcript.positions();
        let common = self.known.common_prefix(positions);
        // What is new may stand where the node has chosen tokens already.
        let clash = common < positions.len() && common < self.asked;
        if common < self.known.len() || clash {
            self.begin_epoch();
            self.known.truncate(common);
        }
        for segment in positions.segments() {
            let start = segment.positions.start.max(common);
            self.append(
                positions,
                segment.class,
                segment.positions.start,
                start..segment.positions.end,
            )
            .await?;
        }
        self.known.follow(positions, positions.len());
        Ok(())
    }

    async fn append(
        &mut self,
        positions: &Positions,
        class: Class,
        segment: u32,
        mut range: Range<u32>,
    ) -> Result<(), RemoteError> {
        let count = range.end.saturating_sub(range.start);
        self.appended = self.appended.saturating_add(count);
        while range.start < range.end {
            let end = range.end.min(range.start + TOKENS_PER_FRAME_MAX as u32);
            let append = ToNode::Append(Append {
                epoch: self.epoch,
                position: range.start,
                prompt: class == Class::Prompt,
                begins: range.start == segment,
                tokens: positions.tokens()[range.start as usize..end as usize].to_vec(),
            });
            self.write(&append).await?;
            range.start = end;
        }
        Ok(())
    }

    /// Begins a new epoch behind what the node has. Due after a wrong guess:
    /// the node takes no more guesses of that epoch, which may have been made
    /// before the edge knew.
    pub fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.asked = 0;
        self.due = 0;
        self.left = 0;
        self.timed = None;
        self.guessed.clear();
        self.wrong = false;
    }

    /// Asks for up to `tokens_max` tokens behind the transcript, which the node
    /// has.
    pub async fn run(
        &mut self,
        transcript: &Transcript,
        tokens_max: u32,
    ) -> Result<(), RemoteError> {
        self.ask(transcript.len(), tokens_max);
        let run = ToNode::Run(Run {
            epoch: self.epoch,
            position: transcript.len(),
            tokens_max,
            state: transcript.sampler_state(),
        });
        self.left = tokens_max;
        self.write(&run).await
    }

    fn ask(&mut self, position: u32, tokens: u32) {
        if !self.awaits() {
            self.timed = Some((position, Instant::now()));
        }
        let end = position.saturating_add(tokens);
        self.asked = self.asked.max(end);
    }

    /// Asks which of `guesses` the model would have chosen behind the
    /// transcript, which the node has.
    pub async fn verify(
        &mut self,
        transcript: &Transcript,
        guesses: &[TokenId],
    ) -> Result<(), RemoteError> {
        self.verify_at(transcript.len(), transcript.sampler_state(), guesses)
            .await
    }

    /// The same from `position` on: the end of what the node has, or of
    /// guesses that were sent before. The node looks at `state` only where it
    /// has not chosen the token before itself.
    pub async fn verify_at(
        &mut self,
        position: u32,
        state: SamplerState,
        guesses: &[TokenId],
    ) -> Result<(), RemoteError> {
        if self.wrong {
            self.begin_epoch();
        }
        let count = u32::try_from(guesses.len()).unwrap_or(u32::MAX);
        self.guessed
            .extend((position..).zip(guesses.iter().copied()));
        self.ask(position, count.saturating_add(1));
        self.due = self.due.max(position.saturating_add(count) + 1);
        let verify = ToNode::Verify(Verify {
            epoch: self.epoch,
            position,
            state,
            tokens: guesses.to_vec(),
        });
        self.write(&verify).await
    }

    /// The next tokens, if they have come already.
    pub fn try_tokens(
        &mut self,
        progress: &mut dyn FnMut(Accepted),
    ) -> Result<Option<Vec<Decoded>>, RemoteError> {
        loop {
            let heard = match self.inbox.try_recv() {
                Ok(heard) => heard?,
                Err(mpsc::error::TryRecvError::Empty) => return Ok(None),
                Err(mpsc::error::TryRecvError::Disconnected) => return Err(RemoteError::Closed),
            };
            if let Some(tokens) = self.hear(heard, progress)? {
                return Ok(Some(tokens));
            }
        }
    }

    /// Waits for the next tokens and takes them in.
    pub async fn tokens(
        &mut self,
        cancel: &AtomicBool,
        progress: &mut (dyn FnMut(Accepted) + Send),
    ) -> Result<Vec<Decoded>, RemoteError> {
        let mut silent = Instant::now();
        loop {
            let heard = tokio::time::timeout(CANCEL_INTERVAL, self.inbox.recv()).await;
            if cancel.load(Ordering::Relaxed) {
                return Err(RemoteError::Cancelled);
            }
            let Ok(heard) = heard else {
                if silent.elapsed() >= self.silence {
                    return Err(RemoteError::Silent(self.silence));
                }
                continue;
            };
            silent = Instant::now();
            let heard = heard.unwrap_or(Err(RemoteError::Closed))?;
            if let Some(tokens) = self.hear(heard, progress)? {
                return Ok(tokens);
            }
        }
    }

    /// Takes a message in.
    fn hear(
        &mut self,
        heard: Heard,
        progress: &mut dyn FnMut(Accepted),
    ) -> Result<Option<Vec<Decoded>>, RemoteError> {
        match heard.message {
            ToEdge::Tokens(tokens) => return self.take(tokens, heard.at),
            ToEdge::Accepted(accepted) if accepted.epoch == self.epoch => progress(accepted),
            ToEdge::Accepted(_) | ToEdge::Pong(_) => {}
            ToEdge::Failed(failed) if failed.epoch == self.epoch => {
                return Err(failed.failure.into());
            }
            ToEdge::Failed(_) => {}
            ToEdge::Refused(refused) => return Err(RemoteError::Refused(refused)),
            ToEdge::Welcome(_) | ToEdge::Staged(_) => {
                return Err(RemoteError::Protocol("an answer to what was not asked"));
            }
        }
        Ok(None)
    }

    /// The tokens of a message that are new, if it is not late.
    fn take(&mut self, tokens: Tokens, at: Instant) -> Result<Option<Vec<Decoded>>, RemoteError> {
        if tokens.epoch != self.epoch || tokens.position > self.known.len() {
            // A gap cannot come on an ordered stream but from another epoch.
            return Ok(None);
        }
        let held = (self.known.len() - tokens.position) as usize;
        if tokens.tokens.len() <= held {
            return Ok(None);
        }
        self.left = tokens.left;
        self.answer = Some(Served {
            // What it read on the way it may have read in several passes.
            columns: tokens.columns.max(std::mem::take(&mut self.appended)),
            took_ms: tokens.took_ms,
            sharing: tokens.sharing,
        });
        self.told = false;
        if let Some((_, sent)) = self.timed.take_if(|(first, _)| *first == tokens.position) {
            self.measure(at.duration_since(sent), tokens.took_ms);
        }
        let alternatives = self.opened.logprobs.map_or(0, usize::from);
        let new = tokens.tokens.into_iter().skip(held).map(|token| {
            if token.top.len() > alternatives {
                return Err(RemoteError::Protocol("more alternatives than asked for"));
            }
            let top = token.top.into_iter();
            Ok(Decoded {
                token: token.token,
                logprob: token.logprob,
                top: top
                    .map(|(token, logprob)| TokenLogprob { token, logprob })
                    .collect(),
                state: token.state,
            })
        });
        let new = new.collect::<Result<Vec<_>, _>>()?;
        for token in &new {
            let position = self.known.len();
            let mut guessed = self.guessed.iter();
            self.wrong |= guessed.any(|&(at, guess)| at == position && guess != token.token);
            self.guessed.retain(|&(at, _)| at > position);
            self.known.push_generated(token.token);
        }
        Ok(Some(new))
    }

    /// Takes in the time of a request, of which the node says that `took_ms`
    /// were its own.
    fn measure(&mut self, whole: Duration, took_ms: f32) {
        let own = Duration::try_from_secs_f32(took_ms / 1e3).unwrap_or_default();
        let time = whole.saturating_sub(own);
        self.exchange = Some(match self.exchange {
            Some(mean) => mean.mul_f64(1.0 - LATEST) + time.mul_f64(LATEST),
            None => time,
        });
    }
}
