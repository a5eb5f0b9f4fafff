//! SIGTERM: what is under way is finished, and nothing else is begun.

use super::{
    client::{Talk, authority, enrol, link, open, settings, socket},
    process::Node,
};
use outrigger_offload::wire::{Failed, Failure, Refused, ToEdge};
use std::time::Duration;

/// More than the node can say to one that does not read, less than the
/// bundled model's context.
const TOKENS: u32 = 400;

/// A node with a generation under way, which ends no sooner than it is read.
struct Busy {
    node: Node,
    link: quinn::Connection,
    talk: Talk,
    config: quinn::ClientConfig,
    _endpoint: outrigger_offload::transport::Endpoint,
    _folder: tempfile::TempDir,
}

async fn busy(more: &[&str]) -> Busy {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), more);
    let identity = enrol(&authority(folder.path()), "slow", Duration::ZERO);
    let (config, endpoint) = (settings(&identity), socket(1));
    let link = link(&endpoint, node.address, &config).await.unwrap();
    let talk = Talk::generation(&link, 1, TOKENS).await;
    node.wait_for("tokens_total", |n| n > 0.0);
    Busy {
        node,
        link,
        talk,
        config,
        _endpoint: endpoint,
        _folder: folder,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_finished() {
    let mut busy = busy(&[]).await;
    assert_eq!(busy.node.get("/health"), (200, "ok\n".into()));
    busy.node.terminate();
    busy.node.wait_for("draining", |n| n == 1.0);
    for path in ["/health", "/ready"] {
        assert_eq!(busy.node.get(path), (503, "draining\n".into()), "{path}");
    }
    let mut late = Talk::on(&busy.link).await;
    late.send.write(&open(2)).await.unwrap();
    assert_eq!(late.refusal().await, Refused::Draining);
    let refused = link(&socket(1), busy.node.address, &busy.config).await;
    assert_eq!(refused.unwrap_err(), "Draining");

    let (tokens, end) = busy.talk.tokens().await;
    assert_eq!(tokens, TOKENS);
    let draining = matches!(
        end,
        Some(ToEdge::Failed(Failed {
            failure: Failure::Draining,
            ..
        }))
    );
    assert!(draining, "{end:?}");
    assert_eq!(busy.talk.hear().await, None);
    assert_eq!(busy.node.ended().code(), Some(0), "{}", busy.node.said());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_does_not_wait() {
    let mut busy = busy(&[]).await;
    busy.node.terminate();
    busy.node.wait_for("draining", |n| n == 1.0);
    busy.node.terminate();
    assert_eq!(busy.node.ended().code(), Some(1));
    let said = busy.node.said();
    assert!(
        said.contains("1 generations were cut short, for a second SIGTERM"),
        "{said}"
    );
    let error = busy.link.closed().await;
    let refused = outrigger_offload::trust::Refused::of(&error);
    assert_eq!(
        refused,
        Some(outrigger_offload::trust::Refused::Draining),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_has_an_end() {
    let mut busy = busy(&["--drain", "1"]).await;
    busy.node.terminate();
    assert_eq!(busy.node.ended().code(), Some(1));
    let said = busy.node.said();
    assert!(said.contains("cut short, for 1 s were over"), "{said}");
}
