//! The edge's own client where its requests cross what the node has done.

use super::ground::{Ground, follow, open, state};
use crate::{
    node::NodeLimits,
    remote::{Client, Remote},
};
use outrigger_runtime::{tokenizer::TokenId, transcript::Transcript};
use std::{sync::atomic::AtomicBool, time::Duration};
use tokio::io::{DuplexStream, WriteHalf};

type Near = Client<WriteHalf<DuplexStream>>;

async fn client() -> (Near, Transcript) {
    let remote = Remote::new(Ground::start(NodeLimits::default()), Duration::from_secs(5));
    let client = Client::open(&remote, open(1)).await.unwrap();
    let mut transcript = Transcript::new(open(1).sampling);
    transcript.push_prompt(&[1, 2]);
    (client, transcript)
}

/// Takes tokens until there are `count`.
async fn take(client: &mut Near, transcript: &mut Transcript, count: usize) -> Vec<TokenId> {
    let mut all = Vec::new();
    while all.len() < count {
        let (cancel, mut progress) = (AtomicBool::new(false), |_| ());
        let tokens = client.tokens(&cancel, &mut progress).await;
        for decoded in tokens.unwrap() {
            transcript.commit(decoded.token, decoded.state);
            all.push(decoded.token);
        }
    }
    all
}

#[tokio::test]
async fn a_prompt_may_follow_while_the_node_runs_ahead() {
    let (mut client, mut transcript) = client().await;
    client.follow(&transcript).await.unwrap();
    client.run(&transcript, 60).await.unwrap();
    assert_eq!(
        take(&mut client, &mut transcript, 3).await,
        follow(&[1, 2], 3)
    );
    tokio::time::sleep(Duration::from_millis(20)).await;
    transcript.push_prompt(&[8, 9]);
    let expected = follow(transcript.tokens(), 4);
    client.follow(&transcript).await.unwrap();
    client.run(&transcript, 4).await.unwrap();
    assert_eq!(take(&mut client, &mut transcript, 4).await, expected);
}

#[tokio::test]
async fn guesses_are_taken_again_after_a_wrong_one() {
    let (mut client, mut transcript) = client().await;
    client.follow(&transcript).await.unwrap();
    let expected = follow(&[1, 2], 12);
    for round in 0..4 {
        let right = expected[transcript.len() as usize - 2];
        client
            .verify(&transcript, &[right, right ^ 1])
            .await
            .unwrap();
        let tokens = take(&mut client, &mut transcript, 2).await;
        assert_eq!(tokens, expected[round * 2..][..2]);
    }
    assert_eq!(transcript.sampler_state(), state());
}

#[tokio::test]
async fn a_client_that_is_dropped_leaves_no_generation_behind() {
    let ground = Ground::start(NodeLimits::default());
    let metrics = ground.handle.metrics.clone();
    let remote = Remote::new(ground, Duration::from_secs(5));
    let mut client = Client::open(&remote, open(1)).await.unwrap();
    let mut transcript = Transcript::new(open(1).sampling);
    transcript.push_prompt(&[1, 2]);
    client.follow(&transcript).await.unwrap();
    client.run(&transcript, 60).await.unwrap();
    take(&mut client, &mut transcript, 3).await;
    assert_eq!(metrics.snapshot().sessions, 1);
    drop(client);
    for _ in 0..100 {
        if metrics.snapshot().sessions == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the node keeps it");
}
