use super::{
    super::{EnrolError, NodeAddress, bind, connect, listen, pair, renew},
    ground::{TOKEN_LASTS, authority},
};
use crate::trust::{ClientName, EnrolRefusal, Identities, PairToken, Refused, WRONG_GUESSES_MAX};
use std::time::{Duration, SystemTime};

/// A node on loopback that enrols.
struct Ground {
    authority: std::sync::Arc<crate::trust::Authority>,
    folder: tempfile::TempDir,
    node: super::super::Listener,
    edge: quinn::Endpoint,
    config: super::super::LinkConfig,
}

impl Ground {
    fn new() -> Self {
        let (folder, authority) = authority();
        let config = super::super::LinkConfig::default();
        let loopback = "127.0.0.1:0".parse().unwrap();
        let node = listen(bind(loopback).unwrap(), authority.clone(), &config).unwrap();
        let edge = bind(loopback).unwrap();
        Self {
            authority,
            folder,
            node,
            edge,
            config,
        }
    }

    fn token(&self, now: SystemTime) -> PairToken {
        let address = self.node.local_addr().unwrap().to_string();
        let token = self.authority.issue_token(&address, TOKEN_LASTS, now);
        // As a user does: copied as text.
        token.unwrap().to_string().parse().unwrap()
    }

    async fn pair(&self, token: &PairToken) -> Result<crate::trust::Identity, EnrolError> {
        pair(&self.edge, token, "Anna's laptop", &self.config).await
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, EnrolError>) -> EnrolRefusal {
    match result {
        Err(EnrolError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_edge_is_enrolled_links_and_renews() {
    let ground = Ground::new();
    let token = ground.token(SystemTime::now());
    let identity = ground.pair(&token).await.unwrap();
    assert_eq!(identity.peer().unwrap().name.as_str(), "anna-s-laptop");

    let kept = Identities::open(&ground.folder.path().join("nodes")).unwrap();
    let name: ClientName = "home".parse().unwrap();
    kept.save(&name, &identity).unwrap();
    assert_eq!(kept.list().unwrap(), std::slice::from_ref(&name));
    let identity = kept.load(&name).unwrap();
    let address: NodeAddress = identity.address().parse().unwrap();
    connect(&ground.edge, &address, &identity, &ground.config)
        .await
        .unwrap();

    let renewed = renew(&ground.edge, &identity, &ground.config)
        .await
        .unwrap();
    let [old, new] = [&identity, &renewed].map(|i| i.peer().unwrap());
    assert_eq!(old.name, new.name);
    assert_ne!(old.fingerprint, new.fingerprint);
    connect(&ground.edge, &address, &renewed, &ground.config)
        .await
        .unwrap();

    let now = SystemTime::now();
    let taken = ground.authority.revoke("anna-s-laptop", now).unwrap();
    assert_eq!(taken.len(), 2, "the old certificate holds too");
    let error = renew(&ground.edge, &renewed, &ground.config)
        .await
        .unwrap_err();
    let EnrolError::Connect(super::super::ConnectError::Refused { refused, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(refused, Refused::Revoked);
}

#[tokio::test]
async fn a_token_is_good_once() {
    let ground = Ground::new();
    let token = ground.token(SystemTime::now());
    ground.pair(&token).await.unwrap();
    assert_eq!(refusal(ground.pair(&token).await), EnrolRefusal::Used);
    let second = ground.pair(&ground.token(SystemTime::now())).await.unwrap();
    assert_eq!(second.peer().unwrap().name.as_str(), "anna-s-laptop-2");
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let ground = Ground::new();
    let token = ground.token(SystemTime::now() - TOKEN_LASTS - Duration::from_secs(1));
    assert_eq!(refusal(ground.pair(&token).await), EnrolRefusal::Expired);
}

#[tokio::test]
async fn wrong_guesses_lock_a_token() {
    let ground = Ground::new();
    let token = ground.token(SystemTime::now());
    for guess in 0..WRONG_GUESSES_MAX as u8 {
        let mut wrong = token.clone();
        wrong.secret[0] ^= 1 + guess;
        assert_eq!(
            refusal(ground.pair(&wrong).await),
            EnrolRefusal::WrongSecret
        );
    }
    assert_eq!(refusal(ground.pair(&token).await), EnrolRefusal::Locked);
}

#[tokio::test]
async fn a_node_of_another_authority_gets_no_secret() {
    let ground = Ground::new();
    let mut token = ground.token(SystemTime::now());
    token.authority.0[0] ^= 1;
    let error = ground.pair(&token).await.unwrap_err();
    let EnrolError::Connect(super::super::ConnectError::Refused { refused, .. }) = error else {
        panic!("{error}");
    };
    assert_eq!(refused, Refused::Foreign);
}
