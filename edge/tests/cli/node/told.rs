//! What a node tells: metrics and a log.

use super::process::{Node, complete, outrigger, pair, printed};
use crate::binary::refusal;
use serde_json::Value;
use std::process::Stdio;

#[test]
fn metrics_are_for_this_machine_alone() {
    let said = refusal(&["node", "--metrics", "0.0.0.0:9443"], 2);
    assert!(said.contains("is not a loopback address"), "{said}");
}

#[test]
fn metrics_and_log_say_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let node = Node::start(home, &[]);
    pair(home, &node);
    assert_eq!(node.get("/ready"), (200, "ready\n".into()));
    complete(home, &["--node", "cloud"]);
    node.wait_for("links", |n| n == 0.0);
    assert_eq!(node.sample("client_tokens_total{client=\"good\"}"), 60.0);
    assert!(node.sample("pass_columns_count") >= 60.0);
    assert!(node.sample("prompt_tokens_total") >= 4.0);
    assert_eq!(node.sample("sessions_opened_total"), 1.0);
    assert!(node.sample("sent_bytes_total") > 1000.0);
    println!("{}", node.get("/metrics").1);

    let said = node.said();
    println!("{said}");
    for event in [
        "link begun",
        "link ended",
        "generation begun",
        "generation ended",
    ] {
        let lines = said.lines().filter(|line| line.contains(event)).count();
        assert_eq!(lines, 1, "{event}: {said}");
    }
    assert!(
        said.contains("tokens=60") && said.contains("mode=\"stream\""),
        "{said}"
    );
    assert!(!said.contains("Once upon"), "{said}");
}

#[test]
fn a_log_may_be_read_by_programs() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = outrigger(folder.path())
        .args(["node", "-v", "--log-format", "json", "-t", "1"])
        .args(["--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = std::io::BufReader::new(node.stderr.take().unwrap());
    let mut lines = std::io::BufRead::lines(stderr).map(|line| {
        let line = line.unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    });
    let serving = lines.find(|event| event["message"] == "serving");
    let serving = serving.expect("an event");
    let _ = node.kill();
    let _ = node.wait();
    assert_eq!(serving["level"], "INFO");
    assert!(
        serving["timestamp"].as_str().unwrap().ends_with('Z'),
        "{serving}"
    );
    assert!(
        serving["address"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:"),
        "{serving}"
    );
    // Elsewhere it changes nothing but the log.
    let plain = ["--log-format", "json", "tokenize", "--ids", "once"];
    assert!(printed(outrigger(folder.path()).args(plain)).starts_with('['));
}
