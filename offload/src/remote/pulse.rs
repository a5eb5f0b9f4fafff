//! Notices that a node has died while something is asked of it.

use crate::transport::{Beat, Heartbeat, HeartbeatConfig, LinkEstimate};
use bytes::Bytes;
use quinn::Connection;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// Says to QUIC why a connection is closed.
const DEAD: u32 = 1;

/// What a link's streams tell its heartbeat, and hear of it. It outlives the
/// connections of a link, one after the other.
///
/// Pings are datagrams of eight bytes that the node sends back as they are, so
/// that a lost packet of a stream does not hold them up.
#[derive(Clone)]
pub(super) struct Pulse {
    working: watch::Sender<bool>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// For how long the last connection was silent when it was given up.
    dead: Option<Duration>,
    estimate: Option<LinkEstimate>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            working: watch::Sender::new(false),
            state: Arc::default(),
        }
    }

    /// Says whether an answer is waited for.
    pub(super) fn work(&self, working: bool) {
        self.working.send_replace(working);
    }

    /// For how long the node was silent, if its connection was given up for
    /// that.
    pub(super) fn dead(&self) -> Option<Duration> {
        self.state().dead
    }

    /// What is known of the link.
    pub(super) fn estimate(&self) -> Option<LinkEstimate> {
        self.state().estimate.clone()
    }

    /// Watches over a connection until it ends.
    pub(super) fn watch(&self, connection: Connection) {
        self.state().dead = None;
        let pulse = self.clone();
        tokio::spawn(async move { pulse.beat(connection).await });
    }

    async fn beat(&self, connection: Connection) {
        let mut working = self.working.subscribe();
        let now = || Instant::now().into_std();
        let mut heart = Heartbeat::new(HeartbeatConfig::default(), now());
        // Until a ping is answered, what the handshake took.
        heart.estimate_mut().round_trip(connection.rtt());
        let mut received = connection.stats().udp_rx.datagrams;
        loop {
            heart.set_working(*working.borrow_and_update(), now());
            // Whatever came, the node lives.
            let count = connection.stats().udp_rx.datagrams;
            if std::mem::replace(&mut received, count) != count {
                heart.heard(now());
            }
            let wake = match heart.poll(now()) {
                Beat::Ping(number) => {
                    let ping = Bytes::copy_from_slice(&number.to_le_bytes());
                    // One that does not go out is one that is not answered.
                    let _ = connection.send_datagram(ping);
                    continue;
                }
                Beat::Dead { silent } => {
                    self.state().dead = Some(silent);
                    connection.close(DEAD.into(), b"silent");
                    return;
                }
                Beat::Wake(at) => Some(at),
                Beat::Rest => None,
            };
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                answer = connection.read_datagram() => {
                    let Ok(answer) = answer else { return };
                    if let Ok(number) = answer[..].try_into() {
                        heart.answered(u64::from_le_bytes(number), now());
                        self.state().estimate = Some(heart.estimate().clone());
                    }
                }
                changed = working.changed() => if changed.is_err() { return },
                () = sleep => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is changed in more than one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
