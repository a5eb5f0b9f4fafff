//! A node and an edge as processes of their own.

use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
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
    node_at(home, "127.0.0.1:0")
}

fn node_at(home: &Path, address: &str) -> (Node, String) {
    let mut child = outrigger(home)
        .args(["node", "-t", "1", "--listen", address])
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
    paired_at(home).0
}

/// The same, and the node's address.
fn paired_at(home: &Path) -> (Node, String) {
    let (node, address) = node(home);
    let issued = printed(outrigger(home).args(["pair", "--issue", &address]));
    let token = issued.split_whitespace().last().unwrap();
    printed(outrigger(home).args(["pair", token, "--name", "cloud"]));
    let again = outrigger(home).args(["pair", token]).output().unwrap();
    assert!(!again.status.success(), "a token holds once");
    (node, address)
}

/// What a run printed and said; it succeeds.
fn ended(edge: Child) -> (Value, String) {
    let output = edge.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    (json(&String::from_utf8(output.stdout).unwrap()), said)
}

fn begun(mut command: Command) -> Child {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// A run whose text comes as it is written, once there is some of it.
struct Writing {
    edge: Child,
    out: ChildStdout,
    text: Vec<u8>,
}

impl Writing {
    fn begin(home: &Path, more: &[&str]) -> Self {
        let mut command = outrigger(home);
        command.args(["run", "-t", "1", "--ignore-eos", "--seed", "5", "-n", LONG]);
        command.args(more).arg("Once upon a time");
        let mut edge = begun(command);
        let out = edge.stdout.take().unwrap();
        let mut writing = Self {
            edge,
            out,
            text: Vec::new(),
        };
        let mut piece = [0; 64];
        while writing.text.len() < 200 {
            let read = writing.out.read(&mut piece).unwrap();
            assert_ne!(read, 0, "the text has ended");
            writing.text.extend(&piece[..read]);
        }
        writing
    }

    /// The whole text, and what was said.
    fn end(mut self) -> (String, String) {
        self.out.read_to_end(&mut self.text).unwrap();
        let output = self.edge.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        let text = String::from_utf8(self.text).unwrap();
        (text.trim_end_matches('\n').to_owned(), said)
    }
}

/// What this machine would write.
fn text_here(home: &Path) -> String {
    let local = json(&printed(&mut run(home, LONG, &[])));
    local["text"].as_str().unwrap().to_owned()
}

/// The line in which a takeover is told.
fn takeover(said: &str) -> &str {
    let line = said.lines().find(|line| line.contains("going on here"));
    line.unwrap_or_else(|| panic!("no takeover: {said}"))
}

/// The sources of the tokens, in order.
fn sources(report: &Value) -> Vec<String> {
    let runs = report["provenance"].as_array().unwrap().iter();
    let sources = runs.map(|run| run["source"].as_str().unwrap().to_owned());
    sources.collect()
}

fn policy(home: &Path, text: &str) -> String {
    let file = home.join("policy.toml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Tokens that take long enough for something to happen meanwhile.
const LONG: &str = "480";

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
    // What a node has computed is counted over all runs.
    let usage = fs::read_to_string(home.join("state/outrigger/usage.toml")).unwrap();
    assert_eq!(usage, "cloud_tokens = 60\n");
}

#[test]
fn a_killed_node_costs_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let expected = text_here(home);
    let node = paired(home);
    let edge = Writing::begin(home, &["--node", "cloud"]);
    drop(node);
    let (text, said) = edge.end();
    assert_eq!(text, expected);
    let line = takeover(&said);
    assert!(
        line.starts_with("cloud, stream: the node has not answered for"),
        "{line}"
    );
    assert!(
        line.contains("reading") && line.ends_with("tokens again"),
        "{line}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
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

#[test]
fn a_node_that_is_down_holds_nobody_up_and_is_taken_when_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let local = json(&printed(&mut run(home, LONG, &[])));
    let (node, address) = paired_at(home);
    drop(node);
    let started = Instant::now();
    let (there, said) = ended(begun(run(home, "8", &["--node", "cloud"])));
    // Less than the 5 s that a link may take; machines that test are busy.
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eq!(sources(&there), ["local"]);
    assert!(
        said.contains("cloud does not answer yet; beginning here"),
        "{said}"
    );
    assert_eq!(there["decisions"][0]["mode"], "local");

    let edge = begun(run(home, LONG, &["--node", "cloud"]));
    let _node = node_at(home, &address);
    let (there, said) = ended(edge);
    assert_eq!(there["tokens"], local["tokens"]);
    if sources(&there).len() > 1 {
        assert!(said.contains("cloud goes on (stream)"), "{said}");
    }
}

#[test]
fn of_several_nodes_the_first_that_answers_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let (first, _) = paired_at(home);
    fs::rename(
        home.join("state/outrigger/identities/cloud.toml"),
        home.join("state/outrigger/identities/first.toml"),
    )
    .unwrap();
    drop(first);
    fs::remove_dir_all(home.join("state/outrigger/node")).unwrap();
    let _second = paired(home);
    let file = policy(home, "modes_allowed = [\"stream\"]\n");
    let more = ["--node", "first,cloud", "--policy", &file];
    let (there, _) = ended(begun(run(home, "8", &more)));
    assert_eq!(sources(&there), ["stream:cloud"]);
}

#[test]
fn where_only_the_node_may_write_it_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let expected = text_here(home);
    let (node, address) = paired_at(home);
    let file = policy(home, "modes_allowed = [\"stream\"]\n");
    let edge = Writing::begin(home, &["--node", "cloud", "--policy", &file]);
    drop(node);
    thread::sleep(Duration::from_millis(600));
    let _node = node_at(home, &address);
    let (text, said) = edge.end();
    assert_eq!(text, expected);
    assert!(
        said.contains("waiting for it, 300 s at most; Ctrl-C ends"),
        "{said}"
    );
    assert!(said.contains("cloud goes on (stream)"), "{said}");
}

#[test]
fn a_wait_ends_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    drop(paired(home));
    let file = policy(home, "modes_allowed = [\"stream\"]\n");
    let config = home.join("config.toml");
    fs::write(&config, "[offload]\nwait_s_max = 1\n").unwrap();
    let more = ["--node", "cloud", "--policy", &file, "--config"];
    let more = [&more[..], &[config.to_str().unwrap()]].concat();
    let output = run(home, "8", &more).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("waiting for cloud, 1 s at most"), "{said}");
    assert!(said.contains("no node answers; waited 1 s"), "{said}");
}

#[test]
fn a_text_that_breaks_off_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let expected = text_here(home);
    let node = paired(home);
    let file = policy(home, "modes_allowed = [\"stream\"]\n");
    let config = home.join("config.toml");
    fs::write(&config, "[offload]\nwait_s_max = 1\n").unwrap();
    let more = ["-v", "--node", "cloud", "--policy", &file, "--config"];
    let more = [&more[..], &[config.to_str().unwrap()]].concat();
    let mut edge = begun(run(home, LONG, &more));
    let mut stderr = BufReader::new(edge.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("placed: stream") {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "{said}");
    }
    thread::sleep(Duration::from_millis(200));
    drop(node);
    let mut out = String::new();
    edge.stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    assert_eq!(edge.wait().unwrap().code(), Some(1));
    stderr.read_to_string(&mut said).unwrap();
    let broken = json(&out);
    assert_eq!(broken["finish_reason"], Value::Null);
    assert!(broken["error"].as_str().unwrap().contains("waited 1 s"));
    let text = broken["text"].as_str().unwrap();
    assert!(!text.is_empty() && expected.starts_with(text), "{text}");
    assert!(
        said.contains("outrigger: the policy allows nothing"),
        "{said}"
    );
}

#[test]
fn a_takeover_with_a_warm_cache_reads_next_to_nothing_again() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let expected = text_here(home);
    let node = paired(home);
    let file = policy(
        home,
        "modes_allowed = [\"local\", \"stream\"]\nkeep_local_warm = true\n[[gate]]\n\
         name = \"node\"\nwhen = \"known(online) && online\"\ndeny = [\"local\"]\n\
         reason = \"a node answers\"\n",
    );
    let edge = Writing::begin(home, &["--node", "cloud", "--policy", &file]);
    drop(node);
    let (text, said) = edge.end();
    assert_eq!(text, expected);
    let line = takeover(&said);
    let again = line.split_once("reading ").map_or(1, |(_, rest)| {
        rest.split_whitespace().next().unwrap().parse().unwrap()
    });
    assert!(again <= 32, "{line}");
}

#[test]
fn a_policy_tries_a_draft_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let local = json(&printed(&mut run(home, "200", &[])));
    let _node = paired(home);
    // The node's tokens are dear, and so is this machine, so that it is the
    // draft that pays.
    let file = policy(
        home,
        "modes_allowed = [\"stream\", \"verify\"]\n[hysteresis]\nratio = 0.0\n\
         dwell_tokens = 0\ndwell_ms = 0\n[[gate]]\nname = \"later\"\n\
         when = \"context_tokens > 20.0\"\ndeny = [\"stream\"]\nreason = \"for the test\"\n",
    );
    let more = ["--node", "cloud", "--policy", &file, "--draft", "bundled"];
    let (there, said) = ended(begun(run(home, "200", &more)));
    assert_eq!(there["tokens"], local["tokens"], "{said}");
    assert!(sources(&there).contains(&"verify:cloud".to_owned()));
    let decisions = there["decisions"].as_array().unwrap();
    let verify = decisions.iter().find(|made| made["mode"] == "verify");
    let verify = verify.unwrap_or_else(|| panic!("{decisions:?}"));
    assert!(verify["reason"].as_str().unwrap().contains("verify"));
    assert_eq!(verify["candidates"].as_array().unwrap().len(), 6);
    let draft = &there["speculation"];
    assert!(draft["accepted"].as_u64().unwrap() > 0, "{draft}");
}

#[test]
fn a_node_with_another_model_is_used_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let large = json(&printed(&mut run(home, LONG, &[])));
    let (node, _) = paired_at(home);
    let small = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo-draft-q8_0.gguf");
    let cloud = ["--node", "cloud", "-m", small];
    let (there, said) = ended(begun(run(home, "20", &cloud)));
    assert_eq!(sources(&there), ["local"]);
    assert!(said.contains("could not go on in the same text"), "{said}");

    let asked = [&cloud[..], &["--mode", "stream"]].concat();
    let (there, said) = ended(begun(run(home, "20", &asked)));
    assert_eq!(sources(&there), ["stream:cloud"]);
    let begins = large["tokens"].as_array().unwrap()[..20].to_vec();
    assert_eq!(*there["tokens"].as_array().unwrap(), begins);
    assert!(said.contains("which this machine does not have"), "{said}");

    let file = policy(
        home,
        &format!("modes_allowed = [\"local\", \"stream\"]\nfallback_model = '{small}'\n"),
    );
    let edge = Writing::begin(home, &[&cloud[..], &["--policy", &file]].concat());
    drop(node);
    let (text, said) = edge.end();
    assert!(
        text.starts_with(&large["text"].as_str().unwrap()[..200]),
        "{text}"
    );
    assert_ne!(text, large["text"].as_str().unwrap());
    assert!(
        said.contains("goes on here, which is another model"),
        "{said}"
    );
}

#[test]
fn private_text_stays_here() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let _node = paired(home);
    let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/policies");
    let cloud = policies.join("always-cloud.toml");
    for more in [&[][..], &["--policy", cloud.to_str().unwrap()]] {
        let private = ["--node", "cloud", "--privacy", "private"];
        let more = [&private[..], more].concat();
        let (there, _) = ended(begun(run(home, "20", &more)));
        assert_eq!(sources(&there), ["local"]);
    }
    let output = run(home, "8", &["--privacy", "secret"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn nothing_is_drawn_where_there_is_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let _node = paired(home);
    let mut command = outrigger(home);
    command.args([
        "run",
        "-t",
        "1",
        "-n",
        "30",
        "--node",
        "cloud",
        "Once upon a time",
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(!output.stdout.contains(&0x1b));
}
