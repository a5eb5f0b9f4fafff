//! A wire on which somebody listens, to say the same again.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::UdpSocket, task::AbortHandle, time::timeout};

/// What a client may send before the recording is full.
const DATAGRAMS_MAX: usize = 4096;

/// Passes datagrams between one client and the node, and keeps the client's.
pub(super) struct Tap {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    task: AbortHandle,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tap {
    pub(super) async fn before(node: SocketAddr) -> Self {
        let near = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let far = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        far.connect(node).await.unwrap();
        let address = near.local_addr().unwrap();
        let heard: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let all = heard.clone();
        let task = tokio::spawn(async move {
            let (mut up, mut down) = ([0; 65536], [0; 65536]);
            let mut client = None;
            loop {
                tokio::select! {
                    got = near.recv_from(&mut up) => {
                        let (len, from) = got.unwrap();
                        client = Some(from);
                        keep(&all, &up[..len]);
                        far.send(&up[..len]).await.unwrap();
                    }
                    got = far.recv(&mut down) => {
                        // A port that is closed is told of by an error.
                        if let (Ok(len), Some(client)) = (got, client) {
                            near.send_to(&down[..len], client).await.unwrap();
                        }
                    }
                }
            }
        });
        let task = task.abort_handle();
        Self {
            address,
            heard,
            task,
        }
    }

    /// Says all that was heard again, from another socket. How many datagrams
    /// went there, and how many bytes came back for each that went.
    pub(super) async fn replay(&self, node: SocketAddr) -> (usize, f64) {
        let heard = self.heard.lock().unwrap().clone();
        let socket = UdpSocket::bind("127.0.0.4:0").await.unwrap();
        let (mut sent, mut back) = (0, 0);
        for datagram in &heard {
            sent += socket.send_to(datagram, node).await.unwrap();
        }
        let mut bytes = [0; 65536];
        while let Ok(got) = timeout(Duration::from_secs(1), socket.recv(&mut bytes)).await {
            back += got.unwrap();
        }
        (heard.len(), back as f64 / sent as f64)
    }
}

fn keep(all: &Mutex<Vec<Vec<u8>>>, datagram: &[u8]) {
    let mut all = all.lock().unwrap();
    if all.len() < DATAGRAMS_MAX {
        all.push(datagram.to_vec());
    }
}
