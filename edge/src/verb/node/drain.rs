//! How a node ends: what is under way is finished, within a time.

use anyhow::bail;
use outrigger_offload::{
    node::{Command, Node as Served, observe::Observed},
    transport::Listener,
};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long edges are waited for that are told of the end.
const FAREWELL: Duration = Duration::from_millis(200);

/// Signals to end, of which the first asks and the second insists.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Catches SIGTERM from now on. Elsewhere than on Unix nothing is caught.
    pub(super) fn catch() -> anyhow::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let terminate = signal(SignalKind::terminate())?;
            Ok(Self { terminate })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next.
    pub(super) async fn next(&mut self) {
        #[cfg(unix)]
        self.terminate.recv().await;
        #[cfg(not(unix))]
        std::future::pending().await
    }
}

/// What ends with a node.
pub(super) struct Ending<'a> {
    pub(super) node: &'a Served,
    pub(super) listener: &'a Listener,
    pub(super) observed: &'a Observed,
    pub(super) commands: &'a mpsc::Sender<Command>,
    /// What becomes of the engine.
    pub(super) engine: oneshot::Receiver<std::io::Result<()>>,
    /// How long the generations under way may take.
    pub(super) within: Duration,
}

impl Ending<'_> {
    /// Takes no more work, and waits until the generations under way are
    /// finished and their edges have all that was said. A signal, or the end
    /// of the time, ends them.
    pub(super) async fn drain(&mut self, signals: &mut Signals) -> anyhow::Result<()> {
        self.observed.drains();
        self.listener.drain();
        let (sessions, within_s) = (self.node.under_way(), self.within.as_secs());
        tracing::info!(sessions, within_s, "draining");
        let finish = async {
            // An engine that has ended has nothing left to finish.
            let _ = self.commands.send(Command::Drain).await;
            let ended = (&mut self.engine).await;
            self.node.settled().await;
            ended
        };
        let cut = tokio::select! {
            ended = finish => {
                self.farewell().await;
                return super::engine_ended(ended);
            }
            () = signals.next() => "a second SIGTERM came".to_owned(),
            () = tokio::time::sleep(self.within) => {
                format!("{} s were over", self.within.as_secs())
            }
        };
        let left = self.node.under_way();
        self.farewell().await;
        bail!("{left} generations were cut short, for {cut}; their edges go on by themselves")
    }

    /// Tells the edges, so that none has to find out.
    async fn farewell(&self) {
        self.listener.end();
        let _ = tokio::time::timeout(FAREWELL, self.listener.ended()).await;
    }
}
