//! What is no frame, what stands in the wrong place, and who does not read.

use super::ground::{Ground, POISON, append, follow, open, run};
use crate::{
    node::NodeLimits,
    wire::{
        BODY_BYTES_MAX, DRAFT_TOKENS_MAX, Goodbye, HEADER_BYTES, Hello, PROTOCOL_VERSION, ToEdge,
        ToNode, Verify, encode,
    },
};

fn frame(version: u16, kind: u8, length: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = version.to_le_bytes().to_vec();
    bytes.extend([kind, 0]);
    bytes.extend(length.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// Bytes that are no frame, each with what a refusal says of it.
fn malformed() -> Vec<(Vec<u8>, &'static str)> {
    let guesses = Verify {
        epoch: 0,
        position: 3,
        state: super::ground::state(),
        tokens: vec![1; DRAFT_TOKENS_MAX + 1],
    };
    let mut long = encode(&ToNode::Ping(5)).unwrap();
    long[4] += 1;
    long.push(0);
    vec![
        (frame(PROTOCOL_VERSION + 1, 8, 1, &[5]), "version 2"),
        (frame(0, 8, 1, &[5]), "version 0"),
        (
            frame(PROTOCOL_VERSION, 8, BODY_BYTES_MAX + 1, &[]),
            "longer than",
        ),
        (frame(PROTOCOL_VERSION, 8, u32::MAX, &[]), "longer than"),
        (frame(PROTOCOL_VERSION, 200, 0, &[]), "kind 200"),
        // What a node sends is nothing to it.
        (frame(PROTOCOL_VERSION, 70, 1, &[5]), "kind 70"),
        (frame(PROTOCOL_VERSION, 2, 3, &[255; 3]), "`open`"),
        (frame(PROTOCOL_VERSION, 3, 2, &[0, 0]), "`append`"),
        (long, "1 bytes are left over"),
        (encode(&ToNode::Verify(guesses)).unwrap(), "33 tokens"),
    ]
}

#[tokio::test]
async fn what_is_no_frame_is_refused_by_name() {
    let ground = Ground::start(NodeLimits::default());
    for (bytes, says) in malformed() {
        let mut first = ground.dial(1);
        first.bytes(&bytes).await;
        let what = first.broke().await;
        assert!(what.contains(says), "{what}");
        assert_eq!(first.hear().await, None);

        let mut later = ground.generation(1, 9, &[1]).await;
        later.say(run(0, 1, 2)).await;
        assert_eq!(later.tokens(2).await, follow(&[1], 2));
        later.bytes(&bytes).await;
        let what = later.broke().await;
        assert!(what.contains(says), "{what}");
        assert_eq!(later.hear().await, None);
        let mut again = ground.dial(1);
        again.say(ToNode::Open(open(9))).await;
        again.say(ToNode::Goodbye(Goodbye)).await;
        assert!(again.served.await.unwrap().is_ok());
    }
    ground.serves().await;
}

#[tokio::test]
async fn a_frame_that_ends_early_ends_the_stream() {
    let ground = Ground::start(NodeLimits::default());
    let whole = encode(&ToNode::Open(open(1))).unwrap();
    for cut in [1, HEADER_BYTES - 1, HEADER_BYTES, whole.len() - 1] {
        let mut edge = ground.dial(1);
        edge.bytes(&whole[..cut]).await;
        let served = edge.end().await;
        assert!(served.is_err(), "cut at {cut}");
    }
    ground.serves().await;
}

#[tokio::test]
async fn messages_in_the_wrong_place_are_refused_and_the_stream_goes_on() {
    let ground = Ground::start(NodeLimits::default());
    let mut control = ground.dial(1);
    let hello = Hello {
        model: None,
        tokenizer: [0; 32],
        require_bitwise: false,
    };
    control.say(ToNode::Hello(hello)).await;
    assert!(matches!(control.hear().await, Some(ToEdge::Welcome(_))));
    control.say(append(0, 0, &[1])).await;
    assert!(control.broke().await.contains("control stream"));
    control.say(ToNode::Ping(3)).await;
    assert_eq!(control.hear().await, Some(ToEdge::Pong(3)));

    let mut first = ground.dial(1);
    first.say(run(0, 0, 1)).await;
    assert!(first.broke().await.contains("neither"));
    assert_eq!(first.hear().await, None);

    let mut edge = ground.generation(1, 1, &[4]).await;
    edge.say(ToNode::Ping(3)).await;
    assert!(edge.broke().await.contains("does not belong"));
    edge.say(run(0, 9, 1)).await;
    assert!(edge.broke().await.contains("behind the end"));
    edge.say(append(0, 0, &[5])).await;
    assert!(edge.broke().await.contains("differ"));
    edge.say(run(1, 1, 4)).await;
    assert_eq!(edge.tokens(4).await, follow(&[4], 4));
}

#[tokio::test]
async fn a_refusal_names_the_epoch_of_its_request() {
    let ground = Ground::start(NodeLimits::default());
    let mut edge = ground.generation(1, 1, &[4]).await;
    edge.say(run(7, 9, 1)).await;
    match edge.hear().await {
        Some(ToEdge::Failed(failed)) => assert_eq!(failed.epoch, 7),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn another_generation_of_the_same_name_is_refused_and_the_first_goes_on() {
    let ground = Ground::start(NodeLimits::default());
    let mut first = ground.generation(1, 5, &[1, 2]).await;
    first.say(run(0, 2, 3)).await;
    assert_eq!(first.tokens(3).await, follow(&[1, 2], 3));
    let mut second = ground.dial(1);
    let mut other = open(5);
    other.sampling.seed = Some(2);
    second.say(ToNode::Open(other)).await;
    assert!(second.broke().await.contains("same name"));
    assert_eq!(second.hear().await, None);
    first.say(run(0, 5, 3)).await;
    assert_eq!(first.tokens(3).await, follow(&[1, 2], 6)[3..]);
    // Another client's names are its own.
    let mut stranger = ground.generation(2, 5, &[9]).await;
    stranger.say(run(0, 1, 3)).await;
    assert_eq!(stranger.tokens(3).await, follow(&[9], 3));
}

#[tokio::test]
async fn a_stream_that_was_replaced_does_nothing_to_the_generation() {
    let ground = Ground::start(NodeLimits::default());
    let mut old = ground.generation(1, 5, &[1, 2]).await;
    old.say(run(0, 2, 2)).await;
    assert_eq!(old.tokens(2).await, follow(&[1, 2], 2));
    let mut new = ground.dial(1);
    new.say(ToNode::Open(open(5))).await;
    // The old one ends, and its end comes after the takeover.
    assert_eq!(old.hear().await, None);
    assert!(old.served.await.unwrap().is_ok());
    new.say(run(0, 4, 3)).await;
    assert_eq!(new.tokens(3).await, follow(&[1, 2], 5)[2..]);
}

#[tokio::test]
async fn who_does_not_read_is_not_served_further_and_others_are() {
    let limits = NodeLimits {
        outbox: 4,
        ..NodeLimits::default()
    };
    let ground = Ground::start(limits);
    let mut deaf = ground.pipe(1, 512);
    deaf.say(ToNode::Open(open(1))).await;
    deaf.say(append(0, 0, &[1])).await;
    deaf.say(run(0, 1, 400)).await;
    for _ in 0..5 {
        ground.serves().await;
    }
    let tokens = ground.handle.metrics.snapshot().tokens;
    assert!(tokens < 5 * 20 + 60, "{tokens} tokens");
    // It loses none when it comes to it.
    assert_eq!(deaf.tokens(400).await, follow(&[1], 400));
}

#[tokio::test]
async fn a_flood_of_messages_holds_nobody_up() {
    let limits = NodeLimits {
        commands: 8,
        ..NodeLimits::default()
    };
    let ground = Ground::start(limits);
    let floods: Vec<_> = (0..4)
        .map(|session| {
            let mut edge = ground.dial(1);
            tokio::spawn(async move {
                edge.say(ToNode::Open(open(session))).await;
                loop {
                    edge.say(ToNode::Ping(0)).await;
                }
            })
        })
        .collect();
    ground.serves().await;
    floods.iter().for_each(|flood| flood.abort());
}

#[tokio::test]
async fn a_pass_that_fails_costs_only_who_is_at_fault() {
    let ground = Ground::start(NodeLimits::default());
    let mut good = ground.generation(1, 1, &[1]).await;
    good.say(run(0, 1, 300)).await;
    let mut bad = ground.generation(2, 1, &[POISON]).await;
    bad.say(run(0, 1, 300)).await;
    assert_eq!(good.tokens(300).await, follow(&[1], 300));
    match bad.hear().await {
        Some(ToEdge::Failed(_)) => {}
        other => panic!("{other:?}"),
    }
}
