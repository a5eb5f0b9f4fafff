//! The link to a node, made when it is needed and again when it broke.

use super::{Connect, Reach, RemoteError, Traffic, pulse::Pulse, traffic::Meter};
use crate::{
    frames::{FrameReader, FrameWriter},
    transport::{Backoff, LinkConfig, LinkEstimate, NodeAddress, connect},
    trust::Identity,
    wire::{Goodbye, Hello, ModelIdentity, ToEdge, ToNode, Welcome},
};
use quinn::{Connection, Endpoint};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::Mutex};

/// How soon a node that failed is tried again at first.
const RETRY_MIN: Duration = Duration::from_millis(250);
/// And at most.
const RETRY_MAX: Duration = Duration::from_secs(30);

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
    /// The model that the node had at first.
    model: OnceLock<ModelIdentity>,
    pulse: Pulse,
    /// What crossed over the connections before the current one.
    before: Meter,
    runtime: Handle,
    /// Whether the node is tried again at the moment.
    recovering: AtomicBool,
}

impl NodeLink {
    /// The way to a node; nothing is sent yet.
    ///
    /// # Panics
    /// Outside of a tokio runtime, on which the link lives.
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
            model: OnceLock::new(),
            pulse: Pulse::new(),
            before: Meter::default(),
            runtime: Handle::current(),
            recovering: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Connects if there is no connection, and says who the node is. One that
    /// came back with another model than it had at first is refused, because
    /// it would go on with another text.
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
        if let Some((connection, _)) = current.take() {
            let past = udp(&connection);
            shared.before.sent(past.sent);
            shared.before.received(past.received);
        }
        let connection = connect(
            &shared.endpoint,
            &shared.address,
            &shared.identity,
            &shared.config,
        )
        .await?;
        let welcome = greet(&connection, &shared.hello).await?;
        same_model(
            shared.model.get_or_init(|| welcome.model.clone()),
            &welcome.model,
        )?;
        shared.pulse.watch(connection.clone());
        Ok(current.insert((connection, welcome)).clone())
    }

    /// The round trip as QUIC knows it, while there is a connection.
    pub fn rtt(&self) -> Option<Duration> {
        let current = self.shared.current.try_lock().ok()?;
        current.as_ref().map(|(connection, _)| connection.rtt())
    }

    /// Bytes of all datagrams so far, with all that QUIC adds and without the
    /// headers of UDP and IP. `None` while the link is being made.
    pub fn traffic(&self) -> Option<Traffic> {
        let current = self.shared.current.try_lock().ok()?;
        let now = current.as_ref().map(|(connection, _)| udp(connection));
        let (now, before) = (now.unwrap_or_default(), self.shared.before.read());
        Some(Traffic {
            sent: before.sent + now.sent,
            received: before.received + now.received,
        })
    }

    /// What is known of the link, once something was asked over it.
    pub fn estimate(&self) -> Option<LinkEstimate> {
        self.shared.pulse.estimate()
    }
}

impl Reach for NodeLink {
    fn failed(&self) {
        if self.shared.recovering.swap(true, SeqCst) {
            return;
        }
        // It ends when nobody wants the link any more.
        let shared = Arc::downgrade(&self.shared);
        self.shared.runtime.spawn(async move {
            let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX, fastrand::u64(..));
            let mut told = false;
            for failures in 1.. {
                tokio::time::sleep(backoff.wait(failures)).await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                let link = Self { shared };
                match link.connected().await {
                    Ok(_) => {
                        link.shared.recovering.store(false, SeqCst);
                        return;
                    }
                    Err(error @ RemoteError::OtherModel { .. }) if !told => {
                        told = true;
                        tracing::warn!("the node is left alone: {error}");
                    }
                    Err(error) => tracing::debug!("the node is not back: {error}"),
                }
            }
        });
    }

    fn is_back(&self) -> bool {
        !self.shared.recovering.load(SeqCst)
    }
}

/// What has crossed over a connection.
fn udp(connection: &Connection) -> Traffic {
    let stats = connection.stats();
    Traffic {
        sent: stats.udp_tx.bytes,
        received: stats.udp_rx.bytes,
    }
}

/// Whether a node that was left has the model that it had.
fn same_model(before: &ModelIdentity, now: &ModelIdentity) -> Result<(), RemoteError> {
    if before.model == now.model && before.tokenizer == now.tokenizer {
        return Ok(());
    }
    let name = |model: &ModelIdentity| format!("{} in {}", model.title, model.quant);
    Err(RemoteError::OtherModel {
        before: name(before),
        now: name(now),
    })
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

    fn work(&self, working: bool) {
        self.shared.pulse.work(working);
    }

    fn dead(&self) -> Option<Duration> {
        self.shared.pulse.dead()
    }
}
