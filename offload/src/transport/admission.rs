use super::AdmissionConfig;
use crate::trust::{Authority, Peer, Refused};
use rustls::pki_types::CertificateDer;
use std::{
    collections::BTreeMap,
    ops::{AddAssign, Deref},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A connection that a node let in, and who is at its other end.
///
/// It counts against the node's limits until it is dropped, so keep it as
/// long as the connection is used; dropping it closes the connection.
#[derive(Debug)]
pub struct Link {
    connection: quinn::Connection,
    peer: Peer,
    door: Arc<Door>,
    place: u64,
}

impl Link {
    /// Who the other end has proven to be.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The connection.
    pub fn connection(&self) -> &quinn::Connection {
        &self.connection
    }
}

impl Deref for Link {
    type Target = quinn::Connection;

    fn deref(&self) -> &quinn::Connection {
        &self.connection
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let bytes = Bytes::of(&self.connection);
        let mut rooms = self.door.rooms();
        rooms.held.remove(&self.place);
        rooms.gone += bytes;
        drop(rooms);
        self.connection.close(0u32.into(), b"");
    }
}

/// Counts the links of a node, in all and for each client.
#[derive(Debug)]
pub(super) struct Door {
    config: AdmissionConfig,
    rooms: Mutex<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    next: u64,
    held: BTreeMap<u64, Held>,
    /// What crossed the links that have ended.
    gone: Bytes,
    draining: bool,
}

/// Bytes of UDP that crossed.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes {
    sent: u64,
    received: u64,
}

impl Bytes {
    fn of(connection: &quinn::Connection) -> Self {
        let stats = connection.stats();
        Self {
            sent: stats.udp_tx.bytes,
            received: stats.udp_rx.bytes,
        }
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
    }
}

/// What the links of a node amount to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkTotals {
    /// Links open now.
    pub open: usize,
    /// Links let in so far.
    pub admitted: u64,
    /// Bytes of UDP sent on all of them.
    pub sent_bytes: u64,
    /// Bytes of UDP received on them.
    pub received_bytes: u64,
}

/// Shows what the links of a listener amount to.
#[derive(Debug, Clone)]
pub struct LinkGauge(pub(super) Arc<Door>);

impl LinkGauge {
    /// What they amount to now.
    pub fn totals(&self) -> LinkTotals {
        let rooms = self.0.rooms();
        let mut bytes = rooms.gone;
        for held in rooms.held.values() {
            bytes += Bytes::of(&held.connection);
        }
        LinkTotals {
            open: rooms.held.len(),
            admitted: rooms.next,
            sent_bytes: bytes.sent,
            received_bytes: bytes.received,
        }
    }
}

#[derive(Debug)]
struct Held {
    connection: quinn::Connection,
    certificate: CertificateDer<'static>,
    peer: Peer,
}

impl Door {
    pub(super) fn new(config: AdmissionConfig) -> Arc<Self> {
        let rooms = Mutex::default();
        Arc::new(Self { config, rooms })
    }

    /// Lets a connection in if there is room for it.
    pub(super) fn enter(self: &Arc<Self>, connection: quinn::Connection) -> Result<Link, Refused> {
        let certificate = Peer::certificate_at(&connection).ok_or(Refused::NoCertificate)?;
        let peer = Peer::of(&certificate).map_err(|_| Refused::BadCertificate)?;
        let mut rooms = self.rooms();
        if rooms.draining {
            return Err(Refused::Draining);
        }
        if rooms.held.len() >= self.config.links_max as usize {
            return Err(Refused::Full);
        }
        let of_client = rooms.held.values().filter(|h| h.peer.name == peer.name);
        if of_client.count() >= self.config.links_per_client_max as usize {
            return Err(Refused::ClientFull);
        }
        let place = rooms.next;
        rooms.next += 1;
        let held = Held {
            connection: connection.clone(),
            certificate,
            peer: peer.clone(),
        };
        rooms.held.insert(place, held);
        Ok(Link {
            connection,
            peer,
            door: self.clone(),
            place,
        })
    }

    /// Closes the links of clients that were revoked since they came.
    pub(super) fn turn_out(&self, authority: &Authority) {
        for held in self.rooms().held.values() {
            match authority.is_revoked(&held.certificate) {
                Ok(false) => {}
                Ok(true) => {
                    tracing::warn!(client = %held.peer.name, "its certificate was revoked");
                    Refused::Revoked.close(&held.connection);
                }
                // Handshakes tell; a link that was verified goes on.
                Err(error) => tracing::debug!("{error}"),
            }
        }
    }

    /// Lets nobody in any more.
    pub(super) fn shut(&self) {
        self.rooms().draining = true;
    }

    /// Closes every link: the node ends.
    pub(super) fn clear(&self) {
        for held in self.rooms().held.values() {
            Refused::Draining.close(&held.connection);
        }
    }

    pub(super) fn links(&self) -> usize {
        self.rooms().held.len()
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        // Nothing is changed in more than one step.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
