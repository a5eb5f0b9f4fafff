//! Connections: the handshake, and a stream for each generation.

use super::{
    Command, EngineHandle, NodeLimits, SessionKey,
    tally::{Answered, Asked},
};
use crate::{
    frames::{FrameError, FrameReader, FrameWriter},
    transport::{Arrival, Link, Listener, priority},
    trust::Peer,
    wire::{Hello, ModelIdentity, Open, Refused, StepTimes, ToEdge, ToNode, Welcome},
};
use sha2::{Digest as _, Sha256};
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{mpsc, watch},
    time::Instant,
};

/// How long an edge that takes no more tokens is listened to.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Bytes of a ping.
const PING_BYTES_MAX: usize = 16;
/// How long an edge may take to acknowledge the last bytes of a generation.
const ACKNOWLEDGED: Duration = Duration::from_secs(5);

/// What all connections of a node share.
#[derive(Clone)]
pub struct Node {
    pub(super) model: Arc<ModelIdentity>,
    times: StepTimes,
    drafts: bool,
    /// Generations' streams so far.
    pub(super) streams: Arc<AtomicU64>,
    /// Generations whose streams have something to say.
    speaking: watch::Sender<usize>,
    pub(super) engine: EngineHandle,
    limits: NodeLimits,
}

/// Who speaks on a stream.
pub(super) struct Caller {
    pub(super) client: u64,
    name: String,
}

/// Counts a generation as speaking until it is dropped.
struct Speaking(watch::Sender<usize>);

impl Speaking {
    fn new(count: &watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count.clone())
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
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
            speaking: watch::Sender::new(0),
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
                    self.engine.metrics.not_admitted(&error);
                    tracing::warn!(%address, "refused: {error}");
                }
            }
        }
    }

    /// Generations that are under way, or whose edges do not have all that was
    /// said.
    pub fn under_way(&self) -> usize {
        *self.speaking.borrow()
    }

    /// Waits until the edges have what the generations said that have ended.
    pub async fn settled(&self) {
        // The sender is this node's own.
        let _ = self.speaking.subscribe().wait_for(|&n| n == 0).await;
    }

    /// Serves one link: its streams, which are as many at once as the link's
    /// settings allow.
    async fn link(&self, link: &Link) {
        let client = client_number(link.peer());
        let (name, begun) = (&link.peer().name, Instant::now());
        self.engine.metrics.client(client, name.as_str());
        let address = link.remote_address();
        tracing::info!(client = %name, %address, "link begun");
        let error = loop {
            let accepted = tokio::select! {
                biased;
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
            let (mut write, read) = match accepted {
                Ok(streams) => streams,
                Err(error) => break error,
            };
            // A stream that has ended meanwhile has no use for it.
            let _ = write.set_priority(priority::DECODE);
            let node = self.clone();
            let name = name.to_string();
            tokio::spawn(async move {
                let caller = Caller { client, name };
                match node.converse(&caller, read, &mut write).await {
                    Ok(Some(speaking)) => {
                        // Where it fails the edge has left.
                        let _ = write.finish();
                        let _ = tokio::time::timeout(ACKNOWLEDGED, write.stopped()).await;
                        drop(speaking);
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::info!(client = %caller.name, "a stream ended: {error}");
                    }
                }
            });
        };
        let stats = link.stats();
        tracing::info!(
            client = %name,
            %address,
            s = begun.elapsed().as_secs(),
            sent_bytes = stats.udp_tx.bytes,
            received_bytes = stats.udp_rx.bytes,
            "link ended: {error}"
        );
    }

    /// Serves a stream, whose first message says what it is for. Bytes that
    /// are no frame end it, and the edge is told why.
    pub async fn stream<R, W>(&self, client: u64, read: R, write: W) -> Result<(), FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let name = client.to_string();
        let caller = Caller { client, name };
        self.converse(&caller, read, write).await.map(drop)
    }

    /// [`Node::stream`]; what it returns counts as a generation that speaks.
    async fn converse<R, W>(
        &self,
        caller: &Caller,
        read: R,
        write: W,
    ) -> Result<Option<Speaking>, FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (mut reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
        let served = self.serve(caller, &mut reader, &mut writer).await;
        if let Err(FrameError::Wire(error)) = &served {
            self.refuse(&mut writer, misplaced(error)).await?;
        }
        served
    }

    /// Refuses what an edge asked, and counts it.
    pub(super) async fn refuse<W: AsyncWrite + Unpin>(
        &self,
        writer: &mut FrameWriter<W>,
        refused: Refused,
    ) -> Result<(), FrameError> {
        self.engine.metrics.refused(&refused);
        writer.write(&ToEdge::Refused(refused)).await
    }

    async fn serve<R, W>(
        &self,
        caller: &Caller,
        reader: &mut FrameReader<R>,
        writer: &mut FrameWriter<W>,
    ) -> Result<Option<Speaking>, FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        match reader.read::<ToNode>().await? {
            Some(ToNode::Hello(hello)) => self.control(&hello, reader, writer).await?,
            Some(ToNode::Open(open)) => {
                let speaking = Speaking::new(&self.speaking);
                self.generation(caller, open, reader, writer).await?;
                return Ok(Some(speaking));
            }
            Some(ToNode::OpenStage(open)) => {
                let speaking = Speaking::new(&self.speaking);
                self.split(caller, open, reader, writer).await?;
                return Ok(Some(speaking));
            }
            Some(_) => {
                let what = "a stream that begins with neither `hello`, `open` nor `stage`";
                self.refuse(writer, misplaced(what)).await?;
            }
            None => {}
        }
        Ok(None)
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
        match self.greet(hello) {
            Ok(welcome) => writer.write(&ToEdge::Welcome(Box::new(welcome))).await?,
            Err(refused) => self.refuse(writer, refused).await?,
        }
        while let Some(message) = reader.read::<ToNode>().await? {
            match message {
                ToNode::Ping(nonce) => writer.write(&ToEdge::Pong(nonce)).await?,
                ToNode::Goodbye(_) => break,
                _ => {
                    let what = "a generation's message on the control stream";
                    self.refuse(writer, misplaced(what)).await?;
                }
            }
        }
        Ok(())
    }

    /// Serves the stream of one generation until it ends.
    async fn generation<R, W>(
        &self,
        caller: &Caller,
        open: Open,
        reader: &mut FrameReader<R>,
        writer: &mut FrameWriter<W>,
    ) -> Result<(), FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (client, session) = (caller.client, open.session);
        let key = SessionKey { client, session };
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
            return self.refuse(writer, Refused::Draining).await;
        }
        tracing::info!(client = %caller.name, session, "generation begun");
        let (mut asked, mut answered) = (Asked::default(), Answered::new());
        let ask = async {
            loop {
                match reader.read::<ToNode>().await {
                    Ok(Some(ToNode::Goodbye(_))) => return Ok(true),
                    Ok(Some(message)) => {
                        asked.note(&message);
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
                answered.note(&message);
                writer.write(&message).await?;
            }
            Ok(true)
        };
        let ended = {
            let mut ask = pin!(ask);
            tokio::select! {
                biased;
                ended = &mut ask => ended,
                ended = answer => match ended {
                    Ok(ended) => Ok(ended),
                    // Who no longer listens may have said why.
                    Err(error) => {
                        let said = tokio::time::timeout(LAST_WORDS, ask).await;
                        said.unwrap_or(Err(error))
                    }
                },
            }
        };
        let gone = Command::Gone {
            key,
            stream,
            ended: matches!(ended, Ok(true)),
        };
        // The engine has ended first where this fails.
        let _ = commands.send(gone).await;
        let end = match &ended {
            Ok(true) => "done",
            Ok(false) => "edge gone",
            Err(FrameError::Io(_)) => "link lost",
            Err(FrameError::Wire(_)) => "protocol",
        };
        answered.log(&asked, &caller.name, session, end);
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
pub(super) fn misplaced(what: impl ToString) -> Refused {
    Refused::Protocol {
        what: what.to_string(),
    }
}
