//! What a node tells its operator, over HTTP on a loopback port: metrics for
//! Prometheus, and whether it lives and takes work.

mod exposition;
mod server;
#[cfg(test)]
mod tests;

use super::{Command, EngineHandle, Metrics};
use crate::{
    transport::LinkGauge,
    wire::{ModelIdentity, StepTimes},
};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};
use tokio::{net::TcpListener, sync::mpsc};

/// Why nothing is told over HTTP.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The address is one that others reach.
    #[error(
        "{0} is not a loopback address, and metrics are told without authentication; give \
         127.0.0.1:{port} and let a proxy or an SSH tunnel carry them", port = .0.port()
    )]
    Open(SocketAddr),
    /// The address cannot be bound.
    #[error("{address} cannot be listened on for metrics: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// The socket for the operator's requests. To be called within a tokio
/// runtime.
///
/// # Errors
/// [`ObserveError`]; an address that is not of the loopback is refused.
pub async fn bind_observer(address: SocketAddr) -> Result<TcpListener, ObserveError> {
    if !address.ip().to_canonical().is_loopback() {
        return Err(ObserveError::Open(address));
    }
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| ObserveError::Bind { address, source })
}

/// What there is to tell of a node. It is told from the start, before the
/// node serves.
#[derive(Debug)]
pub struct Observed {
    version: &'static str,
    started: Instant,
    draining: AtomicBool,
    serving: OnceLock<Serving>,
}

/// What is known of a node once it serves.
#[derive(Debug)]
struct Serving {
    model: ModelIdentity,
    times: StepTimes,
    metrics: Arc<Metrics>,
    /// Weak, for the engine ends when nobody can tell it anything.
    commands: mpsc::WeakSender<Command>,
    links: LinkGauge,
    kv_positions_max: u64,
}

/// Whether a node takes work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readiness {
    Loading,
    Ready,
    Draining,
    Ended,
}

impl Observed {
    /// A node that is being loaded, of this version of the program.
    pub fn new(version: &'static str) -> Arc<Self> {
        Arc::new(Self {
            version,
            started: Instant::now(),
            draining: AtomicBool::new(false),
            serving: OnceLock::new(),
        })
    }

    /// From now on the node serves. Only the first call counts.
    pub fn serves(
        &self,
        model: ModelIdentity,
        times: StepTimes,
        engine: &EngineHandle,
        links: LinkGauge,
        sessions_max: usize,
    ) {
        let kv_positions_max = u64::from(model.context) * sessions_max as u64;
        let _ = self.serving.set(Serving {
            model,
            times,
            metrics: engine.metrics.clone(),
            commands: engine.commands.downgrade(),
            links,
            kv_positions_max,
        });
    }

    /// From now on the node takes no work.
    pub fn drains(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Answers requests until it is dropped.
    pub async fn answer(self: Arc<Self>, listener: TcpListener) {
        server::serve(listener, self).await;
    }

    fn readiness(&self) -> Readiness {
        let engine = |serving: &Serving| serving.commands.upgrade();
        match self.serving.get().map(engine) {
            _ if self.draining.load(Relaxed) => Readiness::Draining,
            None => Readiness::Loading,
            Some(Some(commands)) if !commands.is_closed() => Readiness::Ready,
            Some(_) => Readiness::Ended,
        }
    }
}
