//! Connections: the handshake, and a stream for each generation.

use super::{Command, EngineHandle, NodeLimits, SessionKey};
use crate::{
    frames::{FrameError, FrameReader, FrameWriter},
    wire::{Hello, ModelIdentity, Refused, ToEdge, ToNode, Welcome},
};
use std::sync::Arc;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

/// What all connections of a node share.
#[derive(Clone)]
pub struct Node {
    model: Arc<ModelIdentity>,
    engine: EngineHandle,
    limits: NodeLimits,
}

impl Node {
    /// A node for this model.
    pub fn new(model: ModelIdentity, engine: EngineHandle, limits: NodeLimits) -> Self {
        Self {
            model: Arc::new(model),
            engine,
            limits,
        }
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
            drafts: false,
        })
    }

    /// Serves a connection's control stream until the edge says goodbye or is
    /// gone.
    pub async fn control<R, W>(&self, read: R, write: W) -> Result<(), FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (mut reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
        while let Some(message) = reader.read::<ToNode>().await? {
            let answer = match message {
                ToNode::Hello(hello) => match self.greet(&hello) {
                    Ok(welcome) => ToEdge::Welcome(Box::new(welcome)),
                    Err(refused) => ToEdge::Refused(refused),
                },
                ToNode::Ping(nonce) => ToEdge::Pong(nonce),
                ToNode::Goodbye(_) => return Ok(()),
                _ => ToEdge::Refused(Refused::Protocol {
                    what: "a generation's message on the control stream".into(),
                }),
            };
            writer.write(&answer).await?;
        }
        Ok(())
    }

    /// Serves the stream of one generation of `client` until it ends.
    pub async fn generation<R, W>(&self, client: u64, read: R, write: W) -> Result<(), FrameError>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (mut reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
        let Some(ToNode::Open(open)) = reader.read::<ToNode>().await? else {
            let what = "a stream that does not begin with `open`".into();
            let refused = ToEdge::Refused(Refused::Protocol { what });
            return writer.write(&refused).await;
        };
        let key = SessionKey {
            client,
            session: open.session,
        };
        let (outbox, mut messages) = mpsc::channel(self.limits.outbox.max(2));
        let open = Command::Open {
            key,
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
                        let message = Command::Message { key, message };
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
            ended: matches!(ended, Ok(true)),
        };
        // The engine has ended first where this fails.
        let _ = commands.send(gone).await;
        ended.map(drop)
    }
}
