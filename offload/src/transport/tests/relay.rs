use super::{
    super::{
        Arrival, Link, LinkConfig, Listener, NodeAddress, Path, bind, connect, listen,
        relay::{Relay, RelayConfig, RelayHandle},
    },
    ground::{RTT, authority, identity},
};
use quinn::Connection;
use std::time::{Duration, Instant, SystemTime};

/// A node and an edge on loopback with a relay between them.
struct Ground {
    relay: RelayHandle,
    edge: Connection,
    link: Link,
    node: Listener,
    _sockets: (quinn::Endpoint, tempfile::TempDir),
}

impl Ground {
    async fn new(path: Path) -> Self {
        let (folder, authority) = authority();
        let anna = identity(&authority, "anna", SystemTime::now());
        let config = LinkConfig::default();
        let loopback = "127.0.0.1:0".parse().unwrap();
        let mut node = listen(bind(loopback).unwrap(), authority, &config).unwrap();
        let relay = Relay::spawn(RelayConfig {
            listen: loopback,
            target: node.local_addr().unwrap(),
            up: path,
            down: path,
            seed: 1,
        });
        let relay = relay.await.unwrap();
        let socket = bind(loopback).unwrap();
        let address = NodeAddress::from(relay.addr());
        let edge = connect(&socket, &address, &anna, &config).await.unwrap();
        let Some(Arrival::Link(link)) = node.next().await else {
            panic!("not let in");
        };
        let _sockets = (socket, folder);
        Self {
            relay,
            edge,
            link,
            node,
            _sockets,
        }
    }

    /// One request of a few bytes and its answer, on a stream.
    async fn exchange(&self) -> Duration {
        let began = Instant::now();
        let (mut send, mut receive) = self.edge.open_bi().await.unwrap();
        send.write_all(b"ping").await.unwrap();
        send.finish().unwrap();
        let (mut back, mut heard) = self.link.accept_bi().await.unwrap();
        heard.read_to_end(16).await.unwrap();
        back.write_all(b"pong").await.unwrap();
        back.finish().unwrap();
        assert_eq!(receive.read_to_end(16).await.unwrap(), b"pong");
        began.elapsed()
    }
}

#[tokio::test]
async fn a_link_through_the_relay_has_its_round_trip() {
    let ground = Ground::new(Path::with_round_trip(RTT)).await;
    let mut took = Vec::new();
    for _ in 0..25 {
        took.push(ground.exchange().await);
    }
    took.sort();
    let median = took[took.len() / 2];
    println!(
        "through the relay at 40 ms: median {median:?}, least {:?}, most {:?}; {} ns late each way",
        took[0],
        took[took.len() - 1],
        ground.relay.late_ns()
    );
    // The rest of a busy machine delays some.
    let quarter = took[took.len() / 4];
    assert!(
        quarter > RTT.mul_f64(0.9) && quarter < RTT.mul_f64(1.1),
        "{quarter:?}"
    );
    let [(up, _), (down, _)] = ground.relay.carried();
    assert!(up > 25 && down > 25);
}

#[tokio::test]
async fn a_link_through_the_relay_survives_cuts_and_changes_of_address() {
    let lossy = Path {
        loss: 0.05,
        ..Path::with_round_trip(Duration::from_millis(10))
    };
    let ground = Ground::new(lossy).await;
    let before = ground.link.remote_address();
    ground.exchange().await;
    ground.relay.change_address();
    ground.exchange().await;
    assert_ne!(ground.link.remote_address(), before);

    ground.relay.cut(true);
    let cut = tokio::time::timeout(Duration::from_millis(300), ground.exchange()).await;
    assert!(cut.is_err(), "nothing passes a cut");
    ground.relay.cut(false);
    // The one that was cut arrives now, and is answered first.
    let (mut back, mut heard) = ground.link.accept_bi().await.unwrap();
    heard.read_to_end(16).await.ok();
    back.finish().ok();
    ground.exchange().await;
    assert_eq!(ground.node.links(), 1);
}

#[tokio::test]
async fn a_stalled_relay_loses_nothing() {
    let ground = Ground::new(Path::default()).await;
    let stall = Duration::from_millis(400);
    ground.relay.stall(stall);
    let took = ground.exchange().await;
    assert!(took > stall.mul_f64(0.9) && took < 2 * stall, "{took:?}");
    assert!(ground.exchange().await < stall / 2);
}
