//! One generation's stream to a node.

use super::RemoteError;
use crate::{
    frames::{FrameReader, FrameWriter},
    wire::{
        Accepted, Append, Goodbye, Open, Run, TOKENS_PER_FRAME_MAX, ToEdge, ToNode, Tokens, Verify,
    },
};
use outrigger_runtime::{
    decoder::Decoded,
    sampler::TokenLogprob,
    tokenizer::TokenId,
    transcript::{Class, Positions, Transcript},
};
use std::{
    future::Future,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
    task::JoinHandle,
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
}

impl Connect for quinn::Connection {
    type Read = quinn::RecvStream;
    type Write = quinn::SendStream;

    async fn stream(&self) -> Result<(Self::Read, Self::Write), RemoteError> {
        let opened = self.open_bi().await;
        let (write, read) = opened.map_err(|_| RemoteError::Closed)?;
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
}

impl<C: Connect> Remote<C> {
    /// A node that may be silent for `silence` while something is asked of it.
    pub fn new(connect: C, silence: Duration) -> Self {
        Self {
            connect,
            silence,
            // Not from 0: a node may still know those of an earlier run.
            sessions: AtomicU64::new(first_session()),
        }
    }

    /// The node's tokens, while it is watched over.
    pub(super) async fn tokens(
        &self,
        client: &mut Client<C::Write>,
        cancel: &AtomicBool,
        progress: &mut (dyn FnMut(Accepted) + Send),
    ) -> Result<Vec<Decoded>, RemoteError> {
        self.connect.work(true);
        let tokens = client.tokens(cancel, progress).await;
        self.connect.work(false);
        tokens.map_err(|error| match (error, self.connect.dead()) {
            (RemoteError::Closed | RemoteError::Link(_), Some(silent)) => {
                RemoteError::Silent(silent)
            }
            (error, _) => error,
        })
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
pub struct Client<W> {
    writer: FrameWriter<W>,
    inbox: mpsc::Receiver<Result<ToEdge, RemoteError>>,
    reader: JoinHandle<()>,
    known: Positions,
    epoch: u32,
    /// Tokens that come without being asked for.
    left: u32,
    asked: u32,
    /// Guesses of `epoch` whose place no token has taken.
    guessed: Vec<(u32, TokenId)>,
    /// Whether a guess of `epoch` was wrong.
    wrong: bool,
    silence: Duration,
    opened: Open,
}

impl<W> Drop for Client<W> {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl<W: AsyncWrite + Unpin> Client<W> {
    /// Begins a generation.
    pub async fn open<C: Connect<Write = W>>(
        remote: &Remote<C>,
        open: Open,
    ) -> Result<Self, RemoteError> {
        let (read, write) = remote.connect.stream().await?;
        let (sender, inbox) = mpsc::channel(INBOX);
        let reader = tokio::spawn(async move {
            let mut reader = FrameReader::new(read);
            loop {
                let message = match reader.read().await {
                    Ok(Some(message)) => Ok(message),
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
            known: Positions::new(),
            epoch: 0,
            left: 0,
            asked: 0,
            guessed: Vec::new(),
            wrong: false,
            silence: remote.silence,
            opened: open.clone(),
        };
        client.writer.write(&ToNode::Open(open)).await?;
        Ok(client)
    }

    /// How it was opened.
    pub fn opened(&self) -> &Open {
        &self.opened
    }

    /// Bytes sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.writer.bytes()
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
            self.left = 0;
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
        while range.start < range.end {
            let end = range.end.min(range.start + TOKENS_PER_FRAME_MAX as u32);
            let append = ToNode::Append(Append {
                epoch: self.epoch,
                position: range.start,
                prompt: class == Class::Prompt,
                begins: range.start == segment,
                tokens: positions.tokens()[range.start as usize..end as usize].to_vec(),
            });
            self.writer.write(&append).await?;
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
        self.ask(transcript, tokens_max);
        let run = ToNode::Run(Run {
            epoch: self.epoch,
            position: transcript.len(),
            tokens_max,
            state: transcript.sampler_state(),
        });
        self.left = tokens_max;
        Ok(self.writer.write(&run).await?)
    }

    fn ask(&mut self, transcript: &Transcript, tokens: u32) {
        let end = transcript.len().saturating_add(tokens);
        self.asked = self.asked.max(end);
    }

    /// Asks which of `guesses` the model would have chosen behind the
    /// transcript, which the node has.
    pub async fn verify(
        &mut self,
        transcript: &Transcript,
        guesses: &[TokenId],
    ) -> Result<(), RemoteError> {
        if self.wrong {
            self.begin_epoch();
        }
        let count = u32::try_from(guesses.len()).unwrap_or(u32::MAX);
        self.guessed
            .extend((transcript.len()..).zip(guesses.iter().copied()));
        self.ask(transcript, count.saturating_add(1));
        let verify = ToNode::Verify(Verify {
            epoch: self.epoch,
            position: transcript.len(),
            state: transcript.sampler_state(),
            tokens: guesses.to_vec(),
        });
        Ok(self.writer.write(&verify).await?)
    }

    /// Waits for the next tokens and takes them in.
    pub async fn tokens(
        &mut self,
        cancel: &AtomicBool,
        progress: &mut (dyn FnMut(Accepted) + Send),
    ) -> Result<Vec<Decoded>, RemoteError> {
        let mut heard = tokio::time::Instant::now();
        loop {
            let message = tokio::time::timeout(CANCEL_INTERVAL, self.inbox.recv()).await;
            if cancel.load(Ordering::Relaxed) {
                return Err(RemoteError::Cancelled);
            }
            let Ok(message) = message else {
                if heard.elapsed() >= self.silence {
                    return Err(RemoteError::Silent(self.silence));
                }
                continue;
            };
            heard = tokio::time::Instant::now();
            match message.unwrap_or(Err(RemoteError::Closed))? {
                ToEdge::Tokens(tokens) => {
                    if let Some(tokens) = self.take(tokens)? {
                        return Ok(tokens);
                    }
                }
                ToEdge::Accepted(accepted) if accepted.epoch == self.epoch => progress(accepted),
                ToEdge::Accepted(_) | ToEdge::Pong(_) => {}
                ToEdge::Failed(failed) if failed.epoch == self.epoch => {
                    return Err(failed.failure.into());
                }
                ToEdge::Failed(_) => {}
                ToEdge::Refused(refused) => return Err(RemoteError::Refused(refused)),
                ToEdge::Welcome(_) => return Err(RemoteError::Protocol("a welcome, unasked")),
            }
        }
    }

    /// The tokens of a message that are new, if it is not late.
    fn take(&mut self, tokens: Tokens) -> Result<Option<Vec<Decoded>>, RemoteError> {
        if tokens.epoch != self.epoch || tokens.position > self.known.len() {
            // A gap cannot come on an ordered stream but from another epoch.
            return Ok(None);
        }
        let held = (self.known.len() - tokens.position) as usize;
        if tokens.tokens.len() <= held {
            return Ok(None);
        }
        self.left = tokens.left;
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

    /// Ends the generation in order.
    pub async fn close(mut self) {
        // The node notices by itself where this does not arrive.
        let _ = self.writer.write(&ToNode::Goodbye(Goodbye)).await;
    }
}

fn first_session() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}
