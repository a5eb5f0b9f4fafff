use super::*;
use crate::{
    node::{NodeLimits, tests::ground},
    transport::{bind, listen},
    trust::{Authority, EnrolAnswer, EnrolRequest, NewKey, Validity},
};
use std::net::SocketAddr;
use tempfile::TempDir;

const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A node on loopback.
struct Served {
    authority: Arc<Authority>,
    address: NodeAddress,
    _folder: TempDir,
    _ground: ground::Ground,
}

impl Served {
    fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trust");
        let opened = Authority::open(&path, Validity::default(), SystemTime::now());
        let authority = Arc::new(opened.unwrap());
        let endpoint = bind(LOOPBACK).unwrap();
        let mut listener = listen(endpoint, authority.clone(), &LinkConfig::default()).unwrap();
        let address = NodeAddress::from(listener.local_addr().unwrap());
        let ground = ground::Ground::start(NodeLimits::default());
        let node = ground.node();
        tokio::spawn(async move { node.listen(&mut listener).await });
        Self {
            authority,
            address,
            _folder: folder,
            _ground: ground,
        }
    }

    /// A paired edge, as of a time.
    fn identity(&self, now: SystemTime) -> Identity {
        let address = self.address.to_string();
        let lasts = Duration::from_secs(600);
        let token = self.authority.issue_token(&address, lasts, now).unwrap();
        let key = NewKey::generate().unwrap();
        let request = EnrolRequest::First {
            id: token.id,
            secret: token.secret,
            name: "edge".into(),
            csr: key.csr().to_vec(),
        };
        match self.authority.answer(&request, None, now).unwrap() {
            EnrolAnswer::Signed(signed) => Identity::new(&address, &key, signed).unwrap(),
            EnrolAnswer::Refused(refusal) => panic!("{refusal}"),
        }
    }

    fn at(&self, name: &str, now: SystemTime) -> NodeAt {
        NodeAt {
            name: name.into(),
            address: self.address.clone(),
            identity: self.identity(now),
        }
    }
}

fn link(nodes: Vec<NodeAt>, renewed: Option<Renewed>) -> NodeLink {
    let hello = Hello {
        model: None,
        tokenizer: [0; 32],
        require_bitwise: false,
    };
    let endpoint = bind(LOOPBACK).unwrap();
    NodeLink::over(endpoint, nodes, LinkConfig::default(), hello, renewed)
}

async fn settled(link: &NodeLink) -> bool {
    let settled = tokio::time::timeout(Duration::from_secs(30), link.settled());
    settled.await.expect("an end of the attempts")
}

#[tokio::test]
async fn the_first_node_that_answers_is_linked() {
    let node = Served::begin();
    let now = SystemTime::now();
    let dead = NodeAt {
        // A socket that nobody reads.
        address: NodeAddress::from(bind(LOOPBACK).unwrap().local_addr().unwrap()),
        ..node.at("dead", now)
    };
    let link = link(vec![dead, node.at("alive", now)], None);
    assert!(link.linked().is_none() && link.is_back());
    link.begin();
    assert!(!link.is_back());
    assert!(settled(&link).await);
    let linked = link.linked().unwrap();
    assert_eq!((linked.name.as_str(), linked.number), ("alive", 1));
    assert!(link.is_back() && link.refused().is_none());
    assert_eq!(link.times().unwrap().step_ms(), 1.0);
}

#[tokio::test]
async fn a_node_that_lets_the_edge_in_no_more_is_left_alone() {
    let node = Served::begin();
    let now = SystemTime::now();
    let at = node.at("node", now);
    node.authority.revoke("edge", now).unwrap();
    let link = link(vec![at], None);
    link.begin();
    assert!(!settled(&link).await);
    assert!(link.refused().unwrap().contains("revoked"));
    assert!(!link.is_back());
}

#[tokio::test]
async fn a_certificate_near_its_end_is_renewed_and_kept() {
    let node = Served::begin();
    let now = SystemTime::now();
    let day = Duration::from_secs(24 * 3600);
    let mut old = node.at("node", now);
    let lasts = old.identity.expires().unwrap().duration_since(now).unwrap();
    old.identity = node.identity(now - lasts + lasts / 4);
    assert!(old.identity.renewal_due(now).unwrap());
    let (sender, mut kept) = tokio::sync::mpsc::unbounded_channel();
    let renewed: Renewed = Box::new(move |name, identity| {
        sender.send((name.to_owned(), identity.clone())).unwrap();
    });
    let link = link(vec![old.clone()], Some(renewed));
    link.begin();
    assert!(settled(&link).await);
    let (name, identity) = tokio::time::timeout(Duration::from_secs(30), kept.recv())
        .await
        .expect("a renewal")
        .unwrap();
    assert_eq!(name, "node");
    assert!(!identity.renewal_due(now + day).unwrap());
    assert!(identity.expires().unwrap() > old.identity.expires().unwrap());
}

#[test]
fn another_model_is_refused_by_name() {
    let model = |title: &str, first| ModelIdentity {
        model: [first; 32],
        tokenizer: [0; 32],
        title: title.into(),
        quant: "Q8_0".into(),
        kernel_set: "avx2".into(),
        context: 512,
        vocab: 100,
    };
    let before = model("one", 1);
    assert!(same_model(&before, &model("renamed", 1)).is_ok());
    let error = same_model(&before, &model("other", 2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the node now has other in Q8_0, and not one in Q8_0, with which the text was begun"
    );
}
