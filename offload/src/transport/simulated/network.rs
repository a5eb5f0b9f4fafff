use super::{
    super::path::{Carried, Path, Wire},
    Counts,
    connection_ids::SeededIds,
    socket::Socket,
    trace::{Fate, Sent, Trace},
};
use fastrand::Rng;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};
use tokio::time::Instant;

/// Datagrams under way to one socket; more are dropped.
const UNDER_WAY_MAX: usize = 1 << 16;
/// Makes seeds that follow each other differ in all their bits.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A network of sockets in memory. Clones are the same network.
#[derive(Debug, Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
    seed: u64,
}

/// A socket's address when it was made names it for good.
type Home = SocketAddr;

/// A socket, told apart from an earlier one of the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) home: Home,
    number: u64,
}

#[derive(Debug)]
struct State {
    began: Instant,
    random: Rng,
    common: Path,
    paths: BTreeMap<(Home, Home), Path>,
    wires: BTreeMap<(Home, Home), Wire>,
    homes: BTreeMap<SocketAddr, Home>,
    boxes: BTreeMap<Home, Inbox>,
    trace: Trace,
    made: u64,
    sent: u64,
}

#[derive(Debug)]
struct Inbox {
    place: Place,
    address: SocketAddr,
    under_way: BinaryHeap<Reverse<Datagram>>,
    waker: Option<Waker>,
    counts: Counts,
}

/// A datagram under way, ordered by its arrival.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Datagram {
    arrives: Instant,
    number: u64,
    pub(super) from: SocketAddr,
    pub(super) ecn: Option<u8>,
    pub(super) contents: Vec<u8>,
}

impl Network {
    /// A network without sockets, all of whose chances come from `seed`.
    /// Within a tokio runtime.
    pub fn new(seed: u64, common: Path) -> Self {
        let state = State {
            began: Instant::now(),
            random: Rng::with_seed(seed),
            common,
            paths: BTreeMap::new(),
            wires: BTreeMap::new(),
            homes: BTreeMap::new(),
            boxes: BTreeMap::new(),
            trace: Trace::default(),
            made: 0,
            sent: 0,
        };
        let state = Arc::new(Mutex::new(state));
        Self { state, seed }
    }

    /// An endpoint at an address of this network.
    ///
    /// # Errors
    /// If the address is in use.
    pub fn endpoint(&self, address: SocketAddr) -> io::Result<Endpoint> {
        let place = self.state().place(address)?;
        let mut random = Rng::with_seed(self.seed ^ place.number.wrapping_mul(SPREAD));
        let mut config = EndpointConfig::default();
        let mut seed = [0; 32];
        random.fill(&mut seed);
        config.rng_seed(Some(seed));
        config.cid_generator(move || Box::new(SeededIds(random.clone())));
        let socket = Arc::new(Socket::new(self.clone(), place));
        Endpoint::new_with_abstract_socket(config, None, socket, Arc::new(TokioRuntime))
    }

    /// Takes a socket away, as when its machine dies: it hears nothing more,
    /// what it sends is gone, and its address is free for another.
    pub fn kill(&self, home: SocketAddr) {
        self.state().remove(home);
    }

    /// Sets what datagrams meet from one socket to another, and not back.
    /// Sockets are named by the addresses that they were made with.
    pub fn set_path(&self, from: SocketAddr, to: SocketAddr, path: Path) {
        self.state().paths.insert((from, to), path);
    }

    /// Sets what datagrams meet between two sockets, each way.
    pub fn set_paths(&self, one: SocketAddr, other: SocketAddr, path: Path) {
        self.set_path(one, other, path);
        self.set_path(other, one, path);
    }

    /// Loses everything between two sockets, or no longer.
    pub fn set_cut(&self, one: SocketAddr, other: SocketAddr, cut: bool) {
        let mut state = self.state();
        for way in [(one, other), (other, one)] {
            let path = state.path(way);
            state.paths.insert(way, Path { cut, ..path });
        }
    }

    /// Holds everything between two sockets back for a while; then all of it
    /// arrives at once.
    pub fn stall(&self, one: SocketAddr, other: SocketAddr, lasts: Duration) {
        let now = Instant::now();
        let mut state = self.state();
        for way in [(one, other), (other, one)] {
            let wire = state.wires.entry(way).or_insert_with(|| Wire::new(now));
            wire.stall(now + lasts);
        }
    }

    /// Lets a socket appear under another address from now on, as behind an
    /// address translator that forgot it; what is sent to the old one is lost.
    ///
    /// # Errors
    /// If the new address is in use, or no socket was made with `home`.
    pub fn set_address(&self, home: SocketAddr, address: SocketAddr) -> io::Result<()> {
        let mut state = self.state();
        if state.homes.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let inbox = state.boxes.get_mut(&home);
        let inbox = inbox.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let old = std::mem::replace(&mut inbox.address, address);
        state.homes.remove(&old);
        state.homes.insert(address, home);
        Ok(())
    }

    /// Where a socket appears now.
    pub fn address_of(&self, home: SocketAddr) -> Option<SocketAddr> {
        self.state().boxes.get(&home).map(|b| b.address)
    }

    /// A hash of every sending so far: when, between whom, how large, and what
    /// became of it. The same seed and program give the same hash.
    pub fn trace(&self) -> [u8; 32] {
        self.state().trace.hash()
    }

    /// What a socket has sent so far, lost or not; nothing if there is none.
    pub fn sent_by(&self, home: SocketAddr) -> Counts {
        let state = self.state();
        state.boxes.get(&home).map(|b| b.counts).unwrap_or_default()
    }

    pub(super) fn close(&self, place: Place) {
        let mut state = self.state();
        if state.inbox(place).is_some() {
            state.remove(place.home);
        }
    }

    pub(super) fn send(&self, place: Place, to: SocketAddr, ecn: Option<u8>, contents: &[u8]) {
        self.state().send(place, to, ecn, contents);
    }

    /// The next datagram that has arrived, or when the next will; `waker` is
    /// woken if one gets under way that arrives earlier.
    pub(super) fn receive(&self, place: Place, waker: &Waker) -> Result<Datagram, Option<Instant>> {
        let mut state = self.state();
        let inbox = state.inbox(place).ok_or(None)?;
        let first = inbox.under_way.peek().map(|d| d.0.arrives);
        if first.is_some_and(|at| at <= Instant::now())
            && let Some(Reverse(datagram)) = inbox.under_way.pop()
        {
            return Ok(datagram);
        }
        if !inbox.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            inbox.waker = Some(waker.clone());
        }
        Err(first)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn path(&self, way: (Home, Home)) -> Path {
        *self.paths.get(&way).unwrap_or(&self.common)
    }

    fn place(&mut self, home: Home) -> io::Result<Place> {
        if self.homes.contains_key(&home) || self.boxes.contains_key(&home) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.made += 1;
        let number = self.made;
        let place = Place { home, number };
        let inbox = Inbox {
            place,
            address: home,
            under_way: BinaryHeap::new(),
            waker: None,
            counts: Counts::default(),
        };
        self.homes.insert(home, home);
        self.boxes.insert(home, inbox);
        Ok(place)
    }

    fn inbox(&mut self, place: Place) -> Option<&mut Inbox> {
        let inbox = self.boxes.get_mut(&place.home)?;
        (inbox.place == place).then_some(inbox)
    }

    fn remove(&mut self, home: Home) {
        if let Some(inbox) = self.boxes.remove(&home) {
            self.homes.remove(&inbox.address);
        }
    }

    fn send(&mut self, place: Place, to: SocketAddr, ecn: Option<u8>, contents: &[u8]) {
        let now = Instant::now();
        let Some(sender) = self.inbox(place) else {
            return;
        };
        sender.counts.datagrams += 1;
        sender.counts.bytes += contents.len() as u64;
        let from = sender.address;
        let fate = match self.homes.get(&to).copied() {
            None => Fate::Unreachable,
            Some(receiver) => self.carry((place.home, receiver), from, ecn, contents, now),
        };
        self.trace.note(Sent {
            at: now.duration_since(self.began),
            from,
            to,
            bytes: contents.len(),
            fate,
        });
    }

    fn carry(
        &mut self,
        way: (Home, Home),
        from: SocketAddr,
        ecn: Option<u8>,
        contents: &[u8],
        now: Instant,
    ) -> Fate {
        let path = self.path(way);
        let wire = self.wires.entry(way).or_insert_with(|| Wire::new(now));
        let (at, copies) = match wire.carry(&path, contents.len(), &mut self.random, now) {
            Carried::Arrives { at, copies } => (at, copies),
            Carried::Lost => return Fate::Lost,
            Carried::Dropped => return Fate::Dropped,
        };
        let Some(inbox) = self.boxes.get_mut(&way.1) else {
            return Fate::Unreachable;
        };
        if inbox.under_way.len() + usize::from(copies) > UNDER_WAY_MAX {
            return Fate::Dropped;
        }
        let earliest = inbox.under_way.peek().is_none_or(|d| at < d.0.arrives);
        for _ in 0..copies {
            self.sent += 1;
            inbox.under_way.push(Reverse(Datagram {
                arrives: at,
                number: self.sent,
                from,
                ecn,
                contents: contents.to_vec(),
            }));
        }
        if earliest && let Some(waker) = inbox.waker.take() {
            waker.wake();
        }
        Fate::Delivered
    }
}
