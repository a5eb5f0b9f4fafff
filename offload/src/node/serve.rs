//! Connections: the handshake, and a stream for each generation.

use super::{Command, EngineHandle, NodeLimits, SessionKey};
use crate::{
    frames::{FrameError, FrameReader, FrameWriter},
    transport::{Arrival, Link, Listener, priority},
    trust::Peer,
    wire::{Hello, ModelIdentity, Open, Refused, StepTimes, ToEdge, ToNode, Welcome},
};
use sha2::{Digest as _, Sha256};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

/// Bytes of a ping.
const PING_BYTES_MAX: usize = 16;

/// What all connections of a node share.
#[derive(Clone)]
pub struct Node {
    pub(super) model: Arc<ModelIdentity>,
    times: StepTimes,
    drafts: bool,
    /// Generations' streams so far.
    pub(super) streams: Arc<AtomicU64>,
    pub(super) engine: EngineHandle,
    limits: NodeLimits,
}

impl Node {
    /// A node for this model, whose steps take so long.
    pub fn new(
        model: ModelIdentity,
        times: StepTimes,
        engine: EngineHandle,
        limits: NodeLimits,
    ) -> Self {
        Self {
            model: Arc::new(model),
            times,
            drafts: false,
            streams: Arc::default(),
            engine,
            limits,
        }
    }

    /// The same, where the engine's [`Compute`](super::Compute) has a draft.
    pub fn with_draft(mut self) -> Self {
        self.drafts = true;
        self
    }

    /// Whether an edge's model goes with the node's, and what to tell it.
    fn greet(&self, hello: &Hello) -> Result<Welcome, Refused> {
        if hello.tokenizer != self.model.tokenizer {
            return Err(Refused::Tokenizer);
        }
        if hello.require_bitwise {
            match &hello.model {
                Some(model) if model.model != self.model.model => return Err(Refused::Model),
                Some(model) if model.kernel_set != self.model.kernel_set => {
                    let node = self.model.kernel_set.clone();
                    return Err(Refused::KernelSet { node });
                }
                _ => {}
            }
        }
        Ok(Welcome {
            model: (*self.model).clone(),
            sessions_max: u32::try_from(self.limits.client_sessions_max).unwrap_or(u32::MAX),
            drafts: self.drafts,
            times: self.times,
        })
    }

    /// Serves the links of a listener until it is closed.
    pub async fn listen(&self, listener: &mut Listener) {
        while let Some(arrival) = listener.next().await {
            match arrival {
                Arrival::Link(link) => {
                    let node = self.clone();
                    tokio::spawn(async move { node.link(&link).await });
                }
                Arrival::Refused { address, error } => {
                    tracing::warn!(%address, "refused: {error}");
                }
            }
        }
    }

    /// Serves one link: its streams, which are as many at once as the link's
    /// settings allow.
    async fn link(&self, link: &Link) {
        let client = client_number(link.peer());
        tracing::info!(client = %link.peer().name, "linked");
        loop {
            let accepted = tokio::select! {
                accepted = link.accept_bi() => accepted,
                ping = link.read_datagram() => {
                    // Sent back as it is; one that is too long is not a ping.
                    if let Ok(ping) = ping
                        && ping.len() <= PING_BYTES_MAX
                    {
                        let _ = link.send_datagram(ping);
                    }
                    continue;
                }
            };
            let Ok((write, read)) = accepted else { break };
            let _ = write.set_priority(priority::DECODE);
            let node = self.clone();
            let name = link.peer().name.clone();
            tokio::spawn(async move {
                if let Err(error) = node.stream(client, read, write).await {
                    tracing::info!(client = %name, "a stream ended: {error}");
                }
            });
        }
        tracing::info!(client = %link.peer().name, "gone");
    }

    /// Serves a stream, whose first message says what it is for. Bytes that
    /// are no frame end it, and the edge is told why.
    pub async fn stream<R, W>(&self, client: u64, read: R, write: W) -> Result<(), FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (mut reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
        let served = self.serve(client, &mut reader, &mut writer).await;
        if let Err(FrameError::Wire(error)) = &served {
            writer.write(&misplaced(error)).await?;
        }
        served
    }

    async fn serve<R, W>(
        &self,
        client: u64,
        reader: &mut FrameReader<R>,
        writer: &mut FrameWriter<W>,
    ) -> Result<(), FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        match reader.read::<ToNode>().await? {
            Some(ToNode::Hello(hello)) => self.control(&hello, reader, writer).await,
            Some(ToNode::Open(open)) => self.generation(client, open, reader, writer).await,
            Some(ToNode::OpenStage(open)) => self.split(client, open, reader, writer).await,
            Some(_) => {
                let what = "a stream that begins with neither `hello`, `open` nor `stage`";
                writer.write(&misplaced(what)).await
            }
            None => Ok(()),
        }
    }

    /// Serves a control stream until the edge says goodbye or is gone.
    async fn control<R, W>(
        &self,
        hello: &Hello,
        reader: &mut FrameReader<R>,
        writer: &mut FrameWriter<W>,
    ) -> Result<(), FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let answer = match self.greet(hello) {
            Ok(welcome) => ToEdge::Welcome(Box::new(welcome)),
            Err(refused) => ToEdge::Refused(refused),
        };
        writer.write(&answer).await?;
        while let Some(message) = reader.read::<ToNode>().await? {
            match message {
                ToNode::Ping(nonce) => writer.write(&ToEdge::Pong(nonce)).await?,
                ToNode::Goodbye(_) => break,
                _ => {
                    let what = "a generation's message on the control stream";
                    writer.write(&misplaced(what)).await?;
                }
            }
        }
        Ok(())
    }

    /// Serves the stream of one generation of `client` until it ends.
    async fn generation<R, W>(
        &self,
        client: u64,
        open: Open,
        reader: &mut FrameReader<R>,
        writer: &mut FrameWriter<W>,
    ) -> Result<(), FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let key = SessionKey {
            client,
            session: open.session,
        };
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let (outbox, mut messages) = mpsc::channel(self.limits.outbox.max(2));
        let open = Command::Open {
            key,
            stream,
            open: Box::new(open),
            outbox,
        };
        let commands = &self.engine.commands;
        if commands.send(open).await.is_err() {
            return writer.write(&ToEdge::Refused(Refused::Draining)).await;
        }
        let ask = async {
            loop {
                match reader.read::<ToNode>().await {
                    Ok(Some(ToNode::Goodbye(_))) => return Ok(true),
                    Ok(Some(message)) => {
                        let message = Command::Message {
                            key,
                            stream,
                            message,
                        };
                        if commands.send(message).await.is_err() {
                            return Ok(true);
                        }
                    }
                    Ok(None) => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
        };
        let answer = async {
            while let Some(message) = messages.recv().await {
                writer.write(&message).await?;
            }
            Ok(true)
        };
        let ended = tokio::select! {
            ended = ask => ended,
            ended = answer => ended,
        };
        let gone = Command::Gone {
            key,
            stream,
            ended: matches!(ended, Ok(true)),
        };
        // The engine has ended first where this fails.
        let _ = commands.send(gone).await;
        ended.map(drop)
    }
}

/// A number for a client, the same whenever it comes.
fn client_number(peer: &Peer) -> u64 {
    let hash = Sha256::digest(peer.name.as_str());
    let first = hash.first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(first)
}

/// The answer to what does not belong where it came.
pub(super) fn misplaced(what: impl ToString) -> ToEdge {
    ToEdge::Refused(Refused::Protocol {
        what: what.to_string(),
    })
}
