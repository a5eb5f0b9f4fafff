use super::{
    super::{
        AdmissionConfig, Arrival, ArrivalError, ConnectError, LinkConfig, NodeAddress, Path, bind,
        bind_edge, connect, listen,
    },
    ground::{EDGE, Ground, NODE, RTT, address, authority, identity},
};
use crate::trust::{Identity, LINK_ALPN, Refused, SERVER_NAME};
use quinn::crypto::rustls::QuicClientConfig;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

fn refused<T: std::fmt::Debug>(result: Result<T, ConnectError>) -> Refused {
    match result {
        Err(ConnectError::Refused { refused, .. }) => refused,
        other => panic!("{other:?}"),
    }
}

async fn both_name(ground: &mut Ground, identity: &Identity, reason: Refused) {
    assert_eq!(refused(ground.connect(identity).await), reason);
    match ground.refusal().await {
        ArrivalError::Refused(refused) => assert_eq!(refused, reason),
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_takes_two_round_trips_and_names_its_client() {
    let mut ground = Ground::new(1);
    let anna = identity(&ground.authority, "Anna", SystemTime::now());
    let began = Instant::now();
    let (edge, link) = ground.link(&anna).await;
    assert_eq!(began.elapsed(), 2 * RTT);
    assert_eq!(link.peer().name.as_str(), "anna");
    assert_eq!(*link.peer(), anna.peer().unwrap());

    let began = Instant::now();
    let (mut send, mut receive) = edge.open_bi().await.unwrap();
    send.write_all(b"ping").await.unwrap();
    send.finish().unwrap();
    let (mut back, mut heard) = link.accept_bi().await.unwrap();
    assert_eq!(heard.read_to_end(16).await.unwrap(), b"ping");
    back.write_all(b"pong").await.unwrap();
    back.finish().unwrap();
    assert_eq!(receive.read_to_end(16).await.unwrap(), b"pong");
    assert_eq!(began.elapsed(), RTT);

    drop(link);
    edge.closed().await;
    assert_eq!(ground.node.links(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_another_authority_is_refused() {
    let mut ground = Ground::new(2);
    let (_folder, other) = authority();
    let foreign = identity(&other, "mallory", SystemTime::now());
    // The edge finds out first: the node is not the one it was paired with.
    both_name(&mut ground, &foreign, Refused::Foreign).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_key_of_another_authority_is_refused_by_the_node() {
    let mut ground = Ground::new(3);
    let (_folder, other) = authority();
    let now = SystemTime::now();
    let foreign = identity(&other, "mallory", now);
    let ours = identity(&ground.authority, "anna", now);
    // One that knows the node's authority, but shows another's certificate.
    let forged = foreign.trusting(&ours);
    both_name(&mut ground, &forged, Refused::Foreign).await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_refused() {
    let mut ground = Ground::new(4);
    let long_ago = SystemTime::now() - Duration::from_secs(400 * 24 * 3600);
    let old = identity(&ground.authority, "anna", long_ago);
    both_name(&mut ground, &old, Refused::Expired).await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_certificate_is_refused_and_its_link_closed() {
    let mut ground = Ground::new(5);
    let now = SystemTime::now();
    let anna = identity(&ground.authority, "anna", now);
    let bob = identity(&ground.authority, "bob", now);
    let (annas, _link) = ground.link(&anna).await;
    let (bobs, _bobs) = ground.link(&bob).await;
    ground.authority.revoke("anna", now).unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(2), annas.closed()).await;
    assert_eq!(Refused::of(&closed.unwrap()), Some(Refused::Revoked));
    assert!(bobs.close_reason().is_none());

    assert_eq!(refused(ground.connect(&anna).await), Refused::Revoked);
    let error = ground.refusal().await;
    assert!(
        matches!(error, ArrivalError::Refused(Refused::Revoked)),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_link_without_a_certificate_is_refused() {
    let mut ground = Ground::new(6);
    let config = ground.config.client(tls_without_certificate(&ground));
    let connection = ground.edge.connect_with(config, NODE, SERVER_NAME).unwrap();
    let closed = connection.await.unwrap().closed().await;
    assert_eq!(Refused::of(&closed), Some(Refused::NoCertificate));
    let error = ground.refusal().await;
    assert!(
        matches!(error, ArrivalError::Refused(Refused::NoCertificate)),
        "{error}"
    );
}

/// The TLS of a client that trusts the node and has no certificate.
fn tls_without_certificate(ground: &Ground) -> Arc<QuicClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let anna = identity(&ground.authority, "anna", SystemTime::now());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(anna.authority_certificate()).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![LINK_ALPN.to_vec()];
    Arc::new(tls.try_into().unwrap())
}

#[tokio::test(start_paused = true)]
async fn clients_have_a_share_of_a_bounded_number_of_links() {
    let admission = AdmissionConfig {
        links_max: 3,
        links_per_client_max: 2,
        ..AdmissionConfig::default()
    };
    let config = LinkConfig {
        admission,
        ..LinkConfig::default()
    };
    let mut ground = Ground::with(7, config);
    let now = SystemTime::now();
    let [anna, bob, carl] = ["anna", "bob", "carl"].map(|n| identity(&ground.authority, n, now));
    let one = ground.link(&anna).await;
    let _two = ground.link(&anna).await;
    both_name(&mut ground, &anna, Refused::ClientFull).await;
    let _three = ground.link(&bob).await;
    both_name(&mut ground, &carl, Refused::Full).await;
    drop(one);
    let _four = ground.link(&carl).await;
    assert_eq!(ground.node.links(), 3);
    ground.node.drain();
    both_name(&mut ground, &bob, Refused::Draining).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_is_given_up_in_time() {
    let ground = Ground::new(8);
    let anna = identity(&ground.authority, "anna", SystemTime::now());
    ground.network.set_cut(NODE, EDGE, true);
    let began = Instant::now();
    let error = ground.connect(&anna).await.unwrap_err();
    assert!(matches!(error, ConnectError::Silent { .. }), "{error}");
    assert!(error.is_passing());
    assert_eq!(began.elapsed(), ground.config.handshake_time());
}

#[tokio::test(start_paused = true)]
async fn handshakes_that_never_end_leave_room_for_others() {
    let mut ground = Ground::new(9);
    let anna = identity(&ground.authority, "anna", SystemTime::now());
    // Each begins a handshake and hears nothing any more.
    let mut silent = Vec::new();
    for last in 100..200 {
        let endpoint = ground.network.endpoint(address(last)).unwrap();
        let mute = Path {
            cut: true,
            ..Default::default()
        };
        ground.network.set_path(NODE, address(last), mute);
        let tls = crate::trust::link_client_tls(&anna).unwrap();
        let config = ground.config.client(tls);
        silent.push((
            endpoint.connect_with(config, NODE, SERVER_NAME).unwrap(),
            endpoint,
        ));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (_edge, link) = ground.link(&anna).await;
    assert_eq!(link.peer().name.as_str(), "anna");
}

#[tokio::test(start_paused = true)]
async fn one_address_cannot_take_every_handshake() {
    let mut ground = Ground::new(15);
    let anna = identity(&ground.authority, "anna", SystemTime::now());
    let mute = Path {
        cut: true,
        ..Path::default()
    };
    ground.network.set_path(NODE, address(100), mute);
    let crowd = ground.network.endpoint(address(100)).unwrap();
    let begin = || {
        let tls = crate::trust::link_client_tls(&anna).unwrap();
        let config = ground.config.client(tls);
        crowd.connect_with(config, NODE, SERVER_NAME).unwrap()
    };
    let _silent: Vec<_> = (0..100).map(|_| begin()).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    let (_edge, link) = ground.link(&anna).await;
    assert_eq!(link.peer().name.as_str(), "anna");
    assert_eq!(began.elapsed(), 2 * RTT, "without a round trip more");
}

#[tokio::test]
async fn a_link_over_loopback() {
    let (_folder, authority) = authority();
    let anna = identity(&authority, "anna", SystemTime::now());
    let config = LinkConfig::default();
    let loopback = "127.0.0.1:0".parse().unwrap();
    let mut node = listen(bind(loopback).unwrap(), authority, &config).unwrap();
    let address = NodeAddress::from(node.local_addr().unwrap());
    let socket = bind(loopback).unwrap();
    let edge = connect(&socket, &address, &anna, &config).await.unwrap();
    let Some(Arrival::Link(link)) = node.next().await else {
        panic!("not let in");
    };
    edge.send_datagram(b"step".as_slice().into()).unwrap();
    assert_eq!(link.read_datagram().await.unwrap(), "step");
}

#[tokio::test(start_paused = true)]
async fn the_certificate_of_a_node_is_none_of_a_client() {
    let mut ground = Ground::new(10);
    let anna = identity(&ground.authority, "anna", SystemTime::now());
    let (chain, key) = ground.authority.shown();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(anna.authority_certificate()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain[..1].to_vec(), key)
        .unwrap();
    tls.alpn_protocols = vec![LINK_ALPN.to_vec()];
    let tls: QuicClientConfig = tls.try_into().unwrap();
    let config = ground.config.client(Arc::new(tls));
    let connection = ground.edge.connect_with(config, NODE, SERVER_NAME).unwrap();
    let closed = connection.await.unwrap().closed().await;
    assert_eq!(Refused::of(&closed), Some(Refused::WrongPurpose));
    let error = ground.refusal().await;
    assert!(
        matches!(error, ArrivalError::Refused(Refused::WrongPurpose)),
        "{error}"
    );
}

#[tokio::test]
async fn a_node_is_found_at_whichever_of_its_addresses_it_answers() {
    let (_folder, authority) = authority();
    let anna = identity(&authority, "anna", SystemTime::now());
    let config = LinkConfig::default();
    let loopback = "127.0.0.1:0".parse().unwrap();
    let node = listen(bind(loopback).unwrap(), authority, &config).unwrap();
    let port = node.local_addr().unwrap().port();
    // Most systems name ::1 first, where nobody listens.
    let address: NodeAddress = format!("localhost:{port}").parse().unwrap();
    let socket = bind_edge().unwrap();
    let edge = connect(&socket, &address, &anna, &config).await.unwrap();
    assert_eq!(edge.remote_address().port(), port);
}
