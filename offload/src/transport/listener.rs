use super::{
    Link, LinkConfig, LinkConfigError, LinkGauge, admission::Door, connect::WELCOME, crowd::Crowd,
    enrol, priority,
};
use crate::trust::{Authority, LINK_ALPN, PAIR_ALPN, Refused, TrustError, server_tls};
use quinn::{ConnectionError, Endpoint, Incoming, crypto::rustls::HandshakeData};
use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
    time::MissedTickBehavior,
};

/// Arrivals that wait for [`Listener::next`].
const WAITING_MAX: usize = 64;
/// How soon a revocation closes open links.
const SWEEP: Duration = Duration::from_secs(1);
const SWEEPS_PER_RENEWAL: u32 = 3600;

/// Who came to a node.
#[derive(Debug)]
pub enum Arrival {
    /// A client that has proven who it is.
    Link(Link),
    /// One that was not let in.
    Refused {
        /// Where it came from.
        address: SocketAddr,
        /// Why.
        error: ArrivalError,
    },
}

/// Why an arrival got no link.
#[derive(Debug, thiserror::Error)]
pub enum ArrivalError {
    /// One end refused the other.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It took too long to prove who it is.
    #[error("it did not prove who it is within {} ms", .0.as_millis())]
    Slow(Duration),
    /// The connection broke.
    #[error(transparent)]
    Lost(ConnectionError),
    /// It asked to be enrolled, without success.
    #[error("enrolment: {0}")]
    Enrolment(String),
}

impl From<ConnectionError> for ArrivalError {
    fn from(error: ConnectionError) -> Self {
        Refused::of(&error).map_or_else(|| Self::Lost(error), Self::Refused)
    }
}

/// Why a node cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The settings are out of range.
    #[error(transparent)]
    Config(#[from] LinkConfigError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Lets clients in, and enrols those with a token.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    door: Arc<Door>,
    arrivals: mpsc::Receiver<Arrival>,
    porter: AbortHandle,
}

/// Begins to take connections on an endpoint, in tasks of their own that end
/// when the listener is dropped.
///
/// Every link has a verified client certificate, so that the endpoint may be
/// bound to any address.
///
/// # Errors
/// If the settings or the certificates cannot be used.
pub fn listen(
    endpoint: Endpoint,
    authority: Arc<Authority>,
    config: &LinkConfig,
) -> Result<Listener, ListenError> {
    config.validate()?;
    let server = config.server(server_tls(&authority)?);
    endpoint.set_server_config(Some(server));
    let door = Door::new(config.admission.clone());
    let (waiting, arrivals) = mpsc::channel(WAITING_MAX);
    let porter = Porter {
        host: Arc::new(Host {
            door: door.clone(),
            authority,
            enrolments: Semaphore::new(config.admission.enrolments_max as usize),
            config: config.clone(),
            waiting,
        }),
        handshakes: Arc::new(Semaphore::new(config.admission.handshakes_max as usize)),
        crowd: Arc::default(),
        endpoint: endpoint.clone(),
        sweeps: 0,
    };
    let porter = tokio::spawn(porter.run()).abort_handle();
    Ok(Listener {
        endpoint,
        door,
        arrivals,
        porter,
    })
}

impl Listener {
    /// Who came next; `None` once the endpoint is closed.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.arrivals.recv().await
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Number of open links.
    pub fn links(&self) -> usize {
        self.door.links()
    }

    /// Shows what the links amount to, for as long as it is wanted.
    pub fn gauge(&self) -> LinkGauge {
        LinkGauge(self.door.clone())
    }

    /// Ends all links, open ones too, and says why.
    pub fn end(&self) {
        self.door.shut();
        self.door.clear();
    }

    /// Waits until the other ends of links that were ended know, or are given
    /// up.
    pub async fn ended(&self) {
        self.endpoint.wait_idle().await;
    }

    /// Lets nobody in any more; open links go on.
    pub fn drain(&self) {
        self.door.shut();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.porter.abort();
        self.endpoint.set_server_config(None);
    }
}

/// Takes what comes to the endpoint.
struct Porter {
    host: Arc<Host>,
    handshakes: Arc<Semaphore>,
    crowd: Arc<Crowd>,
    endpoint: Endpoint,
    sweeps: u32,
}

impl Porter {
    async fn run(mut self) {
        // Tasks are as many as there are permits; they end with this set.
        let mut tasks = JoinSet::new();
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.receive(incoming, &mut tasks),
                    None => return,
                },
                _ = tasks.join_next(), if !tasks.is_empty() => {}
                _ = sweep.tick() => self.sweep(),
            }
        }
    }

    fn receive(&self, incoming: Incoming, tasks: &mut JoinSet<()>) {
        let all = self.host.config.admission.handshakes_max as usize;
        let busy = self.handshakes.available_permits() * 2 <= all;
        if busy && !incoming.remote_address_validated() && incoming.may_retry() {
            // It may have come from a forged address; nothing was kept for it.
            let _ = incoming.retry();
            return;
        }
        let share = self.host.config.admission.handshakes_per_address_max;
        let standing = self.crowd.enter(incoming.remote_address().ip(), share);
        let permit = self.handshakes.clone().try_acquire_owned().ok();
        let Some(place) = standing.zip(permit) else {
            incoming.refuse();
            return;
        };
        let host = self.host.clone();
        tasks.spawn(async move {
            host.receive(incoming).await;
            drop(place);
        });
    }

    fn sweep(&mut self) {
        self.host.door.turn_out(&self.host.authority);
        self.sweeps += 1;
        if self.sweeps < SWEEPS_PER_RENEWAL {
            return;
        }
        self.sweeps = 0;
        if let Err(error) = self.renew() {
            tracing::error!("the node's certificate could not be renewed: {error}");
        }
    }

    fn renew(&self) -> Result<(), TrustError> {
        if self.host.authority.renew(SystemTime::now())? {
            let server = self.host.config.server(server_tls(&self.host.authority)?);
            self.endpoint.set_server_config(Some(server));
        }
        Ok(())
    }
}

/// What all handshakes share.
struct Host {
    door: Arc<Door>,
    authority: Arc<Authority>,
    enrolments: Semaphore,
    config: LinkConfig,
    waiting: mpsc::Sender<Arrival>,
}

impl Host {
    async fn receive(&self, incoming: Incoming) {
        let address = incoming.remote_address();
        let after = self.config.handshake_time();
        let admitted = tokio::time::timeout(after, self.admit(incoming));
        let admitted = admitted.await.unwrap_or(Err(ArrivalError::Slow(after)));
        match admitted {
            Ok(None) => {}
            // A node that looks at nobody has ended; its link ends here.
            Ok(Some(link)) => drop(self.waiting.send(Arrival::Link(link)).await),
            Err(error) => {
                tracing::debug!(%address, "not let in: {error}");
                // Where nobody looks, refusals are not worth waiting for.
                let _ = self.waiting.try_send(Arrival::Refused { address, error });
            }
        }
    }

    /// A link, or nothing where enrolment was wanted.
    async fn admit(&self, incoming: Incoming) -> Result<Option<Link>, ArrivalError> {
        let connection = incoming.accept()?.await?;
        let data = connection.handshake_data();
        let data = data.and_then(|d| d.downcast::<HandshakeData>().ok());
        let entered = match data.and_then(|d| d.protocol).as_deref() {
            Some(LINK_ALPN) => self.door.enter(connection.clone()),
            Some(PAIR_ALPN) => match self.enrolments.try_acquire() {
                Ok(_place) => {
                    let enrolled = enrol::serve(&connection, &self.authority).await;
                    return enrolled.map(|()| None).map_err(ArrivalError::Enrolment);
                }
                Err(_) => Err(Refused::Full),
            },
            _ => Err(Refused::Version),
        };
        let link = entered.inspect_err(|refused| refused.close(&connection))?;
        let mut welcome = link.open_uni().await?;
        // A stream that fails here is a connection that does.
        let _ = welcome.set_priority(priority::CONTROL);
        let _ = welcome.write_all(WELCOME).await;
        let _ = welcome.finish();
        Ok(Some(link))
    }
}
