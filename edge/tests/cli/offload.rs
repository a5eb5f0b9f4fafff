//! A node and an edge as processes of their own.

use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // Gone already where the test killed it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn outrigger(home: &Path) -> Command {
    let mut command = super::binary::outrigger();
    command
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_CACHE_HOME", home.join("cache"));
    command
}

/// What a command prints; it succeeds.
fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// A node on a port of the system's choice, and its address.
fn node(home: &Path) -> (Node, String) {
    let mut child = outrigger(home)
        .args(["node", "-t", "1", "--listen", "127.0.0.1:0"])
        .args(["--draft", "bundled"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let address = line.split_once(" at ").map(|(_, rest)| rest);
    let address = address.and_then(|rest| rest.split_once(','));
    let address = address.unwrap_or_else(|| panic!("{line}")).0.to_owned();
    (Node(child), address)
}

/// A node, and an edge that is paired with it.
fn paired(home: &Path) -> Node {
    let (node, address) = node(home);
    let issued = printed(outrigger(home).args(["pair", "--issue", &address]));
    let token = issued.split_whitespace().last().unwrap();
    printed(outrigger(home).args(["pair", token, "--name", "cloud"]));
    let again = outrigger(home).args(["pair", token]).output().unwrap();
    assert!(!again.status.success(), "a token holds once");
    node
}

fn run(home: &Path, tokens: &str, more: &[&str]) -> Command {
    let mut command = outrigger(home);
    command
        .args(["run", "-t", "1", "--ignore-eos", "--seed", "5", "--json"])
        .args(["-n", tokens])
        .args(more)
        .arg("Once upon a time");
    command
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn every_mode_writes_what_this_machine_would_write() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let _node = paired(home);
    for sampling in [["--temp", "0"], ["--temp", "0.9"]] {
        let local = json(&printed(&mut run(home, "100", &sampling)));
        for mode in [
            "stream",
            "verify",
            "verify-pipelined",
            "draft-at-node",
            "split",
        ] {
            let offload = ["--node", "cloud", "--mode", mode, "--draft", "bundled"];
            let more = [&offload[..], &sampling].concat();
            let there = json(&printed(&mut run(home, "100", &more)));
            assert_eq!(there["tokens"], local["tokens"], "{mode}");
            let source = &there["provenance"][0]["source"];
            assert_eq!(*source, format!("{}:cloud", mode.replace('-', "_")));
            for way in ["bytes_up_per_token", "bytes_down_per_token"] {
                let bytes = there["timings"][way].as_f64().unwrap();
                println!("{mode}: {way} {bytes}");
                assert!((1.0..2000.0).contains(&bytes), "{mode}: {way} {bytes}");
                assert!(local["timings"][way].is_null());
            }
        }
    }
}

#[test]
fn a_policy_says_where_tokens_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let _node = paired(home);
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/policies");
    let local = json(&printed(&mut run(home, "60", &[])));
    for (policy, source) in [("private", "local"), ("always-cloud", "stream:cloud")] {
        let file = policies.join(policy).with_extension("toml");
        let more = ["--node", "cloud", "--policy", file.to_str().unwrap()];
        let there = json(&printed(&mut run(home, "60", &more)));
        assert_eq!(there["tokens"], local["tokens"], "{policy}");
        assert_eq!(there["provenance"][0]["source"], source, "{policy}");
    }
}

#[test]
fn a_killed_node_costs_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let local = json(&printed(&mut run(home, "480", &[])));
    let mut node = paired(home);
    let mut edge = run(home, "480", &["--node", "cloud"]);
    edge.stdout(Stdio::piped()).stderr(Stdio::piped());
    let edge = edge.spawn().unwrap();
    thread::sleep(Duration::from_millis(250));
    node.0.kill().unwrap();
    let output = edge.wait_with_output().unwrap();
    assert!(output.status.success());
    let there = json(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(there["tokens"], local["tokens"]);
    let last = there["provenance"].as_array().unwrap().last().unwrap();
    if last["source"] == "local" {
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("going on here"), "{said}");
    }
}

#[test]
fn a_revoked_edge_is_not_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let _node = paired(home);
    let listed = printed(outrigger(home).args(["pair", "--list", "--json"]));
    let name = json(&listed)[0]["name"].as_str().unwrap().to_owned();
    printed(outrigger(home).args(["pair", "--revoke", &name]));
    let output = run(home, "8", &["--node", "cloud"]).output().unwrap();
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("revoked") && said.contains("going on here"),
        "{said}"
    );
    let there = json(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(there["provenance"][0]["source"], "local");
}
