//! A UDP relay between real processes that delays, loses, limits and cuts,
//! for systems whose kernel cannot.

mod lane;

use super::path::Path;
use lane::Lane;
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    task::AbortHandle,
    time::Instant,
};

/// Clients at once; datagrams of more are dropped.
const CLIENTS_MAX: usize = 64;
/// Datagrams of a client that wait to be taken up.
const WAITING_MAX: usize = 1024;
const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// Where a relay stands, and what datagrams meet in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelayConfig {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where it sends what it hears.
    pub target: SocketAddr,
    /// The way to the target.
    pub up: Path,
    /// The way back.
    pub down: Path,
    /// For all chances.
    pub seed: u64,
}

/// Relays between clients and one target.
#[derive(Debug)]
pub struct Relay;

impl Relay {
    /// Starts a relay, in tasks that end when the handle is dropped. Within a
    /// tokio runtime. A datagram may leave a millisecond before or after its
    /// time; [`RelayHandle::late_ns`] says what comes of it.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn spawn(config: RelayConfig) -> io::Result<RelayHandle> {
        let front = Arc::new(UdpSocket::bind(config.listen).await?);
        let addr = front.local_addr()?;
        let settings = Settings {
            up: config.up,
            down: config.down,
            stalled_until: Instant::now(),
            address: 0,
        };
        let (settings, changes) = watch::channel(settings);
        let measured = Arc::new(Measured::default());
        let desk = Desk {
            front,
            config,
            changes,
            measured: measured.clone(),
        };
        let task = tokio::spawn(desk.run()).abort_handle();
        Ok(RelayHandle {
            addr,
            settings,
            measured,
            task,
        })
    }
}

/// Changes a running relay, and ends it when dropped.
#[derive(Debug)]
pub struct RelayHandle {
    addr: SocketAddr,
    settings: watch::Sender<Settings>,
    measured: Arc<Measured>,
    task: AbortHandle,
}

impl RelayHandle {
    /// Where clients reach it.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Changes both ways for what comes from now on.
    pub fn set(&self, up: Path, down: Path) {
        self.settings.send_modify(|s| (s.up, s.down) = (up, down));
    }

    /// Loses everything, or no longer.
    pub fn cut(&self, cut: bool) {
        self.settings
            .send_modify(|s| (s.up.cut, s.down.cut) = (cut, cut));
    }

    /// Holds everything back for a while; then all of it leaves at once.
    pub fn stall(&self, lasts: Duration) {
        let until = Instant::now() + lasts;
        self.settings.send_modify(|s| s.stalled_until = until);
    }

    /// Shows every client to the target under a new address, as an address
    /// translator does that forgot them; what is on its way back is lost.
    pub fn change_address(&self) {
        self.settings.send_modify(|s| s.address += 1);
    }

    /// Datagrams and bytes that were sent on, up and down.
    pub fn carried(&self) -> [(u64, u64); 2] {
        let read = |way: &Way| (way.datagrams.load(Relaxed), way.bytes.load(Relaxed));
        [read(&self.measured.up), read(&self.measured.down)]
    }

    /// Nanoseconds by which datagrams left later than they should, on
    /// average; less than none where they left earlier. It adds to the delay
    /// each way.
    pub fn late_ns(&self) -> i64 {
        let [(up, _), (down, _)] = self.carried();
        let count = i64::try_from(up + down).unwrap_or(i64::MAX).max(1);
        self.measured.late_ns.load(Relaxed) / count
    }
}

impl Drop for RelayHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    up: Path,
    down: Path,
    stalled_until: Instant,
    /// Counts the changes of address.
    address: u64,
}

#[derive(Debug, Default)]
struct Measured {
    up: Way,
    down: Way,
    late_ns: AtomicI64,
}

#[derive(Debug, Default)]
struct Way {
    datagrams: AtomicU64,
    bytes: AtomicU64,
}

/// Hands what clients send to their lanes.
struct Desk {
    front: Arc<UdpSocket>,
    config: RelayConfig,
    changes: watch::Receiver<Settings>,
    measured: Arc<Measured>,
}

impl Desk {
    async fn run(self) {
        let mut lanes: BTreeMap<SocketAddr, mpsc::Sender<Vec<u8>>> = BTreeMap::new();
        // Lanes end with the desk, whose set this is.
        let mut tasks = tokio::task::JoinSet::new();
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            let Ok((len, client)) = self.front.recv_from(&mut buffer).await else {
                // Some systems tell here that an earlier datagram reached
                // nobody; should there be another reason, it may pass.
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            if !lanes.contains_key(&client) {
                if lanes.len() >= CLIENTS_MAX {
                    continue;
                }
                let (sender, waiting) = mpsc::channel(WAITING_MAX);
                let seed = self.config.seed.wrapping_add(lanes.len() as u64);
                match Lane::new(&self, client, waiting, seed).await {
                    Ok(lane) => tasks.spawn(lane.run()),
                    Err(error) => {
                        tracing::warn!("the relay cannot serve {client}: {error}");
                        continue;
                    }
                };
                lanes.insert(client, sender);
            }
            if let Some(lane) = lanes.get(&client) {
                // A full queue drops, as a router's does.
                let _ = lane.try_send(buffer[..len].to_vec());
            }
        }
    }
}
