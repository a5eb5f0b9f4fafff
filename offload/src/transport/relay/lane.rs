use super::{
    super::path::{Carried, Wire},
    DATAGRAM_BYTES_MAX, Desk, Measured, Settings,
};
use fastrand::Rng;
use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// Datagrams of a client under way, both ways together; more are dropped.
const UNDER_WAY_MAX: usize = 16 << 10;
/// tokio's timers end up to this late twice over: once for their own ticks,
/// once for the system's. So much earlier is on time, on average.
const TICK: Duration = Duration::from_millis(1);

/// A socket of a new address that talks to the target alone.
async fn towards(target: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(target).await?;
    Ok(socket)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    Up,
    Down,
}

/// What passes between one client and the target.
pub(super) struct Lane {
    client: SocketAddr,
    target: SocketAddr,
    front: Arc<UdpSocket>,
    back: UdpSocket,
    waiting: mpsc::Receiver<Vec<u8>>,
    changes: watch::Receiver<Settings>,
    measured: Arc<Measured>,
    random: Rng,
    wires: [Wire; 2],
    under_way: BinaryHeap<Reverse<UnderWay>>,
    number: u64,
}

/// A datagram, ordered by when it leaves.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    at: Instant,
    number: u64,
    direction: Direction,
    datagram: Vec<u8>,
}

impl Lane {
    pub(super) async fn new(
        desk: &Desk,
        client: SocketAddr,
        waiting: mpsc::Receiver<Vec<u8>>,
        seed: u64,
    ) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            client,
            target: desk.config.target,
            front: desk.front.clone(),
            back: towards(desk.config.target).await?,
            waiting,
            changes: desk.changes.clone(),
            measured: desk.measured.clone(),
            random: Rng::with_seed(seed),
            wires: [Wire::new(now); 2],
            under_way: BinaryHeap::new(),
            number: 0,
        })
    }

    pub(super) async fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut address = self.changes.borrow().address;
        loop {
            let next = self.under_way.peek().map(|d| d.0.at - TICK);
            tokio::select! {
                biased;
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    self.deliver().await;
                }
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let wanted = self.changes.borrow_and_update().address;
                    if wanted != address && let Ok(back) = towards(self.target).await {
                        self.back = back;
                        address = wanted;
                    }
                }
                datagram = self.waiting.recv() => match datagram {
                    Some(datagram) => self.carry(Direction::Up, &datagram),
                    None => return,
                },
                // An error says that the target was not there for an earlier
                // one, which is no matter of a network.
                len = self.back.recv(&mut buffer) => if let Ok(len) = len {
                    self.carry(Direction::Down, &buffer[..len]);
                },
            }
        }
    }

    fn carry(&mut self, direction: Direction, datagram: &[u8]) {
        let Settings {
            up,
            down,
            stalled_until,
            ..
        } = *self.changes.borrow();
        let path = if direction == Direction::Up { up } else { down };
        let wire = &mut self.wires[direction as usize];
        wire.stall(stalled_until);
        let carried = wire.carry(&path, datagram.len(), &mut self.random, Instant::now());
        let Carried::Arrives { at, copies } = carried else {
            return;
        };
        for _ in 0..copies {
            if self.under_way.len() < UNDER_WAY_MAX {
                self.number += 1;
                self.under_way.push(Reverse(UnderWay {
                    at,
                    number: self.number,
                    direction,
                    datagram: datagram.to_vec(),
                }));
            }
        }
    }

    async fn deliver(&mut self) {
        let now = Instant::now();
        while self.under_way.peek().is_some_and(|d| d.0.at <= now + TICK)
            && let Some(Reverse(next)) = self.under_way.pop()
        {
            let UnderWay {
                at,
                direction,
                datagram,
                ..
            } = next;
            let (sent, way) = match direction {
                Direction::Up => (self.back.send(&datagram).await, &self.measured.up),
                Direction::Down => {
                    let sent = self.front.send_to(&datagram, self.client).await;
                    (sent, &self.measured.down)
                }
            };
            if sent.is_ok() {
                way.datagrams.fetch_add(1, Relaxed);
                way.bytes.fetch_add(datagram.len() as u64, Relaxed);
                let off = (now.max(at) - now.min(at)).as_nanos();
                let off = i64::try_from(off).unwrap_or(i64::MAX);
                let late = if now < at { -off } else { off };
                self.measured.late_ns.fetch_add(late, Relaxed);
            }
        }
    }
}
