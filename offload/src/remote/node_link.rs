//! The link to the first of some nodes that can be had, made when it is needed
//! and again when it broke.

use super::{
    Connect, NodeTimes, Reach, RemoteError, Served, Traffic, pulse::Pulse, traffic::Meter,
};
use crate::{
    frames::{FrameReader, FrameWriter},
    transport::{LinkConfig, LinkEstimate, NodeAddress, Nodes, renew},
    trust::Identity,
    wire::{Goodbye, Hello, ModelIdentity, ToEdge, ToNode, Welcome},
};
use quinn::{Connection, Endpoint};
use std::{
    sync::{Arc, Mutex as Shortly, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{
    runtime::Handle,
    sync::{Mutex, watch},
    time::Instant,
};

/// How long one node is tried where there are others.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Between two rounds of attempts, each of which has waits of its own.
const PAUSE: Duration = Duration::from_millis(250);
/// How long whoever wants a token waits for a link to be made again. More is
/// waited for in the background.
const AGAIN: Duration = Duration::from_millis(300);

/// A node that an edge is paired with.
#[derive(Debug, Clone)]
pub struct NodeAt {
    /// What the user calls it.
    pub name: String,
    /// Where it is.
    pub address: NodeAddress,
    /// Who the edge is to it.
    pub identity: Identity,
}

/// The node at the other end.
#[derive(Debug, Clone)]
pub struct Linked {
    /// What the user calls it.
    pub name: String,
    /// What it said.
    pub welcome: Welcome,
    /// Another number than that of any other link before.
    pub number: u64,
}

/// Keeps what a node signed anew.
pub type Renewed = Box<dyn Fn(&str, &Identity) + Send + Sync>;

/// The way to one of some nodes.
#[derive(Clone)]
pub struct NodeLink {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    config: LinkConfig,
    hello: Hello,
    names: Vec<String>,
    identities: Shortly<Vec<Identity>>,
    nodes: Mutex<Nodes>,
    current: Mutex<Current>,
    /// The model of the first node that was linked.
    model: OnceLock<ModelIdentity>,
    standing: watch::Sender<Standing>,
    /// Who is at the other end, for those who cannot wait.
    linked: Shortly<Option<(Linked, NodeTimes)>>,
    pulse: Pulse,
    /// What crossed over the connections before the current one.
    before: Meter,
    runtime: Handle,
    renewed: Option<Renewed>,
}

#[derive(Default)]
struct Current {
    connection: Option<(Connection, Linked)>,
    /// Links so far.
    count: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Standing {
    /// Nobody has asked for a link yet.
    Idle,
    /// One is being made in the background.
    Trying,
    /// There is one.
    Up,
    /// There will be none.
    Refused(String),
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
        let node = NodeAt {
            name: address.to_string(),
            address,
            identity,
        };
        Self::over(endpoint, vec![node], config, hello, None)
    }

    /// The way to the first of some nodes, in order of preference. What a
    /// node signs in place of an old certificate goes to `renewed`.
    ///
    /// # Panics
    /// Outside of a tokio runtime, on which the link lives.
    pub fn over(
        endpoint: Endpoint,
        nodes: Vec<NodeAt>,
        config: LinkConfig,
        hello: Hello,
        renewed: Option<Renewed>,
    ) -> Self {
        let names = nodes.iter().map(|node| node.name.clone()).collect();
        let nodes: Vec<_> = (nodes.into_iter())
            .map(|node| (node.address, node.identity))
            .collect();
        let identities = nodes.iter().map(|(_, identity)| identity.clone()).collect();
        let shared = Shared {
            endpoint,
            config,
            hello,
            names,
            nodes: Mutex::new(Nodes::at(nodes, fastrand::u64(..))),
            identities: Shortly::new(identities),
            current: Mutex::default(),
            model: OnceLock::new(),
            standing: watch::Sender::new(Standing::Idle),
            linked: Shortly::new(None),
            pulse: Pulse::new(),
            before: Meter::default(),
            runtime: Handle::current(),
            renewed,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Connects if there is no connection, and says who the node is. One that
    /// came back with another model than there was at first is refused,
    /// because it would go on with another text.
    pub async fn welcome(&self) -> Result<Welcome, RemoteError> {
        let (_, linked) = self.connected().await?;
        Ok(linked.welcome)
    }

    /// Makes the link in the background, until there is one or all nodes have
    /// refused.
    pub fn begin(&self) {
        let begun = self
            .shared
            .standing
            .send_if_modified(|standing| match standing {
                Standing::Trying => false,
                other => {
                    *other = Standing::Trying;
                    true
                }
            });
        if !begun {
            return;
        }
        // It ends when nobody wants the link any more.
        let shared = Arc::downgrade(&self.shared);
        self.shared.runtime.spawn(async move {
            loop {
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                let link = Self { shared };
                match link.connected().await {
                    Ok(_) => return,
                    Err(error) if !error.is_passing() => {
                        let standing = Standing::Refused(error.to_string());
                        link.shared.standing.send_replace(standing);
                        return;
                    }
                    Err(error) => tracing::debug!("no link: {error}"),
                }
                drop(link);
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// Waits until there is a link, or there will be none, and says which.
    pub async fn settled(&self) -> bool {
        let mut standing = self.shared.standing.subscribe();
        let settled = standing.wait_for(|standing| *standing != Standing::Trying);
        // The sender lives as long as this.
        settled
            .await
            .is_ok_and(|standing| *standing == Standing::Up)
    }

    /// Who is at the other end, or was when there last was a link.
    pub fn linked(&self) -> Option<Linked> {
        shortly(&self.shared.linked)
            .as_ref()
            .map(|(linked, _)| linked.clone())
    }

    /// What the node's steps take.
    pub fn times(&self) -> Option<NodeTimes> {
        shortly(&self.shared.linked)
            .as_ref()
            .map(|(_, times)| times.clone())
    }

    async fn connected(&self) -> Result<(Connection, Linked), RemoteError> {
        let shared = &self.shared;
        let mut current = shared.current.lock().await;
        if let Some((connection, linked)) = &current.connection
            && connection.close_reason().is_none()
        {
            shared.standing.send_replace(Standing::Up);
            return Ok((connection.clone(), linked.clone()));
        }
        if let Some((connection, _)) = current.connection.take() {
            let past = udp(&connection);
            shared.before.sent(past.sent);
            shared.before.received(past.received);
        }
        let mut nodes = shared.nodes.lock().await;
        let within = match shared.names.len() {
            0 | 1 => shared.config.handshake_time(),
            _ => ATTEMPT,
        };
        let (index, connection) = (nodes.connect(&shared.endpoint, &shared.config, within)).await?;
        let greeted = tokio::time::timeout(within, greet(&connection, &shared.hello)).await;
        let greeted = greeted.unwrap_or(Err(RemoteError::Silent(within)));
        let same = greeted.and_then(|welcome| {
            let first = shared.model.get_or_init(|| welcome.model.clone());
            same_model(first, &welcome.model).map(|()| welcome)
        });
        let welcome = match same {
            Ok(welcome) => welcome,
            Err(error) => {
                nodes.failed(index, error.is_passing(), Instant::now().into_std());
                return Err(error);
            }
        };
        drop(nodes);
        shared.pulse.watch(connection.clone());
        current.count += 1;
        let linked = Linked {
            name: shared.names.get(index).cloned().unwrap_or_default(),
            number: current.count,
            welcome,
        };
        let times = NodeTimes::new(linked.welcome.times);
        *shortly(&shared.linked) = Some((linked.clone(), times));
        current.connection = Some((connection.clone(), linked.clone()));
        shared.standing.send_replace(Standing::Up);
        self.renew_if_due(index);
        Ok((connection, linked))
    }

    /// Has a certificate renewed in the background that nears its end.
    fn renew_if_due(&self, index: usize) {
        let identity = shortly(&self.shared.identities).get(index).cloned();
        let due = |identity: &Identity| identity.renewal_due(SystemTime::now()).unwrap_or(false);
        let Some(identity) = identity.filter(due) else {
            return;
        };
        let link = self.clone();
        self.shared.runtime.spawn(async move {
            let shared = &link.shared;
            match renew(&shared.endpoint, &identity, &shared.config).await {
                Ok(identity) => {
                    let name = shared.names.get(index).map_or("", String::as_str);
                    if let Some(renewed) = &shared.renewed {
                        renewed(name, &identity);
                    }
                    if let Some(kept) = shortly(&shared.identities).get_mut(index) {
                        kept.clone_from(&identity);
                    }
                    shared.nodes.lock().await.renewed(index, identity);
                }
                // There is a third of its time to try again in.
                Err(error) => tracing::info!("the certificate was not renewed: {error}"),
            }
        });
    }

    /// The round trip as QUIC knows it, while there is a connection.
    pub fn rtt(&self) -> Option<Duration> {
        let current = self.shared.current.try_lock().ok()?;
        (current.connection.as_ref()).map(|(connection, _)| connection.rtt())
    }

    /// Bytes of all datagrams so far, with all that QUIC adds and without the
    /// headers of UDP and IP. `None` while the link is being made.
    pub fn traffic(&self) -> Option<Traffic> {
        let current = self.shared.current.try_lock().ok()?;
        let now = current.connection.as_ref();
        let now = now.map(|(connection, _)| udp(connection));
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
        self.begin();
    }

    fn is_back(&self) -> bool {
        matches!(
            *self.shared.standing.borrow(),
            Standing::Idle | Standing::Up
        )
    }

    fn refused(&self) -> Option<String> {
        match &*self.shared.standing.borrow() {
            Standing::Refused(why) => Some(why.clone()),
            _ => None,
        }
    }
}

/// Whether a node that was left has the model that there was.
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

/// What has crossed over a connection.
fn udp(connection: &Connection) -> Traffic {
    let stats = connection.stats();
    Traffic {
        sent: stats.udp_tx.bytes,
        received: stats.udp_rx.bytes,
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
        let standing = self.shared.standing.borrow().clone();
        let (connection, _) = match standing {
            Standing::Idle => self.connected().await?,
            _ => match tokio::time::timeout(AGAIN, self.connected()).await {
                Ok(connected) => connected?,
                Err(_) => return Err(RemoteError::Closed),
            },
        };
        connection.stream().await
    }

    fn work(&self, working: bool) {
        self.shared.pulse.work(working);
    }

    fn dead(&self) -> Option<Duration> {
        self.shared.pulse.dead()
    }

    fn served(&self, served: Served) {
        if let Some((_, times)) = shortly(&self.shared.linked).as_mut() {
            times.take(served);
        }
    }
}

/// For what is over within a few lines and leaves nothing half done.
fn shortly<T>(mutex: &Shortly<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "node_link_tests.rs"]
mod tests;
