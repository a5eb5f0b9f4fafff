//! Who asks for more than there is.

use super::ground::{CONTEXT, Ground, append, follow, open, run};
use crate::{
    node::{Command, NodeLimits},
    wire::{Failed, Failure, Refused, Stop, ToEdge, ToNode},
};
use std::time::Duration;

#[tokio::test]
async fn two_hundred_idle_streams_leave_room_for_others() {
    let limits = NodeLimits::default();
    let ground = Ground::start(limits);
    let mut idle = Vec::new();
    for session in 0..200 {
        let mut edge = ground.dial(1);
        if session % 2 == 0 {
            edge.say(ToNode::Open(open(session))).await;
        }
        idle.push(edge);
    }
    let mut refused = 0;
    for edge in idle.iter_mut().step_by(2).skip(limits.client_sessions_max) {
        assert_eq!(edge.refusal().await, Refused::Sessions { max: 8 });
        refused += 1;
    }
    assert_eq!(refused, 100 - limits.client_sessions_max);
    ground.serves().await;
}

#[tokio::test]
async fn more_sessions_than_there_are_places_are_refused() {
    let limits = NodeLimits {
        sessions_max: 2,
        ..NodeLimits::default()
    };
    let ground = Ground::start(limits);
    let mut one = ground.generation(1, 0, &[1]).await;
    let _two = ground.generation(2, 0, &[1]).await;
    let mut three = ground.generation(3, 0, &[1]).await;
    assert_eq!(three.refusal().await, Refused::Sessions { max: 2 });
    one.say(run(0, 1, 4)).await;
    assert_eq!(one.tokens(4).await, follow(&[1], 4));
}

#[tokio::test]
async fn generations_without_their_edge_make_way() {
    let limits = NodeLimits {
        sessions_max: 2,
        client_sessions_max: 1,
        ..NodeLimits::default()
    };
    let ground = Ground::start(limits);
    for session in 0..4 {
        let mut edge = ground.generation(1, session, &[1]).await;
        edge.say(run(0, 1, 4)).await;
        assert_eq!(edge.tokens(4).await, follow(&[1], 4));
        assert!(edge.end().await.is_ok());
    }
    let _two = ground.generation(2, 0, &[1]).await;
    ground.serves().await;
}

#[tokio::test(start_paused = true)]
async fn generations_that_nobody_works_with_make_way() {
    let limits = NodeLimits {
        sessions_max: 2,
        idle: Duration::from_secs(10),
        ..NodeLimits::default()
    };
    let ground = Ground::start(limits);
    // One asks for nothing, the other does not read.
    let mut idle = ground.generation(1, 0, &[1]).await;
    let mut deaf = ground.pipe(2, 64);
    for message in [ToNode::Open(open(0)), append(0, 0, &[1]), run(0, 1, 400)] {
        deaf.say(message).await;
    }
    let mut early = ground.generation(3, 0, &[1]).await;
    let full = Refused::Sessions { max: 2 };
    assert_eq!(early.refusal().await, full);
    tokio::time::sleep(Duration::from_secs(11)).await;
    for _ in 0..2 {
        ground.serves().await;
    }
    assert_eq!(idle.refusal().await, full);
    assert_eq!(idle.hear().await, None);
    let mut busy = ground.generation(4, 0, &[1]).await;
    busy.say(run(0, 1, 4)).await;
    let _other = ground.generation(5, 0, &[1]).await;
    assert_eq!(busy.tokens(4).await, follow(&[1], 4));
}

#[tokio::test]
async fn more_than_the_context_is_refused() {
    let ground = Ground::start(NodeLimits::default());
    let context = Refused::Context { max: CONTEXT };
    let mut edge = ground.generation(1, 0, &[1]).await;
    edge.say(run(0, 1, 1_000_000_000)).await;
    assert_eq!(edge.refusal().await, context);
    edge.say(run(0, 1, u32::MAX)).await;
    assert_eq!(edge.refusal().await, context);
    edge.say(append(0, 1, &vec![2; CONTEXT as usize])).await;
    assert_eq!(edge.refusal().await, context);
    // All that there is room for comes, and one token behind it.
    edge.say(run(0, 1, CONTEXT)).await;
    let all = follow(&[1], CONTEXT as usize);
    assert_eq!(edge.tokens(CONTEXT as usize).await, all);
    ground.serves().await;
}

#[tokio::test]
async fn a_sampling_that_cannot_be_is_refused() {
    let ground = Ground::start(NodeLimits::default());
    let mut unseeded = open(1);
    unseeded.sampling.seed = None;
    let mut hot = open(1);
    hot.sampling.temperature = f32::NAN;
    for (open, says) in [(unseeded, "seed"), (hot, "temperature")] {
        let mut edge = ground.dial(1);
        edge.say(ToNode::Open(open)).await;
        let what = edge.broke().await;
        assert!(what.contains(says), "{what}");
    }
}

#[tokio::test]
async fn a_quota_ends_what_is_under_way_and_what_comes_later() {
    let limits = NodeLimits {
        client_tokens_max: Some(30),
        ..NodeLimits::default()
    };
    let ground = Ground::start(limits);
    let mut edge = ground.generation(1, 0, &[1]).await;
    edge.say(run(0, 1, 64)).await;
    assert_eq!(edge.tokens(30).await, follow(&[1], 30));
    assert_eq!(edge.refusal().await, Refused::Quota);
    edge.say(run(1, 31, 1)).await;
    assert_eq!(edge.refusal().await, Refused::Quota);
    let mut later = ground.dial(1);
    later.say(ToNode::Open(open(1))).await;
    assert_eq!(later.refusal().await, Refused::Quota);
    ground.serves().await;
}

#[tokio::test]
async fn a_draining_node_finishes_what_it_has() {
    let limits = NodeLimits {
        outbox: 4,
        orphan: Duration::from_millis(100),
        ..NodeLimits::default()
    };
    let ground = Ground::start(limits);
    let mut idle = ground.generation(1, 0, &[1]).await;
    let mut busy = ground.generation(2, 0, &[1]).await;
    busy.say(run(0, 1, 200)).await;
    let mut stopped = ground.generation(3, 0, &[1]).await;
    stopped.say(run(0, 1, 500)).await;
    let mut deaf = ground.pipe(4, 512);
    deaf.say(ToNode::Open(open(0))).await;
    deaf.say(append(0, 0, &[1])).await;
    deaf.say(run(0, 1, 500)).await;
    assert_eq!(busy.tokens(1).await, follow(&[1], 1));
    ground.handle.commands.send(Command::Drain).await.unwrap();

    let draining = |epoch| {
        Some(ToEdge::Failed(Failed {
            epoch,
            failure: Failure::Draining,
        }))
    };
    assert_eq!(idle.hear().await, draining(0));
    assert_eq!(idle.hear().await, None);
    let mut late = ground.dial(5);
    late.say(ToNode::Open(open(0))).await;
    assert_eq!(late.refusal().await, Refused::Draining);
    assert_eq!(busy.tokens(199).await, follow(&[1], 200)[1..]);
    assert_eq!(busy.hear().await, draining(0));
    stopped.say(ToNode::Stop(Stop { epoch: 1 })).await;
    let ended = tokio::time::timeout(Duration::from_secs(5), ground.engine);
    ended.await.expect("an end in time").unwrap();
}
