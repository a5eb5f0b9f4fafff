//! The link to a node, made when it is needed and again when it broke.

use super::{Connect, RemoteError};
use crate::{
    frames::{FrameReader, FrameWriter},
    transport::{LinkConfig, NodeAddress, connect},
    trust::Identity,
    wire::{Goodbye, Hello, ToEdge, ToNode, Welcome},
};
use quinn::{Connection, Endpoint};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A node that an edge is paired with.
#[derive(Clone)]
pub struct NodeLink {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    address: NodeAddress,
    identity: Identity,
    config: LinkConfig,
    hello: Hello,
    current: Mutex<Option<(Connection, Welcome)>>,
}

impl NodeLink {
    /// The way to a node; nothing is sent yet.
    pub fn new(
        endpoint: Endpoint,
        address: NodeAddress,
        identity: Identity,
        config: LinkConfig,
        hello: Hello,
    ) -> Self {
        let shared = Shared {
            endpoint,
            address,
            identity,
            config,
            hello,
            current: Mutex::new(None),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Connects if there is no connection, and says who the node is.
    pub async fn welcome(&self) -> Result<Welcome, RemoteError> {
        self.connected().await.map(|(_, welcome)| welcome)
    }

    async fn connected(&self) -> Result<(Connection, Welcome), RemoteError> {
        let shared = &self.shared;
        let mut current = shared.current.lock().await;
        if let Some((connection, welcome)) = current.as_ref()
            && connection.close_reason().is_none()
        {
            return Ok((connection.clone(), welcome.clone()));
        }
        *current = None;
        let connection = connect(
            &shared.endpoint,
            &shared.address,
            &shared.identity,
            &shared.config,
        )
        .await?;
        let welcome = greet(&connection, &shared.hello).await?;
        Ok(current.insert((connection, welcome)).clone())
    }

    /// Gives the connection up, so that the next use makes a new one.
    pub async fn forget(&self) {
        if let Some((connection, _)) = self.shared.current.lock().await.take() {
            connection.close(0u32.into(), b"");
        }
    }
}

/// Introduces the edge on a stream of its own.
async fn greet(connection: &Connection, hello: &Hello) -> Result<Welcome, RemoteError> {
    let (read, write) = connection.stream().await?;
    let (mut reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
    writer.write(&ToNode::Hello(hello.clone())).await?;
    let answer = reader.read::<ToEdge>().await?;
    writer.write(&ToNode::Goodbye(Goodbye)).await?;
    match answer {
        Some(ToEdge::Welcome(welcome)) => Ok(*welcome),
        Some(ToEdge::Refused(refused)) => Err(RemoteError::Refused(refused)),
        Some(_) => Err(RemoteError::Protocol("no welcome")),
        None => Err(RemoteError::Closed),
    }
}

impl Connect for NodeLink {
    type Read = quinn::RecvStream;
    type Write = quinn::SendStream;

    async fn stream(&self) -> Result<(Self::Read, Self::Write), RemoteError> {
        let (connection, _) = self.connected().await?;
        connection.stream().await
    }

    async fn silent(&self) {
        self.forget().await;
    }
}
